package export

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/remedy"
)

// TestRefusedForOneShell checks that a command that only PowerShell cannot pass on is
// there for bash, and says so.
func TestRefusedForOneShell(t *testing.T) {
	a := whole()
	a.Entity.Name = "a%b"
	have := Each(remedy.For(a, []remedy.Command{{
		Goal: remedy.Fix, Says: "Do it.", Destructive: true, Args: append(remedy.Words("az do"), remedy.Option("--name", remedy.Certificate)),
	}}), NewCommand)
	want := []Command{{
		Goal: remedy.Fix, Says: "Do it.", Destructive: true, Bash: "az do --name=a%b",
		Refused: `the argument, "--name=a%b", has a %, which PowerShell on Windows cannot pass to az as it is: use bash, for example in Azure Cloud Shell`,
	}}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}
