package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/table"
)

// Exit codes. The help of hubwatch and README.md list them.
const (
	exitFailed      = 1   // something failed, or is wrong
	exitUsage       = 2   // a mistake in the command line
	exitNotFound    = 3   // there is no such alert or suppression
	exitSignIn      = 4   // nobody is signed in, or a role is missing
	exitConflict    = 5   // somebody else changed the alert: nothing was saved
	exitFound       = 10  // with --exit-code alone: something was found
	exitInterrupted = 130 // Ctrl-C, as shells have it: 128 and the number of the signal
)

// said is the error of a command that has already written what is wrong. It is the
// exit code.
type said int

// Error implements error.
func (s said) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// errSaid is the usual one.
var errSaid error = said(exitFailed)

// ambiguousError is the error of a reference that several alerts have, or of an id that
// several suppressions have.
type ambiguousError struct{ text string }

// Error implements error.
func (e *ambiguousError) Error() string { return e.text }

// exitCode returns the exit code of a command that ended with err.
func exitCode(err error) int {
	var (
		code      said
		usage     *usageError
		ambiguous *ambiguousError
		signIn    *table.SignInError
		service   *table.ServiceError
		conflict  *alert.Conflict
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), errors.As(err, &ambiguous):
		return exitUsage
	case errors.Is(err, alert.ErrNotFound), errors.Is(err, alert.ErrNoSuppression):
		return exitNotFound
	case errors.As(err, &signIn):
		return exitSignIn
	case errors.As(err, &service) && (service.Status == http.StatusUnauthorized || service.Status == http.StatusForbidden):
		return exitSignIn
	case errors.As(err, &conflict):
		return exitConflict
	}
	return exitFailed
}

// advised returns err with what to do about it, if err says that the storage account
// cannot be reached. Any other error says so by itself.
func (o *operator) advised(err error) error {
	var name *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("there is no host %s: see whether the name of the storage account is right, and whether this computer is online", name.Name)
	case !errors.As(err, &dial) || dial.Op != "dial" || dial.Addr == nil:
		return err
	case o.local:
		return fmt.Errorf("nothing answers at %s: %s was written by a make run that has ended; start make run again, in another terminal", dial.Addr, localFile)
	}
	if at, ok := dial.Addr.(*net.TCPAddr); ok && at.IP.IsLoopback() {
		return fmt.Errorf("nothing answers at %s: start Azurite; or start make run, and say --local; or name a storage account with --account", dial.Addr)
	}
	return fmt.Errorf("nothing answers at %s (%w): see whether this computer is online, and whether the network rules of the storage account let it in", dial.Addr, dial.Err)
}

// screen is where a command writes. It remembers the first error: a file system that is
// full, for example. So a command that has lost its output does not end with 0.
type screen struct {
	io.Writer
	color bool // it shows colours
	err   error
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// interrupted reports whether a person has ended the command.
func interrupted(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
