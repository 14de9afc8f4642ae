// What Microsoft Sentinel needs to take hubwatch's alerts: the table, the rule of the Logs Ingestion API that fills it, the right
// of hubwatch to use this rule, a function in KQL, and the rule that makes incidents. All of it is in the resource group of the
// Log Analytics workspace with Sentinel. main.bicep deploys it there if the parameter sentinelWorkspace names the workspace. If the
// workspace belongs to other people than hubwatch does, they deploy this file by itself (docs/sentinel.md).

targetScope = 'resourceGroup'

@description('Name of the Log Analytics workspace in this resource group that has Microsoft Sentinel.')
param workspaceName string

@description('Region of the workspace. The rule of the ingestion has to be there.')
param location string = resourceGroup().location

@description('Object id of the identity of hubwatch: the output principalId of main.bicep.')
param principalId string

@description('Make incidents of the alerts. It needs Microsoft Sentinel in the workspace; without it, the alerts are in the table only.')
param incidents bool = true

@description('Tags of what is created here.')
param tags object = {}

var tableName = 'HubwatchAlerts_CL'
// SentinelStream of handlers/notify/sentinel.go.
var stream = 'Custom-${tableName}'

// The members of SentinelRow in handlers/notify/sentinel.go, which has the columns of Microsoft's table SecurityAlert.
var columns = [
  { name: 'TimeGenerated', type: 'dateTime' }
  { name: 'ProcessingEndTime', type: 'dateTime' }
  { name: 'StartTime', type: 'dateTime' }
  { name: 'EndTime', type: 'dateTime' }
  { name: 'SystemAlertId', type: 'string' }
  { name: 'VendorOriginalId', type: 'string' }
  { name: 'AlertName', type: 'string' }
  { name: 'DisplayName', type: 'string' }
  { name: 'AlertType', type: 'string' }
  { name: 'Description', type: 'string' }
  { name: 'AlertSeverity', type: 'string' }
  { name: 'Status', type: 'string' }
  { name: 'ConfidenceLevel', type: 'string' }
  { name: 'ProviderName', type: 'string' }
  { name: 'ProductName', type: 'string' }
  { name: 'ProductComponentName', type: 'string' }
  { name: 'VendorName', type: 'string' }
  { name: 'CompromisedEntity', type: 'string' }
  { name: 'ResourceId', type: 'string' }
  { name: 'Entities', type: 'string' }
  { name: 'RemediationSteps', type: 'string' }
  { name: 'ExtendedProperties', type: 'string' }
  { name: 'RaisingId', type: 'string' }
  { name: 'Raising', type: 'string' }
  { name: 'Changes', type: 'int' }
]

// Built-in role (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/monitor#monitoring-metrics-publisher).
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource table 'Microsoft.OperationalInsights/workspaces/tables@2022-10-01' = {
  parent: workspace
  name: tableName
  properties: {
    plan: 'Analytics'
    schema: {
      name: tableName
      columns: columns
    }
  }
}

// A rule of the kind Direct has an endpoint of its own, so there is no data collection endpoint
// (https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview#endpoint).
// Its words for types are those of the table, in lower case.
resource ingestion 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'hubwatch-alerts'
  location: location
  kind: 'Direct'
  tags: tags
  properties: {
    description: 'Takes the alerts of hubwatch.'
    streamDeclarations: {
      '${stream}': {
        columns: [for column in columns: {
          name: column.name
          type: toLower(column.type)
        }]
      }
    }
    destinations: {
      logAnalytics: [
        {
          name: 'workspace'
          workspaceResourceId: workspace.id
        }
      ]
    }
    dataFlows: [
      {
        streams: [stream]
        destinations: ['workspace']
        transformKql: 'source'
        outputStream: stream
      }
    ]
  }
  dependsOn: [table]
}

resource sendAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: ingestion
  name: guid(ingestion.id, principalId, monitoringMetricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource alerts 'Microsoft.OperationalInsights/workspaces/savedSearches@2020-08-01' = {
  parent: workspace
  name: 'hubwatch-alerts'
  properties: {
    category: 'hubwatch'
    displayName: 'HubwatchAlert'
    functionAlias: 'HubwatchAlert'
    query: loadTextContent('../docs/sentinel/alerts.kql')
    version: 2
  }
  dependsOn: [table]
}

// A rule that runs every five minutes may look back for less than two days
// (https://learn.microsoft.com/azure/sentinel/scheduled-rules-overview). Event Grid delivers for one.
// All raisings of an alert of one day are one incident.
resource makeIncidents 'Microsoft.SecurityInsights/alertRules@2023-11-01' = if (incidents) {
  scope: workspace
  name: guid(workspace.id, 'hubwatch')
  kind: 'Scheduled'
  properties: {
    displayName: 'hubwatch'
    description: 'An alert of hubwatch about an Azure IoT hub was raised, or is active again.'
    enabled: true
    query: loadTextContent('../docs/sentinel/incidents.kql')
    queryFrequency: 'PT5M'
    queryPeriod: 'PT47H'
    triggerOperator: 'GreaterThan'
    triggerThreshold: 0
    severity: 'Medium'
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    eventGroupingSettings: {
      aggregationKind: 'AlertPerResult'
    }
    alertDetailsOverride: {
      alertDisplayNameFormat: '{{AlertName}}: {{CompromisedEntity}}'
      alertDescriptionFormat: '{{Description}}'
      alertSeverityColumnName: 'AlertSeverity'
    }
    customDetails: {
      SystemAlertId: 'SystemAlertId'
      RaisingId: 'RaisingId'
      AlertType: 'AlertType'
      HubName: 'HubName'
      DeviceId: 'DeviceId'
      Reference: 'Reference'
    }
    entityMappings: [
      {
        entityType: 'AzureResource'
        fieldMappings: [
          {
            identifier: 'ResourceId'
            columnName: 'ResourceId'
          }
        ]
      }
      {
        entityType: 'Account'
        fieldMappings: [
          {
            identifier: 'FullName'
            columnName: 'Actor'
          }
        ]
      }
      {
        entityType: 'IP'
        fieldMappings: [
          {
            identifier: 'Address'
            columnName: 'Address'
          }
        ]
      }
    ]
    incidentConfiguration: {
      createIncident: true
      groupingConfiguration: {
        enabled: true
        reopenClosedIncident: true
        lookbackDuration: 'P1D'
        matchingMethod: 'Selected'
        groupByCustomDetails: ['SystemAlertId']
      }
    }
  }
  dependsOn: [table]
}

output endpoint string = ingestion.properties.endpoints.logsIngestion
output ruleId string = ingestion.properties.immutableId
