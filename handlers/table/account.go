// Package table keeps alerts, their evidence and the quarantine in Azure Table
// Storage. It is the only package that knows aztables and azidentity.
//
// An alert is one row, and each distinct event that it was seen in is a row of
// evidence beside it. Both are written in one entity group transaction: the
// evidence is inserted, which fails if that event is recorded already. The alert's
// counters are merged, on condition that nobody changed the row meanwhile. So a
// redelivery changes nothing, two instances never lose or double an occurrence,
// and what a person wrote into the row stays. docs/design.md has the alternatives
// and their cost.
package table

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/reach"
)

// Account is a storage account, or another service with the protocol of Table
// Storage, like Azurite.
type Account struct{ service *aztables.ServiceClient }

// Open returns the account that the settings name. It does not connect: an account
// that cannot be reached shows at the first request. The error says which setting
// is missing or wrong.
func Open(settings Settings) (*Account, error) {
	service, err := settings.service()
	if err != nil {
		return nil, err
	}
	return &Account{service}, nil
}

// table returns a table by its name. absence says what it means for a reader that
// the table does not exist.
func (a *Account) table(name, absence string) table {
	return table{a.service.NewClient(name), name, absence}
}

// transport keeps as many connections as invocations run at once. The SDK's own
// keeps ten for each host (azcore v1.24.0, default_http_client.go) and dials
// anew in every burst.
var transport = func() reach.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 128, 128
	// The Table service sends no redirects: one comes from something on the way, and leads to
	// something that is not the table.
	return reach.Transport{RoundTripper: t}
}()

// clientOptions bound every call: four tries of three seconds each, and no more than
// the context of the caller allows. The SDK's own options have no limit for a try,
// and wait for ten seconds and more in all.
func clientOptions() policy.ClientOptions {
	return policy.ClientOptions{
		Transport: transport,
		Retry: policy.RetryOptions{
			MaxRetries:    3,
			TryTimeout:    3 * time.Second,
			RetryDelay:    100 * time.Millisecond,
			MaxRetryDelay: 2 * time.Second,
		},
		PerCallPolicies: []policy.Policy{noEcho{}},
	}
}

// noEcho asks the service not to send the entity back that was just inserted.
type noEcho struct{}

func (noEcho) Do(r *policy.Request) (*http.Response, error) {
	if r.Raw().Method == http.MethodPost {
		r.Raw().Header.Set("Prefer", "return-no-content")
	}
	return r.Next()
}

// table is a table and its name.
type table struct {
	client  *aztables.Client
	name    string
	absence string // what follows if the table does not exist and the settings are right
}

// missing reports whether err says that the table does not exist, and whether the
// table is there now: missing creates it. A deployment creates the tables; missing is
// for a local start with an empty account. If missing returns false, the caller reports
// err.
func (t table) missing(ctx context.Context, err error) bool {
	if !hasCode(err, aztables.TableNotFound) {
		return false
	}
	_, err = t.client.CreateTable(ctx, nil)
	return err == nil || hasCode(err, aztables.TableAlreadyExists)
}

// Make makes tables, as a deployment does. One that is there already stays as it is.
func (a *Account) Make(ctx context.Context, names ...string) error {
	for _, name := range names {
		t := a.table(name, "")
		if _, err := t.client.CreateTable(ctx, nil); err != nil && !hasCode(err, aztables.TableAlreadyExists) {
			return t.explain("make", err)
		}
	}
	return nil
}

// submit sends an entity group transaction: all actions are made, or none. It returns the
// ETag of each row that the actions wrote, in their order, or nil if the answer does not have
// all of them.
func (t table) submit(ctx context.Context, actions ...aztables.TransactionAction) (etags []azcore.ETag, err error) {
	defer func() {
		// aztables v1.4.1 panics on an empty answer to a transaction
		// (transactional_batch.go, getBoundaryName).
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	var response *http.Response
	if _, err = t.client.SubmitTransaction(policy.WithCaptureResponse(ctx, &response), actions, nil); err != nil {
		return nil, err
	}
	if etags = etagsOf(response); len(etags) != len(actions) {
		return nil, nil
	}
	return etags, nil
}

// etagsOf returns the ETags in the answer to a transaction, which has a part with headers for
// each action, and no bodies
// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions#sample-response).
// aztables v1.4.1 reads the answer and does not return them.
func etagsOf(answer *http.Response) (etags []azcore.ETag) {
	if answer == nil {
		return nil
	}
	body, err := runtime.Payload(answer)
	if err != nil {
		return nil
	}
	const name = "ETag:"
	for line := range bytes.Lines(body) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			etags = append(etags, azcore.ETag(bytes.TrimSpace(line[len(name):])))
		}
	}
	return etags
}

// absent returns the error of reading a table that does not exist.
func (t table) absent() error {
	return fmt.Errorf("table %q: %w: %s, or the settings name another storage account or table than those of the app", t.name, alert.ErrAbsent, t.absence)
}
