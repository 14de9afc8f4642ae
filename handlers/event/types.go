package event

// Types of the events that Azure Resource Manager publishes: each says which
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
