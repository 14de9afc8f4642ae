package connection

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// Sign is what a record tells of the sessions of its device or module.
type Sign int

// The signs. Their numbers are not kept anywhere.
const (
	// NoSign is every record that is none of the others.
	NoSign Sign = iota
	// Connect is the beginning of a session: a connection without an error.
	Connect
	// Expiry is the end of a session whose token has expired. A healthy device then
	// begins another one with a new token. So Expiry alone is not a reason for an alert.
	Expiry
	// Refused is every other failed connection. The cause is that of the
	// classification, which may be Unclassified. A session whose certificate has
	// expired is here too, because no client renews a certificate in that way.
	Refused
)

// Sign returns what r, whose classification is c, tells of the sessions of its device.
// A record that names no device cannot be told to belong to a session: its connection
// is no sign, and the end of its session is Refused, so that it stays visible.
func (r *Record) Sign(c Classification) Sign {
	switch {
	case c.PassedOver == Connected && r.DeviceID != "":
		return Connect
	case c.PassedOver != "":
		return NoSign
	case c.Cause == TokenExpired && strings.EqualFold(r.OperationName, deviceDisconnect) && r.DeviceID != "":
		return Expiry
	}
	return Refused
}

// DeviceKey stands for a device, or for a module of a device, of one hub. The zero
// value stands for none.
type DeviceKey [16]byte

// The first bits of a DeviceKey say how it was made. A key that is neither begins with the length
// of the id, which is less than both.
const (
	hashed = 0x80 // the first bit is 1, and the others are of a hash
	packed = 0x40 // the first bits are 01, and the others are those of a UUID
)

// DeviceKey returns the key of the device or module that the record names. The letter case of
// ids counts. Each connection needs a key, and a hash takes a tenth of the time in which a record
// is read. So two kinds of ids of devices are their own keys, of which no two are the same: those
// of at most 15 bytes, with their length, and those that packUUID takes. All others have 127 bits
// of a SHA-256 of their ids. Nobody can make two that have one of these keys in common: a failed
// connection of one device could be taken for renewed by another. Records of one hub that name no
// device have one key.
func (r *Record) DeviceKey() (k DeviceKey) {
	if r.ModuleID == "" {
		if n := len(r.DeviceID); n > 0 && n < len(k) {
			k[0] = byte(n)
			copy(k[1:], r.DeviceID)
			return k
		}
		if packUUID(&k, r.DeviceID) {
			return k
		}
	}
	b := make([]byte, 0, 64) // longer ids take a piece of memory
	// The length keeps ("ab", "c") apart from ("a", "bc").
	b = append(binary.AppendUvarint(b, uint64(len(r.DeviceID))), r.DeviceID...)
	b = binary.AppendUvarint(b, uint64(len(r.ModuleID)))
	if r.ModuleID != "" { // to append nothing takes time, too
		b = append(b, r.ModuleID...)
	}
	sum := sha256.Sum256(b)
	k = DeviceKey(sum[:])
	k[0] |= hashed
	return k
}

// packUUID makes k of a UUID in its usual form, which is in lower case and of the variant of RFC
// 9562 (https://www.rfc-editor.org/rfc/rfc9562#section-4.1): 10 in the first bits of its ninth
// byte. Without these two bits, it has room in a key. It returns false for all other ids, and then
// k says nothing. Devices are often named like that.
func packUUID(k *DeviceKey, id string) bool {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return false
	}
	wrong := byte(0)
	for i, at := range &digitsOfUUID {
		high, low := digits[id[at]], digits[id[at+1]]
		wrong |= high | low
		k[i] = high<<4 | low
	}
	if wrong > 0xf || k[8]>>6 != 0b10 {
		return false
	}
	// The first two bits take the place of these two.
	k[8] = k[8]&0x3f | k[0]&0xc0
	k[0] = k[0]&0x3f | packed
	return true
}

// digitsOfUUID is where the two digits of each byte of a UUID begin.
var digitsOfUUID = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// digits has the value of each hexadecimal digit in lower case, and 0xff for all other bytes.
var digits = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for value, c := range []byte("0123456789abcdef") {
		values[c] = byte(value)
	}
	return values
}()

// AddressKey stands for a masked address. The zero value stands for an address that is
// not known.
type AddressKey uint32

// AddressKey returns the key of the address that the record has: 32 bits of a hash of
// the address as logged, without its case.
func (r *Record) AddressKey() AddressKey {
	address := strings.ToLower(strings.TrimSpace(r.MaskedIPAddress))
	if address == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(address))
	return AddressKey(max(1, binary.BigEndian.Uint32(sum[:])))
}

// Compatible reports whether two sessions can have come from the same network: the
// addresses are the same, or one of them is not known.
func (a AddressKey) Compatible(b AddressKey) bool { return a == 0 || b == 0 || a == b }
