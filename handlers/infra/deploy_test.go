package infra

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// The tests of this file follow the instructions to deploy word by word: nothing
// undefined, nothing that does not exist, nothing out of order.

// manual is what a command takes, as its documentation says.
type manual struct {
	url   string
	flags string            // all that are used here
	takes map[string]string // flags of which the values are few: those that are used here
}

// manuals are the commands that the README and the workflows use.
var manuals = map[string]manual{
	"az login":        {url: "https://learn.microsoft.com/cli/azure/reference-index#az-login"},
	"az account show": {url: "https://learn.microsoft.com/cli/azure/account#az-account-show"},
	"az ad signed-in-user show": {
		url: "https://learn.microsoft.com/cli/azure/ad/signed-in-user#az-ad-signed-in-user-show",
	},
	"az bicep build": {url: "https://learn.microsoft.com/cli/azure/bicep#az-bicep-build", flags: "--file --stdout"},
	"az bicep lint":  {url: "https://learn.microsoft.com/cli/azure/bicep#az-bicep-lint", flags: "--file"},
	"az iot hub list": {
		url: "https://learn.microsoft.com/cli/azure/iot/hub#az-iot-hub-list", flags: "--resource-group",
	},
	"az iot hub show": {
		url: "https://learn.microsoft.com/cli/azure/iot/hub#az-iot-hub-show", flags: "--name --resource-group",
	},
	"az iot hub certificate create": {
		url:   "https://learn.microsoft.com/cli/azure/iot/hub/certificate#az-iot-hub-certificate-create",
		flags: "--hub-name --name --path",
	},
	"az iot hub certificate show": {
		url: "https://learn.microsoft.com/cli/azure/iot/hub/certificate#az-iot-hub-certificate-show", flags: "--hub-name --name",
	},
	"az iot hub certificate delete": {
		url:   "https://learn.microsoft.com/cli/azure/iot/hub/certificate#az-iot-hub-certificate-delete",
		flags: "--hub-name --name --etag",
	},
	"az stack group create": {
		url:   "https://learn.microsoft.com/cli/azure/stack/group#az-stack-group-create",
		flags: "--name --resource-group --template-file --parameters --action-on-unmanage --deny-settings-mode --yes",
		takes: map[string]string{"--action-on-unmanage": "deleteResources", "--deny-settings-mode": "none"},
	},
	"az stack group show": {
		url: "https://learn.microsoft.com/cli/azure/stack/group#az-stack-group-show", flags: "--name --resource-group",
	},
	"az stack group delete": {
		url:   "https://learn.microsoft.com/cli/azure/stack/group#az-stack-group-delete",
		flags: "--name --resource-group --action-on-unmanage --yes",
		takes: map[string]string{"--action-on-unmanage": "deleteResources"},
	},
	"az storage entity query": {
		url:   "https://learn.microsoft.com/cli/azure/storage/entity#az-storage-entity-query",
		flags: "--auth-mode --table-name --account-name --filter --select",
		takes: map[string]string{"--auth-mode": "login"},
	},
	"func azure functionapp publish": {
		url:   "https://learn.microsoft.com/azure/azure-functions/functions-core-tools-reference#func-azure-functionapp-publish",
		flags: "--custom --no-build",
	},
	"openssl req": {
		url:   "https://docs.openssl.org/3.0/man1/openssl-req/",
		flags: "-x509 -newkey -nodes -days -subj -keyout -out",
	},
	"npm install": {url: "https://docs.npmjs.com/cli/commands/npm-install", flags: "--global"},
	"make":        {url: "https://www.gnu.org/software/make/manual/make.html"},
	// Of this command the documentation is the source: see newScript.
	"go run ./handlers/doctor": {url: "handlers/doctor/main.go"},
}

// globals are the flags of every az command
// (https://learn.microsoft.com/cli/azure/reference-index#az-global-parameters).
var globals = map[string]string{"--output": "json tsv table", "--query": ""}

// script follows commands in order.
type script struct {
	faults
	templates map[string]template
	targets   map[string]bool   // of the Makefile
	defined   map[string]bool   // variables of the shell
	files     map[string]bool   // that earlier commands made
	stacks    map[string]string // names of stacks, with their templates
	count     int               // commands, without those in others, and without az login
}

func newScript(t *testing.T, defined ...string) *script {
	t.Helper()
	templates, err := readTemplates(filepath.Join(root, "infra"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	s := &script{templates: templates, targets: map[string]bool{}, defined: map[string]bool{}, files: map[string]bool{}, stacks: map[string]string{}}
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):(?:[^=]|$)`).FindAllStringSubmatch(string(makefile), -1) {
		s.targets[m[1]] = true
	}
	for _, name := range defined {
		s.defined[name] = true
	}
	doctor := manuals["go run ./handlers/doctor"]
	source, err := os.ReadFile(filepath.Join(root, doctor.url))
	if err != nil {
		t.Fatal(err)
	}
	doctor.flags = ""
	for _, m := range regexp.MustCompile(`flags\.\w+\((?:&[\w.]+, )?"([a-z-]+)"`).FindAllSubmatch(source, -1) {
		doctor.flags += " -" + string(m[1])
	}
	manuals["go run ./handlers/doctor"] = doctor
	return s
}

// run follows lines of a shell script, as far as they are in use here: words,
// quotes, $variables, $(commands), continued lines, comments.
func (s *script) run(text string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if words := s.split(strings.TrimSpace(line)); len(words) > 0 {
			s.command(words, true)
		}
	}
}

var variable = regexp.MustCompile(`^\$(?:([A-Za-z_]+)|\{([A-Za-z_]+)\})`)

// split makes words of a line, without their quotes, and follows the commands
// within it. What is substituted stays in the words as $NAME or $(...).
func (s *script) split(line string) []string {
	var words []string
	var current strings.Builder
	begun := false
	quote := byte(0)
	for line != "" {
		c := line[0]
		switch {
		case c == '\\' && quote != '\'' && len(line) > 1:
			current.WriteByte(line[1])
			line, begun = line[2:], true
			continue
		case c == '$' && quote != '\'' && strings.HasPrefix(line, "$("):
			end, depth := 2, 1
			for ; end < len(line) && depth > 0; end++ {
				depth += map[byte]int{'(': 1, ')': -1}[line[end]]
			}
			if depth > 0 {
				s.add("%q does not end", line)
				return nil
			}
			s.command(s.split(line[2:end-1]), false)
			if quote == 0 && !strings.HasSuffix(current.String(), "=") {
				s.add("%s is not in quotes: the shell makes words of it", line[:end])
			}
			current.WriteString("$(...)")
			line, begun = line[end:], true
			continue
		case c == '$' && quote != '\'':
			m := variable.FindStringSubmatch(line)
			if m == nil {
				s.add("%q is not understood", line)
				return nil
			}
			if name := m[1] + m[2]; !s.defined[name] {
				s.add("$%s is used and not defined before", name)
			}
			current.WriteString(m[0])
			line, begun = line[len(m[0]):], true
			continue
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && c == '#' && !begun:
			line = ""
			continue
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if begun {
				words = append(words, current.String())
			}
			current.Reset()
			begun = false
		default:
			current.WriteByte(c)
			begun = true
		}
		line = line[1:]
	}
	if quote != 0 {
		s.add("a quote does not end in %q", words)
	}
	if begun {
		words = append(words, current.String())
	}
	return words
}

var assignment = regexp.MustCompile(`^([A-Z_]+)=`)

// command follows one command.
func (s *script) command(words []string, top bool) {
	if m := assignment.FindStringSubmatch(words[0]); m != nil && len(words) == 1 {
		s.defined[m[1]] = true
		return
	}
	name := ""
	for i := len(words); i > 0 && name == ""; i-- {
		if _, ok := manuals[strings.Join(words[:i], " ")]; ok {
			name = strings.Join(words[:i], " ")
			words = words[i:]
		}
	}
	if name == "" {
		s.add("%q: say in manuals of this test where this is documented, and what it takes", words)
		return
	}
	if top && name != "az login" {
		s.count++
	}
	values := s.flags(name, words)
	switch name {
	case "make":
		s.makes(words)
	case "az stack group create":
		s.deploys(values)
	case "az stack group show":
		s.shows(values)
	case "az stack group delete":
		if s.stacks[values["--name"][0]] == "" {
			s.add("the stack %s is deleted, and was not made", values["--name"])
		}
	case "openssl req":
		for _, flag := range []string{"-keyout", "-out"} {
			s.files[values[flag][0]] = true
			if !strings.HasPrefix(values[flag][0], "build/") {
				s.add("%s is not in build/, which git ignores", values[flag])
			}
		}
	case "az iot hub certificate create":
		if !s.files[values["--path"][0]] {
			s.add("there is no file %s", values["--path"])
		}
	case "az bicep build", "az bicep lint":
		s.exists(values["--file"])
	case "az storage entity query":
		s.queries(values)
	}
}

// flags returns the values of a command's flags.
func (s *script) flags(name string, words []string) map[string][]string {
	known := manuals[name]
	values := map[string][]string{}
	flag := ""
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == ">" {
			i++ // and the file
			continue
		}
		if !strings.HasPrefix(word, "-") {
			values[flag] = append(values[flag], word)
			continue
		}
		flag = word
		if _, twice := values[flag]; twice {
			s.add("%s has %s twice", name, flag)
		}
		values[flag] = []string{}
		_, global := globals[flag]
		if !slices.Contains(strings.Fields(known.flags), flag) && !(global && strings.HasPrefix(name, "az ")) {
			s.add("%s has no flag %s: %s", name, flag, known.url)
		}
	}
	for flag, values := range values {
		allowed := known.takes[flag]
		if allowed == "" {
			allowed = globals[flag]
		}
		for _, value := range values {
			if allowed != "" && !slices.Contains(strings.Fields(allowed), value) {
				s.add("%s %s takes no %s: %s", name, flag, value, known.url)
			}
		}
	}
	for _, flag := range strings.Fields("--name --hub-name --resource-group --file --template-file --path -out -keyout") {
		if slices.Contains(strings.Fields(known.flags), flag) && len(values[flag]) != 1 && !(name == "az iot hub show" && flag == "--resource-group") {
			s.add("%s has %d values of %s, want 1", name, len(values[flag]), flag)
			values[flag] = []string{""}
		}
	}
	return values
}

func (s *script) exists(files []string) {
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			s.add("%v", err)
		}
	}
}

func (s *script) makes(words []string) {
	for _, word := range words {
		if name, _, set := strings.Cut(word, "="); set {
			if name != "APP" && name != "VULNDB" {
				s.add("make does not know %s", name)
			}
		} else if !s.targets[word] {
			s.add("make has no target %s", word)
		} else if word == "publish" && s.stacks["hubwatch"] == "" {
			s.add("the code is published before there is an app")
		} else if word == "publish" {
			s.stacks["published"] = "yes"
		}
	}
}

// deploys follows the deployment of a template: it takes the parameters that it
// is given, gets all that it cannot do without, and comes at its time.
func (s *script) deploys(values map[string][]string) {
	file := values["--template-file"][0]
	s.exists([]string{file})
	t := s.templates[filepath.Base(file)]
	given := map[string]bool{}
	for _, p := range values["--parameters"] {
		name, _, set := strings.Cut(p, "=")
		if d := t.named(name); !set || d == nil || d.keyword != "param" {
			s.add("%s has no parameter %s", file, p)
		}
		given[name] = true
	}
	for _, d := range t.of("param") {
		if d.value == nil && !given[d.name] {
			s.add("%s is not given its parameter %s", file, d.name)
		}
	}
	// Both templates make their names of this one, and make publish is told it.
	if !slices.Contains(values["--parameters"], "name=$APP") {
		s.add("%s is not told the name of the app", file)
	}
	if filepath.Base(file) == "subscriptions.bicep" && s.stacks["published"] == "" {
		s.add("the event subscriptions are made before the functions are there")
	}
	if s.stacks[values["--name"][0]] != "" && s.stacks[values["--name"][0]] != file {
		s.add("the stack %s is of two templates: the second deletes what the first made", values["--name"])
	}
	s.stacks[values["--name"][0]] = file
}

// shows follows a look at an output.
func (s *script) shows(values map[string][]string) {
	t, ok := s.templates[filepath.Base(s.stacks[values["--name"][0]])]
	if !ok {
		s.add("the stack %s is not made before", values["--name"])
		return
	}
	output := regexp.MustCompile(`^outputs\.(\w+)\.value$`).FindStringSubmatch(strings.Join(values["--query"], ""))
	if output == nil || !slices.ContainsFunc(t.of("output"), func(d declaration) bool { return d.name == output[1] }) {
		s.add("%s has no output for %s", t.path, values["--query"])
	}
}

// queries follows a look at the alerts.
func (s *script) queries(values map[string][]string) {
	tables := map[string]bool{}
	main := s.templates["main.bicep"]
	for _, d := range main.of("resource", "Microsoft.Storage/storageAccounts/tableServices/tables") {
		name, _ := main.constant(d.value.get("name"))
		tables[name] = true
	}
	for _, name := range values["--table-name"] {
		if !tables[name] {
			s.add("there is no table %s, there are %v", name, slices.Sorted(maps.Keys(tables)))
		}
	}
	for _, column := range values["--select"] {
		if !columns[column] {
			s.add("an alert has no column %s", column)
		}
	}
	m := regexp.MustCompile(`^AlertType eq '(.*)'$`).FindStringSubmatch(strings.Join(values["--filter"], " "))
	if m == nil || !slices.ContainsFunc(detector.All, func(d detector.Detector) bool { return d.AlertType == m[1] }) {
		s.add("no detector raises what is looked for: %s", values["--filter"])
	}
}

// deploySection returns the blocks of commands in the README's section Deploy.
func deploySection(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## Deploy\n")
	if !ok {
		t.Fatal("README.md has no section Deploy")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestDeploySection follows the README from top to bottom.
func TestDeploySection(t *testing.T) {
	s := newScript(t)
	blocks := deploySection(t)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks of commands, want those that define, deploy and try", len(blocks))
	}
	for i, block := range blocks {
		s.run(block)
		if i == 1 && s.count > 5 {
			t.Errorf("it takes %d commands to deploy, want at most five", s.count)
		}
	}
	for _, fault := range s.faults {
		t.Error(fault)
	}
	for name, stack := range s.stacks {
		if name != "published" && !strings.Contains(blocks[len(blocks)-1], "--name "+name+" ") {
			t.Errorf("the last block does not undeploy %s of %s", name, stack)
		}
	}
}

// TestProvidersAreNamed holds the resource providers that the README says the
// subscription has to know to those that the templates need. Two of all are known
// to every subscription.
func TestProvidersAreNamed(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	templates, err := readTemplates(filepath.Join(root, "infra"))
	if err != nil {
		t.Fatal(err)
	}
	need := map[string]bool{}
	for _, template := range templates {
		for _, d := range template.of("resource") {
			provider, _, _ := strings.Cut(d.kind(), "/")
			need[provider] = true
		}
	}
	delete(need, "Microsoft.Authorization")
	delete(need, "Microsoft.Devices") // there are IoT hubs
	named := map[string]bool{}
	_, text, _ := strings.Cut(string(readme), "resource providers")
	text, _, _ = strings.Cut(text, ";")
	for _, m := range regexp.MustCompile("`(Microsoft\\.\\w+)`").FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	if !maps.Equal(need, named) {
		t.Errorf("the README names %v, the templates need %v", slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(need)))
	}
}

// TestDeploySectionFollowed plants mistakes into the README's commands.
func TestDeploySectionFollowed(t *testing.T) {
	text := strings.Join(deploySection(t), "")
	for _, test := range []struct{ name, old, new, want string }{
		{"variable not defined", "HUB=contoso-hub", "THE_HUB=contoso-hub", "$HUB is used and not defined"},
		{"flag that is not there", "--table-name", "--table", "no flag --table"},
		{"value that is not there", "deleteResources", "delete", "takes no delete"},
		{"flag that the doctor does not have", " -app $APP", " -function-app $APP", "no flag -function-app"},
		{"command that is not there", "az stack group create", "az stack group make", `"az" "stack" "group" "make"`},
		{"parameter that is not there", "iotHubs=", "hubs=", "no parameter hubs="},
		{"template that is not there", "infra/main.bicep", "infra/all.bicep", "no such file"},
		{"target that is not there", "make publish", "make deploy", "no target deploy"},
		{"output that is not there", "outputs.storageAccountName", "outputs.storage", "no output"},
		{"table that is not there", "--table-name alerts", "--table-name alert", "no table alert"},
		{"column that is not there", "CompromisedEntity", "Entity", "no column Entity"},
		{"alert that is not there", "IoT_CertificateSuccessfullyAddedToHub", "IoT_CertificateAdded", "no detector raises"},
		{"file that is not there", "--path build/hubwatch-test.pem", "--path test.pem", "no file [test.pem]"},
		{"publishing left out", "make publish APP=$APP", "", "before the functions are there"},
		{"one stack for two templates", "hubwatch-subscriptions", "hubwatch", "two templates"},
		{"substitution without quotes", `--etag "$(az`, `--etag $(az`, "not in quotes"},
		{"quote that does not end", "--query items", "--query 'items", "quote does not end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.ReplaceAll(text, test.old, test.new)
			if changed == text {
				t.Fatalf("there is no %q to change", test.old)
			}
			s := newScript(t)
			s.run(changed)
			if !slices.ContainsFunc(s.faults, func(f string) bool { return strings.Contains(f, test.want) }) {
				t.Errorf("want a complaint with %q, have %q", test.want, []string(s.faults))
			}
		})
	}
}

// columns are those of an alert's row.
var columns = func() map[string]bool {
	columns := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[table.Row]()) {
		columns[field.Name] = field.IsExported()
	}
	return columns
}()
