// Package secret takes credentials out of documents and texts that came from
// outside, and makes characters visible that a reader would not see. It
// imports only scan: every package that keeps or shows a text can import it.
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

// mark returns what stands in the place of a secret. Six digits of the hash of
// the secret tell two different secrets apart. They are 24 bits of a hash, so a
// key or a token cannot be computed from its mark. A weak password can: who
// guesses it can test the guess against the mark.
func mark(secret []byte) string {
	sum := sha256.Sum256(secret)
	return "REDACTED-" + hex.EncodeToString(sum[:3])
}

// marked matches a mark. A mark is never replaced, so that a text without secrets
// stays as it is.
var marked = regexp.MustCompile(`^REDACTED-[0-9a-f]{6}$`)

// hasMark matches a text that ends in a mark.
var hasMark = regexp.MustCompile(`REDACTED-[0-9a-f]{6}$`)
