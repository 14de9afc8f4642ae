package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/remedy"
)

// This file has the commands that several detectors have. A test gives each of them to
// az (commands_test.go).

// CommandsFor returns what to do about an alert as commands, filled in from it. It
// returns none if this build has no detector that finds such an alert.
func CommandsFor(a alert.Alert) []remedy.Filled {
	i := slices.IndexFunc(All, func(d Detector) bool { return d.Name == a.Detector })
	if i < 0 {
		return nil
	}
	return remedy.For(a, All[i].Commands)
}

// What commands need: "Needs " stands before it. The roles are in
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles.
const (
	reads    = "the role Reader on the hub"
	writes   = "the role Contributor on the hub"
	assigns  = "the role User Access Administrator where the role was assigned"
	locks    = "the role User Access Administrator or Owner on the hub"
	monitors = "the role Monitoring Contributor on the hub"
	// --auth-type=login is for these. Without it, the extension would list the keys of
	// the hub, which needs far more rights, and is an operation that somebody may watch.
	readsDevices  = extension + ", and the roles Reader and IoT Hub Data Reader on the hub"
	writesDevices = extension + ", and the roles Reader and IoT Hub Registry Contributor on the hub"
	extension     = "the extension azure-iot"
	// Roles of Microsoft Entra are not roles of Azure.
	readsSignIns = "the role Reports Reader in Microsoft Entra"
	changesUsers = "the role User Administrator in Microsoft Entra"
	changesApps  = "the role Cloud Application Administrator in Microsoft Entra"
	readsAlerts  = "the right to read the tables of hubwatch"
)

// When a command is right: "Only if " stands before it.
const (
	// Of operations.
	unplanned = "nobody planned it"
	atFault   = "the actor was not allowed to do this, or did not do it themselves"
	// Of failed connections.
	notTheDevice = "the device's clock and program are right, and it is not the device that connects"
	leaked       = "somebody else may know a key"
)

// az returns the words of an az command: the command, then its options.
func az(command string, options ...[]remedy.Arg) []remedy.Arg {
	return append(words("az "+command), slices.Concat(options...)...)
}

// option returns an option with its value.
func option(name string, value ...remedy.Part) []remedy.Arg {
	return []remedy.Arg{remedy.Option("--"+name, value...)}
}

// words returns words that stand by themselves.
func words(s string) []remedy.Arg { return remedy.Words(s) }

// text returns an option whose value is always the same.
func text(name, value string) []remedy.Arg { return option(name, remedy.Text(value)) }

// query returns options that print some of the result.
func query(expression string) []remedy.Arg { return text("query", expression) }

// tableOf returns options that print some of the result as a table.
func tableOf(expression string) []remedy.Arg {
	return slices.Concat(query(expression), text("output", "table"))
}

// The options that say which subscription, hub, device or module.
var (
	inSubscription = option("subscription", remedy.Subscription)
	ofHub          = slices.Concat(option("hub-name", remedy.Hub), option("resource-group", remedy.Group), inSubscription)
	ofDevices      = slices.Concat(ofHub, text("auth-type", "login"))
	ofDevice       = slices.Concat(ofDevices, option("device-id", remedy.Device))
	ofModule       = slices.Concat(ofDevice, option("module-id", remedy.Module))
	ofCertificate  = slices.Concat(ofHub, option("name", remedy.Certificate))
	onResource     = option("resource", remedy.HubID)
	ofSetting      = slices.Concat(onResource, option("name", remedy.Setting))
	etag           = option("etag", remedy.ETag)
)

// listRoles lists the roles on the hub.
var listRoles = remedy.Command{
	Needs: reads,
	Says:  "See who has which role on the hub, and where the role was assigned: on the hub, or above it.",
	Args: az("role assignment list", inSubscription, option("scope", remedy.HubID), words("--include-inherited"),
		tableOf("[].{who:principalName, principalId:principalId, type:principalType, role:roleDefinitionName, scope:scope, id:id}")),
}

// investigateOperation has the commands that show who did what, and who may do it.
var investigateOperation = []remedy.Command{
	{
		Goal: remedy.Investigate, Needs: reads,
		Says: "Look up the operation in the activity log, which has 90 days: its outcome, the reason of a failure, and what else belongs to it.",
		Args: az("monitor activity-log list", inSubscription, option("correlation-id", remedy.CorrelationID),
			option("start-time", remedy.HourBefore), option("end-time", remedy.HourAfter),
			tableOf("[].{time:eventTimestamp, operation:operationName.value, status:status.value, subStatus:subStatus.localizedValue, caller:caller, resource:resourceId}")),
	}, {
		Goal: remedy.Investigate, Needs: reads,
		Says: "See what else the actor did to the hub, from a week before the alert to a week after it.",
		Args: az("monitor activity-log list", inSubscription, option("resource-id", remedy.HubID), option("caller", remedy.Caller),
			option("start-time", remedy.WeekBefore), option("end-time", remedy.WeekAfter), text("max-events", "200"),
			tableOf("[].{time:eventTimestamp, operation:operationName.value, status:status.value, address:httpRequest.clientIpAddress}")),
	},
	as(remedy.Investigate, listRoles),
	{
		Goal: remedy.Investigate, Needs: readsSignIns,
		Says: "See the latest sign-ins of the actor: time, address, application and result.",
		Args: az("rest", text("method", "get"), text("url", "https://graph.microsoft.com/v1.0/auditLogs/signIns"), words("--url-parameters"), []remedy.Arg{
			remedy.Word(remedy.Text("$filter=userId eq '"), remedy.User, remedy.Text("'")),
			remedy.Word(remedy.Text("$top=20")),
		}, tableOf("value[].{time:createdDateTime, address:ipAddress, application:appDisplayName, error:status.errorCode}")),
	},
}

// stopActor has the commands that take away the actor's rights, and give them back.
var stopActor = []remedy.Command{
	{
		Goal: remedy.Fix, Needs: assigns, When: atFault, Destructive: true,
		Says: "Take the role away that let the actor in. It may have been assigned above the hub, or to a group: then others, and other resources, lose it too.",
		Args: az("role assignment delete", inSubscription, option("ids", remedy.RoleAssignment)),
	},
	as(remedy.Verify, listRoles),
	{
		Goal: remedy.Undo, Needs: assigns,
		Says: "Assign the role again.",
		Args: az("role assignment create", inSubscription, option("assignee-object-id", remedy.Principal),
			option("assignee-principal-type", remedy.PrincipalType), option("role", remedy.Role), option("scope", remedy.Scope)),
	}, {
		Goal: remedy.Fix, Needs: changesUsers, When: atFault, Destructive: true,
		Says: "Block the actor's sign-in. A guest has to be blocked by their own organization too.",
		Args: az("ad user update", option("id", remedy.User), text("account-enabled", "false")),
	}, {
		Goal: remedy.Fix, Needs: changesUsers, When: atFault, Destructive: true,
		Says: "End the actor's sessions. Tokens that were issued already can work for about an hour.",
		Args: az("rest", text("method", "post"), option("url", remedy.Text("https://graph.microsoft.com/v1.0/users/"), remedy.User, remedy.Text("/revokeSignInSessions"))),
	}, {
		Goal: remedy.Verify,
		Says: "See that the actor cannot sign in: enabled is False.",
		Args: az("ad user show", option("id", remedy.User), query("{upn:userPrincipalName, enabled:accountEnabled}")),
	}, {
		Goal: remedy.Undo, Needs: changesUsers,
		Says: "Let the actor sign in again.",
		Args: az("ad user update", option("id", remedy.User), text("account-enabled", "true")),
	}, {
		Goal: remedy.Fix, Needs: changesApps, When: atFault, Destructive: true,
		Says: "Disable the application in this organization.",
		Args: az("ad sp update", option("id", remedy.ServicePrincipal), text("set", "accountEnabled=false")),
	}, {
		Goal: remedy.Investigate,
		Says: "See the credentials of the application, and when each was made. Secrets are not shown.",
		Args: az("ad app credential list", option("id", remedy.Application),
			tableOf("[].{key:keyId, name:displayName, from:startDateTime, until:endDateTime}")),
	}, {
		Goal: remedy.Fix, Needs: changesApps, When: "a credential of the application may have leaked", Destructive: true,
		Says: "Delete the credential. What uses it needs another one first. There is no undo.",
		Args: az("ad app credential delete", option("id", remedy.Application), option("key-id", remedy.Ask("KEY_ID", "the key of the credential, which the list shows,"))),
	}, {
		Goal: remedy.Verify,
		Says: "See that the application is disabled: enabled is False.",
		Args: az("ad sp show", option("id", remedy.ServicePrincipal), query("{name:displayName, enabled:accountEnabled}")),
	}, {
		Goal: remedy.Undo, Needs: changesApps,
		Says: "Enable the application again.",
		Args: az("ad sp update", option("id", remedy.ServicePrincipal), text("set", "accountEnabled=true")),
	},
}

// lockHub has the commands that keep what a hub has from being deleted.
var lockHub = []remedy.Command{
	{
		Goal: remedy.Fix, Needs: locks,
		Says: "Lock the hub, so that neither the hub nor its certificates can be deleted. The lock does not keep anybody from replacing them.",
		Args: az("lock create", inSubscription, text("name", lockName), text("lock-type", "CanNotDelete"), onResource),
	}, {
		Goal: remedy.Undo, Needs: locks, Destructive: true,
		Says: "Take the lock away.",
		Args: az("lock delete", inSubscription, option("ids", remedy.HubID, remedy.Text("/providers/Microsoft.Authorization/locks/"+lockName))),
	},
}

const lockName = "hubwatch-keep"

// The commands on the certificates of a hub.
var (
	listCertificates = remedy.Command{
		Needs: reads,
		Says:  "List the certificates of the hub.",
		Args: az("iot hub certificate list", ofHub,
			tableOf("value[].{name:name, thumbprint:properties.thumbprint, verified:properties.isVerified, created:properties.created, updated:properties.updated, expiry:properties.expiry}")),
	}
	showCertificate = remedy.Command{
		Needs: reads,
		Says:  "Show the certificate as it is now.",
		Args: az("iot hub certificate show", ofCertificate,
			query("{subject:properties.subject, thumbprint:properties.thumbprint, verified:properties.isVerified, created:properties.created, updated:properties.updated, expiry:properties.expiry, etag:etag}")),
	}
	showCertificateETag = remedy.Command{
		Needs: reads,
		Says:  "Show which certificate is there now, and its etag. Each change gives it another etag.",
		Args: az("iot hub certificate show", ofCertificate,
			query("{subject:properties.subject, thumbprint:properties.thumbprint, verified:properties.isVerified, etag:etag}")),
	}
	keepCertificate = remedy.Command{
		Needs: reads, Keep: true,
		Says: "Keep a copy of the certificate. An empty file means that this failed.",
		Args: az("iot hub certificate show", ofCertificate, query("properties.certificate"), text("output", "tsv")),
	}
	deleteCertificate = remedy.Command{
		Needs: writes, Destructive: true,
		Says: "Delete the certificate. The devices that it signed can no longer connect.",
		Args: az("iot hub certificate delete", ofCertificate, etag),
	}
	startVerification = remedy.Command{
		Needs: writes,
		Says:  "Begin to prove that you have the key of the certificate. Sign a certificate for the verification code with it.",
		Args:  az("iot hub certificate generate-verification-code", ofCertificate, etag, query("{code:properties.verificationCode, etag:etag}")),
	}
	finishVerification = remedy.Command{
		Needs: writes,
		Says:  "Show the hub the certificate that you signed for the verification code.",
		Args: az("iot hub certificate verify", ofCertificate,
			option("path", remedy.Ask("PROOF.pem", "the file with the certificate that you signed")), etag),
	}
)

// addCertificate returns the command that adds a certificate from a file.
func addCertificate(file remedy.Value) remedy.Command {
	return remedy.Command{
		Needs: writes,
		Says:  "Add the certificate again. If there is one of this name, this fails and changes nothing.",
		Args:  az("iot hub certificate create", ofCertificate, option("path", file)),
	}
}

// queryDevices returns the command that lists devices of the hub. condition is in the
// language of IoT Hub.
func queryDevices(says string, condition ...remedy.Part) remedy.Command {
	devices := remedy.Text("SELECT deviceId, status, connectionState, lastActivityTime, authenticationType FROM devices")
	return remedy.Command{
		Needs: readsDevices,
		Says:  says,
		Args: az("iot hub query", ofDevices, option("query-command", append([]remedy.Part{devices}, condition...)...),
			text("top", "100"), text("output", "table")),
	}
}

// signedDevices lists the devices that use a certificate that an authority signed.
var signedDevices = queryDevices("List devices that use a certificate that an authority signed, and whether they are connected.",
	remedy.Text(" WHERE authenticationType = 'certificateAuthority'"))

// The commands on the diagnostic settings of a hub.
var (
	listSettings = remedy.Command{
		Needs: reads,
		Says:  "List the diagnostic settings of the hub, and where each sends its logs.",
		Args:  az("monitor diagnostic-settings list", inSubscription, onResource),
	}
	showSetting = remedy.Command{
		Needs: reads,
		Says:  "Show the setting as it is now: its categories, above all Connections, and its destination. Keep the output: it is what you need to make the setting again.",
		Args:  az("monitor diagnostic-settings show", inSubscription, ofSetting),
	}
	deleteSetting = remedy.Command{
		Needs: monitors, Destructive: true,
		Says: "Delete the setting. The hub no longer sends its logs there.",
		Args: az("monitor diagnostic-settings delete", inSubscription, ofSetting),
	}
	createSetting = remedy.Command{
		Needs: monitors + ", and the right to use the rule of the event hub",
		Says: "Make the setting anew, here with the category Connections and an event hub. It replaces the whole setting: what is left out is gone. " +
			"The setting of hubwatch itself is made by deploying infra/main.bicep again (README.md).",
		Args: az("monitor diagnostic-settings create", inSubscription, ofSetting,
			option("event-hub", remedy.Ask("EVENT_HUB", "the name of the event hub")),
			option("event-hub-rule", remedy.Ask("EVENT_HUB_RULE_ID", "the resource id of the authorization rule of its namespace")),
			text("logs", "[{category:Connections,enabled:true}]")),
	}
	runDoctor = remedy.Command{
		Needs: reads,
		Says:  "See whether the deployment of hubwatch is whole, also the diagnostic settings that it needs.",
		Args: append(words("hubwatch doctor"), slices.Concat(inSubscription, option("resource-group", remedy.Group),
			option("app", remedy.Ask("APP", "the name of hubwatch's function app")), option("hub", remedy.HubID))...),
	}
)

// The commands on devices and modules. An identity also has keys: each command prints
// only what a person needs.
var (
	showDevice = remedy.Command{
		Needs: readsDevices,
		Says:  "Show the device: whether it is enabled, how it authenticates itself, and when it was last heard. The keys are not shown.",
		Args: az("iot hub device-identity show", ofDevice,
			query("{status:status, reason:statusReason, auth:authentication.type, connection:connectionState, lastActivity:lastActivityTime, "+
				"thumbprint:authentication.x509Thumbprint.primaryThumbprint, secondThumbprint:authentication.x509Thumbprint.secondaryThumbprint, etag:etag}")),
	}
	showDeviceETag = remedy.Command{
		Needs: readsDevices,
		Says:  "Show whether the device is enabled, and its etag. Each change gives it another etag.",
		Args:  az("iot hub device-identity show", ofDevice, query("{status:status, reason:statusReason, auth:authentication.type, etag:etag}")),
	}
	showTwin = remedy.Command{
		Needs: readsDevices,
		Says:  "Show whether the device is connected now, and its tags, which may say where it stands.",
		Args:  az("iot hub device-twin show", ofDevice, query("{connection:connectionState, lastActivity:lastActivityTime, tags:tags}")),
	}
	showModule = remedy.Command{
		Needs: readsDevices,
		Says:  "Show the module. The keys are not shown.",
		Args: az("iot hub module-identity show", ofModule,
			query("{auth:authentication.type, connection:connectionState, lastActivity:lastActivityTime, etag:etag}")),
	}
	setThumbprints = remedy.Command{
		When: "the device has a certificate of its own, and you renewed it", Needs: writesDevices, On: []alert.EntityType{alert.Device},
		Says: "Register the thumbprints of the device's new certificate.",
		Args: az("iot hub device-identity update", ofDevice,
			option("primary-thumbprint", remedy.Ask("THUMBPRINT", "the thumbprint of the new certificate")),
			option("secondary-thumbprint", remedy.Ask("SECOND_THUMBPRINT", "the thumbprint of the certificate that comes after it, or the same,")), etag, updated),
	}
	disableDevice = remedy.Command{
		Needs: writesDevices, Destructive: true, When: "somebody else may be using the name of the device",
		Says: "Disable the device. It can no longer connect, and neither can its modules. Whether an open connection ends is not documented: verify.",
		Args: az("iot hub device-identity update", ofDevice, text("status", "disabled"),
			option("status-reason", remedy.Text("hubwatch "), remedy.Reference), etag, updated),
	}
	enableDevice = remedy.Command{
		Needs: writesDevices,
		Says:  "Enable the device again.",
		Args:  az("iot hub device-identity update", ofDevice, text("status", "enabled"), etag, updated),
	}
	// updated is what an update prints. Without it, an update prints the keys.
	updated = query("{status:status, reason:statusReason, etag:etag}")
)

// renewKey returns the command that renews keys of the device.
func renewKey(says, key string, options ...[]remedy.Arg) remedy.Command {
	return remedy.Command{
		Needs: writesDevices, On: []alert.EntityType{alert.Device},
		Says: says,
		Args: az("iot hub device-identity renew-key", ofDevice, text("key-type", key), slices.Concat(options...), text("output", "none")),
	}
}

// renewModuleKey returns the command that renews keys of the module.
func renewModuleKey(says, key string) remedy.Command {
	return remedy.Command{
		Needs: writesDevices,
		Says:  says,
		Args:  az("iot hub module-identity renew-key", ofModule, text("key-type", key), text("output", "none")),
	}
}

// The commands of hubwatch itself.
var (
	showEvidence = remedy.Command{
		Goal: remedy.Investigate, Needs: readsAlerts,
		Says: "See all occurrences of this alert, with their times and addresses.",
		Args: append(words("hubwatch alerts show"), remedy.Word(remedy.Reference), remedy.Option("--evidence", remedy.Text("0"))),
	}
	listSimilar = remedy.Command{
		Goal: remedy.Investigate, Needs: readsAlerts,
		Says: "See which other devices of the hub had this alert, from a week before it to a week after it. Many at once, or from one address, are an attack or an outage.",
		Args: append(words("hubwatch alerts list"), slices.Concat(option("hub", remedy.Hub), option("type", remedy.AlertType),
			option("since", remedy.WeekBefore), option("until", remedy.WeekAfter))...),
	}
	listAgain = remedy.Command{
		Goal: remedy.Verify, Needs: readsAlerts,
		Says: "See whether the alert occurred again in the last 24 hours.",
		Args: append(words("hubwatch alerts list"), slices.Concat(option("hub", remedy.Hub), option("type", remedy.AlertType),
			option("entity", remedy.Entity), text("since", "24h"))...),
	}
)

// AnyAlert are the commands of hubwatch itself, which are for every alert.
var AnyAlert = []remedy.Command{showEvidence, listAgain}

// as returns a command for another goal.
func as(goal remedy.Goal, c remedy.Command) remedy.Command {
	c.Goal = goal
	return c
}

// when returns a command with its condition.
func when(condition string, c remedy.Command) remedy.Command {
	c.When = condition
	return c
}

// only returns a command for some kinds of entities.
func only(c remedy.Command, kinds ...alert.EntityType) remedy.Command {
	c.On = kinds
	return c
}

// destructive returns a command that ends something.
func destructive(c remedy.Command) remedy.Command {
	c.Destructive = true
	return c
}

// investigateConnection has the commands that show who failed to connect.
var investigateConnection = []remedy.Command{
	as(remedy.Investigate, showDevice),
	as(remedy.Investigate, showModule),
	as(remedy.Investigate, showTwin),
	only(as(remedy.Investigate, queryDevices("The log names no device. List the devices of the hub, and how they authenticate themselves.")), alert.IoTHub),
	showEvidence,
	listSimilar,
}

// verifyConnection has the commands that show whether the fix worked.
var verifyConnection = []remedy.Command{
	as(remedy.Verify, showDevice),
	as(remedy.Verify, showModule),
	listAgain,
}

// renewThumbprints are the commands of the detectors of failed connections with a
// certificate.
var renewThumbprints = slices.Concat(investigateConnection, []remedy.Command{
	as(remedy.Fix, showDeviceETag),
	as(remedy.Fix, setThumbprints),
}, stopDevice, verifyConnection)

// stopDevice has the commands that disable a device, and enable it again.
var stopDevice = []remedy.Command{
	as(remedy.Fix, disableDevice),
	as(remedy.Undo, showDeviceETag),
	as(remedy.Undo, enableDevice),
}
