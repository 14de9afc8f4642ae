// Private endpoints: addresses in a network of the owner by which the app reaches what is closed to the rest of the world. main.bicep
// uses this if the parameter endpointSubnet names a subnet. The network, its DNS and its way out belong to the owner (docs/operate.md).

targetScope = 'resourceGroup'

@description('Name of the function app, with which the names of the endpoints begin.')
param name string

@description('Region of the subnet.')
param location string

@description('Tags of what is created here.')
param tags object

@description('Resource id of the subnet.')
param subnetId string

@description('Resource ids of private DNS zones, by kinds of targets. An endpoint whose kind has none is not registered here.')
param dnsZones object

@description('What is to be reached: the name of the endpoint, the resource id, and the kind, which is the name of a sub-resource (https://learn.microsoft.com/azure/private-link/private-endpoint-overview#private-link-resource).')
param targets array

resource endpoints 'Microsoft.Network/privateEndpoints@2023-11-01' = [for target in targets: {
  name: '${name}-${target.name}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.id
          groupIds: [target.kind]
        }
      }
    ]
  }
}]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2023-11-01' = [for (target, i) in targets: if (contains(dnsZones, target.kind)) {
  parent: endpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.kind
        properties: {
          privateDnsZoneId: dnsZones[?target.kind] ?? ''
        }
      }
    ]
  }
}]
