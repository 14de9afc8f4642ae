package event

import "strings"

// Types of the events that Azure Resource Manager publishes: each type says which
// kind of operation ended, and how
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
const (
	ResourceWriteSuccess  = "Microsoft.Resources.ResourceWriteSuccess"
	ResourceWriteFailure  = "Microsoft.Resources.ResourceWriteFailure"
	ResourceWriteCancel   = "Microsoft.Resources.ResourceWriteCancel"
	ResourceDeleteSuccess = "Microsoft.Resources.ResourceDeleteSuccess"
	ResourceDeleteFailure = "Microsoft.Resources.ResourceDeleteFailure"
	ResourceDeleteCancel  = "Microsoft.Resources.ResourceDeleteCancel"
	ResourceActionSuccess = "Microsoft.Resources.ResourceActionSuccess"
	ResourceActionFailure = "Microsoft.Resources.ResourceActionFailure"
	ResourceActionCancel  = "Microsoft.Resources.ResourceActionCancel"
)

// OperationTypes are all event types of Azure Resource Manager. The data of
// such an event is an Operation.
var OperationTypes = []string{
	ResourceWriteSuccess, ResourceWriteFailure, ResourceWriteCancel,
	ResourceDeleteSuccess, ResourceDeleteFailure, ResourceDeleteCancel,
	ResourceActionSuccess, ResourceActionFailure, ResourceActionCancel,
}

// Types of the events that an IoT hub itself publishes
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-event-grid#event-types). None of them
// is of a device that the hub refused.
const (
	DeviceCreated      = "Microsoft.Devices.DeviceCreated"
	DeviceDeleted      = "Microsoft.Devices.DeviceDeleted"
	DeviceConnected    = "Microsoft.Devices.DeviceConnected"
	DeviceDisconnected = "Microsoft.Devices.DeviceDisconnected"
	DeviceTelemetry    = "Microsoft.Devices.DeviceTelemetry"
)

// HubTypes are all event types of an IoT hub. Such an event is read by Event.Device.
var HubTypes = []string{DeviceCreated, DeviceDeleted, DeviceConnected, DeviceDisconnected, DeviceTelemetry}

// Outcome returns what an event type of Azure Resource Manager says of the
// operation: "succeeded", "failed" or "was cancelled", and "" for any other type.
// The member data.status cannot be trusted: Microsoft's own samples of failures
// have Succeeded there (github.com/Azure/azure-sdk-for-go,
// sdk/messaging/eventgrid/azsystemevents v1.0.0, system_events_test.go).
func Outcome(eventType string) string {
	for _, known := range OperationTypes {
		if !strings.EqualFold(known, eventType) {
			continue
		}
		switch {
		case strings.HasSuffix(known, "Success"):
			return "succeeded"
		case strings.HasSuffix(known, "Failure"):
			return "failed"
		default:
			return "was cancelled"
		}
	}
	return ""
}
