package table

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// storageScope is what tokens for the tables are for (aztables v1.4.1,
// service_client.go). It is the same in all clouds.
const storageScope = "https://storage.azure.com/.default"

// Person returns who reads and writes the tables with these settings: the name and the
// object id in the token that the tables are opened with. The token is not verified
// here, because the storage account verifies the same token with each request. With a
// connection string there is no token, and the person is the user of this computer,
// local:<name>. The error is a *SignInError if nobody is signed in.
func (s Settings) Person(ctx context.Context) (alert.Person, error) {
	if s.ConnectionString != "" {
		u, err := user.Current()
		if err != nil {
			return alert.Person{}, fmt.Errorf("user of this computer: %w", err)
		}
		return alert.Person{Name: "local:" + u.Username}, nil
	}
	credential, err := s.Credential()
	if err != nil {
		return alert.Person{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
	if err != nil {
		return alert.Person{}, err
	}
	return personOf(token.Token)
}

// personOf returns the person that an access token is for. The name is the user
// principal name of a person, and app:<client id> of an application
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
// Its error has no part of the token.
func personOf(token string) (alert.Person, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return alert.Person{}, errors.New("access token: want a JSON Web Token of three parts, to see who is signed in")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return alert.Person{}, errors.New("access token: its claims are not base64")
	}
	var claims struct {
		UPN        string `json:"upn"`
		UniqueName string `json:"unique_name"`
		ObjectID   string `json:"oid"`
		AppID      string `json:"appid"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return alert.Person{}, errors.New("access token: its claims are not the JSON of Microsoft Entra")
	}
	p := alert.Person{Name: claims.UPN, ObjectID: claims.ObjectID}
	if p.Name == "" {
		p.Name = claims.UniqueName
	}
	if p.Name == "" && claims.AppID != "" {
		p.Name = "app:" + claims.AppID
	}
	if p.Name == "" && p.ObjectID == "" {
		return alert.Person{}, errors.New("access token: it does not say who is signed in: want one of the claims upn, unique_name, oid and appid")
	}
	return p, nil
}

// SignInError is the error of a request for which there was no token: nobody is signed
// in, or the sign-in has expired.
type SignInError struct{ err error }

// Error implements error. It says how to sign in.
func (e *SignInError) Error() string {
	return fmt.Sprintf("not signed in: say az login (%s)", secret.RedactString(e.err.Error()))
}

// Unwrap returns what the tools said.
func (e *SignInError) Unwrap() error { return e.err }

// signInTimeout is how long a tool may take to give a token. It starts a Python
// program, and asks Microsoft Entra if the last token has expired.
const signInTimeout = 30 * time.Second

// signedIn is the credential of the person who is signed in on this computer: with the
// Azure CLI, or else with the Azure Developer CLI. azidentity.DefaultAzureCredential
// would look for other identities first. On a virtual machine it would find the one of
// the machine, and the history of an alert would name that.
type signedIn struct{ tools []tool }

// tool is a program that people sign in with.
type tool struct {
	name       string
	credential azcore.TokenCredential
}

// newSignedIn returns the credential of the person who is signed in.
func newSignedIn() (azcore.TokenCredential, error) {
	cli, err := azidentity.NewAzureCLICredential(nil)
	if err != nil {
		return nil, err
	}
	developer, err := azidentity.NewAzureDeveloperCLICredential(nil)
	if err != nil {
		return nil, err
	}
	return signedIn{[]tool{{"az", cli}, {"azd", developer}}}, nil
}

// GetToken implements azcore.TokenCredential. Its error is a *SignInError, or that of
// ctx if the caller gave up. It may take longer than one try of a request: the request
// is then tried again with the token, which azcore has kept.
func (s signedIn) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), signInTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	defer stop()
	var said []string
	for _, t := range s.tools {
		token, err := t.credential.GetToken(asking, options)
		if err == nil {
			return token, nil
		}
		if errors.Is(asking.Err(), context.Canceled) {
			return azcore.AccessToken{}, context.Cause(ctx)
		}
		said = append(said, t.name+": "+gist(err))
	}
	return azcore.AccessToken{}, &SignInError{errors.New(strings.Join(said, "; "))}
}

// gist returns the one line of an error of azidentity that a person needs. The type of
// the credential is left out, and so is a link to a page about the SDK.
func gist(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	line, _, _ = strings.Cut(line, " To troubleshoot, visit")
	if kind, rest, ok := strings.Cut(line, ": "); ok && strings.HasSuffix(kind, "Credential") {
		line = rest
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "ERROR: "), ".")
}

// anyIdentity is the credential that azidentity.DefaultAzureCredential finds.
type anyIdentity struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential. Its error is a *SignInError, or that of
// ctx if the caller gave up.
func (a anyIdentity) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := a.TokenCredential.GetToken(ctx, options)
	if err == nil || ctx.Err() != nil {
		return token, err
	}
	return token, &SignInError{errors.New(strings.Join(strings.Fields(err.Error()), " "))}
}
