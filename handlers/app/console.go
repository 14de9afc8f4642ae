package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hubwatch/handlers/host"
)

// ConsolePath is the path of the console in a function app. Functions adds the prefix
// /api to the routes of an app
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint).
const ConsolePath = "/api/console"

// Console returns the function of the console, which is an app of its own and has no
// other function. pages answers its requests, whose paths begin with ConsolePath.
//
// Everybody may call the function, because a browser cannot send a key. App Service
// Authentication stands before it, and pages looks itself who asks.
//
// The host wraps each request in an invocation, as it does for every trigger. host.json
// could have it pass requests on as they are (enableProxyingHttpRequest), but then the
// path of a stranger's request would reach the handler, where a path means a function.
func Console(pages http.Handler) host.Function {
	return host.Function{
		Name:    "Console",
		Trigger: host.HTTP{Route: "console/{*path}", Methods: []string{"get", "head", "post", "patch"}, Auth: "anonymous"},
		Lane:    "console",
		Serve:   pages,
	}
}

// Names of the settings of the console's app.
const (
	settingConsoleIssuer   = "ConsoleIssuer"
	settingConsoleClientID = "ConsoleClientId"
	settingConsoleChanges  = "ConsoleChanges"
)

// ConsoleSettings are the settings that the console's app has beside those of Settings
// that name the account and its tables.
var ConsoleSettings = []Setting{
	{
		Name:    settingConsoleIssuer,
		Meaning: "who signs the tokens of the people: Microsoft Entra with the id of the tenant",
		Example: "https://login.microsoftonline.com/00000000-0000-0000-0000-0000000000aa/v2.0",
		Check:   checkIssuer,
	},
	{
		Name:    settingConsoleClientID,
		Meaning: "client id of the app registration by which people sign in",
		Example: "00000000-0000-0000-0000-0000000000c2",
		Check:   checkRegistration,
	},
	{
		Name:    settingConsoleChanges,
		Meaning: "`true`: people with the role `Alerts.Respond` may change alerts and suppressions. The identity of the app needs the right to it",
		Default: "false",
		Example: "true",
		Check:   checkBool,
	},
}

// ConsoleConfig is what the settings of the console's app say.
type ConsoleConfig struct {
	Config
	Issuer   string // of ID tokens, as OpenID Connect means it: a URL
	ClientID string // for which the tokens are made
	Changes  bool   // whether anything may be changed
}

// ReadConsole reads the settings of the console's app. Its error says everything that is
// missing or wrong, each in a line that names the setting.
func ReadConsole(getenv func(string) string) (ConsoleConfig, error) {
	config, err := Read(getenv)
	errs := []error{err, config.Missing()}
	values, wrong := values(ConsoleSettings, getenv)
	errs = append(errs, wrong...)
	for _, name := range []string{settingConsoleIssuer, settingConsoleClientID} {
		if values[name] == "" {
			errs = append(errs, fmt.Errorf("setting %s: is missing: without it nobody could be told from a stranger", name))
		}
	}
	c := ConsoleConfig{Config: config, Issuer: values[settingConsoleIssuer], ClientID: values[settingConsoleClientID]}
	c.Changes, _ = strconv.ParseBool(values[settingConsoleChanges]) // checkBool has said what is wrong
	return c, errors.Join(errs...)
}

// checkIssuer wants one tenant: tokens of "common" or "organizations" may be of any.
func checkIssuer(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want an https address without a query")
	}
	tenant, version, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !guid.MatchString(tenant) || version != "v2.0" {
		return errors.New("want the id of the tenant, a GUID, and then v2.0 in its path")
	}
	return nil
}

func checkRegistration(value string) error {
	if !guid.MatchString(value) {
		return errors.New("want the client id of the app registration, a GUID")
	}
	return nil
}
