package connection

import (
	"slices"
	"strings"
)

// Failed is the type of the events that the relay makes of records: a
// device, or a module, could not prove to its hub who it is. Their data is the
// record.
const Failed = "hubwatch.iothub.connection.failed"

// Cause is why a connection failed.
type Cause string

// The causes that detectors look for. Unclassified is every other, and a record
// that does not tell.
const (
	TokenExpired       Cause = "token expired"
	TokenInvalid       Cause = "token invalid"
	CertificateExpired Cause = "certificate expired"
	ThumbprintMismatch Cause = "thumbprint mismatch"
	Unclassified       Cause = "unclassified"
)

// Reason is why a record is no failed connection and is passed over.
type Reason string

// The reasons for passing over a record. All but the first three are of records
// of connections and disconnections
// (https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes).
const (
	IsMetric       Reason = "metric"
	OtherCategory  Reason = "other category"
	OtherOperation Reason = "other operation"
	Connected      Reason = "connected"
	Disconnected   Reason = "disconnected"              // without an error
	ClosedRemotely Reason = "connection closed by peer" // 404104 DeviceConnectionClosedRemotely, 404103 DeviceNotOnline
	Replaced       Reason = "connection replaced"       // 400027 ConnectionForcefullyClosedOnNewConnection
	DeviceDisabled Reason = "device disabled"           // 403012 DeviceDisabled
	DeviceUnknown  Reason = "device unknown"            // 404001 DeviceNotFound
	Throttled      Reason = "throttled"                 // 429xxx
	OtherError     Reason = "other error"
)

// Operations of the category Connections.
const (
	deviceConnect    = "deviceConnect"
	deviceDisconnect = "deviceDisconnect"
)

// Rule is one line of the table by which failed connections are classified. It
// applies to a record that has all of what it names.
type Rule struct {
	Name string // as alerts show it

	// Phrase is a part of one of Record.Texts, in lower case, and is compared
	// regardless of case. A rule with a phrase is stated by the service; one
	// without is inferred.
	Phrase    string
	Codes     []string // error codes, any of them; nil for any at all
	Operation string   // "" for either
	Family    Family   // UnknownFamily for any

	Cause Cause
}

// Rules is the table by which failed connections are classified. The first line
// that applies decides.
//
// No record of a login that failed with 401003 is public, nor does Microsoft
// document which text, if any, such a record has. The phrases come from what
// hubs answer to clients, which is the only wording of the service there is:
//
//	[codes]  https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes#401003-iot-hub-unauthorized
//	[sdks]   https://github.com/Azure/azure-iot-sdks/issues/152, a hub's reply
//	[csharp] https://github.com/Azure/azure-iot-sdk-csharp/issues/886, a hub's reply
//	[c]      https://github.com/Azure/azure-iot-sdk-c/issues/1815, an exception of the hub's gateway
//	[plain]  no source: the wording of the published alerts and its variants
//
// docs/connections-log.md says how to capture a record and add a phrase.
var Rules = []Rule{
	// Texts of 401003 that name another cause. They go first, since they repeat
	// what a client chose, between quotation marks. [codes]
	{Name: "StatedDeviceUnknown", Phrase: "does not contain the specified device", Cause: Unclassified},
	{Name: "StatedPolicyDenies", Phrase: "does not allow access for", Cause: Unclassified},
	{Name: "StatedNoRole", Phrase: "due to no assigned permissions", Cause: Unclassified},
	{Name: "StatedNoCredential", Phrase: "authorization header missing", Cause: Unclassified},

	// "Thumbprint does not match configuration: Thumbprint: SHA1Hash=*, …" [codes]
	{Name: "StatedThumbprintMismatch", Phrase: "thumbprint does not match", Cause: ThumbprintMismatch},

	// "The specified SAS token has an invalid signature. It does not match either
	// the primary or secondary key." [csharp] [c]
	{Name: "StatedSignatureInvalid", Phrase: "token has an invalid signature", Cause: TokenInvalid},
	{Name: "StatedKeyMismatch", Phrase: "does not match either the primary or secondary key", Cause: TokenInvalid},

	// "The specified SAS token is expired" [sdks], and the same in other words [plain]
	{Name: "StatedTokenExpired", Phrase: "token is expired", Cause: TokenExpired},
	{Name: "StatedTokenExpired", Phrase: "token has expired", Cause: TokenExpired},
	{Name: "StatedTokenExpired", Phrase: "token expired", Cause: TokenExpired},
	{Name: "StatedTokenExpired", Phrase: "expired token", Cause: TokenExpired},
	{Name: "StatedTokenExpired", Phrase: "expired sas token", Cause: TokenExpired},

	// No sentence of the service on an expired certificate is public. [plain]
	{Name: "StatedCertificateExpired", Phrase: "certificate is expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate has expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "expired certificate", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate is not within its validity period", Cause: CertificateExpired},

	// A hub ends a session when its credential expires: "IoT Hub notices the
	// expiration, and disconnects the device with 401003". [codes] That is said of
	// tokens; for a session of a certificate it is inferred from it.
	{Name: "DisconnectedCertificate", Codes: []string{"401003"}, Operation: deviceDisconnect, Family: CertificateFamily, Cause: CertificateExpired},
	{Name: "DisconnectedToken", Codes: []string{"401003"}, Operation: deviceDisconnect, Cause: TokenExpired},

	// A refused credential is more often a wrong one than an expired one, which
	// the clients of Microsoft's SDKs renew by themselves.
	{Name: "RefusedToken", Codes: []string{"401002", "401003"}, Operation: deviceConnect, Family: TokenFamily, Cause: TokenInvalid},
	{Name: "RefusedCertificate", Codes: []string{"401002", "401003"}, Operation: deviceConnect, Family: CertificateFamily, Cause: ThumbprintMismatch},
}

// NoRule is the name of the rule of a failed connection that no line of the table
// applies to.
const NoRule = "NoRule"

// Classification is what Classify makes of a record.
type Classification struct {
	// PassedOver is why the record is no failed connection, and "" if it is one.
	// Only then the other members say anything.
	PassedOver Reason
	Cause      Cause
	Rule       string // the name of the rule that decided
	Stated     bool   // whether the service says so in as many words
	Text       string // what it says, the whole of it; "" if nothing is stated
}

// Classify says whether a record is of a failed connection, and why the
// connection failed. A connection failed if the record has an error code of
// authentication (401xxx), or states one of the four causes.
func Classify(r Record) Classification {
	if !strings.EqualFold(r.Category, connections) {
		if r.Category == "" {
			return Classification{PassedOver: IsMetric}
		}
		return Classification{PassedOver: OtherCategory}
	}
	if !strings.EqualFold(r.OperationName, deviceConnect) && !strings.EqualFold(r.OperationName, deviceDisconnect) {
		return Classification{PassedOver: OtherOperation}
	}
	c := Classification{Cause: Unclassified, Rule: NoRule}
	code := r.code()
	texts := make([]string, len(r.Texts))
	for i, text := range r.Texts {
		texts[i] = strings.ToLower(text)
	}
	for _, rule := range Rules {
		if text, ok := rule.applies(r, code, texts); ok {
			c = Classification{Cause: rule.Cause, Rule: rule.Name, Stated: rule.Phrase != "", Text: text}
			break
		}
	}
	if c.Cause == Unclassified && !strings.HasPrefix(code, "401") {
		return Classification{PassedOver: passedOver(r.OperationName, code)}
	}
	return c
}

// applies reports whether the rule applies to r, whose error code is code and
// whose texts in lower case are texts. It returns the text that has the phrase.
func (rule Rule) applies(r Record, code string, texts []string) (string, bool) {
	if rule.Codes != nil && !slices.Contains(rule.Codes, code) ||
		rule.Operation != "" && !strings.EqualFold(rule.Operation, r.OperationName) ||
		rule.Family != UnknownFamily && rule.Family != r.AuthType.Family() {
		return "", false
	}
	if rule.Phrase == "" {
		return "", true
	}
	i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(text, rule.Phrase) })
	if i < 0 {
		return "", false
	}
	return r.Texts[i], true
}

// errorNames are the errors of authentication by their names in lower case, which
// Microsoft spells in two ways
// (https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes).
var errorNames = map[string]string{
	"genericunauthorized":      "401000",
	"iothubunauthorizedaccess": "401002",
	"iothubunauthorized":       "401003",
}

// code returns the record's error code; if it has none, that of the error that it
// names, its HTTP status, or what else it has for a result. It is "" for success.
func (r Record) code() string {
	result := strings.ToLower(strings.TrimSpace(r.ResultType))
	for _, s := range []string{result, strings.ToLower(r.ResultDescription), strings.TrimSpace(r.StatusCode)} {
		if code, ok := errorNames[s]; ok {
			return code
		}
		if isError := len(s) >= 3 && strings.Trim(s, "0123456789") == "" && s[0] != '2'; isError {
			return s
		}
	}
	if result == "0" || result == "success" || strings.HasPrefix(result, "2") {
		return ""
	}
	return result
}

// passedOver says what a record with the code of no failed authentication is of.
func passedOver(operation, code string) Reason {
	switch {
	case code == "" && strings.EqualFold(operation, deviceConnect):
		return Connected
	case code == "":
		return Disconnected
	case code == "404104", code == "404103":
		return ClosedRemotely
	case code == "400027":
		return Replaced
	case code == "403012":
		return DeviceDisabled
	case code == "404001":
		return DeviceUnknown
	case strings.HasPrefix(code, "429"):
		return Throttled
	}
	return OtherError
}
