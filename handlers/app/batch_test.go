package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/verdict"
)

// kept is a store that counts the facts that are staged, and has no method but those that this takes.
type kept struct {
	judge.Store
	facts, marks int
}

func (k *kept) Stage(_ context.Context, rows []verdict.Staged) error {
	for _, r := range rows {
		facts, err := r.Facts()
		if err != nil {
			return err
		}
		k.facts += len(facts)
	}
	return nil
}

func (k *kept) Mark(_ context.Context, marks []verdict.Mark) error {
	k.marks += len(marks)
	return nil
}

// Begin implements verdict.Store. The log begins before all that comes.
func (k *kept) Begin(_ context.Context, hub string) (verdict.Begin, verdict.ETag, error) {
	return verdict.Begin{Hub: hub}, "begun", nil
}

// held counts what is quarantined.
type held int

func (h *held) Quarantine(context.Context, alert.Quarantined) error {
	*h++
	return nil
}

// TestLargestBatch sends the relay as many messages as host.json gives it at once, each as
// long as Event Hubs takes and full of characters that the host writes with three more. The
// host sends them twice, as data and as metadata. All records are kept. A request that is
// longer still is quarantined, and not tried for ever.
func TestLargestBatch(t *testing.T) {
	const batch, most = 8, 1 << 20 // maxEventBatchSize of host.json, and a message
	at := time.Now().UTC().Truncate(time.Second)
	record := func(n int) string {
		properties, _ := json.Marshal(fmt.Sprintf(`{"deviceId":"d%d","more":"%s"}`, n, strings.Repeat(`\"`, 2_000)))
		return fmt.Sprintf(`{"time":%q,"resourceId":"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Devices/IotHubs/contoso-hub",`+
			`"operationName":"deviceDisconnect","category":"Connections","resultType":"401003","resultDescription":"IotHubUnauthorized","properties":%s}`, at.Format(time.RFC3339), properties)
	}
	var messages []string
	records := 0
	for range batch {
		var list []string
		for size := 0; size < most-20_000; records++ {
			list = append(list, record(records))
			size += len(list[len(list)-1]) + 1
		}
		messages = append(messages, `{"records":[`+strings.Join(list, ",")+`]}`)
	}
	array, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(string(array))
	if err != nil {
		t.Fatal(err)
	}
	store, quarantine := &kept{}, new(held)
	j := judge.Judge{Quarantine: quarantine, Logs: judge.NewLogs(verdict.Defaults(), store, noTopic{})}
	handler, err := host.NewHandler([]host.Function{relay(j)}, j.Broken, slog.New(slog.DiscardHandler), host.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	post := func(body string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+judge.RelayName, strings.NewReader(body)))
		answer, _ := io.ReadAll(w.Body)
		return w.Code, string(answer)
	}
	body := `{"Data":{"messages":` + string(quoted) + `},"Metadata":{"messages":` + string(quoted) + `}}`
	if len(body) < 40<<20 || len(body) > mostBatch {
		t.Fatalf("the request has %d MiB, want one that is long and fits", len(body)>>20)
	}
	if status, answer := post(body); status != http.StatusOK || store.facts != records || store.marks == 0 || *quarantine != 0 {
		t.Errorf("%d: %d of %d records kept, %d quarantined: %s", status, store.facts, records, *quarantine, answer)
	}
	if status, answer := post(strings.Repeat(" ", mostBatch) + body); status != http.StatusOK || *quarantine != 1 {
		t.Errorf("a longer request: %d, %d quarantined: %s", status, *quarantine, answer)
	}
}
