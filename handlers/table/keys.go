package table

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/alert"
)

// Keys. A partition holds one hub's alerts of one UTC day, so that no partition
// grows without end. The day is inverted, so that the days of a hub stand newest
// first, between "hub|" and "hub}". In a partition, alert rows, evidence rows and
// rows of history are three ranges:
//
//	contoso-hub|79739798   a|<SystemAlertId>
//	contoso-hub|79739798   e|<SystemAlertId>|<hash of the event's source and id>
//	contoso-hub|79739798   h|<SystemAlertId>|<number of the change, six digits>
//
// Everything in the key of an alert or of evidence derives from the event, never from
// the clock, so that a redelivery meets the rows of the first delivery.
const (
	separator      = "|"
	afterSeparator = "}" // the character after |
	alertRange     = "a"
	evidenceRange  = "e"
	historyRange   = "h"
)

// partition is one hub's alerts of one UTC day.
type partition struct {
	hub string // as keys hold it; in the quarantine the function
	day int    // inverted
}

// lastDay is the highest that an inverted day can be; 0 is the lowest.
const lastDay = 99999999

// hubKey returns the name of a hub, in any case, as keys hold it.
func hubKey(name string) string { return escape(alert.Hub{Name: name}.Key()) }

// partitionOf returns the partition of a hub, by its name in any case, and a day.
func partitionOf(hub string, day time.Time) partition {
	return partition{hubKey(hub), invert(day)}
}

// invert returns the number of a UTC day. A later day has a lower number.
func invert(day time.Time) int {
	day = day.UTC()
	return lastDay - (day.Year()*10000 + int(day.Month())*100 + day.Day())
}

// date returns the UTC day of the partition.
func (p partition) date() time.Time {
	n := lastDay - p.day
	return time.Date(n/10000, time.Month(n/100%100), n%100, 0, 0, 0, 0, time.UTC)
}

// String returns the PartitionKey.
func (p partition) String() string { return fmt.Sprintf("%s%s%08d", p.hub, separator, p.day) }

// afterHub returns a key that is behind all days of the hub and not behind any
// other hub.
func (p partition) afterHub() string { return p.hub + afterSeparator }

// parsePartition reads what String writes. It returns false for any other key.
func parsePartition(key string) (partition, bool) {
	hub, digits, _ := strings.Cut(key, separator)
	day, err := strconv.Atoi(digits)
	p := partition{hub, day}
	return p, err == nil && p.String() == key && p.day >= 0
}

// partitionKey returns the partition of an occurrence.
func partitionKey(a alert.Occurrence) string { return partitionOf(a.Hub.Name, a.Day()).String() }

// rowsOf returns the filter for the rows of a partition whose row keys begin with a
// text and the separator. They are one range, so the service reads no other rows.
func rowsOf(p partition, beginning string) string {
	return fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey lt %s",
		quoted(p.String()), quoted(beginning+separator), quoted(beginning+afterSeparator))
}

// rangesOf returns the filters for the alerts of a partition whose ids begin with each
// hexadecimal digit. Together they are what rowsOf gives for alerts.
func rangesOf(p partition) []string {
	const digits = "0123456789abcdef"
	ranges := make([]string, len(digits))
	for i := range digits {
		from, to := alertRange+separator, alertRange+afterSeparator
		if i > 0 {
			from += digits[i : i+1]
		}
		if i+1 < len(digits) {
			to = alertRange + separator + digits[i+1:i+2]
		}
		ranges[i] = fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey lt %s", quoted(p.String()), quoted(from), quoted(to))
	}
	return ranges
}

// quoted writes a string as OData does. The quote is the only character that has
// to be escaped
// (https://learn.microsoft.com/rest/api/storageservices/querying-tables-and-entities#query-string-encoding).
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func alertKey(id string) string { return alertRange + separator + id }

// evidenceOf returns what the row keys of an alert's evidence begin with.
func evidenceOf(id string) string { return evidenceRange + separator + id }

// evidenceKey returns the row key of an occurrence.
func evidenceKey(a alert.Occurrence) string {
	return evidenceOf(a.ID) + separator + hash(identity(a)...)
}

// identity returns what tells the event of an occurrence from all others. An event is
// known by its source and id together (CloudEvents 1.0, section 3.1.1). Both are names,
// which the quarantine keeps. So an event that comes back from the quarantine is the same
// as at first. A tally is known by its item: its versions are one.
func identity(a alert.Occurrence) []string {
	if a.Tally.Item != "" {
		return []string{strings.ToLower(a.Event.Source), a.Tally.Item, "tally"}
	}
	return []string{strings.ToLower(a.Event.Source), a.Event.ID}
}

// historyOf returns what the row keys of an alert's history begin with.
func historyOf(id string) string { return historyRange + separator + id }

// historyKey returns the row key of the change of an alert with this number.
func historyKey(id string, number int) string {
	return fmt.Sprintf("%s%s%06d", historyOf(id), separator, number)
}

// number returns the number of the change that a row of history is about.
func (k key) number() (int, error) {
	n, err := strconv.Atoi(k.RowKey[strings.LastIndex(k.RowKey, separator)+1:])
	if err != nil {
		return 0, fmt.Errorf("row %s %s: the key does not end in a number", k.PartitionKey, k.RowKey)
	}
	return n, nil
}

// digest returns 128 bits of the SHA-256 of the parts. The length of each part is hashed
// too, so that two different lists of parts never look alike.
func digest(parts ...string) [16]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return [16]byte(h.Sum(nil))
}

// hash returns the digest of the parts in hexadecimal.
func hash(parts ...string) string {
	d := digest(parts...)
	return hex.EncodeToString(d[:])
}

// escape makes any string a part of a key. Letters, digits, hyphens and dots of
// ASCII stay; every other byte becomes ~ and two hexadecimal digits. That
// covers what Table Storage forbids (/ \ # ? and control characters,
// https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model),
// the quote of OData, and the separator. A part that would be too long for a key is
// cut, and ends in ~~ and a hash. Different strings never give the same part.
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
