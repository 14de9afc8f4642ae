package table

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

const (
	testKey = "cGxhbnRlZCBrZXkgb2YgdGhlIHRlc3Q=" // "planted key of the test"
	testSig = "cGxhbnRlZCtzaWduYXR1cmU%3D"
	testSAS = "sv=2019-02-02&ss=t&srt=sco&sp=raud&se=2999-01-01T00:00:00Z&sig=" + testSig
)

func TestSettings(t *testing.T) {
	valid := Settings{ConnectionString: "UseDevelopmentStorage=true"}
	for name, test := range map[string]struct {
		change func(*Settings)
		want   string // part of the error, "" if there is none
	}{
		"development storage":             {func(*Settings) {}, ""},
		"neither":                         {func(s *Settings) { s.ConnectionString = "" }, "AlertsStorage__tableServiceUri: want one, have none"},
		"both":                            {func(s *Settings) { s.ServiceURI = "https://contoso.table.core.windows.net" }, "want one, have both"},
		"not a connection string":         {func(s *Settings) { s.ConnectionString = "contoso" }, "setting AlertsStorage: "},
		"connection string without a key": {func(s *Settings) { s.ConnectionString = "AccountName=contoso" }, "setting AlertsStorage: AccountKey is missing"},
		"identity": {func(s *Settings) {
			s.ConnectionString, s.ServiceURI, s.ManagedIdentity = "", "https://contoso.table.core.windows.net", true
		}, ""},
		"two identities": {func(s *Settings) {
			*s = Settings{ServiceURI: "https://contoso.table.core.windows.net", ManagedIdentity: true, ClientID: "1", ResourceID: "/2"}
		}, "a client id and a resource id: want one"},
		"service URI": {func(s *Settings) { s.ConnectionString, s.ServiceURI = "", "contoso" }, "setting AlertsStorage__tableServiceUri: is not a URL"},
	} {
		s := valid
		test.change(&s)
		_, err := Open(s)
		if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%s: error %q, want %q in it", name, got, test.want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"alerts": true, "Alerts2": true, "abc": true, strings.Repeat("a", 63): true, "tables2": true,
		"": false, "ab": false, "hub-alerts": false, "2alerts": false, strings.Repeat("a", 64): false, "alerts\n": false, "älerts": false,
		"tables": false, "Tables": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: error %v, want it to be a name for a table: %v", name, err, ok)
		}
	}
	if err := CheckName("tables"); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf(`"tables": error %v, want one that says it is reserved`, err)
	}
}

// TestParseConnectionString checks what connection strings mean, in the spellings
// in which people paste them.
func TestParseConnectionString(t *testing.T) {
	azurite := connection{protocol: "http", account: "devstoreaccount1", key: testKey, endpoint: "http://127.0.0.1:10002/devstoreaccount1"}
	development, err := parseConnectionString(developmentStorage)
	if err != nil {
		t.Fatal(err)
	}
	proxied := development
	proxied.endpoint = "http://azurite:10002/devstoreaccount1"
	sas, err := url.ParseQuery(testSAS)
	if err != nil {
		t.Fatal(err)
	}
	const endpoint = "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"
	for s, want := range map[string]connection{
		"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + testKey + ";" + endpoint:                                                      azurite,
		"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey = " + testKey + ";" + endpoint:                                                    azurite,
		"DefaultEndpointsProtocol=http; AccountName = devstoreaccount1 ;\tAccountKey=" + testKey + "; " + endpoint:                                               azurite,
		";DefaultEndpointsProtocol=http;;AccountName=devstoreaccount1;AccountKey=" + testKey + ";" + endpoint + ";; ":                                            azurite,
		"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + testKey + ";" + endpoint + ";\n":                                              azurite,
		"DefaultEndpointsProtocol=http;\r\nAccountName=devstoreaccount1;\r\nAccountKey=" + testKey + "\r\n;" + endpoint + "\r\n":                                 azurite,
		"defaultendpointsprotocol=HTTP;ACCOUNTNAME=devstoreaccount1;accountkey=" + testKey + ";tableendpoint=http://127.0.0.1:10002/devstoreaccount1":            azurite,
		"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + testKey + ";" + endpoint: azurite,
		"UseDevelopmentStorage=true":                                                  development,
		" usedevelopmentstorage = TRUE ;;\n":                                          development,
		"UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite":        proxied,
		"UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite:10002/": proxied,

		// The endpoint and the suffix of a string are obeyed, with a SAS too.
		"AccountName=contoso;AccountKey=" + testKey: {protocol: "https", account: "contoso", key: testKey},
		"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=" + testKey + ";EndpointSuffix=core.chinacloudapi.cn": {protocol: "https", account: "contoso", key: testKey, endpoint: "https://contoso.table.core.chinacloudapi.cn/"},
		"DefaultEndpointsProtocol=http;AccountName=contoso;AccountKey=" + testKey + ";EndpointSuffix=core.windows.net":       {protocol: "http", account: "contoso", key: testKey, endpoint: "http://contoso.table.core.windows.net/"},
		"AccountName=contoso;AccountKey=" + testKey + ";TableEndpoint=https://contoso.z01.table.storage.azure.net/":          {protocol: "https", account: "contoso", key: testKey, endpoint: "https://contoso.z01.table.storage.azure.net/"},
		"AccountName=contoso;AccountKey=" + testKey + ";TableEndpoint=https://alerts.contoso.example":                        {protocol: "https", account: "contoso", key: testKey, endpoint: "https://alerts.contoso.example"},
		"AccountName=devstoreaccount1;" + endpoint + ";SharedAccessSignature=" + testSAS:                                     {protocol: "https", account: "devstoreaccount1", sas: sas.Encode(), endpoint: "http://127.0.0.1:10002/devstoreaccount1"},
		"TableEndpoint=https://contoso.table.core.usgovcloudapi.net/;SharedAccessSignature=?" + testSAS:                      {protocol: "https", sas: sas.Encode(), endpoint: "https://contoso.table.core.usgovcloudapi.net/"},
		"AccountName=contoso;EndpointSuffix=core.usgovcloudapi.net;SharedAccessSignature=" + testSAS:                         {protocol: "https", account: "contoso", sas: sas.Encode(), endpoint: "https://contoso.table.core.usgovcloudapi.net/"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=sig=a+b/c=":                                             {protocol: "https", sas: "sig=a%2Bb%2Fc%3D", endpoint: "https://contoso.example"},
	} {
		got, err := parseConnectionString(s)
		if err != nil {
			t.Errorf("%s: %v", secret.RedactString(s), err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(connection{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", secret.RedactString(s), diff)
		}
	}
}

// TestCheckConnectionString checks that the error says everything that cannot
// work, in one line. The error has no part of a key or a signature, and no
// example that redaction would make unreadable.
func TestCheckConnectionString(t *testing.T) {
	withKey := "AccountName=contoso;AccountKey=" + testKey
	withSAS := "AccountName=contoso;SharedAccessSignature=" + testSAS
	for s, want := range map[string][]string{
		"contoso":                                {"part 1 of 1 between semicolons is none of AccountName"},
		"":                                       {"AccountKey is missing", "AccountName is missing"},
		testKey:                                  {"part 1 of 1"},
		"AccountName=contoso;" + testKey:         {"part 2 of 2"},
		"https://contoso.table.core.windows.net": {"is a URL", "AlertsStorage__tableServiceUri"},
		"https://contoso.table.core.windows.net/?" + testSAS: {"is a URL"},
		"AccountName=contoso":                                {"AccountKey is missing", "SharedAccessSignature"},
		"AccountKey=" + testKey:                              {"AccountName is missing"},
		"AccountNme=contoso;AccountKey=" + testKey:           {"part 1 of 2"},
		"HostName=contoso.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=" + testKey: {"part 1 of 3", "part 2 of 3", "part 3 of 3"},
		withKey + ";AccountName=fabrikam":                                 {"AccountName is there twice"},
		"AccountName=;AccountKey=":                                        {"AccountName is empty", "AccountKey is empty"},
		"AccountName=contoso;AccountKey=" + testKey[:9]:                   {"AccountKey is not base64"},
		"AccountName=contoso;AccountKey=<key>":                            {"AccountKey is not base64"},
		"AccountName=contoso;AccountKey=" + url.QueryEscape(testKey):      {"AccountKey is not base64"},
		"AccountName=contoso.table;AccountKey=" + testKey:                 {"AccountName is wrong: want 3 to 24"},
		withKey + ";DefaultEndpointsProtocol=ftp":                         {"DefaultEndpointsProtocol is wrong: want https or http"},
		withKey + ";EndpointSuffix=https://core.windows.net":              {"EndpointSuffix is wrong: want the end of a host name"},
		withKey + ";EndpointSuffix=.core.windows.net":                     {"EndpointSuffix is wrong: want"},
		withKey + ";TableEndpoint=contoso.table.core.windows.net":         {"TableEndpoint is not a URL"},
		withKey + ";TableEndpoint=https://contoso.blob.core.windows.net/": {"TableEndpoint is the endpoint of another service", "(blob)"},
		"TableEndpoint=https://contoso.example;AccountKey=" + testKey:     {"AccountName is missing"},
		"TableEndpoint=https://contoso.example/?" + testSAS:               {"TableEndpoint has something behind ?", "AccountKey is missing"},
		withKey + ";SharedAccessSignature=" + testSAS:                     {"AccountKey and SharedAccessSignature are both there: want one"},
		withKey + ";DevelopmentStorageProxyUri=http://127.0.0.1":          {"DevelopmentStorageProxyUri has no use without UseDevelopmentStorage=true"},
		withSAS: {"SharedAccessSignature is wrong: want TableEndpoint or EndpointSuffix"},
		withSAS + ";DefaultEndpointsProtocol=http;EndpointSuffix=core.windows.net":                                                                {"DefaultEndpointsProtocol is http"},
		withSAS + ";TableEndpoint=http://contoso.table.core.windows.net":                                                                          {"TableEndpoint is http"},
		"TableEndpoint=http://127.0.0.1:10002;SharedAccessSignature=" + testSAS + "&spr=https":                                                    {"TableEndpoint is http, and the SAS is for https alone"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=" + testSig:                                                                  {"SharedAccessSignature is not a SAS as Azure makes them"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=" + strings.Replace(testSAS, "ss=t", "ss=b", 1):                              {"SharedAccessSignature is not for tables"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=" + strings.Replace(testSAS, "2999", "2020", 1):                              {"SharedAccessSignature has expired (se is 2020-01-01T00:00:00Z)"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=" + strings.Replace(testSAS, "2999-01-01T00:00:00Z", "2020-01-01", 1):        {"has expired"},
		"TableEndpoint=https://contoso.example;SharedAccessSignature=" + strings.Replace(testSAS, "2999-01-01T00:00:00Z", "2020-01-01T00:00Z", 1): {"has expired"},
		"UseDevelopmentStorage=false":                                                {"UseDevelopmentStorage is wrong: want true"},
		"UseDevelopmentStorage=true;" + withKey:                                      {"AccountName has no use beside", "AccountKey has no use beside"},
		"UseDevelopmentStorage=true;DevelopmentStorageProxyUri=azurite":              {"DevelopmentStorageProxyUri is not a URL"},
		"UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite:10000": {"the port is always 10002"},
	} {
		err := CheckConnectionString(s)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want %q in it", secret.RedactString(s), err, part)
			}
		}
		text := fmt.Sprint(err)
		if strings.Contains(text, testKey[:9]) || strings.Contains(text, testSig[:9]) || strings.Contains(text, "\n") {
			t.Errorf("%s: error %v, want one line without a key and a signature", secret.RedactString(s), err)
		}
		if redacted := secret.RedactString(text); redacted != text {
			t.Errorf("%s: the log would say %s", secret.RedactString(s), redacted)
		}
	}
}

// FuzzConnectionString reads any connection string, and the same string with
// harmless blanks, semicolons, a line end and capital letters. Both mean the
// same. No error has a key. A signature only goes to a host that the string
// names.
func FuzzConnectionString(f *testing.F) {
	for _, s := range []string{
		developmentStorage, "UseDevelopmentStorage=true", "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite",
		"AccountName=contoso;AccountKey=" + testKey, "AccountName=contoso;AccountKey=" + testKey + ";EndpointSuffix=core.windows.net",
		"AccountName=contoso;EndpointSuffix=core.windows.net;SharedAccessSignature=" + testSAS,
		"TableEndpoint=https://contoso.example/;SharedAccessSignature=?" + testSAS, "AccountName=" + testKey + ";" + testKey, "=;==;;", testKey,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseConnectionString(s)
		if err != nil && (strings.Contains(err.Error(), testKey[:9]) || strings.Contains(err.Error(), testSig[:9])) {
			t.Errorf("the error has a secret: %v", err)
		}
		if u, _ := url.Parse(c.endpoint); err == nil && c.sas != "" && !strings.HasSuffix(u.Host, "."+suffixOf(s)) && !strings.Contains(s, u.Host) {
			t.Errorf("the signature goes to %s", u.Host)
		}
		var spelled strings.Builder
		for piece := range strings.SplitSeq(s, ";") {
			if name, value, ok := strings.Cut(piece, "="); ok {
				piece = strings.ToUpper(name) + " =\t" + value
			}
			spelled.WriteString(" " + piece + " ;; ")
		}
		if got, gotErr := parseConnectionString(spelled.String() + "\r\n"); got != c && err == nil || (gotErr == nil) != (err == nil) {
			t.Errorf("with other spelling it is %+v, %v, want %+v, %v", got, gotErr, c, err)
		}
	})
}

// suffixOf returns the EndpointSuffix of a connection string.
func suffixOf(s string) string {
	parts, _ := splitConnectionString(s)
	return parts[nameSuffix]
}

func TestCheckServiceURI(t *testing.T) {
	for uri, want := range map[string]string{ // part of the error, "" if there is none
		"https://contoso.table.core.windows.net":              "",
		"https://contoso.table.core.windows.net/":             "",
		"https://contoso.table.core.chinacloudapi.cn":         "",
		"https://contoso.z01.table.storage.azure.net/":        "",
		"https://alerts.contoso.example:8443":                 "",
		"https://127.0.0.1:10002/devstoreaccount1":            "",
		"https://[::1]:10002/devstoreaccount1":                "",
		"contoso.table.core.windows.net":                      "is not a URL",
		"contoso.table.core.windows.net:443":                  "is not a URL",
		"contoso":                                             "is not a URL",
		"//contoso.table.core.windows.net":                    "is not a URL",
		"https://":                                            "is not a URL with a host",
		"https://:443":                                        "is not a URL with a host",
		"https://<account>.table.core.windows.net":            "is not a URL with a host",
		"https:///contoso":                                    "is not a URL with a host",
		"ftp://contoso.table.core.windows.net":                "begins with https://",
		"http://contoso.table.core.windows.net":               "tokens go over https alone",
		"http://127.0.0.1:10002/devstoreaccount1":             "UseDevelopmentStorage=true for Azurite",
		"https://me:" + testKey + "@contoso.example":          "a name or a password",
		"https://contoso.table.core.windows.net/?" + testSAS:  "a SAS works in AlertsStorage",
		"https://contoso.table.core.windows.net/?":            "behind ? or #",
		"https://contoso.table.core.windows.net/#x":           "behind ? or #",
		"https://contoso.blob.core.windows.net":               "another service of the storage account (blob)",
		"https://contoso.z01.blob.storage.azure.net":          "another service of the storage account (blob)",
		"https://Contoso.Queue.core.windows.net/":             "another service of the storage account (queue)",
		"https://contoso.table.core.windows.net/alerts":       "has a path",
		"https://contoso.privatelink.table.core.windows.net/": "without .privatelink",
		"https://contoso.table.core.windows.net:x":            "is not a URL with a host",
	} {
		err := CheckServiceURI(uri)
		text := fmt.Sprint(err)
		if (err == nil) != (want == "") || !strings.Contains(text, want) && err != nil {
			t.Errorf("%s: error %v, want %q in it", uri, err, want)
		}
		if strings.Contains(text, testKey[:9]) || strings.Contains(text, testSig[:9]) || strings.Contains(text, "\n") || secret.RedactString(text) != text {
			t.Errorf("%s: error %v, want one line without a secret, which no log changes", uri, err)
		}
	}
}

// TestSharedAccessSignature writes and reads with a SAS in a connection string.
// All requests go to the endpoint that the string names.
func TestSharedAccessSignature(t *testing.T) {
	parts, err := splitConnectionString(emulator(t).ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	credential, err := aztables.NewSharedKeyCredential(parts[nameAccount], parts[nameKey])
	if err != nil {
		t.Fatal(err)
	}
	sas, err := aztables.AccountSASSignatureValues{
		Protocol: aztables.SASProtocolHTTPSandHTTP, StartTime: time.Now().Add(-time.Hour), ExpiryTime: time.Now().Add(time.Hour),
		Permissions: "raudwlc", Services: "t", ResourceTypes: "sco",
	}.Sign(credential)
	if err != nil {
		t.Fatal(err)
	}
	connection := "TableEndpoint=" + emulator(t).Endpoint() + "; SharedAccessSignature=?" + sas.Encode()
	s, q := open(t, connection), openQuarantine(t, connection)
	put(t, s, occurred("contoso-hub", "1", noon))
	if got := put(t, s, occurred("contoso-hub", "2", noon)); got[0] != alert.Counted {
		t.Errorf("the second occurrence is %v, want it counted", got[0])
	}
	if alerts := list(t, s, alert.Query{}); len(alerts) != 1 || alerts[0].Occurrences != 2 {
		t.Errorf("%+v, want one alert of two occurrences", alerts)
	}
	if err := q.Quarantine(t.Context(), alert.Quarantined{Function: "F", Body: []byte("x")}); err != nil {
		t.Error(err)
	}
	if held := quarantined(t, q, ""); len(held) != 1 {
		t.Errorf("%d events in quarantine, want one", len(held))
	}
}

// TestEndpointIsObeyed checks that requests go to the host that a connection
// string names, without the key in them, and that the error of such a request has
// no signature.
func TestEndpointIsObeyed(t *testing.T) {
	var mu sync.Mutex
	var hosts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		hosts = append(hosts, r.Host)
		if signed := r.URL.Query().Get("sig") != "" || r.Header.Get("Authorization") != ""; !signed {
			t.Errorf("%s %s comes without a signature", r.Method, r.URL.Path)
		}
		if strings.Contains(r.Header.Get("Authorization"), testKey) {
			t.Error("the key is sent")
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	for _, connection := range []string{
		"TableEndpoint=" + server.URL + ";SharedAccessSignature=" + testSAS,
		"AccountName=contoso;TableEndpoint=" + server.URL + "/contoso;SharedAccessSignature=" + testSAS,
		"AccountName=contoso;AccountKey=" + testKey + ";TableEndpoint=" + server.URL + ";EndpointSuffix=core.windows.net",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := open(t, connection).Record(ctx, occurred("contoso-hub", "1", noon))
		if err == nil || strings.Contains(err.Error(), testSig[:9]) {
			t.Errorf("error %v, want one without the signature", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(hosts)
	if got := slices.Compact(hosts); !slices.Equal(got, []string{strings.TrimPrefix(server.URL, "http://")}) {
		t.Errorf("requests went to %v, want %s", got, server.URL)
	}
}

// TestIdentityByResourceID checks that a user-assigned identity named by its
// resource id, or by its client id, is the identity for which a token is
// requested.
func TestIdentityByResourceID(t *testing.T) {
	const resourceID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
	asked := make(chan url.Values, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query()
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer endpoint.Close()
	for _, test := range []struct{ client, resource string }{
		{"", resourceID}, {"00000000-0000-0000-0000-0000000000c1", ""}, {"", ""},
	} {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = slices.Concat(os.Environ(), []string{
			"TEST_KEYLESS_URI=https://127.0.0.1:1", "TEST_KEYLESS_TABLE=keyless", "TEST_KEYLESS_CLIENT=" + test.client, "TEST_KEYLESS_RESOURCE=" + test.resource,
			"IDENTITY_ENDPOINT=" + endpoint.URL, "IDENTITY_HEADER=x",
		})
		if out, err := command.CombinedOutput(); err == nil {
			t.Errorf("no error: %s", out)
		}
		query := <-asked
		if query.Get("mi_res_id") != test.resource || query.Get("client_id") != test.client || query.Get("resource") != "https://storage.azure.com" {
			t.Errorf("a token is asked for with %v, want the client id %q or the resource id %q", query, test.client, test.resource)
		}
	}
}
