package infra

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// The tests of this file follow the instructions to deploy word by word. The
// instructions use nothing that is undefined, that does not exist, or that comes
// later.

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
		flags: "--name --resource-group --template-file --parameters --action-on-unmanage --yes --deny-settings-mode --deny-settings-excluded-principals",
		takes: map[string]string{"--action-on-unmanage": "deleteResources", "--deny-settings-mode": "denyWriteAndDelete"},
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
	"az version": {url: "https://learn.microsoft.com/cli/azure/reference-index#az-version"},
	"az resource list": {
		url: "https://learn.microsoft.com/cli/azure/resource#az-resource-list", flags: "--name --resource-type",
	},
	"az functionapp deployment source config-zip": {
		url:   "https://learn.microsoft.com/cli/azure/functionapp/deployment/source#az-functionapp-deployment-source-config-zip",
		flags: "--name --resource-group --src",
	},
	"openssl req": {
		url:   "https://docs.openssl.org/3.0/man1/openssl-req/",
		flags: "-x509 -newkey -nodes -days -subj -keyout -out",
	},
	"make": {url: "https://www.gnu.org/software/make/manual/make.html"},
	// The documentation of these commands is their source: see newScript.
	"go run ./handlers/hubwatch doctor":       {url: "handlers/hubwatch/doctor.go"},
	"go run ./handlers/hubwatch alerts prune": {url: "handlers/hubwatch/alerts_prune.go", flags: "--account"},
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
	shown     string            // the output of a deployment that was printed last
	count     int               // commands, without those in others, and without az login
}

func newScript(t *testing.T, defined ...string) *script {
	t.Helper()
	templates, err := readTemplates(filepath.Join(root, "infra"))
	if err != nil {
		t.Fatal(err)
	}
	s := &script{templates: templates, targets: map[string]bool{}, defined: map[string]bool{}, files: map[string]bool{}, stacks: map[string]string{}}
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):(?:[^=]|$)`).FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		s.targets[m[1]] = true
	}
	for _, name := range defined {
		s.defined[name] = true
	}
	for name, known := range manuals {
		if !strings.HasPrefix(name, "go run ") {
			continue
		}
		for _, m := range regexp.MustCompile(`flags\.\w+\((?:&[\w.]+, )?"([a-z-]+)"`).FindAllStringSubmatch(readFile(t, known.url), -1) {
			if flag := "--" + m[1]; !slices.Contains(strings.Fields(known.flags), flag) {
				known.flags += " " + flag
			}
		}
		manuals[name] = known
	}
	return s
}

// run follows a shell script. The script may run commands with their arguments,
// and set variables. Anything else is a fault, because a user has to see what
// runs.
func (s *script) run(text string) {
	file, err := parseShell(text, "", syntax.LangBash)
	if err != nil {
		s.add("this is not shell: %v: %s", err, text)
		return
	}
	s.statements(file.Stmts, true)
}

// statements follows the statements at the top of a script, or in a substitution.
func (s *script) statements(list []*syntax.Stmt, top bool) {
	for _, statement := range list {
		call, ok := statement.Cmd.(*syntax.CallExpr)
		if !ok || statement.Negated || statement.Background {
			s.add("this is more than a command with its arguments: %s", shellText(statement))
			continue
		}
		s.substitutions(statement)
		words, err := expand.Fields(s.shell(), call.Args...)
		if err != nil {
			s.add("%v: %s", err, shellText(statement))
			continue
		}
		for _, assign := range call.Assigns {
			if _, err := expand.Literal(s.shell(), assign.Value); err != nil {
				s.add("%v: %s", err, shellText(statement))
			}
			s.defined[assign.Name.Value] = true
		}
		if len(words) > 0 {
			s.command(words, top)
		}
	}
}

// shell returns how to expand words. A variable stays in a word as $NAME. A
// substitution stays as $(...), after its statements were followed.
func (s *script) shell() *expand.Config {
	return &expand.Config{
		Env: expand.FuncEnviron(func(name string) string {
			if !s.defined[name] {
				return ""
			}
			return "$" + name
		}),
		CmdSubst: func(w io.Writer, c *syntax.CmdSubst) error {
			s.statements(c.Stmts, false)
			_, err := io.WriteString(w, "$(...)")
			return err
		},
	}
}

// substitutions checks what the shell puts into a statement. A variable has to
// have a value. A command has to stand between quotes, so that its output stays
// one word.
func (s *script) substitutions(statement *syntax.Stmt) {
	var outer []syntax.Node
	syntax.Walk(statement, func(node syntax.Node) bool {
		switch n := node.(type) {
		case nil:
			outer = outer[:len(outer)-1]
			return true
		case *syntax.ParamExp:
			if !s.defined[n.Param.Value] {
				s.add("$%s is used and not defined before", n.Param.Value)
			}
		case *syntax.CmdSubst:
			quoted := slices.ContainsFunc(outer, func(o syntax.Node) bool {
				switch o.(type) {
				case *syntax.DblQuoted, *syntax.Assign:
					return true
				}
				return false
			})
			if !quoted {
				s.add("%s is not in quotes: the shell makes words of it", shellText(n))
			}
			return false // its statements are followed by themselves
		}
		outer = append(outer, node)
		return true
	})
}

// shellText returns the text of a part of a script.
func shellText(node syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter().Print(&b, node); err != nil {
		return err.Error()
	}
	return b.String()
}

// command follows one command.
func (s *script) command(words []string, top bool) {
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
	for _, word := range words {
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
	for _, flag := range strings.Fields("--name --hub-name --resource-group --file --path -out -keyout") {
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
			if !slices.Contains([]string{"APP", "RG", "HUB", "VULNDB"}, name) {
				s.add("make does not know %s", name)
			}
		} else if !s.targets[word] {
			s.add("make has no target %s", word)
		} else if word == "publish" && s.stacks["hubwatch"] == "" {
			s.add("the code is published before there is an app")
		} else if word == "parameters" {
			s.files[parametersFile] = true
		} else if word == "publish" {
			s.stacks["published"] = "yes"
		}
	}
}

// parametersFile is the file that make parameters writes. A workflow has one for each of its
// environments, in the variable PARAMETERS.
const parametersFile = "infra/my.bicepparam"

// deploys follows the deployment of a template. main.bicep gets its parameters from a
// file, which names the template. subscriptions.bicep gets all of its parameters from the
// deployment of main.bicep, so that both have the same.
func (s *script) deploys(values map[string][]string) {
	file, parameters := strings.Join(values["--template-file"], " "), strings.Join(values["--parameters"], " ")
	switch {
	case parameters == parametersFile && !s.files[parametersFile]:
		s.add("there is no file %s", parametersFile)
	case file == "" && (parameters == parametersFile || parameters == "$PARAMETERS"):
		file = "infra/main.bicep"
	case filepath.Base(file) != "subscriptions.bicep":
		s.add("%q is deployed with the parameters %q, want those of %s", file, parameters, parametersFile)
		file = "infra/main.bicep"
	case parameters != "$(...)" || s.shown != "subscriptions":
		s.add("subscriptions.bicep is deployed with the parameters %q, want the output subscriptions of main.bicep", parameters)
	}
	s.exists([]string{file})
	s.denies(file, values)
	if filepath.Base(file) == "subscriptions.bicep" && s.stacks["published"] == "" {
		s.add("the event subscriptions are made before the functions are there")
	}
	if s.stacks[values["--name"][0]] != "" && s.stacks[values["--name"][0]] != file {
		s.add("the stack %s is of two templates: the second deletes what the first made", values["--name"])
	}
	s.stacks[values["--name"][0]] = file
}

// denies checks how a stack protects what it has deployed. Only the people who
// deploy may change or delete these resources; they also publish the code and
// make the second stack. The stack does not protect resources below the deployed
// ones (--deny-settings-apply-to-child-scopes). If it did, the Functions host
// could not make its containers (action containers/write), and Event Grid could
// not fetch the key of the app (action sites/host/listKeys/action). Both act with
// their own identities, and not with the identity of a person who deploys
// (https://learn.microsoft.com/azure/azure-resource-manager/bicep/deployment-stacks#protect-managed-resources).
func (s *script) denies(file string, values map[string][]string) {
	if mode := values["--deny-settings-mode"]; !slices.Equal(mode, []string{"denyWriteAndDelete"}) {
		s.add("the stack of %s denies others %q", file, mode)
	}
	if principals := values["--deny-settings-excluded-principals"]; !slices.Equal(principals, []string{"$DEPLOYERS"}) {
		s.add("the stack of %s denies those who deploy to publish the code: it excludes %q", file, principals)
	}
}

// shows follows a command that prints an output of a deployment.
func (s *script) shows(values map[string][]string) {
	t, ok := s.templates[filepath.Base(s.stacks[values["--name"][0]])]
	if !ok {
		s.add("the stack %s is not made before", values["--name"])
		return
	}
	output := regexp.MustCompile(`^outputs\.(\w+)\.value$`).FindStringSubmatch(strings.Join(values["--query"], ""))
	if output != nil {
		s.shown = output[1]
	}
	if output == nil || !slices.ContainsFunc(t.of("output"), func(d declaration) bool { return d.name == output[1] }) {
		s.add("%s has no output for %s", t.path, values["--query"])
	}
}

// queries follows a query of the alerts.
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
	if m == nil || !slices.ContainsFunc(app.Detectors(), func(d detector.Detector) bool { return d.AlertType == m[1] }) {
		s.add("no detector raises what is looked for: %s", values["--filter"])
	}
}

// deploySection returns the blocks of commands in the README's section Deploy.
func deploySection(t *testing.T) []string {
	t.Helper()
	_, section, ok := strings.Cut(readFile(t, "README.md"), "\n## Deploy\n")
	if !ok {
		t.Fatal("README.md has no section Deploy")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return shellBlocks(section)
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

// TestParametersAreNamed compares the parameters that docs/operate.md lists, and their
// defaults where they are values, with those of main.bicep.
func TestParametersAreNamed(t *testing.T) {
	main := newScript(t).templates["main.bicep"]
	_, section, _ := strings.Cut(readFile(t, "docs/operate.md"), "\n| Parameter | Default | For |\n")
	section, _, _ = strings.Cut(section, "\n\n")
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]+) \\|").FindAllStringSubmatch(section, -1) {
		listed[m[1]] = strings.Trim(m[2], "`")
	}
	for _, d := range main.of("param") {
		have, ok := listed[d.name]
		delete(listed, d.name)
		want := strings.Trim(d.value.String(), "[]{}'")
		if !ok {
			t.Errorf("docs/operate.md does not list the parameter %s", d.name)
		} else if words := []string{"none", "nobody"}; want == "" && !slices.Contains(words, have) {
			t.Errorf("docs/operate.md: %s is %q by default, want one of %q", d.name, have, words)
		} else if _, known := main.constant(d.value); known && want != "" && have != want {
			t.Errorf("docs/operate.md: %s is %q by default, want %q", d.name, have, want)
		}
	}
	for name := range listed {
		t.Errorf("docs/operate.md lists %s, which is not a parameter", name)
	}
}

// TestProvidersAreNamed compares the resource providers that the README says must
// be registered with the providers that the templates need. Two of these are
// registered in every subscription.
func TestProvidersAreNamed(t *testing.T) {
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
	_, text, _ := strings.Cut(readFile(t, "README.md"), "resource providers")
	text, _, _ = strings.Cut(text, ";")
	for _, m := range regexp.MustCompile("`(Microsoft\\.\\w+)`").FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	if !maps.Equal(need, named) {
		t.Errorf("the README names %v, the templates need %v", slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(need)))
	}
}

// TestDeploySectionFollowed plants mistakes into the README's commands, and
// expects a complaint about each.
func TestDeploySectionFollowed(t *testing.T) {
	text := strings.Join(deploySection(t), "")
	for _, test := range []struct{ name, old, new, want string }{
		{"variable not defined", "HUB=contoso-hub", "THE_HUB=contoso-hub", "$HUB is used and not defined"},
		{"flag that is not there", "--table-name", "--table", "no flag --table"},
		{"value that is not there", "deleteResources", "delete", "takes no delete"},
		{"nothing denied", "--deny-settings-mode denyWriteAndDelete", "--deny-settings-mode none", `denies others ["none"]`},
		{"nothing said of what is denied", "--deny-settings-mode denyWriteAndDelete", "", `denies others []`},
		{"the Functions host denied its containers", "--deny-settings-mode ", "--deny-settings-apply-to-child-scopes --deny-settings-mode ", "no flag --deny-settings-apply-to-child-scopes"},
		{"everybody left an action", "--deny-settings-mode ", "--deny-settings-excluded-actions '*' --deny-settings-mode ", "no flag --deny-settings-excluded-actions"},
		{"nobody can publish", `--deny-settings-excluded-principals "$DEPLOYERS"`, "", "denies those who deploy to publish"},
		{"others excluded", `--deny-settings-excluded-principals "$DEPLOYERS"`, `--deny-settings-excluded-principals "$RG"`, "denies those who deploy to publish"},
		{"flag that the doctor does not have", " --app $APP", " --function-app $APP", "no flag --function-app"},
		{"command that is not there", "az stack group create", "az stack group make", `"az" "stack" "group" "make"`},
		{"parameters that nobody wrote", "make parameters APP=$APP RG=$RG HUB=$HUB\n", "", "there is no file infra/my.bicepparam"},
		{"parameters beside the file", "--parameters infra/my.bicepparam", "--parameters infra/my.bicepparam name=$APP", "want those of infra/my.bicepparam"},
		{"other parameters of the subscriptions", "outputs.subscriptions.value", "outputs.functionAppName.value", "want the output subscriptions"},
		{"template that is not there", "infra/subscriptions.bicep", "infra/all.bicep", `"infra/all.bicep" is deployed`},
		{"target that is not there", "make publish", "make deploy", "no target deploy"},
		{"output that is not there", "outputs.storageAccountName", "outputs.storage", "no output"},
		{"table that is not there", "--table-name alerts", "--table-name alert", "no table alert"},
		{"column that is not there", "CompromisedEntity", "Entity", "no column Entity"},
		{"alert that is not there", "IoT_CertificateSuccessfullyAddedToHub", "IoT_CertificateAdded", "no detector raises"},
		{"file that is not there", "--path build/hubwatch-test.pem", "--path test.pem", "no file [test.pem]"},
		{"publishing left out", "make publish APP=$APP", "", "before the functions are there"},
		{"one stack for two templates", "hubwatch-subscriptions", "hubwatch", "two templates"},
		{"substitution without quotes", `"$(az account show --query id --output tsv)"`, `$(az account show --query id --output tsv)`, "not in quotes"},
		{"quote that does not end", "--query items", "--query 'items", "without closing quote"},
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

// columns are the columns of an alert's row.
var columns = func() map[string]bool {
	columns := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[table.Row]()) {
		columns[field.Name] = field.IsExported()
	}
	return columns
}()
