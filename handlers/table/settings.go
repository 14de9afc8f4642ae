package table

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/reach"
)

// Settings say where the tables are. The names of the application settings
// follow the convention for identity-based connections of Azure Functions
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections).
type Settings struct {
	// ConnectionString is AlertsStorage: a connection string, or
	// UseDevelopmentStorage=true for Azurite at its usual port.
	ConnectionString string
	// ServiceURI is AlertsStorage__tableServiceUri, used instead of a connection
	// string and with a Microsoft Entra identity: https://<account>.table.core.windows.net
	ServiceURI string
	// ManagedIdentity says to use only the identity of the function app. SignedIn
	// says to use only that of the person who is signed in with the Azure CLI or the
	// Azure Developer CLI. With neither of them, the identity is the one that
	// azidentity.DefaultAzureCredential finds.
	ManagedIdentity, SignedIn bool
	// ClientID is AlertsStorage__clientId, and ResourceID is
	// AlertsStorage__managedIdentityResourceId: either names a user-assigned
	// identity. If both are empty, the identity is the system-assigned one.
	ClientID, ResourceID string
	// Setting is the name of the application setting, which errors say, if it is not
	// AlertsStorage.
	Setting string
}

// setting returns the name of the application setting.
func (s Settings) setting() string { return cmp.Or(s.Setting, "AlertsStorage") }

// tableName is what Table Storage accepts, of 3 to 63 characters
// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model#table-names).
var tableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// CheckName returns an error unless name can be the name of a table.
func CheckName(name string) error {
	if len(name) < 3 || len(name) > 63 || !tableName.MatchString(name) {
		return fmt.Errorf("%q is not a name for a table: want 3 to 63 letters and digits, a letter first", name)
	}
	if strings.EqualFold(name, "tables") {
		return fmt.Errorf("%q is not a name for a table: it is reserved, want another", name)
	}
	return nil
}

// CheckConnectionString returns an error unless s is a connection string that
// names a table service and a credential for it. The error says everything that
// is wrong in one line, and has no part of a key or a signature.
func CheckConnectionString(s string) error {
	_, err := parseConnectionString(s)
	return err
}

// CheckServiceURI returns an error unless s is the URL of a table service to
// which a token may be sent: https, with a host, and without a credential.
func CheckServiceURI(s string) error {
	u, err := parseEndpoint(s)
	if err != nil {
		return err
	}
	if u.Scheme != "https" { // azcore v1.24.0, policy_bearer_token.go, sends no token over http, not even to this machine
		return errors.New("is http, and tokens go over https alone: want https://, or AlertsStorage=UseDevelopmentStorage=true for Azurite")
	}
	return nil
}

// service returns a client of the account. Its error names a setting.
func (s Settings) service() (*aztables.ServiceClient, error) {
	options := &aztables.ClientOptions{ClientOptions: clientOptions()}
	switch {
	case s.ConnectionString != "" && s.ServiceURI != "":
		return nil, errors.New("settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have both")
	case s.ConnectionString != "":
		c, err := parseConnectionString(s.ConnectionString)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", s.setting(), err)
		}
		service, err := c.service(options)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", s.setting(), &redacted{err})
		}
		return service, nil
	case s.ServiceURI != "":
		if err := CheckServiceURI(s.ServiceURI); err != nil {
			return nil, fmt.Errorf("setting %s__tableServiceUri: %w", s.setting(), err)
		}
		credential, err := s.Credential()
		if err != nil {
			return nil, fmt.Errorf("setting %s__tableServiceUri: %w", s.setting(), err)
		}
		service, err := aztables.NewServiceClient(s.ServiceURI, credential, options)
		if err != nil {
			return nil, fmt.Errorf("setting %s__tableServiceUri: %w", s.setting(), err)
		}
		return service, nil
	default:
		return nil, errors.New("settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have none")
	}
}

// Credential returns what gets tokens. For tables their audience is
// https://storage.azure.com in all clouds (aztables v1.4.1, service_client.go).
// azidentity obeys AZURE_AUTHORITY_HOST where it asks Microsoft Entra itself. So
// nothing here depends on the cloud.
func (s Settings) Credential() (azcore.TokenCredential, error) {
	switch {
	case s.SignedIn:
		return newSignedIn()
	case !s.ManagedIdentity:
		credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: clientOptions()})
		return anyIdentity{credential}, err
	}
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: clientOptions()}
	switch {
	case s.ClientID != "" && s.ResourceID != "":
		return nil, errors.New("a client id and a resource id: want one")
	case s.ClientID != "":
		options.ID = azidentity.ClientID(s.ClientID)
	case s.ResourceID != "":
		options.ID = azidentity.ResourceID(s.ResourceID)
	}
	return azidentity.NewManagedIdentityCredential(options)
}

// developmentStorage is what UseDevelopmentStorage=true stands for. Account and
// key are Azurite's, the same everywhere
// (https://learn.microsoft.com/azure/storage/common/storage-connect-azurite).
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"

// connection has the parts of a connection string that are about tables.
type connection struct {
	protocol     string // https or http, without an endpoint
	account, key string // the key in base64
	sas          string // instead of a key, the query of a URL
	endpoint     string // URL of the table service; "" for that of the account in the public cloud
}

// service returns a client of the account that c names. The SDK's own parser is
// used only for a connection string without an endpoint and without a suffix,
// which means the public cloud. With a SAS the parser ignores both (aztables
// v1.4.1, connection_string.go), and would send the signature to another host.
func (c connection) service(options *aztables.ClientOptions) (*aztables.ServiceClient, error) {
	if c.sas != "" {
		return aztables.NewServiceClientWithNoCredential(c.endpoint+"?"+c.sas, options)
	}
	if c.endpoint == "" {
		s := fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s", c.protocol, c.account, c.key)
		return aztables.NewServiceClientFromConnectionString(s, options)
	}
	credential, err := aztables.NewSharedKeyCredential(c.account, c.key)
	if err != nil {
		return nil, err
	}
	return aztables.NewServiceClientWithSharedKey(c.endpoint, credential, options)
}

// Names of the parts of a connection string that are about tables
// (https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string).
const (
	nameDevelopment = "UseDevelopmentStorage"
	nameProxy       = "DevelopmentStorageProxyUri"
	nameProtocol    = "DefaultEndpointsProtocol"
	nameAccount     = "AccountName"
	nameKey         = "AccountKey"
	nameSAS         = "SharedAccessSignature"
	nameEndpoint    = "TableEndpoint"
	nameSuffix      = "EndpointSuffix"
)

var (
	tableParts = []string{nameAccount, nameKey, nameSAS, nameEndpoint, nameSuffix, nameProtocol, nameDevelopment, nameProxy}
	// otherParts are about other services and about secondary endpoints. hubwatch
	// ignores them.
	otherParts = []string{
		"BlobEndpoint", "BlobSecondaryEndpoint", "DfsEndpoint", "FileEndpoint", "FileSecondaryEndpoint",
		"QueueEndpoint", "QueueSecondaryEndpoint", "TableSecondaryEndpoint", "WebEndpoint",
	}
)

// splitConnectionString returns the parts of a connection string by their names.
// It removes blanks around names and values, and ignores the letter case of
// names. An error never quotes what stands in the place of a name, because that
// may be a piece of a key.
func splitConnectionString(s string) (map[string]string, error) {
	parts := map[string]string{}
	var errs problems
	pieces := strings.Split(s, ";")
	for i, piece := range pieces {
		if piece = strings.TrimSpace(piece); piece == "" {
			continue
		}
		name, value, ok := strings.Cut(piece, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		known := slices.IndexFunc(slices.Concat(tableParts, otherParts), func(k string) bool { return strings.EqualFold(k, name) })
		if !ok || known < 0 {
			errs.add("part %d of %d between semicolons is none of %s", i+1, len(pieces), strings.Join(tableParts, ", "))
			continue
		}
		name = slices.Concat(tableParts, otherParts)[known]
		if _, twice := parts[name]; twice {
			errs.add("%s is there twice", name)
		}
		if parts[name] = value; value == "" {
			errs.add("%s is empty", name)
		}
	}
	return parts, errs.err()
}

// accountName matches the name of a storage account
// (https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name).
var accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

// endpointSuffix matches the name of a domain.
var endpointSuffix = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// parseConnectionString reads a connection string. Its error says everything that
// is wrong in one line.
func parseConnectionString(s string) (connection, error) {
	if scheme, _, ok := strings.Cut(s, "://"); ok && !strings.Contains(scheme, "=") {
		return connection{}, errors.New("is a URL and not a connection string; put the URL of a table service into AlertsStorage__tableServiceUri")
	}
	parts, err := splitConnectionString(s)
	if err != nil {
		return connection{}, err
	}
	if _, ok := parts[nameDevelopment]; ok {
		return parseDevelopment(parts)
	}
	var errs problems
	httpsOnly := false // the SAS is
	c := connection{protocol: strings.ToLower(cmp.Or(parts[nameProtocol], "https")), account: parts[nameAccount], key: parts[nameKey]}
	if c.protocol != "https" && c.protocol != "http" {
		errs.add("%s is wrong: want https or http", nameProtocol)
	}
	if parts[nameProxy] != "" {
		errs.add("%s has no use without %s=true", nameProxy, nameDevelopment)
	}
	switch sas := parts[nameSAS]; {
	case c.key != "" && sas != "":
		errs.add("%s and %s are both there: want one", nameKey, nameSAS)
	case sas != "":
		query, err := parseSAS(sas, time.Now())
		errs.join(nameSAS, err)
		c.sas, httpsOnly = query.Encode(), query.Get("spr") == "https"
		if parts[nameEndpoint] == "" && parts[nameSuffix] == "" {
			errs.add("%s is wrong: want %s or %s too, so that the signature goes nowhere else", nameSAS, nameEndpoint, nameSuffix)
		}
	case c.key == "":
		errs.add("%s is missing: want that or a %s", nameKey, nameSAS)
	default:
		if key, err := base64.StdEncoding.DecodeString(c.key); err != nil || len(key) == 0 {
			errs.add("%s is not base64: copy the whole of it again", nameKey)
		}
	}
	if parts[nameEndpoint] != "" {
		u, err := parseEndpoint(parts[nameEndpoint])
		errs.join(nameEndpoint, err)
		if err == nil {
			c.endpoint = u.String()
		}
		if err == nil && c.sas != "" && u.Scheme == "http" && (httpsOnly || !reach.Loopback(u.Hostname())) {
			errs.add("%s is http, and the SAS is for https alone (spr) or everybody on the way could read its signature: want https", nameEndpoint)
		}
		if c.account == "" && c.sas == "" {
			errs.add("%s is missing", nameAccount)
		}
		return c, errs.err()
	}
	switch {
	case c.account == "":
		errs.add("%s is missing", nameAccount)
	case !accountName.MatchString(c.account):
		errs.add("%s is wrong: want 3 to 24 small letters and digits", nameAccount)
	}
	if suffix := parts[nameSuffix]; suffix != "" {
		if !endpointSuffix.MatchString(suffix) {
			errs.add("%s is wrong: want the end of a host name, core.windows.net or that of your cloud", nameSuffix)
		}
		if c.sas != "" && c.protocol == "http" {
			errs.add("%s is http, and everybody on the way could read the signature of the SAS: want https", nameProtocol)
		}
		c.endpoint = fmt.Sprintf("%s://%s.table.%s/", c.protocol, c.account, suffix)
	}
	return c, errs.err()
}

// parseDevelopment returns what a connection string for Azurite stands for. As with
// Microsoft's own clients, scheme and host are those of the proxy if there is one,
// and the port is Azurite's usual one (Azure/azure-sdk-for-net,
// TableConnectionString.GetDevelopmentStorageAccount).
func parseDevelopment(parts map[string]string) (connection, error) {
	var errs problems
	for _, name := range slices.Concat(tableParts, otherParts) {
		if _, ok := parts[name]; ok && name != nameDevelopment && name != nameProxy {
			errs.add("%s has no use beside %s", name, nameDevelopment)
		}
	}
	if !strings.EqualFold(parts[nameDevelopment], "true") {
		errs.add("%s is wrong: want true, or leave it out", nameDevelopment)
	}
	c, err := parseConnectionString(developmentStorage)
	errs.join(nameDevelopment, err)
	if proxy := parts[nameProxy]; proxy != "" {
		u, err := parseEndpoint(proxy)
		errs.join(nameProxy, err)
		switch {
		case err != nil:
		case u.Port() != "" && u.Port() != "10002" || strings.Trim(u.Path, "/") != "":
			errs.add("%s is wrong: want scheme and host alone, the port is always 10002; for another say %s", nameProxy, nameEndpoint)
		default:
			c.endpoint = u.Scheme + "://" + net.JoinHostPort(u.Hostname(), "10002") + "/" + c.account
		}
	}
	return c, errs.err()
}

// parseSAS returns a shared access signature as the query of a URL. Its error has
// no part of the signature.
func parseSAS(s string, now time.Time) (url.Values, error) {
	q, err := url.ParseQuery(strings.TrimPrefix(s, "?"))
	if err != nil || q.Get("sig") == "" {
		return nil, errors.New("is not a SAS as Azure makes them: want sv, sp, se and sig")
	}
	if services := q.Get("ss"); services != "" && !strings.Contains(services, "t") {
		return nil, errors.New("is not for tables: want ss=t")
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if end, err := time.Parse(layout, q.Get("se")); err == nil && end.Before(now) {
			return nil, fmt.Errorf("has expired (se is %s)", q.Get("se"))
		}
	}
	// Base64 has no spaces. A signature with a space was written with + instead
	// of %2B.
	q.Set("sig", strings.ReplaceAll(q.Get("sig"), " ", "+"))
	return q, nil
}

// hostName matches the name or address of a host, and not a placeholder like
// <account>.
var hostName = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

// parseEndpoint returns the URL of a table service. Its error does not quote the
// URL, because the URL may hold a credential.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if !strings.Contains(s, "://") {
		return nil, errors.New("is not a URL: want one that begins with https://")
	}
	switch {
	case err != nil || !hostName.MatchString(u.Hostname()):
		return nil, errors.New("is not a URL with a host: want https://<account>.table.<suffix of the cloud>")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("is not a URL that begins with https://")
	case u.User != nil:
		return nil, errors.New("has a name or a password in the URL: want none")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has something behind ? or #: want the URL alone; a SAS works in AlertsStorage, a connection string with TableEndpoint and SharedAccessSignature")
	}
	labels := strings.Split(strings.ToLower(u.Hostname()), ".")
	// <account>.<service>.<suffix>, or with a zone or privatelink before the service
	// (https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints).
	for _, label := range labels[1:min(len(labels), 3)] {
		switch label {
		case "blob", "dfs", "file", "queue", "web":
			return nil, fmt.Errorf("is the endpoint of another service of the storage account (%s): want that of its tables, with .table. instead of .%s. in it", label, label)
		case "privatelink":
			return nil, errors.New("names the private endpoint itself, which has no certificate of that name: want the URL without .privatelink")
		case "table":
			if strings.Trim(u.Path, "/") != "" {
				return nil, errors.New("has a path behind the host: want none, the tables are named by AlertsTable and QuarantineTable")
			}
		}
	}
	return u, nil
}

// problems are what is wrong with one setting.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// join adds what is wrong with one part, unless err is nil.
func (p *problems) join(part string, err error) {
	if err != nil {
		p.add("%s %v", part, err)
	}
}

// err returns all problems in one line, or nil if there are none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return errors.New(strings.Join(p, "; "))
}
