package secret

import (
	"bytes"
	"testing"
)

// TestDeepCredentials puts a credential into documents that are strings of each other. It is
// taken out however deep it is.
func TestDeepCredentials(t *testing.T) {
	const credential = "SharedAccessKey=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"
	text := credential
	for depth := range mostStrings + 6 {
		if kept := Document([]byte(text), nil); bytes.Contains(kept, []byte("U0VDUkVU")) {
			t.Errorf("inside of %d strings the credential stays: %.200s", depth, kept)
		}
		text = marshal(map[string]any{"a": text})
		if len(text) > 1<<20 {
			break
		}
	}
}
