// The event subscriptions to the events that one IoT hub itself publishes. It is a module because the system topic is in the resource group
// of the hub.

targetScope = 'resourceGroup'

@description('Name of the system topic of the hub.')
param topicName string

@description('Resource id of the function app.')
param appId string

var subscriptions = loadJsonContent('subscriptions.json')

// As in subscriptions.bicep.
var retryPolicy = {
  maxDeliveryAttempts: 30
  eventTimeToLiveInMinutes: 1440
}

resource topic 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: topicName
}

// An IoT hub refuses a change of its subscriptions while another change is running (https://github.com/Azure/bicep/issues/2549).
@batchSize(1)
resource devices 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = [for s in filter(subscriptions, each => each.source == 'hub'): {
  parent: topic
  name: s.name
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${appId}/functions/${s.function}'
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: s.filter
    retryPolicy: retryPolicy
  }
}]
