package main

import (
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/verdict"
)

// TestConnections checks what people and programs see of renewals, and of sentences that no
// rule knows.
func TestConnections(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	at := time.Now().UTC()
	for hub, row := range map[string]verdict.Row{
		"contoso-hub": {Renewed: 12, Elsewhere: 5, Refused: map[connection.Cause]int{connection.TokenInvalid: 7, connection.Unclassified: 4}, Unknown: map[string]int{"the moon is in the way": 3, "the sun \u202eis, too": 1}},
		"plant-hub":   {Renewed: 1},
	} {
		row.Place, row.Seq = verdict.Place{Hub: hub, Bucket: verdict.BucketOf(at)}, 1
		if _, err := b.State.Put(t.Context(), row, ""); err != nil {
			t.Fatal(err)
		}
		if err := b.Alerts.Hear(t.Context(), strings.ToUpper(hub), alert.Connections, at); err != nil {
			t.Fatal(err)
		}
	}
	day := at.Format(time.DateOnly)
	b.expect(t, 0, "connections", "contoso-hub  "+day+"        12          5       11        4", "plant-hub    "+day+"         1          0        0        0",
		"Refused connections, by cause:", "    7  Invalid token", "    4  Other",
		"Sentences that hubwatch does not know:", "    3  the moon is in the way", `    1  the sun \u202eis, too`)
	out := b.expect(t, 0, "connections --hub Contoso-Hub --since 1d -o json", `"renewals": 12`, `"elsewhere": 5`, `"tokenInvalid": 7`, `"the moon is in the way": 3`, `"day": "`+day+`"`)
	if strings.Contains(out, "plant-hub") {
		t.Errorf("another hub: %s", out)
	}
	b.expect(t, 0, "connections --hub nobody", "Nothing is known of the last 7 days: see --since.")
	b.expect(t, 0, "connections --hub nobody --since 2d", "Nothing is known of these days.")
	b.expect(t, 2, "connections --account contosostorage", "want --state-account as well")
}
