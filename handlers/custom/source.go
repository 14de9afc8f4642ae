package custom

// hubTypes are the types of IoT Hub's own events
// (https://learn.microsoft.com/azure/event-grid/event-schema-iot-hub).
var hubTypes = []string{
	"Microsoft.Devices.DeviceCreated", "Microsoft.Devices.DeviceDeleted",
	"Microsoft.Devices.DeviceConnected", "Microsoft.Devices.DeviceDisconnected",
	"Microsoft.Devices.DeviceTelemetry",
}

// categories are the categories of the resource logs of an IoT hub
// (https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#resource-logs).
var categories = []string{
	"Connections", "DeviceTelemetry", "C2DCommands", "DeviceIdentityOperations", "FileUploadOperations", "Routes", "D2CTwinOperations",
	"C2DTwinOperations", "TwinQueries", "JobsOperations", "DirectMethods", "DistributedTracing", "Configurations", "DeviceStreams",
}

// logType returns the type of the events that have records of a category.
func logType(category string) string { return "hubwatch.iothub.log." + category }
