// The diagnostic setting of one IoT hub. It is a module because a hub may be in another resource group than hubwatch.

targetScope = 'resourceGroup'

@description('Name of the IoT hub.')
param hubName string

@description('Name of the diagnostic setting; a hub can have five.')
param settingName string

@description('Resource id of the rule of the Event Hubs namespace by which Azure Monitor may send.')
param authorizationRuleId string

@description('Name of the event hub that takes the logs.')
param eventHubName string

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' existing = {
  name: hubName
}

// The relay reads the category Connections only. Azure would bill any further category, and the relay would skip its records.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: hub
  name: settingName
  properties: {
    eventHubAuthorizationRuleId: authorizationRuleId
    eventHubName: eventHubName
    logs: [
      {
        category: 'Connections'
        enabled: true
      }
    ]
  }
}
