package secret

import "strings"

// secretNames are the names of members, of parameters and of headers whose values
// are secrets, as plain writes them. The sources are connection strings
// (https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string),
// shared access signatures (https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas),
// function keys (https://learn.microsoft.com/azure/azure-functions/function-keys-how-to) and
// OAuth 2.0 (RFC 6749, RFC 7662).
var secretNames = map[string]bool{
	"sig": true, "sas": true, "sastoken": true, "sharedaccesssignature": true, "sharedaccesskey": true,
	"accesskey": true, "accountkey": true, "primarykey": true, "secondarykey": true, "primarymasterkey": true,
	"symmetrickey": true, "masterkey": true, "functionkey": true, "functionskey": true, "xfunctionskey": true,
	"apikey": true, "subscriptionkey": true, "ocpapimsubscriptionkey": true, "aegsaskey": true, "aegsastoken": true,
	"privatekey": true, "connectionstring": true, "primaryconnectionstring": true, "secondaryconnectionstring": true,
	"authorization": true, "proxyauthorization": true, "cookie": true, "setcookie": true,
	"secret": true, "password": true, "passwd": true, "pwd": true, "passphrase": true, "pass": true,
	"token": true, "bearer": true, "assertion": true, "clientassertion": true, "credential": true,
}

// secretEndings are the endings of such names.
var secretEndings = []string{
	"secret", "password", "accesstoken", "refreshtoken", "idtoken", "sastoken", "authtoken", "bearertoken",
	"accesskey", "accountkey", "privatekey", "apikey", "connectionstring",
}

// isSecretName reports whether a member or a parameter with this name holds a
// secret. Letter case, hyphens, underscores, dots and blanks in the name do not
// matter.
func isSecretName(name string) bool {
	if len(name) > 64 {
		return false
	}
	p := plain(name)
	if secretNames[p] {
		return true
	}
	for _, ending := range secretEndings {
		if strings.HasSuffix(p, ending) {
			return true
		}
	}
	return false
}

// plain returns a name in lower case and without separators.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '-' || r == '_' || r == '.' || r == ' ':
			return -1
		}
		return r
	}, name)
}

// The members of an object that is a pair: {"name":"SharedAccessKey","value":"…"}.
var (
	labels = map[string]bool{"name": true, "key": true, "header": true, "parameter": true, "field": true, "property": true}
	values = map[string]bool{"value": true, "values": true, "val": true, "content": true}
)
