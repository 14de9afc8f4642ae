// Alerts on the activity log about what silences IoT hubs of one subscription, which work when hubwatch does not
// (https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-types#activity-log-alerts). It is a module because an alert is about
// resources of its own subscription, and a hub may be in another one than hubwatch. A subscription can have 100 such alerts, so each is about
// all hubs there: the scopes of an alert are a list of prefixes of resource ids, for which no limit is documented
// (https://learn.microsoft.com/rest/api/monitor/activity-log-alerts/create-or-update).

targetScope = 'resourceGroup'

@description('Name of the function app.')
param name string

@description('Resource ids of the IoT hubs of this subscription.')
param hubs array

@description('Tags of what is created here.')
param tags object

@description('Resource ids of the action groups that hear of what silences a hub.')
param actionGroups array

@description('Whether these groups hear of each write of a hub and of its diagnostic settings, and of each reading of its keys, too.')
param tellChanges bool

@description('Whether these groups hear of what is moved out of the resource groups of the hubs.')
param tellMoves bool

// A deletion of a hub or of its diagnostic setting silences what hubwatch knows of it. A setting that was written may send nothing any more,
// and a key of a hub is replaced by a write of the hub. Each deployment writes the setting, and the portal reads the keys, so these are told
// of only if they are wanted. main.bicep has an alert about what is moved out of the resource groups of its own subscription.
// The operations are those of the functions HubDeleted, DiagnosticSettingDeleted, HubSettingsChanged, HubKeysListed and DiagnosticSettingChanged.
var silencers = [
  {
    name: 'silenced'
    description: 'An IoT hub that hubwatch watches was deleted, or a diagnostic setting of it. If that was the one that sends its log to hubwatch, its failed connections are not seen any more.'
    scopes: hubs
    enabled: true
    operations: [
      'Microsoft.Devices/IotHubs/delete'
      'Microsoft.Insights/diagnosticSettings/delete'
      'Microsoft.Devices/IotHubs/diagnosticSettings/delete'
    ]
  }
  {
    name: 'changed'
    description: 'An IoT hub that hubwatch watches was written, or a diagnostic setting of it, or somebody read its keys. A deployment of hubwatch writes the diagnostic setting, and the portal reads the keys.'
    scopes: hubs
    enabled: tellChanges
    operations: [
      'Microsoft.Devices/IotHubs/write'
      'Microsoft.Devices/IotHubs/listkeys/action'
      'Microsoft.Devices/IotHubs/IotHubKeys/listkeys/action'
      'Microsoft.Insights/diagnosticSettings/write'
      'Microsoft.Devices/IotHubs/diagnosticSettings/write'
    ]
  }
  {
    name: 'moved'
    description: 'Resources were moved out of a resource group with IoT hubs. If a hub was among them, hubwatch does not see it any more: see docs/operate.md.'
    scopes: union([], map(hubs, id => join(take(split(id, '/'), 5), '/')))
    enabled: tellMoves
    operations: [
      'Microsoft.Resources/subscriptions/resourceGroups/moveResources/action'
    ]
  }
]

resource silencerAlerts 'Microsoft.Insights/activityLogAlerts@2020-10-01' = [for silencer in silencers: {
  name: '${name}-hubs-${silencer.name}'
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
}]
