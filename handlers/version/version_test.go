package version

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNewestHeading checks that the newest heading of the changelog is of this
// version, and says when it was released or that it is not.
func TestNewestHeading(t *testing.T) {
	changelog, err := os.ReadFile("../../docs/changelog.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile(`(?m)^## (\S+) - (.+)$`).FindStringSubmatch(string(changelog))
	if heading == nil {
		t.Fatal("docs/changelog.md has no heading of a version")
	}
	if heading[1] != Version {
		t.Errorf("the newest heading of docs/changelog.md is of %s, and Version is %s", heading[1], Version)
	}
	if released := regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`).MatchString(heading[2]); released == strings.HasSuffix(Version, "-dev") {
		t.Errorf("docs/changelog.md says of %s: %s", Version, heading[2])
	}
	if !regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-dev)?$`).MatchString(Version) {
		t.Errorf("%q is not a version", Version)
	}
}
