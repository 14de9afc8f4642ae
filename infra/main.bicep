// Everything that hubwatch needs in Azure, except its code and its event subscriptions. These two are deployed afterwards, in
// this order, because an event subscription can only be created for an existing function (README, Deploy).
// The only key is the one that Azure Monitor requires (see sendRule). The template has no host names: each host name comes
// from its resource, so that the template works in every cloud of Azure.

targetScope = 'resourceGroup'

@description('Name of the function app, unique in all of Azure; the other names begin with it. At most 32 characters, since the Functions host cuts its id there (https://learn.microsoft.com/azure/azure-functions/storage-considerations#host-id-considerations).')
@minLength(6)
@maxLength(32)
param name string = 'hubwatch-${uniqueString(resourceGroup().id)}'

@description('Resource ids of the IoT hubs of which failed connections are watched. All are in the region of this deployment: Azure Monitor streams the logs of a resource to Event Hubs of its own region only.')
param iotHubs array = []

@description('Region of the IoT hubs, and of everything that is created here.')
param location string = resourceGroup().location

@description('Where changes of certificates and diagnostic settings are watched: in this resource group, or in the whole subscription, for hubs that are in several groups.')
@allowed(['resourceGroup', 'subscription'])
param watch string = 'resourceGroup'

@description('Name of the system topic in this resource group that already has the events of what is watched: Event Grid allows one for each source. Empty to create it.')
param controlPlaneTopicName string = ''

@description('Categories of the logs of the IoT hubs that are sent to hubwatch. Verdicts on connections need Connections. An alert that is made from records of another category needs that one, too. All records of a category are sent and cost what a record of Connections costs (docs/cost.md), whether or not an alert is made from them; most categories have a record for each operation of each device. Their names: https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/microsoft-devices-iothubs-logs')
param logCategories array = ['Connections']

@description('Names of the system topics that IoT hubs already have for their own events, by the names of the hubs: Event Grid allows one for each hub. Each is in the resource group of its hub. A hub that is not named gets a topic if an alert is made from such events.')
param hubTopicNames object = {}

@description('Object ids of the users, groups and applications that may read the alerts, the suppressions and what is in quarantine.')
param readers array = []

@description('Object ids of the users, groups and applications that may change the status of alerts, make and end suppressions, and judge again or take out what is in quarantine. Nobody can delete suppressions, and alerts only the pruners. The app itself can delete nothing but its state.')
param responders array = []

@description('Object ids of the users, groups and applications that may delete alerts, which hubwatch alerts prune does with those of old days. Nobody needs it who has to find out what happened.')
param pruners array = []

@description('Resource ids of the action groups that hear of failures of hubwatch itself. Without any, they show in the portal only.')
param actionGroups array = []

@description('Whether these groups hear of each part of hubwatch and each hub that is written, too, and of each reading of their keys. A deployment writes every part, and the portal reads keys, so this is for those who seldom do either. hubwatch itself makes one alert of all that a person does so in a day.')
param tellChanges bool = false

@description('Raise alerts of which the cause is inferred, too.')
param inferredAlerts bool = true

@description('How long a device may take to connect again after its SAS token expired, before that is an alert (ISO 8601).')
param renewalGrace string = 'PT10M'

@description('After which time it is said that a device did not come back (ISO 8601, PT26H at most). A lost log record shows by the end of the next session only: a shorter time makes false alerts, which are taken back later.')
param missingAfter string = 'PT90M'

@description('Whether a session that is taken up from another network is an alert: network for fleets that stand still, any for devices that move.')
@allowed(['any', 'network'])
param renewalAddress string = 'any'

@description('From how many devices of a hub on, within ten minutes and for one cause, their failures are one alert about the hub.')
@minValue(2)
@maxValue(1000)
param stormDevices int = 100

@description('From how many devices of a hub on, within ten minutes, connections that renew no session are an alert about the hub, if they are more than twice as many as before. 0: never.')
@minValue(0)
param surgeDevices int = 1000

@description('Address of a secret of a Key Vault that says whom to tell of alerts, and how: the URLs of channels (docs/notify.md), for example https://contoso.vault.azure.net/secrets/notify. The identity of the app needs the role Key Vault Secrets User on it. Empty: nobody is told.')
param notifySecret string = ''

@description('How many alerts of a hub, of one severity and the higher ones, are told one by one within ten minutes; those beyond are told in one digest. 0: all are told one by one.')
@minValue(0)
@maxValue(1000)
param digestAfter int = 20

@description('Write a tag on the identity of the app once a day, to see whether changes of resources are heard of. The app gets the right to write tags on its own identity, and each tag is a line in the activity log.')
param canaryTag bool = false

@description('Address of the console, so that messages link to it. Empty if there is none.')
param consoleUrl string = ''

@description('Tags of everything that is created here.')
param tags object = {}

@description('Redundancy of the storage accounts: in one data centre, or in the three zones of a region that has zones. Set it at the first deployment: Azure changes it later only on a request of its own (az storage account migration start).')
@allowed(['Standard_LRS', 'Standard_ZRS'])
param storageSku string = 'Standard_LRS'

@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Partitions of the event hub with the logs. Each takes 1 MB a second, some thousand records, and so does each throughput unit, of which there are as many when they are needed. Event Hubs Standard cannot change it later.')
@minValue(1)
@maxValue(32)
param logPartitions int = 4

@description('Instances that are always ready, so that the first events after a pause are taken at once: [{ name: \'function:CertificateAdded\', instanceCount: 1 }] for one of the function CertificateAdded. Each is paid for all the time (docs/cost.md).')
param alwaysReady array = []

@description('Limit of instances, and so of what an avalanche of events can cost.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Application (client) id of the app registration by which people sign in to the console. Empty for no console in Azure; hubwatch console serves it on a computer in any case.')
param consoleClientId string = ''

@description('People with the role Alerts.Respond may change alerts and suppressions in the console in Azure.')
param consoleChanges bool = false

@description('Resource id of the Log Analytics workspace that takes the alerts for Microsoft Sentinel. The table, the data collection rule and the rule of the incidents are made in the resource group of the workspace. Empty to make none.')
param sentinelWorkspace string = ''

@description('Region of that workspace. The data collection rule has to be there.')
param sentinelLocation string = location

@description('Make incidents of the alerts. It needs Microsoft Sentinel in the workspace; without it, the alerts are in the table only.')
param sentinelIncidents bool = true

@description('Endpoint of the data collection rule, if other people have deployed sentinel.bicep for their workspace. It counts only without sentinelWorkspace. Empty to send no alerts.')
param sentinelEndpoint string = ''

@description('Immutable id of the data collection rule that other people have deployed.')
param sentinelRuleId string = ''

@description('Resource id of the subnet through which the app reaches everything else. It is delegated to Microsoft.App/environments, in the region of the app, and used for nothing else. Empty for no network.')
param appSubnet string = ''

@description('Resource id of the subnet in which the storage accounts, the event hub and the custom topics get private endpoints, in the region of the app. With appSubnet they are closed to everybody else, but for services of Azure and allowedAddresses. Empty for none.')
param endpointSubnet string = ''

@description('Resource ids of the private DNS zones in which the private endpoints are registered, by what they are for: { blob: \'...\', table: \'...\', namespace: \'...\', topic: \'...\' }. One that is left out is for somebody else to register, for example a policy.')
param dnsZones object = {}

@description('Public IPv4 addresses, and ranges of them in CIDR notation, from which people reach the storage accounts that are closed.')
param allowedAddresses array = []

// The names of storage accounts may not have a dash, and must be unique in all of Azure. subscriptions.bicep computes the
// first one, too.
var storageName = 'hubwatch${uniqueString(resourceGroup().id, name)}'
var stateStorageName = 'hubwatch${uniqueString(resourceGroup().id, name, 'state')}'
var hostStorageName = 'hubwatch${uniqueString(resourceGroup().id, name, 'host')}'
var connectionsTopicName = '${name}-connections'
var alertsTopicName = '${name}-alerts'
var controlPlaneName = empty(controlPlaneTopicName) ? '${name}-control-plane' : controlPlaneTopicName

// Built-in roles (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles).
var roles = {
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  storageBlobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  storageTableDataReader: '76199698-9eea-4c19-bc75-cec21354c6b6'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  eventHubsDataReceiver: 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'
  eventHubsDataSender: '2b629674-e913-4c01-ae53-ef4638d8f975'
  eventGridDataSender: 'd5a91429-5739-47e2-a06b-3470a27159e7'
}

// What only the app uses is closed if the app is in a network and can reach it there. The functions stay as they are: Event Grid
// cannot deliver to a private endpoint (https://learn.microsoft.com/azure/event-grid/consume-private-endpoints).
var closed = !empty(appSubnet) && !empty(endpointSubnet)

// The exception is for Event Grid, which writes the dead letters with the identity of a topic
// (https://learn.microsoft.com/azure/storage/common/storage-network-security-trusted-azure-services).
var storageNetwork = {
  defaultAction: closed ? 'Deny' : 'Allow'
  bypass: 'AzureServices'
  ipRules: map(allowedAddresses, address => { value: address, action: 'Allow' })
}

// The only identity of the app. It is not the system-assigned identity: so all roles exist before the app does, and they
// stay if the app is created again.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

// Storage from which nothing is deleted: the tables, the package of the app, and dead letters. Table Storage has neither
// versions nor soft delete. Three measures protect the rows: the app has no right to delete (see alertWriter), the account
// accepts no keys, and the deployment stack denies others to write or delete the account and its tables (README, Deploy).
// There is no lock: under a lock, the stack could not take away the role of a reader who has left
// (https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources#considerations-before-applying-your-locks).

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: storageSku
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: storageNetwork
  }
}

// Publishing overwrites the package, with the identity of the app. The previous version stays.
resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: 30
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 30
    }
  }
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'app-package'
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'deadletter'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

resource alertsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'alerts'
}

resource quarantineTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'quarantine'
}

resource suppressionsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'suppressions'
}

// Storage of the state: records of the Connections log, for three days, and the verdicts on them. The app makes and drops tables
// here. It could drop any table of this account, so no alert is in it.
resource stateAccount 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: stateStorageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: storageSku
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: storageNetwork
  }
}

// Storage of the Functions host: leases, keys and checkpoints, in containers that the host makes
// and deletes from. It has no versions and no soft delete, because each checkpoint would add a version
// (https://learn.microsoft.com/azure/event-hubs/troubleshoot-checkpoint-store-issues).
resource hostAccount 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: hostStorageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: storageSku
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: storageNetwork
  }
}

// The telemetry of hubwatch itself. It is written with an identity, too.

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
    features: {
      disableLocalAuth: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

// The way of failed connections: diagnostic setting, event hub, the function RelayResourceLogs, custom topic.

resource logsNamespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: '${name}-logs'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: 1
  }
  properties: {
    // A hub that turns away thousands of devices a second must not silence its own log. Azure adds units by itself; it
    // does not take them away again (https://learn.microsoft.com/azure/event-hubs/event-hubs-auto-inflate).
    isAutoInflateEnabled: true
    maximumThroughputUnits: logPartitions
    // Azure Monitor can write only with a shared access policy, so local authentication stays on
    // (https://learn.microsoft.com/azure/azure-monitor/essentials/diagnostic-settings#destinations).
    disableLocalAuth: false
    minimumTlsVersion: '1.2'
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
  }
}

// The exception is for Azure Monitor, which writes the logs
// (https://learn.microsoft.com/azure/event-hubs/event-hubs-service-endpoints#trusted-microsoft-services). Without rules, a namespace
// is closed only if public access is disabled (https://learn.microsoft.com/azure/event-hubs/event-hubs-ip-filtering).
resource logsNetwork 'Microsoft.EventHub/namespaces/networkRuleSets@2024-01-01' = {
  parent: logsNamespace
  name: 'default'
  properties: {
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    defaultAction: closed ? 'Deny' : 'Allow'
    trustedServiceAccessEnabled: true
  }
}

resource logs 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: logsNamespace
  name: 'connections'
  properties: {
    partitionCount: logPartitions
    // The longest retention of the tier. The relay can stand still for this time without losing a record.
    messageRetentionInDays: 7
  }
}

// For Azure Monitor only, which requires all three rights. Nobody reads its key.
resource sendRule 'Microsoft.EventHub/namespaces/authorizationRules@2024-01-01' = {
  parent: logsNamespace
  name: 'azure-monitor'
  properties: {
    rights: ['Manage', 'Send', 'Listen']
  }
}

module hubs 'hub.bicep' = [for (id, i) in iotHubs: {
  name: 'hubwatch-hub-${i}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    hubName: last(split(id, '/'))
    settingName: name
    authorizationRuleId: sendRule.id
    eventHubName: logs.name
    logCategories: logCategories
    location: location
    tags: tags
    topicName: hubTopicNames[?last(split(id, '/'))] ?? ''
    actionGroups: actionGroups
  }
}]

// The subscriptions of the hubs. Alerts about the hubs of this one are here, and of another one in the resource group of the first hub there.
var hubSubscriptions = union([], map(iotHubs, id => toLower(split(id, '/')[2])))

module hubAlerts 'hub-alerts.bicep' = [for (id, i) in hubSubscriptions: {
  name: 'hubwatch-hub-alerts-${i}'
  scope: resourceGroup(id, id == toLower(subscription().subscriptionId) ? resourceGroup().name : split(filter(iotHubs, hub => toLower(split(hub, '/')[2]) == id)[0], '/')[4])
  params: {
    name: name
    hubs: filter(iotHubs, hub => toLower(split(hub, '/')[2]) == id)
    tags: tags
    actionGroups: actionGroups
    tellChanges: tellChanges
    tellMoves: id != toLower(subscription().subscriptionId)
  }
}]

resource connections 'Microsoft.EventGrid/topics@2022-06-15' = {
  name: connectionsTopicName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned' // writes the dead letters
  }
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
  }
}

// The way of alerts: the app publishes an event when an alert is raised or reopened. Functions of the app hear of it, and whoever
// else has a subscription.
resource alertEvents 'Microsoft.EventGrid/topics@2022-06-15' = {
  name: alertsTopicName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned' // writes the dead letters
  }
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
  }
}

// The way of changes: Azure Resource Manager itself publishes to this topic. It is global, and a global topic can have
// no identity (https://learn.microsoft.com/azure/event-grid/enable-identity-system-topics#global-azure-sources).
resource controlPlane 'Microsoft.EventGrid/systemTopics@2022-06-15' = if (empty(controlPlaneTopicName)) {
  name: '${name}-control-plane'
  location: 'global'
  tags: tags
  properties: {
    source: watch == 'subscription' ? subscription().id : resourceGroup().id
    topicType: watch == 'subscription' ? 'Microsoft.Resources.Subscriptions' : 'Microsoft.Resources.ResourceGroups'
  }
}

// The way of alerts to Microsoft Sentinel, if it is wanted. The workspace may be in another resource group. Without a workspace, the
// scope is this resource group: a scope has to be one even where nothing is deployed.
module sentinel 'sentinel.bicep' = if (!empty(sentinelWorkspace)) {
  name: 'hubwatch-sentinel'
  scope: resourceGroup(split(sentinelWorkspace, '/')[?2] ?? subscription().subscriptionId, split(sentinelWorkspace, '/')[?4] ?? resourceGroup().name)
  params: {
    workspaceName: last(split(sentinelWorkspace, '/'))
    location: sentinelLocation
    principalId: identity.properties.principalId
    incidents: sentinelIncidents
    tags: tags
  }
}

// Private endpoints, if they are wanted.

var targets = [
  { name: 'table', id: storage.id, kind: 'table' }
  { name: 'blob', id: storage.id, kind: 'blob' }
  { name: 'state', id: stateAccount.id, kind: 'table' }
  { name: 'host', id: hostAccount.id, kind: 'blob' }
  { name: 'logs', id: logsNamespace.id, kind: 'namespace' }
  { name: 'connections', id: connections.id, kind: 'topic' }
  { name: 'alerts', id: alertEvents.id, kind: 'topic' }
]

module endpoints 'endpoints.bicep' = if (!empty(endpointSubnet)) {
  name: 'hubwatch-endpoints'
  params: {
    name: name
    location: location
    tags: tags
    subnetId: endpointSubnet
    dnsZones: dnsZones
    targets: targets
  }
}

// The app.

resource plan 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2023-12-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(appSubnet) ? null : appSubnet
    // The app has no identity of its own, by which references to a Key Vault are read without this
    // (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#access-vaults-with-a-user-assigned-identity).
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        alwaysReady: alwaysReady
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages.name}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      // Only Event Grid calls the app (https://learn.microsoft.com/azure/event-grid/network-security#service-tags). People who
      // publish call the other site, scm, with a token of Microsoft Entra. There is no ftpsState: Flex Consumption has no FTP,
      // and that setting is not for it (https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations).
      ipSecurityRestrictionsDefaultAction: 'Deny'
      ipSecurityRestrictions: [
        {
          name: 'event-grid'
          priority: 100
          action: 'Allow'
          tag: 'ServiceTag'
          ipAddress: 'AzureEventGrid'
        }
      ]
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
      // Names and meaning: docs/design.md, and for the connections
      // https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection
      appSettings: [
        { name: 'AzureWebJobsStorage__blobServiceUri', value: hostAccount.properties.primaryEndpoints.blob }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'AzureWebJobsStorage__clientId', value: identity.properties.clientId }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identity.properties.clientId};Authorization=AAD' }
        { name: 'AlertsStorage__tableServiceUri', value: storage.properties.primaryEndpoints.table }
        { name: 'AlertsStorage__credential', value: 'managedidentity' }
        { name: 'AlertsStorage__clientId', value: identity.properties.clientId }
        { name: 'AlertsTable', value: alertsTable.name }
        { name: 'QuarantineTable', value: quarantineTable.name }
        { name: 'SuppressionsTable', value: suppressionsTable.name }
        { name: 'InferredAlerts', value: toLower(string(inferredAlerts)) }
        { name: 'StateStorage__tableServiceUri', value: stateAccount.properties.primaryEndpoints.table }
        { name: 'RenewalGrace', value: renewalGrace }
        { name: 'MissingAfter', value: missingAfter }
        { name: 'RenewalAddress', value: renewalAddress }
        { name: 'StormDevices', value: string(stormDevices) }
        { name: 'SurgeDevices', value: string(surgeDevices) }
        { name: 'NotifyUrls', value: empty(notifySecret) ? '' : '@Microsoft.KeyVault(SecretUri=${notifySecret})' }
        { name: 'DigestAfter', value: string(digestAfter) }
        { name: 'ConsoleUrl', value: consoleUrl }
        { name: 'OwnResources', value: '${storage.name},${stateAccount.name},${hostAccount.name},${controlPlaneName},${resourceId('Microsoft.Web/sites', name)}' }
        { name: 'ExpectedHubs', value: join(map(iotHubs, id => last(split(id, '/'))), ',') }
        { name: 'HubLogs__fullyQualifiedNamespace', value: split(split(logsNamespace.properties.serviceBusEndpoint, '/')[2], ':')[0] }
        { name: 'HubLogs__credential', value: 'managedidentity' }
        { name: 'HubLogs__clientId', value: identity.properties.clientId }
        { name: 'HubLogsEventHub', value: logs.name }
        { name: 'CanaryEventHubUri', value: 'https://${split(split(logsNamespace.properties.serviceBusEndpoint, '/')[2], ':')[0]}/${logs.name}/messages' }
        { name: 'CanaryTagUri', value: canaryTag ? '${environment().resourceManager}${substring(identity.id, 1)}/providers/Microsoft.Resources/tags/default' : '' }
        { name: 'ConnectionEvents__topicEndpointUri', value: connections.properties.endpoint }
        { name: 'AlertEvents__topicEndpointUri', value: alertEvents.properties.endpoint }
        { name: 'Sentinel__endpoint', value: empty(sentinelWorkspace) ? sentinelEndpoint : sentinel!.outputs.endpoint }
        { name: 'Sentinel__ruleId', value: empty(sentinelWorkspace) ? sentinelRuleId : sentinel!.outputs.ruleId }
      ]
    }
  }
  // The host needs its storage and the package from its first moment on, also if they are closed.
  dependsOn: [hostStorage, keepPackage, endpoints]
}

// Publishing uses the publisher's own identity; the passwords for it are off
// (https://learn.microsoft.com/azure/app-service/configure-basic-auth-disable).
resource publishingPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2023-12-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource ftpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2023-12-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

// Custom roles, because the built-in roles that may write may also delete. The rights that each request takes:
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#permissions-for-calling-data-operations
// A transaction takes the rights of the operations in it. The name of a role is unique in a tenant.

// An alert is read, added or merged into; its evidence is added. People add and end suppressions with the same rights.
resource alertWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, name, 'alert-writer')
  properties: {
    roleName: '${name} alert writer'
    description: 'Reads, adds and changes rows of a table, and deletes none.'
    type: 'CustomRole'
    permissions: [
      {
        dataActions: [
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/read'
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/add/action'
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/update/action'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// The app adds events to the quarantine. People read them, judge them again and resolve them.
resource quarantineWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, name, 'quarantine-writer')
  properties: {
    roleName: '${name} quarantine writer'
    description: 'Adds rows to a table, and neither reads, changes nor deletes any.'
    type: 'CustomRole'
    permissions: [
      {
        dataActions: [
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/add/action'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// For hubwatch alerts prune: it looks at the rows of old days, and deletes them. It adds and changes nothing, so its holder can
// take an alert away, and cannot make one look as if somebody had closed it. Nobody has it unless a parameter says so, and the app
// never has it.
resource alertPruner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, name, 'alert-pruner')
  properties: {
    roleName: '${name} alert pruner'
    description: 'Reads and deletes rows of a table.'
    type: 'CustomRole'
    permissions: [
      {
        dataActions: [
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/read'
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/delete'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// An instance reads the package when it starts. Publishing overwrites the package; the platform does that with the same
// identity (https://learn.microsoft.com/azure/azure-functions/flex-consumption-how-to#configure-deployment-settings).
resource packageKeeper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, name, 'package-keeper')
  properties: {
    roleName: '${name} package keeper'
    description: 'Reads and writes blobs of a container, and deletes neither a blob nor a version.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read'
        ]
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// For the canary of changes, if it is wanted: the app writes a tag on its own identity, which nobody else uses.
resource tagWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (canaryTag) {
  name: guid(resourceGroup().id, name, 'tag-writer')
  properties: {
    roleName: '${name} tag writer'
    description: 'Writes tags, and nothing else.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Resources/tags/write'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// Role assignments, each at the narrowest scope that works.

// The host makes its containers itself, so the scope is the account. Nothing else is in the account.
resource hostStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hostAccount
  name: guid(hostAccount.id, identity.id, roles.storageBlobDataOwner)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource keepPackage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: packages
  name: guid(packages.id, identity.id, packageKeeper.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', packageKeeper.name)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: alertsTable
  name: guid(alertsTable.id, identity.id, alertWriter.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriter.name)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeQuarantine 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: quarantineTable
  name: guid(quarantineTable.id, identity.id, quarantineWriter.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', quarantineWriter.name)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// The app obeys suppressions, and can make none.
resource obeySuppressions 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: suppressionsTable
  name: guid(suppressionsTable.id, identity.id, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// The app makes and drops tables of the state. A role for one table cannot be given, since the names have the day.
resource keepState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stateAccount
  name: guid(stateAccount.id, identity.id, roles.storageTableDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, identity.id, roles.monitoringMetricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readLogs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: logs
  name: guid(logs.id, identity.id, roles.eventHubsDataReceiver)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventHubsDataReceiver)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// The app sends itself a message an hour, to see whether it arrives.
resource sendCanaries 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: logs
  name: guid(logs.id, identity.id, roles.eventHubsDataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventHubsDataSender)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeTags 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (canaryTag) {
  scope: identity
  name: guid(identity.id, identity.id, tagWriter.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tagWriter.name)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource publishConnections 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: connections
  name: guid(connections.id, identity.id, roles.eventGridDataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventGridDataSender)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource publishAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: alertEvents
  name: guid(alertEvents.id, identity.id, roles.eventGridDataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventGridDataSender)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeDeadAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deadLetters
  name: guid(deadLetters.id, alertEvents.id, roles.storageBlobDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: alertEvents.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

resource writeDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deadLetters
  name: guid(deadLetters.id, connections.id, roles.storageBlobDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: connections.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  scope: alertsTable
  name: guid(alertsTable.id, reader, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: reader
  }
}]

resource readQuarantine 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  scope: quarantineTable
  name: guid(quarantineTable.id, reader, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: reader
  }
}]

resource readSuppressions 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  scope: suppressionsTable
  name: guid(suppressionsTable.id, reader, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: reader
  }
}]

// What is in the state beside records without credentials: how many renewals were silent, and sentences that hubwatch does not know.
resource readState 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  scope: stateAccount
  name: guid(stateAccount.id, reader, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: reader
  }
}]

resource answerState 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for responder in responders: {
  scope: stateAccount
  name: guid(stateAccount.id, responder, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: responder
  }
}]

resource changeAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for responder in responders: {
  scope: alertsTable
  name: guid(alertsTable.id, responder, alertWriter.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriter.name)
    principalId: responder
  }
}]

resource pruneAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for pruner in pruners: {
  scope: alertsTable
  name: guid(alertsTable.id, pruner, alertPruner.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertPruner.name)
    principalId: pruner
  }
}]

resource makeSuppressions 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for responder in responders: {
  scope: suppressionsTable
  name: guid(suppressionsTable.id, responder, alertWriter.name)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriter.name)
    principalId: responder
  }
}]

resource clearQuarantine 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for responder in responders: {
  scope: quarantineTable
  name: guid(quarantineTable.id, responder, roles.storageTableDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
    principalId: responder
  }
}]

// Alerts about hubwatch itself. Otherwise nobody would hear of an event that reached no detector, of an event that could not be
// judged, or of a handler that fails. Metrics: https://learn.microsoft.com/azure/event-grid/monitor-push-reference#metrics,
// https://learn.microsoft.com/azure/azure-monitor/app/standard-metrics#server-metrics and
// https://learn.microsoft.com/azure/storage/tables/monitor-table-storage-reference
var failures = [
  {
    name: 'changes-dropped'
    description: 'Event Grid gave up on a change of an IoT hub, and nothing has kept the event. If it was one, its alert is missing.'
    scope: resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName)
    namespace: 'Microsoft.EventGrid/systemTopics'
    metric: 'DroppedEventCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'connections-dropped'
    description: 'Event Grid gave up on a failed connection, and could not even keep the event as a dead letter.'
    scope: connections.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DroppedEventCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'connections-dead-lettered'
    description: 'Event Grid gave up on a failed connection. The event is in the container deadletter.'
    scope: connections.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DeadLetteredCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'alerts-dropped'
    description: 'Event Grid gave up on telling of an alert, and nothing has kept the event. The alert is in the table: hubwatch alerts list.'
    scope: alertEvents.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DroppedEventCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'alerts-dead-lettered'
    description: 'Event Grid gave up on telling of an alert. The event is in the container deadletter, and the alert in the table: hubwatch alerts list.'
    scope: alertEvents.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DeadLetteredCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  // After a pause, the Functions host refuses the first deliveries for a moment, and takes them at the next attempt
  // (https://github.com/Azure/azure-functions-host/issues/11834). If it refuses all, for example because the key with which Event Grid
  // delivers was replaced (https://github.com/Azure/azure-functions-host/pull/11904), an event is tried at least four times within an
  // hour: 401 is tried again after five minutes, other errors after seconds, and the pauses grow
  // (https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-schedule). Changes come one by one, so more than three
  // failures are not those of a first delivery. Failed connections and alerts can come several at once, so a few more failures of
  // them are. There may be nothing but an hourly canary on their topics, which alone has to exceed the threshold.
  {
    name: 'changes-refused'
    description: 'The app refuses changes of IoT hubs, and Event Grid tries them again for 24 hours. hubwatch doctor says with which error, and docs/operate.md what to do.'
    scope: resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName)
    namespace: 'Microsoft.EventGrid/systemTopics'
    metric: 'DeliveryAttemptFailCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 3
    window: 'PT1H'
    severity: 2
  }
  {
    name: 'connections-refused'
    description: 'The app refuses failed connections, and Event Grid tries them again for 24 hours. hubwatch doctor says with which error, and docs/operate.md what to do.'
    scope: connections.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DeliveryAttemptFailCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 5
    window: 'PT1H'
    severity: 2
  }
  {
    name: 'alerts-refused'
    description: 'The functions that tell of alerts refuse events, and Event Grid tries them again for 24 hours. hubwatch doctor says with which error, and docs/operate.md what to do.'
    scope: alertEvents.id
    namespace: 'Microsoft.EventGrid/topics'
    metric: 'DeliveryAttemptFailCount'
    aggregation: 'Total'
    dimensions: []
    threshold: 5
    window: 'PT1H'
    severity: 2
  }
  {
    name: 'handler-failures'
    description: 'Invocations fail, and are tried again: the table does not take alerts, or the handler does not run. The exceptions are in Application Insights.'
    scope: insights.id
    namespace: 'microsoft.insights/components'
    metric: 'requests/failed'
    aggregation: 'Count'
    dimensions: []
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    // Only the quarantine inserts rows one by one: an alert and its evidence are a transaction, which counts as
    // EntityGroupTransaction. Log lines cannot be counted, because Application Insights keeps only a sample of them.
    name: 'quarantined'
    description: 'An event could not be judged. It is in the table quarantine: hubwatch quarantine list.'
    scope: storage.id
    namespace: 'Microsoft.Storage/storageAccounts'
    metric: 'Transactions'
    aggregation: 'Total'
    dimensions: [
      {
        name: 'ApiName'
        operator: 'Include'
        values: ['InsertEntity']
      }
      {
        name: 'ResponseType'
        operator: 'Include'
        values: ['Success']
      }
    ]
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
]

resource failureAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [for failure in failures: {
  name: '${name}-${failure.name}'
  location: 'global'
  tags: tags
  properties: {
    description: failure.description
    severity: failure.severity
    enabled: true
    autoMitigate: true
    scopes: [failure.scope]
    evaluationFrequency: 'PT5M'
    windowSize: failure.window
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: failure.name
          metricNamespace: failure.namespace
          metricName: failure.metric
          timeAggregation: failure.aggregation
          dimensions: failure.dimensions
          operator: 'GreaterThan'
          threshold: failure.threshold
        }
      ]
    }
    actions: [for group in actionGroups: {
      actionGroupId: group
    }]
  }
  // The scope of the first alert is a name. It may be the name of a topic that was there before.
  dependsOn: [controlPlane]
}]

// Alerts on the activity log about what silences hubwatch. They work when hubwatch does not, and cost nothing
// (https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-types#activity-log-alerts). Each operation that succeeds is told of at once,
// and by itself. The functions Watcher* and ResourcesMoved make alerts of the same operations, and of the deletion of these alerts. The
// condition ignores letter case. The scopes are prefixes of the ids of resources.
var ownScopes = concat([
  app.id
  plan.id
  identity.id
  storage.id
  stateAccount.id
  hostAccount.id
  logsNamespace.id
  connections.id
  alertEvents.id
  resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName)
  insights.id
  workspace.id
], map(empty(endpointSubnet) ? [] : targets, target => resourceId('Microsoft.Network/privateEndpoints', '${name}-${target.name}')))

// The resource groups from which a hub can be moved away. An alert is about one subscription: hub-alerts.bicep has one for those of others.
var watchedGroups = union([resourceGroup().id], map(filter(iotHubs, id => split(id, '/')[2] == subscription().subscriptionId), id => join(take(split(id, '/'), 5), '/')))

var silencers = [
  {
    name: 'deleted'
    description: 'A part of hubwatch was deleted, and hubwatch may not be able to tell: see docs/operate.md.'
    scopes: ownScopes
    enabled: true
    operations: [
      'Microsoft.EventGrid/eventSubscriptions/delete'
      'Microsoft.EventGrid/topics/eventSubscriptions/delete'
      'Microsoft.EventGrid/systemTopics/eventSubscriptions/delete'
      'Microsoft.EventGrid/topics/delete'
      'Microsoft.EventGrid/systemTopics/delete'
      'Microsoft.Web/sites/delete'
      'Microsoft.Web/sites/functions/delete'
      'Microsoft.Web/sites/config/delete'
      'Microsoft.Web/sites/networkConfig/delete'
      'Microsoft.Web/sites/virtualNetworkConnections/delete'
      'Microsoft.Web/serverfarms/delete'
      'Microsoft.Storage/storageAccounts/delete'
      'Microsoft.Storage/storageAccounts/tableServices/tables/delete'
      'Microsoft.Storage/storageAccounts/blobServices/containers/delete'
      'Microsoft.EventHub/namespaces/delete'
      'Microsoft.EventHub/namespaces/eventhubs/delete'
      'Microsoft.EventHub/namespaces/authorizationRules/delete'
      'Microsoft.Network/privateEndpoints/delete'
      'Microsoft.Network/privateEndpoints/privateDnsZoneGroups/delete'
      'Microsoft.ManagedIdentity/userAssignedIdentities/delete'
      'Microsoft.Insights/components/delete'
      'Microsoft.OperationalInsights/workspaces/delete'
    ]
  }
  {
    name: 'stopped'
    description: 'The function app of hubwatch was stopped. Start it within 24 hours, before Event Grid drops events.'
    scopes: ownScopes
    enabled: true
    operations: [
      'Microsoft.Web/sites/stop/Action'
    ]
  }
  {
    name: 'keys-changed'
    description: 'A key of hubwatch was replaced. Event Grid may not be able to deliver, or Azure Monitor to send logs: see docs/operate.md.'
    scopes: ownScopes
    enabled: true
    operations: [
      'Microsoft.EventGrid/topics/regenerateKey/action'
      'Microsoft.EventHub/namespaces/authorizationRules/regenerateKeys/action'
      'Microsoft.EventHub/namespaces/eventhubs/authorizationRules/regenerateKeys/action'
      'Microsoft.Storage/storageAccounts/regeneratekey/action'
      'Microsoft.Web/sites/host/systemkeys/write'
      'Microsoft.Web/sites/host/systemkeys/delete'
      'Microsoft.Web/sites/host/functionkeys/write'
      'Microsoft.Web/sites/host/functionkeys/delete'
      'Microsoft.Web/sites/functions/keys/write'
      'Microsoft.Web/sites/functions/keys/delete'
    ]
  }
  {
    name: 'keys-listed'
    description: 'Somebody read the keys of a part of hubwatch. A deployment and the portal do so, too.'
    scopes: ownScopes
    enabled: tellChanges
    operations: [
      'Microsoft.EventGrid/topics/listKeys/action'
      'Microsoft.EventHub/namespaces/authorizationRules/listKeys/action'
      'Microsoft.EventHub/namespaces/eventhubs/authorizationRules/listKeys/action'
      'Microsoft.Storage/storageAccounts/listKeys/action'
      'Microsoft.Storage/storageAccounts/listAccountSas/action'
      'Microsoft.Storage/storageAccounts/listServiceSas/action'
      'Microsoft.Web/sites/host/listkeys/action'
      'Microsoft.Web/sites/functions/listkeys/action'
      'Microsoft.Web/sites/functions/listsecrets/action'
    ]
  }
  {
    name: 'changed'
    description: 'A part of hubwatch was written. A deployment writes every part.'
    scopes: ownScopes
    enabled: tellChanges
    operations: [
      'Microsoft.EventGrid/eventSubscriptions/write'
      'Microsoft.EventGrid/topics/eventSubscriptions/write'
      'Microsoft.EventGrid/systemTopics/eventSubscriptions/write'
      'Microsoft.EventGrid/topics/write'
      'Microsoft.EventGrid/systemTopics/write'
      'Microsoft.Web/sites/write'
      'Microsoft.Web/sites/config/write'
      'Microsoft.Web/sites/networkConfig/write'
      'Microsoft.Web/sites/virtualNetworkConnections/write'
      'Microsoft.Web/sites/functions/write'
      'Microsoft.Web/serverfarms/write'
      'Microsoft.Storage/storageAccounts/write'
      'Microsoft.Storage/storageAccounts/blobServices/write'
      'Microsoft.Storage/storageAccounts/privateEndpointConnections/write'
      'Microsoft.Storage/storageAccounts/privateEndpointConnections/delete'
      'Microsoft.EventHub/namespaces/write'
      'Microsoft.EventHub/namespaces/eventhubs/write'
      'Microsoft.EventHub/namespaces/authorizationRules/write'
      'Microsoft.EventHub/namespaces/networkrulesets/write'
      'Microsoft.Authorization/roleAssignments/write'
      'Microsoft.Authorization/roleAssignments/delete'
    ]
  }
  {
    name: 'moved'
    description: 'Resources were moved out of a resource group with IoT hubs. If a hub was among them, hubwatch does not see it any more: see docs/operate.md.'
    scopes: watchedGroups
    enabled: true
    operations: [
      'Microsoft.Resources/subscriptions/resourceGroups/moveResources/action'
    ]
  }
]

resource silencerAlerts 'Microsoft.Insights/activityLogAlerts@2020-10-01' = [for silencer in silencers: {
  name: '${name}-${silencer.name}'
  location: 'global'
  tags: tags
  properties: {
    description: silencer.description
    enabled: silencer.enabled
    scopes: silencer.scopes
    condition: {
      allOf: [
        {
          field: 'category'
          equals: 'Administrative'
        }
        {
          field: 'status'
          equals: 'Succeeded'
        }
        {
          field: 'operationName'
          containsAny: silencer.operations
        }
      ]
    }
    actions: {
      actionGroups: [for group in actionGroups: {
        actionGroupId: group
      }]
    }
  }
  // Some of the scopes are names. One may be the name of a topic that was there before.
  dependsOn: [controlPlane, endpoints]
}]

// Failed connections wait for a verdict, so nobody would hear of them if the function Verdicts did not run. It logs a line a minute
// with the age of the oldest verdict that is due. The alert fires if no line of half an hour says that it is below ten minutes.
// The query has one row then, and none otherwise, so nothing depends on what Azure Monitor makes of a query without rows: summarize
// without a group has a row also if there is no line at all (https://learn.microsoft.com/kusto/query/summarize-operator).
// Lines come late, usually by minutes. If they come late by half an hour, the alert is false
// (https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-troubleshoot-log).
// host.json samples lines: 20 a second for each instance are kept. A flood does not take the line away, because a function with a
// timer has instances of its own (https://learn.microsoft.com/azure/azure-functions/event-driven-scaling).
resource verdictsLate 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = {
  name: '${name}-verdicts-late'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    description: 'Verdicts on failed connections are late: the function Verdicts does not run, or cannot read, write or publish. Its log says why.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insights.id]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    criteria: {
      allOf: [
        {
          query: 'traces | where message has "oldestMarkSeconds" | extend age = toint(extract("oldestMarkSeconds.:([0-9]+)", 1, message)) | summarize inTime = countif(age < 600) | where inTime == 0'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: actionGroups
    }
  }
}

// The console, if it is wanted.
module console 'console.bicep' = if (!empty(consoleClientId)) {
  name: 'hubwatch-console'
  params: {
    name: name
    location: location
    tags: tags
    storageSku: storageSku
    clientId: consoleClientId
    changes: consoleChanges
    storageName: storage.name
    stateStorageName: stateAccount.name
    workspaceId: workspace.id
    subnetId: appSubnet
    alertWriterName: alertWriter.name
  }
  // Their names are written out there.
  dependsOn: [alertsTable, quarantineTable, suppressionsTable]
}

output functionAppName string = app.name
output principalId string = identity.properties.principalId
output storageAccountName string = storage.name
output stateAccountName string = stateAccount.name
output alertsTableName string = alertsTable.name
output controlPlaneTopicName string = controlPlaneName
output connectionsTopicName string = connections.name
output alertsTopicName string = alertEvents.name
output consoleAppName string = empty(consoleClientId) ? '' : '${name}-console'
// What subscriptions.bicep is given, as the Azure CLI takes parameters.
output subscriptions object = {
  name: { value: name }
  controlPlaneTopicName: { value: controlPlaneTopicName }
  iotHubs: { value: iotHubs }
  hubTopicNames: { value: hubTopicNames }
}
