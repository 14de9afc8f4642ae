// What one IoT hub sends to hubwatch: its logs, by a diagnostic setting, and its own events, by a system topic. It is a module because
// a hub may be in another resource group than hubwatch.

targetScope = 'resourceGroup'

@description('Name of the IoT hub.')
param hubName string

@description('Name of the diagnostic setting; a hub can have five.')
param settingName string

@description('Resource id of the rule of the Event Hubs namespace by which Azure Monitor may send.')
param authorizationRuleId string

@description('Name of the event hub that takes the logs.')
param eventHubName string

@description('Categories of the logs that are sent to the event hub.')
param logCategories array

@description('Region of the IoT hub.')
param location string

@description('Tags of what is created here.')
param tags object

@description('Name of the system topic that the hub already has, in its own resource group: Event Grid allows one for each hub. Empty if it has none.')
param topicName string

@description('Resource ids of the action groups that hear of events that are dropped.')
param actionGroups array

// A hub publishes its own events (devices created, deleted, connected, disconnected, telemetry) only if there is a topic. There is one if
// an alert is made from such events.
var needsTopic = !empty(filter(loadJsonContent('subscriptions.json'), each => each.source == 'hub'))

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' existing = {
  name: hubName
}

// The relay reads the category Connections, and of others what an alert is made from. A record of any category costs what one of Connections costs.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: hub
  name: settingName
  properties: {
    eventHubAuthorizationRuleId: authorizationRuleId
    eventHubName: eventHubName
    logs: [for category in logCategories: {
      category: category
      enabled: true
    }]
  }
}

// It has no identity and its event subscriptions no dead letters, as with a topic that was there before. So there is an alert for events
// that are dropped.
resource topic 'Microsoft.EventGrid/systemTopics@2022-06-15' = if (needsTopic && empty(topicName)) {
  name: '${settingName}-${hubName}'
  location: location
  tags: tags
  properties: {
    source: hub.id
    topicType: 'Microsoft.Devices.IoTHubs'
  }
}

resource dropped 'Microsoft.Insights/metricAlerts@2018-03-01' = if (needsTopic) {
  name: '${settingName}-${hubName}-dropped'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid gave up on an event of an IoT hub, and nothing has kept the event. If an alert was to be made from it, that is missing.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [resourceId('Microsoft.EventGrid/systemTopics', empty(topicName) ? '${settingName}-${hubName}' : topicName)]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dropped'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DroppedEventCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [for group in actionGroups: {
      actionGroupId: group
    }]
  }
  // The scope is a name. It may be the name of a topic that was there before.
  dependsOn: [topic]
}
