// One event subscription for each detector, from what handlers/tools/generate derives of them. This is deployed after the
// functions are published, as a deployment stack, so that a detector that is gone takes its subscription along.

targetScope = 'resourceGroup'

@description('Name of the function app, as given to main.bicep.')
@minLength(6)
@maxLength(32)
param name string = 'hubwatch-${uniqueString(resourceGroup().id)}'

@description('Name of the system topic, if main.bicep was given one.')
param controlPlaneTopicName string = ''

// The same names as in main.bicep.
var storageName = 'hubwatch${uniqueString(resourceGroup().id, name)}'
var connectionsTopicName = '${name}-connections'
var controlPlaneName = empty(controlPlaneTopicName) ? '${name}-control-plane' : controlPlaneTopicName

var subscriptions = loadJsonContent('subscriptions.json')

// The most that Event Grid does: 30 attempts in 24 hours
// (https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-policy).
var retryPolicy = {
  maxDeliveryAttempts: 30
  eventTimeToLiveInMinutes: 1440
}

resource app 'Microsoft.Web/sites@2023-12-01' existing = {
  name: name
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource controlPlane 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: controlPlaneName
}

resource connections 'Microsoft.EventGrid/topics@2022-06-15' existing = {
  name: connectionsTopicName
}

// A global topic has no identity, and without one Event Grid would write dead letters with a key of the storage account,
// which refuses keys (https://learn.microsoft.com/azure/event-grid/security-authentication). So there are no dead letters
// here; main.bicep has an alert for events that are dropped.
// One at a time, here and below: a topic may refuse a change while another is under way.
@batchSize(1)
resource changes 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = [for s in filter(subscriptions, each => each.source == 'controlPlane'): {
  parent: controlPlane
  name: s.name
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${app.id}/functions/${s.function}'
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: s.filter
    retryPolicy: retryPolicy
  }
}]

@batchSize(1)
resource failedConnections 'Microsoft.EventGrid/topics/eventSubscriptions@2022-06-15' = [for s in filter(subscriptions, each => each.source == 'connections'): {
  parent: connections
  name: s.name
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${app.id}/functions/${s.function}'
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: s.filter
    retryPolicy: retryPolicy
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storage.id
          blobContainerName: 'deadletter'
        }
      }
    }
  }
}]
