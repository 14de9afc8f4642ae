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

// hashed marks a DeviceKey that is a hash. It is more than any length of an id that is its
// own key.
const hashed = 0x80

// DeviceKey returns the key of the device or module that the record names. The letter case of
// ids counts. A device with an id of at most 15 bytes has a key of the length and the id
// itself: each connection needs a key, and a hash takes a tenth of the time in which a record
// is read. All others have 127 bits of a hash of their ids. Records of one hub that name no
// device have one key in common.
func (r *Record) DeviceKey() (k DeviceKey) {
	if n := len(r.DeviceID); n > 0 && n < len(k) && r.ModuleID == "" {
		k[0] = byte(n)
		copy(k[1:], r.DeviceID)
		return k
	}
	b := make([]byte, 0, 128) // longer ids take a piece of memory
	for _, id := range [...]string{r.DeviceID, r.ModuleID} {
		// The length keeps ("ab", "c") apart from ("a", "bc").
		b = append(binary.AppendUvarint(b, uint64(len(id))), id...)
	}
	sum := sha256.Sum256(b)
	k = DeviceKey(sum[:])
	k[0] |= hashed
	return k
}

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
