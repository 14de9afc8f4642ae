package connection

import (
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// Failed is the type of the events that are made of single records, where log messages
// are judged again: a device, or a module, could not prove to its hub who it is. Their
// data is the record.
const Failed = "hubwatch.iothub.connection.failed"

// Cause is why a connection failed.
type Cause string

// The causes that detectors look for, the gravest first: a certificate before a
// token, as the severities of their alerts have it, and a wrong credential before
// one that has expired. Unclassified is every other cause, and a record that does
// not tell.
const (
	ThumbprintMismatch Cause = "thumbprint mismatch"
	CertificateExpired Cause = "certificate expired"
	TokenInvalid       Cause = "token invalid"
	TokenExpired       Cause = "token expired"
	Unclassified       Cause = "unclassified"
)

// Reason is why a record is not a failed connection and is passed over.
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
	// regardless of case. What the service only repeats of a client, between
	// quotation marks or behind name=, is not compared. A rule with a phrase is
	// stated by the service; one without is inferred, and applies only to a record
	// whose texts say no more than the name of its error.
	Phrase    string
	Codes     []string // error codes, any of them; nil for any at all
	Operation string   // "" for any
	Family    Family   // UnknownFamily for any
	// Registered tells that the hub has to know the credential itself: it does not
	// know a certificate that an authority signed.
	Registered bool

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
	// The gravest of the stated causes goes first. None of them can be excused.

	// "Thumbprint does not match configuration: Thumbprint: SHA1Hash=*, …" [codes]
	{Name: "StatedThumbprintMismatch", Phrase: "thumbprint does not match", Cause: ThumbprintMismatch},

	// No sentence of the service on an expired certificate is public. [plain]
	{Name: "StatedCertificateExpired", Phrase: "certificate is expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate has expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate expired", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "expired certificate", Cause: CertificateExpired},
	{Name: "StatedCertificateExpired", Phrase: "certificate is not within its validity period", Cause: CertificateExpired},

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

	// Texts of 401003 that name another cause. [codes]
	{Name: "StatedDeviceUnknown", Phrase: "does not contain the specified device", Cause: Unclassified},
	{Name: "StatedPolicyDenies", Phrase: "does not allow access for", Cause: Unclassified},
	{Name: "StatedNoRole", Phrase: "due to no assigned permissions", Cause: Unclassified},
	{Name: "StatedNoCredential", Phrase: "authorization header missing", Cause: Unclassified},

	// A hub ends a session when its credential expires: "IoT Hub notices the
	// expiration, and disconnects the device with 401003". [codes] That is said of
	// tokens; for a session of a certificate it is inferred from it.
	{Name: "DisconnectedCertificate", Codes: []string{"401003"}, Operation: deviceDisconnect, Family: CertificateFamily, Cause: CertificateExpired},
	{Name: "DisconnectedToken", Codes: []string{"401003"}, Operation: deviceDisconnect, Cause: TokenExpired},

	// A refused credential is more often a wrong one than an expired one, which
	// the clients of Microsoft's SDKs renew by themselves.
	{Name: "RefusedToken", Codes: []string{"401002", "401003"}, Operation: deviceConnect, Family: TokenFamily, Cause: TokenInvalid},
	{Name: "RefusedCertificate", Codes: []string{"401002", "401003"}, Operation: deviceConnect, Family: CertificateFamily, Registered: true, Cause: ThumbprintMismatch},
}

// Names of the rule of a failed connection that no line of the table applies to.
const (
	NoRule      = "NoRule"      // it has no text but the name of its error
	UnknownText = "UnknownText" // it has a text that the table does not know
)

// Classification is what Classify makes of a record.
type Classification struct {
	// PassedOver is why the record is not a failed connection, and "" if it is one.
	// Only then the other members say anything.
	PassedOver Reason
	Cause      Cause
	Rule       string // the name of the rule that decided
	Stated     bool   // whether the service says so in as many words
	Text       string // what it says, the whole of it; "" if nothing is stated
	// Unknown is a sentence that the table does not know, so that somebody can add it:
	// in lower case, and without what the service repeats of a client, so that it is
	// the same for all clients. It is "" if there is none, and if a cause is stated.
	Unknown string
}

// Classify says whether a record is of a failed connection, and why the
// connection failed. A connection failed if the record states one of the four
// causes, whatever its operation and its code, or if it is of a connection or a
// disconnection and has an error code of authentication (401xxx).
func Classify(r Record) Classification {
	if !strings.EqualFold(r.Category, Category) {
		if r.Category == "" {
			return Classification{PassedOver: IsMetric}
		}
		return Classification{PassedOver: OtherCategory}
	}
	var space [6]statement
	code, statements := r.code(), r.appendStatements(space[:0])
	c := decide(&r, code, statements)
	if c.Cause != Unclassified {
		return c
	}
	if !strings.EqualFold(r.OperationName, deviceConnect) && !strings.EqualFold(r.OperationName, deviceDisconnect) {
		return Classification{PassedOver: OtherOperation}
	}
	if !strings.HasPrefix(code, "401") {
		return Classification{PassedOver: passedOver(r.OperationName, code)}
	}
	return c
}

// decoders are for records of which nothing is kept.
var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// CauseOf reads a record, and returns the Cause of its classification: "" if it is passed over.
// That takes no memory, so it is for those who look at many records and report few. scanned
// is raw as it was scanned, if it was. The error is that of DecodeRecord.
func CauseOf(raw jsontext.Value, scanned scan.Value) (Cause, error) {
	d := decoders.Get().(*Decoder)
	defer decoders.Put(d)
	defer d.Forget()
	var r Record
	var err error
	if scanned.Kind() == '{' {
		r, err = d.DecodeScanned(scanned)
	} else {
		r, err = d.Decode(raw)
	}
	if err != nil {
		return "", err
	}
	return Classify(r).Cause, nil
}

// decide finds the line of the table that applies to a record with an error code
// and statements.
func decide(r *Record, code string, statements []statement) Classification {
	unknown := slices.IndexFunc(statements, func(s statement) bool { return !s.namesError(code) })
	said := slices.ContainsFunc(statements, func(s statement) bool { return !s.isName })
	for i := range Rules {
		rule := &Rules[i]
		if rule.Phrase != "" && !said {
			continue
		}
		if rule.Phrase == "" && unknown >= 0 {
			break // Inference is for what is not said.
		}
		if text, ok := rule.applies(r, code, statements); ok {
			return Classification{Cause: rule.Cause, Rule: rule.Name, Stated: rule.Phrase != "", Text: text}
		}
	}
	if unknown >= 0 {
		return Classification{Cause: Unclassified, Rule: UnknownText, Unknown: statements[unknown].said}
	}
	return Classification{Cause: Unclassified, Rule: NoRule}
}

// applies reports whether the rule applies to r, whose error code is code. It
// returns the text that has the phrase.
func (rule *Rule) applies(r *Record, code string, statements []statement) (string, bool) {
	if rule.Codes != nil && !slices.Contains(rule.Codes, code) ||
		rule.Operation != "" && !strings.EqualFold(rule.Operation, r.OperationName) ||
		rule.Family != UnknownFamily && rule.Family != r.AuthType.Family() ||
		rule.Registered && r.AuthType.SignedByAuthority() {
		return "", false
	}
	if rule.Phrase == "" {
		return "", true
	}
	i := slices.IndexFunc(statements, func(s statement) bool { return strings.Contains(s.said, rule.Phrase) })
	if i < 0 {
		return "", false
	}
	return statements[i].text, true
}

// noCause is the text of 401003 that says what to do and not what is wrong: it says
// no more than the name of the error does
// (https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes#401003-iot-hub-unauthorized).
const noCause = "authentication failed for this device, renew token or certificate and reconnect"

// namesError reports whether the statement is only the name or the code of the error.
func (s statement) namesError(code string) bool {
	if s.isName {
		return true
	}
	text := strings.Trim(s.raw, " .")
	name, _ := errorNamed(text)
	return name != "" || text == code || text == noCause
}

// errorNames are the errors of authentication by their names in lower case, which
// Microsoft spells in two ways
// (https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes). None of them has a
// Rule's phrase in it.
var errorNames = [...]struct{ name, code string }{
	{"genericunauthorized", "401000"},
	{"iothubnotfound", "401001"},
	{"iothubunauthorizedaccess", "401002"},
	{"iothubunauthorized", "401003"},
	{"elasticpoolnotfound", "401004"},
	{"systemmodulemodifyunauthorizedaccess", "401100"},
}

// errorNamed returns the error that s names, regardless of case: its name in lower case,
// and its code. Both are "" if there is none.
func errorNamed(s string) (name, code string) {
	for _, e := range errorNames {
		if len(s) == len(e.name) && strings.EqualFold(s, e.name) {
			return e.name, e.code
		}
	}
	return "", ""
}

// errorCode returns the code of the error that s names or is the code of, or "".
func errorCode(s string) string {
	if _, code := errorNamed(s); code != "" {
		return code
	}
	if len(s) >= 3 && isDigits(s) && s[0] != '2' {
		return s
	}
	return ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// code returns the error code of the record. If the record has no code, code returns
// the code of the error that the record names, or else its HTTP status, or else its
// result as it is. It returns "" for success.
func (r *Record) code() string {
	result := strings.ToLower(strings.TrimSpace(r.ResultType))
	for _, s := range [...]string{result, r.ResultDescription, strings.TrimSpace(r.StatusCode)} {
		if code := errorCode(s); code != "" {
			return code
		}
	}
	if result == "0" || result == "success" || strings.HasPrefix(result, "2") {
		return ""
	}
	return result
}

// passedOver says what a record is of whose code is not that of a failed
// authentication.
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
