package event

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const zeroSubscription = "00000000-0000-0000-0000-000000000001"

// resource returns the id of an IoT hub in its parts, or the id of a resource
// below the hub.
func resource(hub, childType, childName string) ResourceID {
	return ResourceID{
		SubscriptionID: zeroSubscription, ResourceGroup: "rg-iot",
		Type: "Microsoft.Devices/IotHubs", Name: hub, ChildType: childType, ChildName: childName,
	}
}

func TestParseResourceID(t *testing.T) {
	const group = "/subscriptions/" + zeroSubscription + "/resourceGroups/rg-iot"
	long := strings.Repeat("n", 1000)
	for name, test := range map[string]struct {
		id   string
		want ResourceID
	}{
		"hub":                          {hubID, resource("contoso-hub", "", "")},
		"certificate":                  {hubID + "/certificates/root-ca", resource("contoso-hub", "certificates", "root-ca")},
		"extension":                    {hubID + "/providers/microsoft.insights/diagnosticSettings/ds", resource("contoso-hub", "microsoft.insights/diagnosticSettings", "ds")},
		"extension listed as a child":  {hubID + "/diagnosticSettings/ds", resource("contoso-hub", "diagnosticSettings", "ds")},
		"child of a child":             {hubID + "/certificates/root-ca/versions/1", resource("contoso-hub", "certificates/versions", "root-ca/1")},
		"five deep":                    {hubID + "/a/1/b/2/c/3/d/4/e/5", resource("contoso-hub", "a/b/c/d/e", "1/2/3/4/5")},
		"extension of a child":         {hubID + "/certificates/c/providers/P/settings/s", resource("contoso-hub", "certificates/P/settings", "c/s")},
		"child of an extension":        {hubID + "/providers/P/settings/s/parts/p", resource("contoso-hub", "P/settings/parts", "s/p")},
		"slash at the end":             {hubID + "/certificates/root-ca/", resource("contoso-hub", "certificates", "root-ca")},
		"slashes at the end":           {hubID + "////", resource("contoso-hub", "", "")},
		"hub called certificates":      {group + "/providers/Microsoft.Devices/IotHubs/certificates/certificates/certificates", resource("certificates", "certificates", "certificates")},
		"hub called providers":         {group + "/providers/Microsoft.Devices/IotHubs/providers/certificates/c", resource("providers", "certificates", "c")},
		"hub called iothubs":           {group + "/providers/Microsoft.Devices/IotHubs/IotHubs", resource("IotHubs", "", "")},
		"certificate called providers": {hubID + "/certificates/providers", resource("contoso-hub", "certificates", "providers")},
		"group called iothubs": {
			"/subscriptions/s/resourceGroups/iothubs/providers/Microsoft.Web/certificates/c",
			ResourceID{SubscriptionID: "s", ResourceGroup: "iothubs", Type: "Microsoft.Web/certificates", Name: "c"},
		},
		"group called providers": {
			"/subscriptions/s/resourceGroups/providers/providers/Microsoft.Devices/IotHubs/h",
			ResourceID{SubscriptionID: "s", ResourceGroup: "providers", Type: "Microsoft.Devices/IotHubs", Name: "h"},
		},
		"group called resourceGroups": {
			"/subscriptions/subscriptions/resourceGroups/resourceGroups/providers/providers/T/providers",
			ResourceID{SubscriptionID: "subscriptions", ResourceGroup: "resourceGroups", Type: "providers/T", Name: "providers"},
		},
		"words in lower case": {
			"/subscriptions/s/resourcegroups/g/providers/microsoft.devices/iothubs/h",
			ResourceID{SubscriptionID: "s", ResourceGroup: "g", Type: "microsoft.devices/iothubs", Name: "h"},
		},
		"words in upper case": {
			"/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/H/PROVIDERS/MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/D",
			ResourceID{"S", "G", "MICROSOFT.DEVICES/IOTHUBS", "H", "MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS", "D"},
		},
		"escaped letter":           {hubID + "/certificates/root%2Dca", resource("contoso-hub", "certificates", "root-ca")},
		"escaped words":            {strings.Replace(hubID, "resourceGroups", "resource%47roups", 1) + "/%63ertificates/c", resource("contoso-hub", "certificates", "c")},
		"escape decoded once":      {hubID + "/certificates/a%252Fb", resource("contoso-hub", "certificates", "a%2Fb")},
		"100 percent":              {hubID + "/certificates/100%", resource("contoso-hub", "certificates", "100%")},
		"half an escape":           {hubID + "/certificates/a%2", resource("contoso-hub", "certificates", "a%2")},
		"no escape":                {hubID + "/certificates/a%zzb", resource("contoso-hub", "certificates", "a%zzb")},
		"an escape and none":       {hubID + "/certificates/%41%zz", resource("contoso-hub", "certificates", "%41%zz")},
		"escape that is not UTF-8": {hubID + "/certificates/a%FFb", resource("contoso-hub", "certificates", "a\uFFFDb")},
		"no UTF-8":                 {hubID + "/certificates/a\xffb", resource("contoso-hub", "certificates", "a\uFFFDb")},
		"no UTF-8, no escape":      {hubID + "/certificates/a\xffb%", resource("contoso-hub", "certificates", "a\uFFFDb%")},
		"umlauts":                  {hubID + "/certificates/%C3%BC-ü", resource("contoso-hub", "certificates", "ü-ü")},
		"plus is not a space":      {hubID + "/certificates/a+b", resource("contoso-hub", "certificates", "a+b")},
		"quote":                    {hubID + "/certificates/o'brien", resource("contoso-hub", "certificates", "o'brien")},
		"hash and question mark":   {hubID + "/certificates/a#b?c=d", resource("contoso-hub", "certificates", "a#b?c=d")},
		"backslash":                {hubID + `/certificates/a\..\b`, resource("contoso-hub", "certificates", `a\..\b`)},
		"control characters":       {hubID + "/certificates/a\x00\n\x7f%07b", resource("contoso-hub", "certificates", "a\x00\n\x7f\x07b")},
		"escaped hash":             {hubID + "/certificates/%23%3F%25", resource("contoso-hub", "certificates", "#?%")},
		"space":                    {hubID + "/certificates/ ", resource("contoso-hub", "certificates", " ")},
		"three dots":               {hubID + "/certificates/...", resource("contoso-hub", "certificates", "...")},
		"1,000 characters":         {hubID + "/certificates/" + long, resource("contoso-hub", "certificates", long)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseResourceID(test.id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the parts differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseResourceIDRefuses(t *testing.T) {
	for name, test := range map[string]struct{ id, want string }{
		"empty":                   {"", "does not begin with /"},
		"slashes only":            {"///", "does not begin with /"},
		"no slash first":          {hubID[1:], "does not begin with /"},
		"url":                     {"https://management.azure.com" + hubID, "does not begin with /"},
		"ends at subscriptions":   {"/subscriptions", "ends before the name of its subscriptions"},
		"ends at subscription":    {"/subscriptions/s", "ends before the name of its resourceGroups"},
		"ends at resourceGroups":  {"/subscriptions/s/resourceGroups", "ends before the name of its resourceGroups"},
		"ends at group":           {"/subscriptions/s/resourceGroups/g", "ends before the name of its providers"},
		"ends at providers":       {"/subscriptions/s/resourceGroups/g/providers", "ends before the name of its providers"},
		"ends at provider":        {"/subscriptions/s/resourceGroups/g/providers/P", "ends before the name of its resource"},
		"ends at type":            {"/subscriptions/s/resourceGroups/g/providers/P/T", "ends before the name of its resource"},
		"ends at type and slash":  {"/subscriptions/s/resourceGroups/g/providers/P/T/", "ends before the name of its resource"},
		"ends at child type":      {hubID + "/certificates", "ends before the name of what lies below"},
		"ends at child and slash": {hubID + "/certificates/", "ends before the name of what lies below"},
		"ends at extension":       {hubID + "/providers", "ends before the name of its providers"},
		"ends at its provider":    {hubID + "/providers/P", "ends before the name of what lies below"},
		"ends at its type":        {hubID + "/providers/P/T", "ends before the name of what lies below"},
		"ends at grandchild":      {hubID + "/certificates/c/versions", "ends before the name of what lies below"},
		"empty segment first":     {"/" + hubID, "segment 1 is empty"},
		"empty subscription":      {"/subscriptions//resourceGroups/g/providers/P/T/n", "segment 2 is empty"},
		"empty hub":               {"/subscriptions/s/resourceGroups/g/providers/P/T//certificates/c", "segment 8 is empty"},
		"empty child type":        {hubID + "//c", "segment 9 is empty"},
		"dot dot":                 {hubID + "/certificates/..", `segment 10 is ".."`},
		"dot dot inside":          {hubID + "/../other/certificates/c", `segment 9 is ".."`},
		"dot":                     {hubID + "/certificates/.", `segment 10 is "."`},
		"escaped dots":            {hubID + "/certificates/%2e%2E", `segment 10 is ".."`},
		"escaped slash":           {hubID + "/certificates/a%2Fb", `segment 10 is "a/b"`},
		"escaped slash, small":    {hubID + "%2fcertificates/c", `segment 8 is "contoso-hub/certificates"`},
		"subscription's own":      {"/subscriptions/s/providers/microsoft.insights/diagnosticSettings/ds", `has "providers" instead of "resourceGroups"`},
		"tenant's own":            {"/providers/Microsoft.Management/managementGroups/m", `has "providers" instead of "subscriptions"`},
		"no providers":            {"/subscriptions/s/resourceGroups/g/certificates/c/x/y", `has "certificates" instead of "providers"`},
		"words with spaces":       {strings.Replace(hubID, "subscriptions", "subscriptions ", 1), `has "subscriptions " instead of "subscriptions"`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseResourceID(test.id)
			wantError(t, err, fmt.Sprintf("resource id %q: ", Shorten(test.id)), test.want)
			if r != (ResourceID{}) {
				t.Errorf("beside an error there is %v", r)
			}
		})
	}
	t.Run("long", func(t *testing.T) {
		_, err := ParseResourceID(hubID + "/certificates/" + strings.Repeat("é%2F", 100_000))
		wantError(t, err, "segment 10 is ")
		if len(err.Error()) > 500 || !utf8.ValidString(err.Error()) {
			t.Errorf("the error is long or broken: %.600s", err)
		}
	})
}

func TestResourceID(t *testing.T) {
	r, err := ParseResourceID(strings.ToUpper(hubID) + "/certificates/c")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Resource(), strings.NewReplacer("SUBSCRIPTIONS", "subscriptions", "RESOURCEGROUPS", "resourceGroups", "PROVIDERS", "providers").Replace(strings.ToUpper(hubID)); got != want {
		t.Errorf("have resource %s, want %s", got, want)
	}
	for typ, want := range map[string]bool{
		"Microsoft.Devices/IotHubs": true, "MICROSOFT.DEVICES/IOTHUBS": true, "microsoft.devices/iothubs": true,
		"Microsoft.Devices/provisioningServices": false, "Microsoft.Devices/IotHubs2": false, "IotHubs": false, "": false,
	} {
		if got := (ResourceID{Type: typ}).OnHub(); got != want {
			t.Errorf("OnHub of %q is %v, want %v", typ, got, want)
		}
	}
}

// FuzzParseResourceID looks for ids that make ParseResourceID panic, for parts
// that no id has, and for accepted ids that mean something else when put together
// again.
func FuzzParseResourceID(f *testing.F) {
	for _, c := range readCases(f) {
		if e, err := Decode(c); err == nil {
			f.Add(e.Subject)
		}
	}
	f.Add(hubID + "/a/1/providers/P/b/2")
	f.Add(hubID + "/certificates/100%25%")
	f.Fuzz(func(t *testing.T, id string) {
		r, err := ParseResourceID(id)
		if err != nil {
			if r != (ResourceID{}) {
				t.Errorf("beside the error %v there is %v", err, r)
			}
			return
		}
		for _, part := range []string{r.SubscriptionID, r.ResourceGroup, r.Name} {
			if part == "" || part == "." || part == ".." || strings.Contains(part, "/") {
				t.Errorf("%q is not a name: %+v", part, r)
			}
		}
		if strings.Count(r.Type, "/") != 1 {
			t.Errorf("the type %q does not have two parts", r.Type)
		}
		if (r.ChildType == "") != (r.ChildName == "") {
			t.Errorf("child type %q goes with name %q", r.ChildType, r.ChildName)
		}
		for _, part := range []string{r.SubscriptionID, r.ResourceGroup, r.Type, r.Name, r.ChildType, r.ChildName} {
			if !utf8.ValidString(part) {
				t.Errorf("%q is not a text", part)
			}
		}

		again := escapePercent(r.Resource())
		want := r
		// Deeper down, the joined types do not tell an extension from a child.
		if r.ChildName != "" && !strings.Contains(r.ChildName, "/") {
			if strings.Contains(r.ChildType, "/") {
				again += "/providers"
			}
			again += escapePercent("/" + r.ChildType + "/" + r.ChildName)
		} else {
			want.ChildType, want.ChildName = "", ""
		}
		got, err := ParseResourceID(again)
		if err != nil {
			t.Fatalf("%q was accepted, but its parts as %q are not: %v", id, again, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q, put together as %q, differs (-want +got):\n%s", id, again, diff)
		}
		if lower, err := ParseResourceID(strings.ToLower(again)); err != nil || lower.OnHub() != r.OnHub() {
			t.Errorf("%q in lower case: on a hub %v, %v; want %v", again, lower.OnHub(), err, r.OnHub())
		}
	})
}

// escapePercent escapes the percent signs that ParseResourceID would take for the
// beginning of an escape.
func escapePercent(id string) string {
	return strings.ReplaceAll(id, "%", url.PathEscape("%"))
}

func TestHolds(t *testing.T) {
	const hub = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h"
	for _, test := range []struct {
		id, other string
		want      bool
	}{
		{hub, hub, true},
		{hub, hub + "/certificates/c", true},
		{hub, hub + "/providers/Microsoft.Insights/diagnosticSettings/d", true},
		{strings.ToUpper(hub), hub + "/certificates/c", true},
		{hub + "2", hub + "/certificates/c", false},
		{hub + "/certificates/c", hub, false},
		{hub + "/certificates/c", hub + "/certificates/c", false}, // not a resource itself
	} {
		id, err := ParseResourceID(test.id)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ParseResourceID(test.other)
		if err != nil {
			t.Fatal(err)
		}
		if got := id.Holds(other); got != test.want {
			t.Errorf("%s holds %s: %t", test.id, test.other, got)
		}
	}
}

func TestHubOf(t *testing.T) {
	const hub = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/resourcegroups/rg-iot/providers/microsoft.devices/iothubs/Contoso-Hub"
	for id, want := range map[string]string{
		hub: "Contoso-Hub", hub + "/certificates/root": "Contoso-Hub", hub + "/certificates/..": "Contoso-Hub", hub + "/": "Contoso-Hub",
		"": "", "/": "", hub[1:]: "", strings.TrimSuffix(hub, "/Contoso-Hub"): "", strings.Replace(hub, "iothubs", "provisioningServices", 1): "",
		strings.Replace(hub, "/rg-iot", "/", 1): "", "devices/pump-01": "",
	} {
		if got := HubOf(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { HubOf(hub) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
