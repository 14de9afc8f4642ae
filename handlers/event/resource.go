package event

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ResourceID is the id of a resource below an Azure resource group, in parts.
// Names and types keep their spelling. Azure compares them regardless of case,
// and the caller must do the same
// (https://learn.microsoft.com/azure/azure-resource-manager/templates/template-functions-resource#resourceid).
type ResourceID struct {
	SubscriptionID string
	ResourceGroup  string
	Type           string // of the resource, with its provider: Microsoft.Devices/IotHubs
	Name           string
	// ChildType is the type of the child or extension that the id names:
	// certificates for a child, Microsoft.Insights/diagnosticSettings for an
	// extension, all types joined by / for something deeper, and empty for the
	// resource itself.
	ChildType string
	ChildName string // the child's name, or names joined by /
}

// iotHubs is the resource type of an IoT hub.
const iotHubs = "Microsoft.Devices/IotHubs"

// ParseResourceID reads the id of a resource or of something below it:
//
//	/subscriptions/S/resourceGroups/G/providers/P/T/NAME[/CT/CNAME …][/providers/EP/ET/ENAME …]
//
// It ignores the case of the fixed words and slashes at the end, and decodes the
// percent-escapes of a segment. A percent sign that does not begin an escape
// stays as it is. The error says which part is missing or wrong.
func ParseResourceID(id string) (ResourceID, error) {
	r, err := parseResourceID(id)
	if err != nil {
		return ResourceID{}, fmt.Errorf("resource id %q: %w", Shorten(id), err)
	}
	return r, nil
}

func parseResourceID(id string) (r ResourceID, err error) {
	rest, rooted := strings.CutPrefix(strings.TrimRight(id, "/"), "/")
	if !rooted {
		return r, errors.New("does not begin with /")
	}
	segments := make([]string, 0, 16)
	for s := range strings.SplitSeq(rest, "/") {
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		s = strings.ToValidUTF8(s, "\uFFFD") // as Lenient does
		switch {
		case s == "":
			return r, fmt.Errorf("segment %d is empty", len(segments)+1)
		case s == "." || s == ".." || strings.Contains(s, "/"):
			return r, fmt.Errorf("segment %d is %q", len(segments)+1, Shorten(s))
		}
		segments = append(segments, s)
	}

	next := func(word string) (string, error) {
		if len(segments) < 2 {
			return "", fmt.Errorf("ends before the name of its %s", word)
		}
		if !strings.EqualFold(segments[0], word) {
			return "", fmt.Errorf("has %q instead of %q", Shorten(segments[0]), word)
		}
		value := segments[1]
		segments = segments[2:]
		return value, nil
	}
	if r.SubscriptionID, err = next("subscriptions"); err != nil {
		return r, err
	}
	if r.ResourceGroup, err = next("resourceGroups"); err != nil {
		return r, err
	}
	provider, err := next("providers")
	if err != nil {
		return r, err
	}
	if len(segments) < 2 {
		return r, errors.New("ends before the name of its resource")
	}
	r.Type, r.Name = provider+"/"+segments[0], segments[1]

	types, names := make([]string, 0, 4), make([]string, 0, 4)
	for segments = segments[2:]; len(segments) > 0; {
		prefix := ""
		if strings.EqualFold(segments[0], "providers") {
			if prefix, err = next("providers"); err != nil {
				return r, err
			}
			prefix += "/"
		}
		if len(segments) < 2 {
			return r, errors.New("ends before the name of what lies below its resource")
		}
		types, names = append(types, prefix+segments[0]), append(names, segments[1])
		segments = segments[2:]
	}
	r.ChildType, r.ChildName = strings.Join(types, "/"), strings.Join(names, "/")
	return r, nil
}

// HubOf returns the name of the IoT hub that an id names, or below which it names
// something, as spelled; "" if it is of none. It does not say whether the rest of the id is
// right, and takes no memory.
func HubOf(id string) string {
	rest, rooted := strings.CutPrefix(id, "/")
	for _, word := range [...]string{"subscriptions", "", "resourceGroups", "", "providers", "Microsoft.Devices", "IotHubs"} {
		segment, after, ok := strings.Cut(rest, "/")
		if !rooted || !ok || segment == "" || word != "" && !strings.EqualFold(segment, word) {
			return ""
		}
		rest = after
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// OnHub reports whether the resource is an IoT hub.
func (r ResourceID) OnHub() bool { return strings.EqualFold(r.Type, iotHubs) }

// Holds reports whether r is a resource itself, and other is that resource or lies
// below it.
func (r ResourceID) Holds(other ResourceID) bool {
	return r.ChildType == "" && strings.EqualFold(r.Resource(), other.Resource())
}

// Resource returns the id of the resource itself, without what lies below it,
// in Azure's own spelling of the fixed words.
func (r ResourceID) Resource() string {
	return "/subscriptions/" + r.SubscriptionID + "/resourceGroups/" + r.ResourceGroup + "/providers/" + r.Type + "/" + r.Name
}
