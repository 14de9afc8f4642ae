package remedy

import (
	"fmt"
	"regexp"
	"strings"
)

// Bash returns the command line for bash and other shells of the same kind. Its error
// is a Refusal.
func (f Filled) Bash() (string, error) {
	if f.refused != nil {
		return "", f.refused
	}
	words := make([]string, len(f.args))
	for i, a := range f.args {
		words[i] = bashQuote(a.value)
		if a.option != "" {
			words[i] = a.option + "=" + words[i]
		}
	}
	line := strings.Join(words, " ")
	if f.Keep {
		line += " | base64 --decode > " + f.copy
	}
	return line, nil
}

// bashPlain is a text that means itself in bash without quotes.
var bashPlain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+-]+$`)

// bashQuote quotes a text for bash. Nothing has a meaning between single quotes, except
// the single quote (https://www.gnu.org/software/bash/manual/html_node/Single-Quotes.html).
func bashQuote(s string) string {
	if bashPlain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// PowerShell returns the command line for PowerShell. Its error says why there is none:
// a Refusal, or an argument that PowerShell cannot pass to az on Windows.
func (f Filled) PowerShell() (string, error) {
	if f.refused != nil {
		return "", f.refused
	}
	words := make([]string, len(f.args))
	for i, a := range f.args {
		if err := batchSafe(a.text()); err != nil {
			return "", err
		}
		words[i] = powerShellQuote(a.text())
	}
	line := strings.Join(words, " ")
	if f.Keep {
		line = `[IO.File]::WriteAllBytes("$PWD/` + f.copy + `", [Convert]::FromBase64String((` + line + `)))`
	}
	return line, nil
}

// powerShellPlain is a text that means itself in PowerShell without quotes.
var powerShellPlain = regexp.MustCompile(`^[A-Za-z0-9_=-]+$`)

// powerShellQuotes are the characters that PowerShell takes for a single quote
// (https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_quoting_rules,
// "smart quotation marks"; CharExtensions.IsSingleQuote in its tokenizer).
const powerShellQuotes = "'\u2018\u2019\u201a\u201b"

// powerShellQuote quotes a text for PowerShell. Between single quotes, only a single
// quote has a meaning, and two of them stand for one (about_Quoting_Rules).
func powerShellQuote(s string) string {
	if powerShellPlain.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune(powerShellQuotes, r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// batchSafe returns an error if PowerShell on Windows cannot pass an argument to az as
// it is. az is a batch file there. PowerShell puts double quotes around an argument only
// if it has a blank, and the command interpreter reads the rest again: a&b would run b
// (https://github.com/Azure/azure-cli/blob/dev/doc/quoting-issues-with-powershell.md).
// Some characters mean something to it between double quotes too.
func batchSafe(s string) error {
	special := `"%!\`
	if !strings.Contains(s, " ") {
		special += "&|<>^()"
	}
	if i := strings.IndexAny(s, special); i >= 0 {
		return &Refusal{"the argument", s,
			fmt.Sprintf("has a %c, which PowerShell on Windows cannot pass to az as it is: use bash, for example in Azure Cloud Shell", s[i])}
	}
	return nil
}
