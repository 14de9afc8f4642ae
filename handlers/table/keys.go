package table

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// Keys. A partition holds one hub's alerts of one UTC day, so that no partition
// grows without end; the day is inverted, so that one range scan from "hub|" to
// "hub}" lists a hub's days newest first. In it, alert rows and evidence rows
// are two ranges:
//
//	contoso-hub|79739798   a|<SystemAlertId>
//	contoso-hub|79739798   e|<SystemAlertId>|<hash of the event's source and id>
//
// Everything in a key derives from the event, never from the clock, so that a
// redelivery meets the rows of the first delivery.
const (
	separator      = "|"
	afterSeparator = "}" // the character after |
	alertRange     = "a" + separator
	evidenceRange  = "e" + separator
)

// partitionKey returns the partition of an occurrence.
func partitionKey(a alert.Occurrence) string {
	day := a.Day()
	return escape(a.Hub.Key()) + separator + fmt.Sprintf("%08d", 99999999-(day.Year()*10000+int(day.Month())*100+day.Day()))
}

func alertKey(id string) string { return alertRange + id }

// evidenceKey returns the row key of an occurrence. An event is known by its
// source and id together (CloudEvents 1.0, section 3.1.1), both without secrets,
// which an event that comes back from the quarantine has none of.
func evidenceKey(a alert.Occurrence) string {
	return evidenceRange + a.ID + separator + hash(strings.ToLower(secret.RedactString(a.Event.Source)), secret.RedactString(a.Event.ID))
}

// hash returns 128 bits of the SHA-256 of the parts, in hexadecimal. Each
// part's length goes in, so that no two lists of parts look alike.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// escape makes any string a part of a key. Letters, digits, hyphens and dots of
// ASCII stay; every other byte becomes ~ and two hexadecimal digits. That
// covers what Table Storage forbids (/ \ # ? and control characters,
// https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model),
// what OData quotes, and the separator. What would be too long for a key is cut
// and ends in ~~ and a hash. Different strings never give the same part.
func escape(s string) string {
	const most = 200
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	if b.Len() > most {
		return b.String()[:most] + "~~" + hash(s)
	}
	return b.String()
}

// edmTime writes a time as an Edm.DateTime, with all of its seven digits.
func edmTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
