// Package azurite runs Azurite's table service, a stand-in for Azure Table
// Storage. The package also has a managed identity whose tokens Azurite accepts,
// a certificate for HTTPS, without which Azurite accepts no token, and a proxy
// that makes faults.
package azurite

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"hubwatch/handlers/local/loopback"
)

// The account that every Azurite has unless told otherwise; its key is public
// (learn.microsoft.com/azure/storage/common/storage-use-azurite).
const (
	account    = "devstoreaccount1"
	accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

const (
	outputLimit = time.Second      // limit of the wait for the last output of a dead process
	startLimit  = 30 * time.Second // limit of the wait for the first answer
	stopLimit   = 10 * time.Second // limit of a clean stop
	readyPoll   = 25 * time.Millisecond
	portLimit   = 5 // number of free ports that are tried
)

// Find returns the absolute path of the main script of the Azurite table
// service that make puts under the module's root.
func Find(moduleRoot string) (string, error) {
	path, err := filepath.Abs(filepath.Join(moduleRoot, "build/azurite/node_modules/azurite/dist/src/table/main.js"))
	if err != nil {
		return "", fmt.Errorf("azurite: %w", err)
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return "", fmt.Errorf("azurite is not installed in %s: make run, make demo and make test install it", filepath.Join(moduleRoot, "build/azurite"))
	}
	return path, nil
}

// Options says how to run Azurite's table service.
type Options struct {
	// Main is the path of the table service's main.js.
	Main string
	// Location is the folder that keeps the tables; empty keeps them in memory.
	Location string
	// Port is the loopback port to listen on; 0 means a free one.
	Port int
	// CertFile and KeyFile, if set, are PEM files: the service then speaks HTTPS
	// and accepts bearer tokens besides the account key.
	CertFile, KeyFile string
	// Output, if not nil, receives what Azurite prints.
	Output io.Writer
}

// Service is a running Azurite table service on a loopback port.
type Service struct {
	options Options
	process *exec.Cmd
	exited  chan struct{}
	stop    sync.Once
	output  *announcement
}

// Start starts the service and waits until it answers. It returns an error if
// there is no Node.js, if the service exits, or if the service does not answer
// within 30 seconds or before ctx ends. After an error no process is left. Once
// the service answers, the end of ctx has no effect.
//
// Azurite can take a port of the system's choice, and does not say which one. So a free
// one is chosen here, and another one if somebody else was faster.
func Start(ctx context.Context, options Options) (*Service, error) {
	if options.Port != 0 {
		return start(ctx, options)
	}
	for try := 1; ; try++ {
		var err error
		if options.Port, err = loopback.FreePort(); err != nil {
			return nil, fmt.Errorf("azurite: %w", err)
		}
		s, err := start(ctx, options)
		if try == portLimit || !errors.Is(err, syscall.EADDRINUSE) {
			return s, err
		}
	}
}

// start starts the service on the port that options name. The error is
// [syscall.EADDRINUSE] if another server listens there.
func start(ctx context.Context, options Options) (*Service, error) {
	arguments := []string{options.Main, "--silent", "--disableTelemetry", "--tableHost", "127.0.0.1", "--tablePort", fmt.Sprint(options.Port)}
	if options.Location == "" {
		arguments = append(arguments, "--inMemoryPersistence")
	} else {
		arguments = append(arguments, "--location", options.Location)
	}
	if options.CertFile != "" {
		arguments = append(arguments, "--oauth", "basic", "--cert", options.CertFile, "--key", options.KeyFile)
	}
	s := &Service{
		options: options,
		exited:  make(chan struct{}),
		output:  &announcement{copy: options.Output, made: make(chan struct{})},
	}
	s.process = exec.Command("node", arguments...)
	s.process.Dir = os.TempDir()
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.process.WaitDelay = outputLimit
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("azurite needs Node.js 20 or later: %w", err)
	}
	go func() {
		s.process.Wait()
		close(s.exited)
	}()
	if err := s.awaitReady(ctx); err != nil {
		s.Kill()
		return nil, fmt.Errorf("azurite: %w", err)
	}
	return s, nil
}

// awaitReady waits until the process says that it has started, because another
// service might answer on the same port, and then for any HTTP answer.
func (s *Service) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	client, err := s.client()
	if err != nil {
		return err
	}
	select {
	case <-s.output.made:
	case <-s.exited:
		if s.output.says("EADDRINUSE") {
			return fmt.Errorf("exited: %v: port %d: %w", s.process.ProcessState, s.options.Port, syscall.EADDRINUSE)
		}
		return fmt.Errorf("exited: %v", s.process.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("not started: %w", ctx.Err())
	}
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint()+"/Tables", nil)
		if err != nil {
			return err
		}
		response, failure := client.Do(request)
		if failure == nil {
			return response.Body.Close()
		}
		select {
		case <-poll.C:
		case <-s.exited:
			return fmt.Errorf("exited: %v", s.process.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", failure)
		}
	}
}

// client trusts the service's own certificate if there is one.
func (s *Service) client() (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if s.options.CertFile != "" {
		pem, err := os.ReadFile(s.options.CertFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport}, nil
}

// announcement passes Azurite's output on and notices when it has started.
type announcement struct {
	copy io.Writer
	made chan struct{} // closed once Azurite says so

	mu   sync.Mutex
	seen []byte // output before that
}

func (a *announcement) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.made:
	default:
		if a.seen = append(a.seen, p...); bytes.Contains(a.seen, []byte("successfully started")) {
			a.seen = nil
			close(a.made)
		}
	}
	if a.copy == nil {
		return len(p), nil
	}
	return a.copy.Write(p)
}

// says reports whether text is in the output before the start.
func (a *announcement) says(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Contains(a.seen, []byte(text))
}

// Again starts the service again after Stop, on the same port and with the same
// tables. It returns an error if the service keeps its tables in memory.
func (s *Service) Again(ctx context.Context) (*Service, error) {
	if s.options.Location == "" {
		return nil, errors.New("azurite: the tables were in memory")
	}
	return Start(ctx, s.options)
}

// Endpoint returns the URL of the account's table service, without a slash at the end.
func (s *Service) Endpoint() string {
	scheme := "http"
	if s.options.CertFile != "" {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d/%s", scheme, s.options.Port, account)
}

// ConnectionString returns a connection string with the account key.
func (s *Service) ConnectionString() string {
	scheme := "http"
	if s.options.CertFile != "" {
		scheme = "https"
	}
	return fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;TableEndpoint=%s;",
		scheme, account, accountKey, s.Endpoint())
}

// Stop ends the service with SIGINT and waits. On this signal only, Azurite saves
// everything that it has acknowledged. After ten seconds Stop kills the service
// and returns an error.
func (s *Service) Stop() error {
	var err error
	s.stop.Do(func() {
		s.process.Process.Signal(os.Interrupt)
		select {
		case <-s.exited:
		case <-time.After(stopLimit):
			err = errors.New("azurite: no clean stop")
		}
	})
	s.Kill()
	return err
}

// Kill ends the service with SIGKILL and waits. Writes that Azurite acknowledged
// in the last five seconds may be lost.
func (s *Service) Kill() {
	s.process.Process.Kill()
	<-s.exited
}
