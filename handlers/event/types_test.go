package event

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/eventgrid/azsystemevents"
	"github.com/google/go-cmp/cmp"
)

// TestOperationTypes compares the event types with those of the Azure SDK. Only
// this test imports the SDK: it brings an HTTP client along.
func TestOperationTypes(t *testing.T) {
	want := []string{
		azsystemevents.TypeResourceWriteSuccess, azsystemevents.TypeResourceWriteFailure, azsystemevents.TypeResourceWriteCancel,
		azsystemevents.TypeResourceDeleteSuccess, azsystemevents.TypeResourceDeleteFailure, azsystemevents.TypeResourceDeleteCancel,
		azsystemevents.TypeResourceActionSuccess, azsystemevents.TypeResourceActionFailure, azsystemevents.TypeResourceActionCancel,
	}
	if diff := cmp.Diff(want, OperationTypes); diff != "" {
		t.Errorf("the event types differ from those of the Azure SDK (-SDK +event):\n%s", diff)
	}
}

func TestOutcome(t *testing.T) {
	for eventType, want := range map[string]string{
		ResourceWriteSuccess:                          "succeeded",
		ResourceDeleteFailure:                         "failed",
		ResourceActionSuccess:                         "succeeded",
		ResourceActionFailure:                         "failed",
		ResourceActionCancel:                          "was cancelled",
		"microsoft.resources.RESOURCEACTIONFAILURE":   "failed",
		"Microsoft.Storage.AsyncOperationSuccess":     "",
		"Microsoft.Resources.ResourceActionSuccessed": "",
		"": "",
	} {
		if got := Outcome(eventType); got != want {
			t.Errorf("%q: have %q, want %q", eventType, got, want)
		}
	}
}
