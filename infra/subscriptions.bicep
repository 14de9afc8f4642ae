// One event subscription for each detector, and for each function that hears of alerts, from subscriptions.json, which
// handlers/tools/generate writes. The template is deployed as a deployment stack after the functions are published. So the
// subscription of a removed detector is deleted.

targetScope = 'resourceGroup'

@description('Name of the function app, as given to main.bicep.')
@minLength(6)
@maxLength(32)
param name string = 'hubwatch-${uniqueString(resourceGroup().id)}'

@description('Name of the system topic, if main.bicep was given one.')
param controlPlaneTopicName string = ''

@description('Resource ids of the IoT hubs, as given to main.bicep. Only alerts from events that hubs publish themselves need them.')
param iotHubs array = []

@description('Names of the system topics that hubs already have, if main.bicep was given any.')
param hubTopicNames object = {}

// The same names as in main.bicep.
var storageName = 'hubwatch${uniqueString(resourceGroup().id, name)}'
var connectionsTopicName = '${name}-connections'
var alertsTopicName = '${name}-alerts'
var controlPlaneName = empty(controlPlaneTopicName) ? '${name}-control-plane' : controlPlaneTopicName

var subscriptions = loadJsonContent('subscriptions.json')

// The most attempts that Event Grid makes: 30 in 24 hours
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

resource alertEvents 'Microsoft.EventGrid/topics@2022-06-15' existing = {
  name: alertsTopicName
}

// A global topic has no identity. Without an identity, Event Grid would write dead letters with a key of the storage account,
// and the account refuses keys (https://learn.microsoft.com/azure/event-grid/security-authentication). So there are no dead letters
// here; main.bicep has an alert for events that are dropped.
// What hubwatch itself is made of is in this resource group, with names that only a deployment knows. So the group is not in subscriptions.json.
// The subscriptions are created one at a time: a topic may refuse a change while another change is running.
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
    filter: s.own ? union(s.filter, { subjectBeginsWith: '${resourceGroup().id}/' }) : s.filter
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

@batchSize(1)
resource raisings 'Microsoft.EventGrid/topics/eventSubscriptions@2022-06-15' = [for s in filter(subscriptions, each => each.source == 'alerts'): {
  parent: alertEvents
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

// Of each hub, if there is an alert from events that hubs publish themselves.
module hubs 'hub-subscriptions.bicep' = [for (id, i) in empty(filter(subscriptions, each => each.source == 'hub')) ? [] : iotHubs: {
  name: 'hubwatch-hub-subscriptions-${i}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    topicName: hubTopicNames[?last(split(id, '/'))] ?? '${name}-${last(split(id, '/'))}'
    appId: app.id
  }
}]
