package browser

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// driver is a Chromium, as drive.mjs drives it.
type driver struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader

	tabs int // that were opened

	mu sync.Mutex // held while a command is done
}

// modulesFolder is where make browser installs what drive.mjs needs.
const modulesFolder = "../../build/browser"

// findChromium returns the path of a Chromium.
func findChromium() (string, error) {
	if path := os.Getenv("HUBWATCH_CHROMIUM"); path != "" {
		_, err := os.Stat(path)
		return path, err
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium: make browser installs it, or says what to do")
}

// startDriver starts a Chromium without a window. It returns an error if what it needs is
// not installed.
func startDriver() (*driver, error) {
	chromium, err := findChromium()
	if err != nil {
		return nil, err
	}
	modules, err := filepath.Abs(modulesFolder)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules/playwright-core")); err != nil {
		return nil, fmt.Errorf("what drives the browser is not installed: make browser installs it: %w", err)
	}
	d := &driver{process: exec.Command("node", "drive.mjs", modules, chromium)}
	d.process.Stderr = os.Stderr
	d.process.WaitDelay = 10 * time.Second
	if d.in, err = d.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewReader(out)
	return d, d.process.Start()
}

// stop ends the browser and waits until it has ended.
func (d *driver) stop() error {
	return errors.Join(d.in.Close(), d.process.Wait())
}

// arguments are those of a command.
type arguments map[string]any

// do has a command done, and puts what it returns into value, which may be nil.
func (d *driver) do(command string, args arguments, value any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := arguments{"do": command}
	for name, arg := range args {
		line[name] = arg
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := d.in.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("%s: the browser has ended: %w", command, err)
	}
	text, err = d.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: the browser has ended: %w", command, err)
	}
	var answer struct {
		Value json.RawMessage `json:"value"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, text)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s %v: %s", command, args, answer.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// tab is a page of the browser in a profile of its own. Its methods end the test if the
// browser cannot do what they ask.
type tab struct {
	t      testing.TB
	driver *driver
	name   string
}

// look says how a tab looks at pages. The zero value is a wide window with light colours.
type look struct {
	width    int // pixels, 0 for 1280
	height   int // pixels, 0 for 800
	dark     bool
	noScript bool
	cookies  []map[string]any // of a browser that was let in before
}

// String names the look, for the names of files and tests.
func (l look) String() string {
	name := "light"
	if l.dark {
		name = "dark"
	}
	return fmt.Sprint(name, "-", l.width)
}

// open returns a new tab, which the end of the test closes.
func (d *driver) open(t testing.TB, l look) *tab {
	t.Helper()
	d.tabs++
	p := &tab{t, d, fmt.Sprint(d.tabs)}
	args := arguments{"script": !l.noScript, "scheme": "light", "cookies": l.cookies}
	if l.width > 0 {
		args["width"] = l.width
	}
	if l.height > 0 {
		args["height"] = l.height
	}
	if l.dark {
		args["scheme"] = "dark"
	}
	p.do("open", args, nil)
	t.Cleanup(p.close)
	return p
}

// close closes the tab, if it is open.
func (p *tab) close() { p.t.Helper(); p.do("close", nil, nil) }

func (p *tab) do(command string, args arguments, value any) {
	p.t.Helper()
	all := arguments{"tab": p.name}
	for name, arg := range args {
		all[name] = arg
	}
	if err := p.driver.do(command, all, value); err != nil {
		p.t.Fatal(err)
	}
}

// opens goes to an address, and checks the status of the answer. Azurite is slow,
// so on a busy computer a page may give up reading it. Then the person tries again, as
// the page says.
func (p *tab) opens(url string, want int) {
	p.t.Helper()
	status := http.StatusGatewayTimeout
	for try := 0; try < 5 && status == http.StatusGatewayTimeout; try++ {
		p.do("go", arguments{"url": url}, &status)
	}
	if status != want {
		p.t.Fatalf("%s: status %d, want %d: %s", url, status, want, p.text("body"))
	}
}

// follows clicks what leads to another page, and checks the status of that.
func (p *tab) follows(at string, want int) {
	p.t.Helper()
	var status int
	if p.do("follow", arguments{"at": at}, &status); status != want {
		p.t.Fatalf("%s leads to the status %d, want %d: %s", at, status, want, p.text("body"))
	}
}

func (p *tab) click(at string) { p.t.Helper(); p.do("click", arguments{"at": at}, nil) }
func (p *tab) fill(at, value string) {
	p.t.Helper()
	p.do("fill", arguments{"at": at, "value": value}, nil)
}
func (p *tab) choose(at, value string) {
	p.t.Helper()
	p.do("choose", arguments{"at": at, "value": value}, nil)
}
func (p *tab) check(at string)  { p.t.Helper(); p.do("check", arguments{"at": at}, nil) }
func (p *tab) press(key string) { p.t.Helper(); p.do("press", arguments{"value": key}, nil) }

// waits waits until something is there and shows a text, "" for any.
func (p *tab) waits(at, text string) {
	p.t.Helper()
	p.do("wait", arguments{"at": at, "value": text}, nil)
}

// arrives waits until the address holds a text.
func (p *tab) arrives(at string) { p.t.Helper(); p.do("arrive", arguments{"value": at}, nil) }

// texts returns what all that is there shows.
func (p *tab) texts(at string) (texts []string) {
	p.t.Helper()
	p.do("texts", arguments{"at": at}, &texts)
	return texts
}

// text returns what the first of it shows, "" if there is nothing.
func (p *tab) text(at string) string {
	p.t.Helper()
	if texts := p.texts(at); len(texts) > 0 {
		return texts[0]
	}
	return ""
}

// address returns where the tab is.
func (p *tab) address() (url string) {
	p.t.Helper()
	p.do("address", nil, &url)
	return url
}

// runs runs an expression in the page.
func runs[T any](p *tab, expression string) (value T) {
	p.t.Helper()
	p.do("run", arguments{"value": expression}, &value)
	return value
}

// flawless checks that nothing went wrong in the page: no script error, nothing that the
// policy of the page refused, and no request to another host.
func (p *tab) flawless() {
	p.t.Helper()
	var faults []string
	p.do("faults", nil, &faults)
	for _, f := range faults {
		p.t.Errorf("%s: %s", p.address(), f)
	}
}
