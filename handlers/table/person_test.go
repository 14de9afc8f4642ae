package table

import (
	"context"
	"encoding/base64"
	"errors"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"hubwatch/handlers/alert"
)

// token returns an unsigned token with claims.
func token(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2VjcmV0"
}

func TestPersonOf(t *testing.T) {
	const oid, appid = "00000000-0000-0000-0000-0000000000a0", "00000000-0000-0000-0000-0000000000a9"
	for name, test := range map[string]struct {
		token string
		want  alert.Person
		err   string // a part of the error
	}{
		"person":            {token: token(`{"upn":"bob@contoso.example","unique_name":"other","oid":"` + oid + `","appid":"` + appid + `"}`), want: alert.Person{Name: "bob@contoso.example", ObjectID: oid}},
		"guest":             {token: token(`{"unique_name":"live.com#bob@contoso.example","oid":"` + oid + `"}`), want: alert.Person{Name: "live.com#bob@contoso.example", ObjectID: oid}},
		"application":       {token: token(`{"appid":"` + appid + `","oid":"` + oid + `"}`), want: alert.Person{Name: "app:" + appid, ObjectID: oid}},
		"object alone":      {token: token(`{"oid":"` + oid + `"}`), want: alert.Person{ObjectID: oid}},
		"padded":            {token: "e30." + base64.URLEncoding.EncodeToString([]byte(`{"upn":"bo@contoso.example"}`)) + ".x", want: alert.Person{Name: "bo@contoso.example"}},
		"nobody":            {token: token(`{"aud":"https://storage.azure.com"}`), err: "does not say who is signed in"},
		"opaque":            {token: "c2VjcmV0", err: "three parts"},
		"not base64":        {token: "e30.c2Vj*cmV0.x", err: "not base64"},
		"not JSON":          {token: token("c2VjcmV0"), err: "not the JSON"},
		"name is no text":   {token: token(`{"upn":7}`), err: "not the JSON"},
		"name stands twice": {token: token(`{"upn":"a","upn":"b"}`), err: "not the JSON"},
	} {
		got, err := personOf(test.token)
		if got != test.want || (err == nil) != (test.err == "") {
			t.Errorf("%s: %+v, error %v, want %+v", name, got, err, test.want)
		}
		if err != nil && (!strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "c2Vj")) {
			t.Errorf("%s: error %q, want one with %q and no part of the token", name, err, test.err)
		}
	}
}

// TestPersonOfConnectionString: without a token, it is the user of this computer.
func TestPersonOfConnectionString(t *testing.T) {
	u, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	got, err := Settings{ConnectionString: "UseDevelopmentStorage=true"}.Person(t.Context())
	if want := (alert.Person{Name: "local:" + u.Username}); got != want || err != nil {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
}

// tokens is a credential that calls a function.
type tokens func(context.Context) (azcore.AccessToken, error)

func (f tokens) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return f(ctx)
}

func failing(text string) tokens {
	return func(context.Context) (azcore.AccessToken, error) { return azcore.AccessToken{}, errors.New(text) }
}

func giving(name string) tokens {
	return func(context.Context) (azcore.AccessToken, error) { return azcore.AccessToken{Token: name}, nil }
}

func TestSignedIn(t *testing.T) {
	t.Run("the first that has a token", func(t *testing.T) {
		s := signedIn{[]tool{{"az", failing("AzureCLICredential: executable not found on path")}, {"azd", giving("two")}, {"other", giving("three")}}}
		got, err := s.GetToken(t.Context(), policy.TokenRequestOptions{})
		if got.Token != "two" || err != nil {
			t.Errorf("%q, error %v", got.Token, err)
		}
	})
	t.Run("nobody is signed in", func(t *testing.T) {
		s := signedIn{[]tool{
			{"az", failing("AzureCLICredential: ERROR: Please run 'az login' to setup account.\nmore. To troubleshoot, visit https://aka.ms/x")},
			{"azd", failing("AzureDeveloperCLICredential: executable not found on path. To troubleshoot, visit https://aka.ms/x")},
		}}
		_, err := s.GetToken(t.Context(), policy.TokenRequestOptions{})
		var signIn *SignInError
		const want = "not signed in: say az login (az: Please run 'az login' to setup account; azd: executable not found on path)"
		if !errors.As(err, &signIn) || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("slower than one try of a request", func(t *testing.T) {
		try, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		s := signedIn{[]tool{{"az", tokens(func(ctx context.Context) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "late"}, ctx.Err()
		})}}}
		if got, err := s.GetToken(try, policy.TokenRequestOptions{}); got.Token != "late" || err != nil {
			t.Errorf("%q, error %v", got.Token, err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := signedIn{[]tool{{"az", tokens(func(asking context.Context) (azcore.AccessToken, error) {
			cancel()
			<-asking.Done()
			return azcore.AccessToken{}, asking.Err()
		})}, {"azd", giving("two")}}}
		if got, err := s.GetToken(ctx, policy.TokenRequestOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%q, error %v, want that of the caller", got.Token, err)
		}
	})
	t.Run("any identity", func(t *testing.T) {
		_, err := anyIdentity{failing("DefaultAzureCredential: none.\n\tEnvironmentCredential: missing")}.GetToken(t.Context(), policy.TokenRequestOptions{})
		var signIn *SignInError
		if !errors.As(err, &signIn) || strings.ContainsAny(err.Error(), "\n\t") {
			t.Errorf("error %q, want one line about signing in", err)
		}
	})
}

// TestCredentialOfPeople: a person is never taken for the identity of a machine or app.
func TestCredentialOfPeople(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
	t.Setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-0000000000c1")
	credential, err := Settings{ServiceURI: "https://contosostorage.table.core.windows.net", SignedIn: true}.Credential()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range credential.(signedIn).tools {
		names = append(names, tool.name)
	}
	if got := strings.Join(names, " "); got != "az azd" {
		t.Errorf("asks %s, want az and azd alone", got)
	}
}
