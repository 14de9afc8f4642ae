package infra

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/functions"
	"hubwatch/handlers/version"
)

// makePackage runs make package into a folder of its own, so that tests do not
// disturb each other. It returns the output.
func makePackage(t *testing.T, folder string) string {
	t.Helper()
	return makePackageOf(t, root, folder, nil)
}

// makePackageOf runs make package of a copy of the sources, with variables of the
// environment, and with arguments.
func makePackageOf(t *testing.T, sources, folder string, variables []string, arguments ...string) string {
	t.Helper()
	arguments = append([]string{"--no-print-directory", "package", "BUILD=" + filepath.Join(folder, "app"), "ZIP=" + filepath.Join(folder, "hubwatch.zip")}, arguments...)
	command := exec.CommandContext(t.Context(), "make", arguments...)
	command.Dir, command.Env = sources, append(os.Environ(), variables...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("make package: %v\n%s", err, out)
	}
	return string(out)
}

// secrets match credentials, which must not be in a package. The account key of
// Azurite is in the handler, and it is public.
var secrets = map[string]*regexp.Regexp{
	"a private key":                 regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{20}`),
	"the key of a storage account":  regexp.MustCompile(`AccountKey=[A-Za-z0-9+/]{86}==`),
	"a shared access key":           regexp.MustCompile(`SharedAccessKey=[A-Za-z0-9+/]{43}=`),
	"a shared access signature":     regexp.MustCompile(`[?&]sig=[A-Za-z0-9%+/]{40}`),
	"a token":                       regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.`),
	"an instrumentation key":        regexp.MustCompile(`InstrumentationKey=[0-9a-f]{8}-`),
	"the folder of whoever made it": regexp.MustCompile(`/(home|Users)/[a-z]+/`),
}

const azuriteKey = "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

// secret says what secret is in content, if any.
func secret(content []byte) string {
	content = bytes.ReplaceAll(content, []byte(azuriteKey), nil)
	for _, what := range slices.Sorted(maps.Keys(secrets)) {
		if secrets[what].Match(content) {
			return what
		}
	}
	return ""
}

func TestSecretsAreFound(t *testing.T) {
	for _, content := range []string{
		"-----BEGIN EC PRIVATE KEY-----\n" + strings.Repeat("A", 64), "AccountKey=" + strings.Repeat("B", 86) + "==",
		"Endpoint=sb://x;SharedAccessKey=" + strings.Repeat("C", 43) + "=", "https://x/?sv=1&sig=" + strings.Repeat("D", 43) + "%3D",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.x", "InstrumentationKey=00000000-0000-0000-0000-000000000000", "/home/alice/src/main.go",
	} {
		if secret([]byte(content)) == "" {
			t.Errorf("%q is taken for no secret", content)
		}
	}
	if what := secret([]byte(azuriteKey + " AccountKey=%s; sig=x -----BEGIN PRIVATE KEY-----")); what != "" {
		t.Errorf("%s is found where there is none", what)
	}
}

// TestPackage checks the files in the package: the handler and the functions, and
// nothing else. Only the handler may be executed, and it has the name that
// host.json says.
func TestPackage(t *testing.T) {
	t.Run("detectors", func(t *testing.T) { checkPackage(t, ".", len(app.Functions(app.Detectors(), judge.Judge{}))) })
	t.Run("console", func(t *testing.T) { checkPackage(t, "handlers/consoleapp", 1, "PART=console") })
}

// checkPackage checks the package of the function app whose host.json and functions are in
// site.
func checkPackage(t *testing.T, site string, count int, arguments ...string) {
	folder := t.TempDir()
	printed := makePackageOf(t, root, folder, nil, arguments...)
	packed, err := os.ReadFile(filepath.Join(folder, "hubwatch.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d bytes  SHA-256 %x\n", len(packed), sha256.Sum256(packed)); !strings.Contains(printed, want) {
		t.Errorf("make package prints %q, want %q", printed, want)
	}
	var host struct {
		CustomHandler struct {
			Description struct{ DefaultExecutablePath string }
		}
	}
	if err := readJSON(filepath.Join(root, site, "host.json"), &host); err != nil {
		t.Fatal(err)
	}
	executable := host.CustomHandler.Description.DefaultExecutablePath
	want := map[string]bool{"host.json": true, executable: true}
	functions, err := filepath.Glob(filepath.Join(root, site, "functions/*/function.json"))
	if err != nil || len(functions) != count {
		t.Fatalf("%d functions: %v", len(functions), err)
	}
	for _, file := range functions {
		want[path.Join(filepath.Base(filepath.Dir(file)), "function.json")] = true
	}
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive.File {
		if !want[file.Name] {
			t.Errorf("%s is in the package, and is nothing that it needs", file.Name)
		}
		delete(want, file.Name)
		if may := file.Mode()&0o111 != 0; may != (file.Name == executable) {
			t.Errorf("%s has the mode %s", file.Name, file.Mode())
		}
		content := unzipped(t, file)
		if what := secret(content); what != "" {
			t.Errorf("%s has %s in it", file.Name, what)
		}
		if file.Name == executable {
			checkBinary(t, content, site == "." && len(app.Detectors()) > len(detector.All))
		}
	}
	for name := range want {
		t.Errorf("%s is not in the package", name)
	}
	checkBill(t, filepath.Join(folder, "app", executable), filepath.Join(folder, "hubwatch.cdx.json"))
	if !strings.Contains(printed, filepath.Join(folder, "hubwatch.cdx.json")) {
		t.Errorf("make package does not say where the bill of materials is: %q", printed)
	}
}

// TestPackageReproducible makes the package from the repository, and again from a
// copy of the sources. The copy is in another folder, is not a repository, and is
// built with other environment variables. Both use the build cache, because
// compiling everything takes minutes. That the compiler itself is deterministic
// is left to Go's own tests.
func TestPackageReproducible(t *testing.T) {
	first, second, sources := t.TempDir(), t.TempDir(), copySources(t)
	makePackageOf(t, root, first, []string{"GOFLAGS=-buildvcs=auto", "GOAMD64=v1", "CGO_ENABLED=1", "TZ=UTC"})
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	err := filepath.WalkDir(sources, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return errors.Join(os.Chtimes(name, old, old), os.Chmod(name, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	makePackageOf(t, sources, second, []string{"GOFLAGS=-buildvcs=false -tags=other -ldflags=-X=main.version=1", "GOFIPS140=latest", "TZ=Asia/Tokyo", "LC_ALL=C"})
	for _, name := range []string{"hubwatch.zip", "hubwatch.cdx.json"} {
		one, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := os.ReadFile(filepath.Join(second, name)); err != nil || !bytes.Equal(one, other) {
			t.Errorf("made of a copy of the sources, %s has other bytes (%v)", name, err)
		}
	}
}

// copySources copies what make package reads into a folder that is not a
// repository.
func copySources(t *testing.T) string {
	t.Helper()
	sources := filepath.Join(t.TempDir(), "some", "where else")
	for _, name := range []string{"Makefile", "LICENSE", "go.mod", "go.sum", "host.json"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(sources, 0o700), os.WriteFile(filepath.Join(sources, name), content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"functions", "handlers"} {
		if err := os.CopyFS(filepath.Join(sources, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	return sources
}

// checkBill compares the bill of materials with what the Go command says about
// the binary. It has the same modules with the same versions, and each has the
// identifiers by which a reader looks it up.
func checkBill(t *testing.T, binary, file string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	toolchain := strings.Fields(string(out))[1]
	want := map[string]string{"stdlib": toolchain}
	purls := map[string]string{"stdlib": "pkg:golang/stdlib@" + strings.TrimPrefix(toolchain, "go")}
	for _, m := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)\t`).FindAllStringSubmatch(string(out), -1) {
		want[m[1]], purls[m[1]] = m[2], "pkg:golang/"+m[1]+"@"+m[2]
	}
	if len(want) < 5 {
		t.Fatalf("go version knows of %d modules", len(want))
	}
	type part struct {
		Name, Version, PURL string
		Licenses            []struct{ License struct{ ID string } }
		Hashes              []struct{ Alg, Content string }
	}
	var bill struct {
		BOMFormat, SpecVersion string
		Metadata               struct{ Component part }
		Components             []part
	}
	if err := readJSON(file, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.6" {
		t.Errorf("%s is %s %s", file, bill.BOMFormat, bill.SpecVersion)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	if c := bill.Metadata.Component; c.Name != "hubwatch" || c.Version != version.Version || len(c.Hashes) != 1 || c.Hashes[0].Content != sum {
		t.Errorf("the bill is of %s %s %v, want of %s and of the binary with the SHA-256 %s", c.Name, c.Version, c.Hashes, version.Version, sum)
	}
	have := map[string]string{}
	for _, c := range bill.Components {
		have[c.Name] = c.Version
		if c.PURL != purls[c.Name] {
			t.Errorf("%s has the purl %q, want %q", c.Name, c.PURL, purls[c.Name])
		}
		if len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" {
			t.Errorf("%s has the licences %v, want one or more", c.Name, c.Licenses)
		}
		if c.Name != "stdlib" && len(c.Hashes) != 1 {
			t.Errorf("%s has %d hashes, want one", c.Name, len(c.Hashes))
		}
	}
	if len(have) != len(bill.Components) || !maps.Equal(have, want) {
		t.Errorf("the bill has %v, want %v", have, want)
	}
}

func unzipped(t *testing.T, file *zip.File) []byte {
	t.Helper()
	reader, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// checkBinary checks that the handler runs on the machines of Flex Consumption:
// Linux on amd64, without shared libraries.
func checkBinary(t *testing.T, content []byte, expressions bool) {
	t.Helper()
	binary, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	libraries, _ := binary.ImportedLibraries()
	if binary.Machine != elf.EM_X86_64 || len(libraries) > 0 || slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("the handler is for %s and needs %q", binary.Machine, libraries)
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	// Any other setting would depend on the builder, and would change the bytes.
	want := map[string]string{"-buildmode": "exe", "-compiler": "gc", "-trimpath": "true", "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1"}
	if !expressions { // CEL is left out of what evaluates none.
		want["-tags"] = "nocel"
	}
	have := map[string]string{}
	for _, s := range info.Settings {
		have[s.Key] = s.Value
	}
	if !maps.Equal(have, want) {
		t.Errorf("the handler is built with %v, want %v", have, want)
	}
}

// azure is a stand-in for az. It knows one function app, records how it is
// called, and accepts to deploy a file that exists.
const azure = `printf "'%s' " az "$@" >> "$0.calls"; echo >> "$0.calls"
case "$*" in
"version "*) echo 2.91.0 ;;
"account show") ;;
"resource list --name hubwatch-contoso "*) echo rg-iot ;;
"resource list "*) ;;
*) for file; do :; done; test -s "$file" && echo "az: $*" ;;
esac`

// TestPublishRefuses runs make publish with stand-ins for az: it refuses what
// cannot work before it changes anything, and says what to do.
func TestPublishRefuses(t *testing.T) {
	makePath, err := exec.LookPath("make")
	if err != nil {
		t.Skip(err)
	}
	makefile := []byte(readFile(t, "Makefile"))
	for _, test := range []struct {
		name, app, az string // the script of az, "" if there is none
		want          string
	}{
		{"no name", "", azure, "needs the name of the function app: make publish APP="},
		{"no az", "hubwatch-contoso", "", "needs az, the Azure CLI: https://"},
		{"az that asks the app for ever", "hubwatch-contoso", "echo 2.87.0", "needs the Azure CLI 2.88 or later, and this is 2.87.0: az upgrade"},
		{"az of another age", "hubwatch-contoso", "echo 2.9.1", "needs the Azure CLI 2.88 or later, and this is 2.9.1: az upgrade"},
		{"az that fails", "hubwatch-contoso", "exit 1", "Error 1"},
		{"not logged in", "hubwatch-contoso", "case $1 in version) echo 2.91.0 ;; *) echo 'Please run az login' >&2; exit 1 ;; esac", "needs a login: az login"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			tools(t, folder, map[string]string{"az": test.az})
			if err := os.WriteFile(filepath.Join(folder, "Makefile"), makefile, 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), makePath, "publish", "APP="+test.app, "BUILD="+filepath.Join(folder, "app"))
			command.Dir, command.Env = folder, []string{"PATH=" + folder}
			out, err := command.CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want %q:\n%s", err, test.want, out)
			}
			if _, err := os.Stat(filepath.Join(folder, "app")); err == nil {
				t.Error("it refuses after it has built the app")
			}
		})
	}
}

// TestPublishTakesNamesOnly runs make publish with values of APP that would make
// make or a shell run a command, and with other values that are not names of
// function apps. It gives them on the command line and in the environment.
func TestPublishTakesNamesOnly(t *testing.T) {
	makePath, err := exec.LookPath("make")
	if err != nil {
		t.Skip(err)
	}
	touch, err := exec.LookPath("touch")
	if err != nil {
		t.Skip(err)
	}
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip(err)
	}
	const refused = "APP is not the name of a function app"
	makefile := []byte(readFile(t, "Makefile"))
	for _, value := range []string{
		`x"; touch PWNED; echo "`, `$(shell touch PWNED)`, `$$(touch PWNED)`, // as a workflow's input could be
		`${shell touch PWNED}`, `$(touch PWNED)`, "`touch PWNED`", `x'; touch PWNED; '`, "x\ntouch PWNED", `x;touch PWNED`, `x\`, `$(error PWNED)`,
		`a`, `-ab`, `ab-`, `a.b`, `a_b`, `a b`, `äb`, `a/b`, `*`, `--help`, strings.Repeat("a", 61),
		`ab`, `A-9`, `hubwatch-contoso`, strings.Repeat("a", 60),
	} {
		want := refused
		if regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]$`).MatchString(value) {
			want = "needs az"
		}
		for how, target := range map[string][]string{
			"argument":     {"publish", "APP=" + value},
			"environment":  {"publish"},
			"other target": {"help", "APP=" + value},
			"detector":     {"detector", "NAME=" + value},
		} {
			folder := t.TempDir()
			if err := errors.Join(os.Symlink(touch, filepath.Join(folder, "touch")), os.Symlink(awk, filepath.Join(folder, "awk"))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "Makefile"), makefile, 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), makePath, target...)
			command.Dir, command.Env = folder, []string{"PATH=" + folder}
			if how == "environment" {
				command.Env = append(command.Env, "APP="+value)
			}
			out, err := command.CombinedOutput()
			if target[0] == "publish" && (err == nil || !strings.Contains(string(out), want)) {
				t.Errorf("%s %q: %v, want %q:\n%s", how, value, err, want, out)
			}
			if strings.Contains(string(out), "*** PWNED") {
				t.Errorf("%s %q: make expands it:\n%s", how, value, out)
			}
			if _, err := os.Stat(filepath.Join(folder, "PWNED")); err == nil {
				t.Errorf("%s %q: it is run", how, value)
			}
		}
	}
}

// TestPublish runs make publish with a stand-in for az, in two copies of the
// sources. One asks for the Go version of this machine, the other asks for a
// newer version.
func TestPublish(t *testing.T) {
	for _, test := range []struct {
		name, toolchain, app, want string
		published                  bool
	}{
		{"all is there", runtime.Version(), "hubwatch-contoso", "az: functionapp deployment source config-zip --resource-group rg-iot --name hubwatch-contoso --src ", true},
		{"no such app", runtime.Version(), "hubwatch-fabrikam", "there is no function app hubwatch-fabrikam in the subscription", false},
		{"an old Go", "go1.999.0", "hubwatch-contoso", "built with " + runtime.Version() + ", and go.mod asks for go1.999.0, which has fixed vulnerabilities since: do not deploy it", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder, sources := t.TempDir(), copySources(t)
			file := filepath.Join(sources, "go.mod")
			module, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := regexp.MustCompile(`(?m)^toolchain .*$`).ReplaceAll(module, []byte("toolchain "+test.toolchain))
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			tools(t, folder, map[string]string{"az": azure})
			command := exec.CommandContext(t.Context(), "make", "publish", "APP="+test.app,
				"BUILD="+filepath.Join(folder, "app"), "ZIP="+filepath.Join(folder, "hubwatch.zip"))
			command.Dir = sources
			// With another value, an older Go would download the Go version of
			// go.mod.
			command.Env = append(os.Environ(), "GOTOOLCHAIN=local", "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := command.CombinedOutput()
			if (err == nil) != test.published || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want %q:\n%s", err, test.want, out)
			}
			if !test.published && strings.Contains(string(out), "az: ") {
				t.Errorf("it is published:\n%s", out)
			}
			// The commands that run have to agree with their manuals, like the
			// commands of the README.
			calls, err := os.ReadFile(filepath.Join(folder, "az.calls"))
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(t)
			s.run(string(calls))
			for _, fault := range s.faults {
				t.Error(fault)
			}
		})
	}
}

// tools writes scripts into a folder.
func tools(t *testing.T, folder string, scripts map[string]string) {
	t.Helper()
	for name, script := range scripts {
		if script == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

const testClient = "00000000-0000-0000-0000-0000000000c1"

// TestPackageRunsKeyless starts the package under the stand-in for the Functions
// host with the app settings of main.bicep. The test fills in only what Azure
// says at deployment: endpoints, names and the identity. There is no key. The
// handler gets its token from the managed identity endpoint, and Azurite accepts
// the token over TLS. Then an event that passes the filters of main.bicep becomes
// an alert.
func TestPackageRunsKeyless(t *testing.T) {
	script, err := azurite.Find(root)
	if err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		if os.Getenv("HUBWATCH_AZURITE") == "required" && err != nil {
			t.Fatal(err)
		}
		t.Skipf("needs Azurite (%v), and Linux on amd64 to run the package", err)
	}
	folder := t.TempDir()
	makePackage(t, folder)
	app := filepath.Join(folder, "unpacked")
	unpack(t, filepath.Join(folder, "hubwatch.zip"), app)

	cert, key, err := azurite.WriteCertificate(folder)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := azurite.Start(t.Context(), azurite.Options{Main: script, CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tables.Kill)
	identity, err := azurite.StartIdentity(azurite.IdentityOptions{ClientID: testClient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(identity.Close)

	var told atomic.Int32
	hearing := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told.Add(int32(strings.Count(string(body), `"type":"hubwatch.alert.raised"`))) // #nosec G115 -- few
	}))
	t.Cleanup(hearing.Close)
	environment := append(deployedSettings(t, tables.Endpoint()+"/", hearing.URL+"/api/events"), "SSL_CERT_FILE="+cert)
	var output lockedBuffer
	running, err := functions.Start(t.Context(), functions.Options{
		ScriptRoot: app, Env: append(environment, identity.Env()...), Output: &output,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := running.Ready(ctx); err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	server := httptest.NewServer(running)
	t.Cleanup(server.Close)
	subscriptions, err := eventgrid.LoadSubscriptions(filepath.Join(root, "infra/subscriptions.json"))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := eventgrid.NewTopic(eventgrid.TopicOptions{
		Subscriptions: subscriptions, Functions: server.URL, Schema: eventgrid.CloudEventSchemaV1_0, DeadLetters: folder, TimeScale: 0.01,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(topic.Close)
	publisher := httptest.NewServer(topic)
	t.Cleanup(publisher.Close)
	event, err := os.Open(filepath.Join(root, "handlers/local/samples/certificate-added.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer event.Close()
	response, err := http.Post(publisher.URL+"/api/events", "application/json", event)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("publish: %s", response.Status)
	}
	if err := topic.Wait(ctx); err != nil {
		t.Fatal(err)
	}

	s, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	table, _ := s.main.constant(s.settings()["AlertsTable"])
	rows := query(t, tables.Endpoint()+"/"+table+"()", cert, identity.Env())
	if !strings.Contains(rows, `"AlertType":"IoT_CertificateSuccessfullyAddedToHub"`) {
		t.Errorf("no alert in the table: %s\nthe handler says:\n%s", rows, output.String())
	}
	if n := told.Load(); n != 1 {
		t.Errorf("%d events say that an alert was raised, want 1", n)
	}
	if identity.Issued() == 0 {
		t.Errorf("no token was issued; the handler says:\n%s", output.String())
	}
}

// deployedSettings returns the app settings of main.bicep as variables. Settings
// whose values only Azure knows get values for this test.
func deployedSettings(t *testing.T, tableEndpoint, alertEvents string) []string {
	t.Helper()
	known := map[string]string{
		"hostAccount.properties.primaryEndpoints.blob":                                  "https://host.example/",
		"storage.properties.primaryEndpoints.table":                                     tableEndpoint, // with the slash that Azure puts there
		"stateAccount.properties.primaryEndpoints.table":                                "https://state.example/",
		"identity.properties.clientId":                                                  testClient,
		"insights.properties.ConnectionString":                                          "IngestionEndpoint=https://insights.example/",
		"connections.properties.endpoint":                                               "https://connections.example/api/events",
		"alertEvents.properties.endpoint":                                               alertEvents,
		"'ClientId=, identity.properties.clientId, ;Authorization=AAD'":                 "ClientId=" + testClient + ";Authorization=AAD",
		"?(empty(notifySecret), '', '@Microsoft.KeyVault(SecretUri=, notifySecret, )')": "", // nobody is told
		"?(empty(sentinelWorkspace), sentinelEndpoint, sentinel.outputs.endpoint)":      "", // and none is sent
		"?(empty(sentinelWorkspace), sentinelRuleId, sentinel.outputs.ruleId)":          "",
		canaryTags:     "", // none is written
		namespaceHost:  "logs.example",
		expectedHubs:   "contoso-hub",
		canaryMessages: "https://logs.example/connections/messages",
		ownResources:   "alertsaccount,stateaccount,hostaccount,hubwatch-contoso-control-plane,/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Web/sites/hubwatch-contoso",
	}
	s, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	var variables []string
	for name, value := range s.settings() {
		text, ok := s.main.constant(value)
		if !ok {
			if text, ok = known[value.String()]; !ok {
				t.Errorf("%s is %s, of which this test does not know what Azure makes", name, value)
			}
		}
		variables = append(variables, name+"="+text)
	}
	if len(variables) < len(hostSettings) {
		t.Fatalf("main.bicep has %d settings", len(variables))
	}
	return variables
}

// unpack unpacks a package as Azure does, with the permissions in the package.
func unpack(t *testing.T, file, folder string) {
	t.Helper()
	archive, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, file := range archive.File {
		target := filepath.Join(folder, filepath.FromSlash(file.Name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, unzipped(t, file), file.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// query reads a table with a token of the identity.
func query(t *testing.T, tableURL, cert string, identity []string) string {
	t.Helper()
	variables := map[string]string{}
	for _, v := range identity {
		name, value, _ := strings.Cut(v, "=")
		variables[name] = value
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, variables["IDENTITY_ENDPOINT"]+"?"+url.Values{
		"resource": {"https://storage.azure.com"}, "client_id": {testClient}, "api-version": {"2019-08-01"},
	}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-IDENTITY-HEADER", variables["IDENTITY_HEADER"])
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(fetch(t, http.DefaultClient, request), &token); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	if request, err = http.NewRequestWithContext(t.Context(), http.MethodGet, tableURL, nil); err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	request.Header.Set("Accept", "application/json;odata=nometadata")
	request.Header.Set("x-ms-version", "2019-02-02")
	request.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	return string(fetch(t, client, request))
}

func fetch(t *testing.T, client *http.Client, request *http.Request) []byte {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", request.URL.Path, response.Status, body)
	}
	return body
}

// lockedBuffer is a buffer that may be written and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
