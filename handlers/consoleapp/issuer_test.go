package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

const (
	tenant   = "00000000-0000-0000-0000-0000000000aa"
	clientID = "00000000-0000-0000-0000-0000000000c2"
	alice    = "00000000-0000-0000-0000-0000000000b1"
)

// issuer is a tenant of Microsoft Entra, as far as tokens are verified with it.
type issuer struct {
	*httptest.Server
	key  *rsa.PrivateKey
	away atomic.Bool // whether it answers 503

	discovered atomic.Int64 // how often it was asked where its keys are
}

// newIssuer starts an issuer.
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.Server = httptest.NewTLSServer(i)
	t.Cleanup(i.Close)
	return i
}

// name is what tokens have as iss.
func (i *issuer) name() string { return i.URL + "/" + tenant + "/v2.0" }

// ServeHTTP implements http.Handler: the document of OpenID Connect Discovery, and the
// keys.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.away.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path != "/keys" {
		i.discovered.Add(1)
	}
	answer := map[string]any{"issuer": i.name(), "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}}
	if r.URL.Path == "/keys" {
		encode := base64.RawURLEncoding.EncodeToString
		answer = map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "use": "sig", "kid": "1", "alg": "RS256",
			"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
		}}}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// claims returns those of a token that is good for an hour, with others in place of them.
// A nil value takes one out.
func (i *issuer) claims(others map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.name(), "aud": clientID, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"oid": alice, "tid": tenant, "preferred_username": "alice@contoso.example", "roles": []string{roleRead},
	}
	maps.Copy(c, others)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// token returns a token with such claims.
func (i *issuer) token(t *testing.T, others map[string]any) string {
	t.Helper()
	return sign(t, i.key, "RS256", i.claims(others))
}

// sign returns a token that a key has signed, whatever algorithm it names.
func sign(t *testing.T, key *rsa.PrivateKey, algorithm string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]string{"alg": algorithm, "typ": "JWT", "kid": "1"}) + "." + part(claims)
	if algorithm == "none" {
		return signed + "."
	}
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
