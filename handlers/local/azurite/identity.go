package azurite

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"hubwatch/handlers/local/netjson"
)

// identityPath is where App Service serves tokens.
const identityPath = "/msi/token"

// IdentityOptions says what tokens an Identity gives out.
type IdentityOptions struct {
	// Lifetime of a token; 0 means an hour.
	Lifetime time.Duration
	// ClientID, if set, is the only client_id that gets a token, as with a
	// user-assigned identity. If it is empty, any client_id gets a token, and so
	// does a request without one.
	ClientID string
}

// Identity is a managed identity endpoint in the form of App Service and
// Azure Functions (learn.microsoft.com/azure/app-service/overview-managed-identity)
// on a loopback port. Its tokens are unsigned: Azurite checks their claims and
// not their signature, and nothing else should accept them.
type Identity struct {
	options IdentityOptions
	server  *http.Server
	url     string
	secret  string
	issued  atomic.Int64
	done    chan struct{}
}

// StartIdentity starts the endpoint.
func StartIdentity(options IdentityOptions) (*Identity, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("identity endpoint: %w", err)
	}
	i := &Identity{
		options: options,
		url:     "http://" + listener.Addr().String() + identityPath,
		secret:  rand.Text(),
		done:    make(chan struct{}),
	}
	i.server = &http.Server{Handler: i, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(i.done)
		i.server.Serve(listener)
	}()
	return i, nil
}

// Env returns the NAME=value variables by which a process finds the endpoint.
func (i *Identity) Env() []string {
	return []string{"IDENTITY_ENDPOINT=" + i.url, "IDENTITY_HEADER=" + i.secret}
}

// Issued returns the number of tokens given out so far.
func (i *Identity) Issued() int { return int(i.issued.Load()) }

// Close stops the endpoint.
func (i *Identity) Close() {
	i.server.Close()
	<-i.done
}

// ServeHTTP answers a token request: 401 without the secret header, 400 without
// a resource or with another client_id.
func (i *Identity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	resource := query.Get("resource")
	switch {
	case r.URL.Path != identityPath:
		http.NotFound(w, r)
	case r.Header.Get("X-IDENTITY-HEADER") != i.secret:
		w.WriteHeader(http.StatusUnauthorized)
	case resource == "", i.options.ClientID != "" && query.Get("client_id") != i.options.ClientID:
		w.WriteHeader(http.StatusBadRequest)
	default:
		i.issued.Add(1)
		expires := time.Now().Add(cmp.Or(i.options.Lifetime, time.Hour))
		w.Header().Set("Content-Type", "application/json")
		w.Write(netjson.AppendObject(nil, []netjson.Member{
			{Name: "access_token", Value: netjson.AppendText(nil, unsignedToken(resource, expires))},
			{Name: "expires_on", Value: netjson.AppendText(nil, fmt.Sprint(expires.Unix()))},
			{Name: "resource", Value: netjson.AppendText(nil, resource)},
			{Name: "token_type", Value: []byte(`"Bearer"`)},
		}))
	}
}

// unsignedToken is a JSON Web Token with the claims that Azurite asks for.
func unsignedToken(audience string, expires time.Time) string {
	since := fmt.Append(nil, time.Now().Add(-10*time.Second).Unix())
	claims := netjson.AppendObject(nil, []netjson.Member{
		{Name: "aud", Value: netjson.AppendText(nil, audience)},
		{Name: "iss", Value: []byte(`"https://sts.windows.net/local/"`)},
		{Name: "iat", Value: since},
		{Name: "nbf", Value: since},
		{Name: "exp", Value: fmt.Append(nil, expires.Unix())},
	})
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(claims) + "."
}

// WriteCertificate makes a self-signed certificate for 127.0.0.1 and localhost,
// valid for a week, and writes it and its key as PEM files into dir. A Go
// process trusts it if SSL_CERT_FILE names certFile.
func WriteCertificate(dir string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "localhost"},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(7 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", fmt.Errorf("certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("certificate: %w", err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		return "", "", fmt.Errorf("certificate: %w", err)
	}
	return certFile, keyFile, nil
}
