// The console as a function app of its own, if main.bicep is given consoleClientId. It is not a part of the app of the
// detectors, for two reasons: Event Grid cannot deliver to an app that asks for a sign-in
// (https://learn.microsoft.com/azure/event-grid/security-authentication#authenticate-event-delivery-to-webhook-endpoints), and
// pages that fail must not take the detectors with them. The app has no key and no secret: it signs people in with the
// assertion of its own identity, which the app registration has to trust (README, A console for the team).

@description('Name of the function app of the detectors. The names here begin with it.')
param name string

@description('Region of everything that is created here.')
param location string

@description('Tags of everything that is created here.')
param tags object

@description('Redundancy of the storage account.')
param storageSku string

@description('Application (client) id of the app registration by which people sign in.')
param clientId string

@description('People with the role Alerts.Respond may change alerts and suppressions.')
param changes bool

@description('Name of the storage account with the tables.')
param storageName string

@description('Name of the storage account with the state of the Connections log.')
param stateStorageName string

@description('Resource id of the Log Analytics workspace that keeps telemetry.')
param workspaceId string

@description('Name of the role that reads, adds and changes rows of a table.')
param alertWriterName string

@description('Resource id of the subnet through which the console reaches the tables if they are closed. Empty for no network.')
param subnetId string

// Built-in roles (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles).
var roles = {
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  storageTableDataReader: '76199698-9eea-4c19-bc75-cec21354c6b6'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
}

var siteName = '${name}-console'
var accountName = 'hubwatch${uniqueString(resourceGroup().id, name, 'console')}'

// Who signs the tokens of the people: this tenant, and no other.
var issuer = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' existing = {
  parent: storage
  name: 'default'
}

resource alertsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' existing = {
  parent: tables
  name: 'alerts'
}

resource quarantineTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' existing = {
  parent: tables
  name: 'quarantine'
}

resource suppressionsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' existing = {
  parent: tables
  name: 'suppressions'
}

resource stateAccount 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: stateStorageName
}

// The identity is not that of the detectors: it reads alerts, and has no right on topics, event hubs and packages of theirs.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: siteName
  location: location
  tags: tags
}

// Storage of the Functions host and of the package. Nothing in it is of worth to hubwatch.
resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: accountName
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
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'app-package'
}

// Not the component of the detectors: a stranger who is sent away is a failed request there, and an alert of main.bicep counts
// failed requests of detectors.
resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: siteName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspaceId
    DisableLocalAuth: true
  }
}

resource plan 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: siteName
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
  name: siteName
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
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 512
        maximumInstanceCount: 40
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${account.properties.primaryEndpoints.blob}${packages.name}'
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
      // Names and meaning: docs/design.md, The console
      appSettings: [
        { name: 'AzureWebJobsStorage__blobServiceUri', value: account.properties.primaryEndpoints.blob }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'AzureWebJobsStorage__clientId', value: identity.properties.clientId }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identity.properties.clientId};Authorization=AAD' }
        { name: 'AzureWebJobsDisableHomepage', value: 'true' }
        // The name that App Service Authentication has for: no secret, but an assertion of this identity
        // (https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad#use-a-managed-identity-instead-of-a-secret-preview).
        { name: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID', value: identity.properties.clientId }
        { name: 'AlertsStorage__tableServiceUri', value: storage.properties.primaryEndpoints.table }
        { name: 'AlertsStorage__credential', value: 'managedidentity' }
        { name: 'AlertsStorage__clientId', value: identity.properties.clientId }
        { name: 'AlertsTable', value: alertsTable.name }
        { name: 'QuarantineTable', value: quarantineTable.name }
        { name: 'SuppressionsTable', value: suppressionsTable.name }
        { name: 'StateStorage__tableServiceUri', value: stateAccount.properties.primaryEndpoints.table }
        { name: 'ConsoleIssuer', value: issuer }
        { name: 'ConsoleClientId', value: clientId }
        { name: 'ConsoleChanges', value: toLower(string(changes)) }
      ]
    }
  }
  // The host needs its storage and the package from its first moment on.
  dependsOn: [hostStorage]
}

// Everybody signs in before a request reaches the app. The app verifies the ID token once more, so that it lets nobody in if
// this is switched off. It gets the token from the token store.
resource signIn 'Microsoft.Web/sites/config@2023-12-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          openIdIssuer: issuer
          clientId: clientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
        }
        validation: {
          allowedAudiences: [clientId]
        }
      }
    }
    login: {
      tokenStore: {
        enabled: true
      }
    }
  }
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

// Role assignments, each at the narrowest scope that works. The first one is for the host and for the package.
resource hostStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, identity.id, roles.storageBlobDataOwner)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: alertsTable
  name: guid(alertsTable.id, identity.id, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readQuarantine 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: quarantineTable
  name: guid(quarantineTable.id, identity.id, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readSuppressions 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: suppressionsTable
  name: guid(suppressionsTable.id, identity.id, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// Renewals, refused connections and sentences that hubwatch does not know. A role for one table cannot be given, since the names
// have the month. The records there are without credentials.
resource readState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stateAccount
  name: guid(stateAccount.id, identity.id, roles.storageTableDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)
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

resource changeAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (changes) {
  scope: alertsTable
  name: guid(alertsTable.id, identity.id, alertWriterName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriterName)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource makeSuppressions 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (changes) {
  scope: suppressionsTable
  name: guid(suppressionsTable.id, identity.id, alertWriterName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriterName)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}
