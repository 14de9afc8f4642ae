package browser

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// mostPicture is how many bytes a picture of the README may have.
const mostPicture = 150_000

// picture writes what the tab shows as a PNG file that is as small as it can be.
func (p *tab) picture(file string) error {
	p.t.Helper()
	large := filepath.Join(p.t.TempDir(), "large.png")
	p.do("shot", arguments{"file": large}, nil)
	text, err := os.ReadFile(large)
	if err != nil {
		return err
	}
	shot, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", large, err)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, shot); err != nil {
		return err
	}
	if b.Len() > mostPicture {
		return fmt.Errorf("%s would have %d bytes, want at most %d", file, b.Len(), mostPicture)
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// TestReadmeShowsPictures checks the pictures of the README: they are there, they are
// pictures, and they are small. It needs no browser.
func TestReadmeShowsPictures(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:\]\(|src="|srcset=")(docs/images/[^)"\s]+)`).FindAllSubmatch(text, -1) {
		shown[string(m[1])] = true
	}
	files, err := filepath.Glob("../../docs/images/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := "docs/images/" + filepath.Base(file)
		if !shown[name] {
			t.Errorf("README.md does not show %s", name)
		}
		delete(shown, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(text)); err != nil || len(text) > mostPicture {
			t.Errorf("%s has %d bytes, want a PNG picture of at most %d (%v)", name, len(text), mostPicture, err)
		}
	}
	for name := range shown {
		t.Errorf("README.md shows %s, which is not there: make screenshots", name)
	}
}
