// Package secret takes credentials out of documents and texts that came from
// outside, and makes characters visible that a reader would not see. It is a leaf:
// whatever keeps or shows a text can import it.
//
// Document looks at the structure first: at the names of members, at documents
// inside strings, at pairs of a name and a value. Text looks for the forms in which
// credentials stand in texts. Both replace a credential by a mark.
package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// mark returns what stands in the place of a secret. Six digits of its hash tell
// two different secrets apart. They are 24 bits, so a guess at a secret that fits
// the mark is wrong nearly always, and a secret of more than 24 bits cannot be
// computed from its mark.
func mark(secret []byte) string {
	sum := sha256.Sum256(secret)
	return "REDACTED-" + hex.EncodeToString(sum[:3])
}

// marked matches a mark. A mark is never replaced, so that a text without secrets
// stays as it is.
var marked = regexp.MustCompile(`^REDACTED-[0-9a-f]{6}$`)

// hasMark matches a text that ends in a mark.
var hasMark = regexp.MustCompile(`REDACTED-[0-9a-f]{6}$`)
