package host

import (
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	want := time.Date(2026, 2, 1, 9, 0, 1, 250e6, time.UTC)
	for request, ok := range map[string]bool{
		`{"Data":{"messages":"[]"},"Metadata":{"PartitionContext":{"PartitionId":"3","Owner":""},"EnqueuedTimeUtcArray":"[\"2026-02-01T09:00:00Z\",\"2026-02-01T09:00:01.25Z\"]"}}`: true,
		`{"Data":{},"Metadata":{"PartitionContext":{"PartitionId":"3"},"EnqueuedTimeUtcArray":["2026-02-01T09:00:01.25Z"]}}`:                                                        true,
		`{"Data":{},"Metadata":{"PartitionContext":{"PartitionId":""},"EnqueuedTimeUtcArray":["2026-02-01T09:00:01.25Z"]}}`:                                                         false,
		`{"Data":{},"Metadata":{"PartitionContext":{"PartitionId":"3"},"EnqueuedTimeUtcArray":"[]"}}`:                                                                               false,
		`{"Data":{},"Metadata":{"PartitionContext":{"PartitionId":"3"},"EnqueuedTimeUtcArray":"soon"}}`:                                                                             false,
		`{"Data":{},"Metadata":{"PartitionContext":7}}`:                                                                                                                             false,
		`{"Data":{}}`: false,
		``:            false,
	} {
		partition, enqueued, have := Invocation{request: []byte(request)}.Progress()
		if have != ok || ok && (partition != "3" || !enqueued.Equal(want)) {
			t.Errorf("%s: %q, %s, %t", request, partition, enqueued, have)
		}
	}
}
