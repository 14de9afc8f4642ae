package secret

// secretNames are the names of members, of parameters and of headers whose values
// are secrets, as appendPlain writes them. The sources are connection strings
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
	var space [64]byte
	p := appendPlain(space[:0], name)
	if secretNames[string(p)] {
		return true
	}
	for _, ending := range secretEndings {
		if len(p) >= len(ending) && string(p[len(p)-len(ending):]) == ending {
			return true
		}
	}
	return false
}

// isOneOf reports whether the member is one of labels, or of values.
func isOneOf(members map[string]bool, member string) bool {
	if len(member) > 32 {
		return false
	}
	var space [32]byte
	return members[string(appendPlain(space[:0], member))]
}

// appendPlain appends a name in lower case and without separators.
func appendPlain(b []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c == '-' || c == '_' || c == '.' || c == ' ':
		default:
			b = append(b, c)
		}
	}
	return b
}

// The members of an object that is a pair: {"name":"SharedAccessKey","value":"…"}.
var (
	labels = map[string]bool{"name": true, "key": true, "header": true, "parameter": true, "field": true, "property": true}
	values = map[string]bool{"value": true, "values": true, "val": true, "content": true}
)

// isAuthorization reports whether a name is the one secret name that can be that of an
// object without secrets.
func isAuthorization(name string) bool {
	var space [64]byte
	return string(appendPlain(space[:0], name)) == "authorization"
}
