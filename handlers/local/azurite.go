package local

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
	"time"
)

// The account that every Azurite has unless told otherwise; its key is public
// (learn.microsoft.com/azure/storage/common/storage-use-azurite).
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

const (
	azuriteStart = 30 * time.Second // limit of the wait for the first answer
	azuriteStop  = 10 * time.Second // limit of a clean stop
	azuritePoll  = 25 * time.Millisecond
)

// FindAzurite returns the absolute path of the main script of the Azurite table
// service that make puts under the module's root.
func FindAzurite(moduleRoot string) (string, error) {
	path, err := filepath.Abs(filepath.Join(moduleRoot, "build/azurite/node_modules/azurite/dist/src/table/main.js"))
	if err != nil {
		return "", fmt.Errorf("azurite: %w", err)
	}
	if !isFile(path) {
		return "", fmt.Errorf("azurite is not installed in %s: make test installs it", moduleRoot)
	}
	return path, nil
}

// AzuriteOptions says how to run Azurite's table service.
type AzuriteOptions struct {
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

// Azurite is a running Azurite table service on a loopback port.
type Azurite struct {
	options AzuriteOptions
	process *exec.Cmd
	port    int
	exited  chan struct{}
	stop    sync.Once
	output  *announcement
}

// StartAzurite starts the service and waits until it answers.
// It is an error if it exits before, or does not answer within 30 seconds or
// before ctx ends; no process is left then. The end of ctx later does nothing.
func StartAzurite(ctx context.Context, options AzuriteOptions) (*Azurite, error) {
	port := options.Port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return nil, fmt.Errorf("azurite: %w", err)
		}
	}
	arguments := []string{options.Main, "--silent", "--disableTelemetry", "--tableHost", "127.0.0.1", "--tablePort", fmt.Sprint(port)}
	if options.Location == "" {
		arguments = append(arguments, "--inMemoryPersistence")
	} else {
		arguments = append(arguments, "--location", options.Location)
	}
	if options.CertFile != "" {
		arguments = append(arguments, "--oauth", "basic", "--cert", options.CertFile, "--key", options.KeyFile)
	}
	a := &Azurite{
		options: options,
		port:    port,
		exited:  make(chan struct{}),
		output:  &announcement{copy: options.Output, made: make(chan struct{})},
	}
	a.process = exec.Command("node", arguments...)
	a.process.Dir = os.TempDir()
	a.process.Stdout, a.process.Stderr = a.output, a.output
	a.process.WaitDelay = streamLimit
	if err := a.process.Start(); err != nil {
		return nil, fmt.Errorf("azurite: %w", err)
	}
	go func() {
		a.process.Wait()
		close(a.exited)
	}()
	if err := a.awaitReady(ctx); err != nil {
		a.Kill()
		return nil, fmt.Errorf("azurite: %w", err)
	}
	return a, nil
}

// awaitReady waits until the process says that it has started, because another
// service might answer on the same port, and then for any HTTP answer.
func (a *Azurite) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, azuriteStart)
	defer cancel()
	client, err := a.client()
	if err != nil {
		return err
	}
	select {
	case <-a.output.made:
	case <-a.exited:
		return fmt.Errorf("exited: %v", a.process.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("not started: %w", ctx.Err())
	}
	poll := time.NewTicker(azuritePoll)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Endpoint()+"/Tables", nil)
		if err != nil {
			return err
		}
		response, failure := client.Do(request)
		if failure == nil {
			return response.Body.Close()
		}
		select {
		case <-poll.C:
		case <-a.exited:
			return fmt.Errorf("exited: %v", a.process.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", failure)
		}
	}
}

// client trusts the service's own certificate if there is one.
func (a *Azurite) client() (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if a.options.CertFile != "" {
		pem, err := os.ReadFile(a.options.CertFile)
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

// Again starts the service once more after Stop, on the same port and with the
// tables that it has kept. It is an error if it keeps none.
func (a *Azurite) Again(ctx context.Context) (*Azurite, error) {
	if a.options.Location == "" {
		return nil, errors.New("azurite: the tables were in memory")
	}
	options := a.options
	options.Port = a.port
	return StartAzurite(ctx, options)
}

// Endpoint returns the URL of the account's table service, without a slash at the end.
func (a *Azurite) Endpoint() string {
	scheme := "http"
	if a.options.CertFile != "" {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d/%s", scheme, a.port, azuriteAccount)
}

// ConnectionString returns a connection string with the account key.
func (a *Azurite) ConnectionString() string {
	scheme := "http"
	if a.options.CertFile != "" {
		scheme = "https"
	}
	return fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;TableEndpoint=%s;",
		scheme, azuriteAccount, azuriteKey, a.Endpoint())
}

// Stop ends the service with SIGINT, the only signal on which it saves all that
// it has acknowledged, and waits; after ten seconds it kills. It returns an error
// if it had to kill.
func (a *Azurite) Stop() error {
	var err error
	a.stop.Do(func() {
		a.process.Process.Signal(os.Interrupt)
		select {
		case <-a.exited:
		case <-time.After(azuriteStop):
			err = errors.New("azurite: no clean stop")
		}
	})
	a.Kill()
	return err
}

// Kill ends the service with SIGKILL and waits. What it acknowledged in the last
// five seconds may be lost.
func (a *Azurite) Kill() {
	a.process.Process.Kill()
	<-a.exited
}
