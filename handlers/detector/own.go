package detector

import (
	"errors"
	"fmt"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// Own is what hubwatch itself is made of: the resources of one deployment. They are in one
// resource group. The zero value knows of none.
type Own struct {
	app   event.ResourceID
	names map[string]bool // of other resources, in lower case
}

// appType is the resource type of a function app.
const appType = "Microsoft.Web/sites"

// ParseOwn reads what a deployment is made of: the resource id of the function app, and the
// names of other resources in its group, in any order, with commas between them. Resources
// whose names are that of the app, or begin with it and a hyphen, need not be named: so
// infra/main.bicep calls its own. An empty text is the zero value.
func ParseOwn(list string) (Own, error) {
	o := Own{names: map[string]bool{}}
	if strings.TrimSpace(list) == "" {
		return Own{}, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		switch text = strings.TrimSpace(text); {
		case text == "":
			return Own{}, errors.New("has nothing between two commas, or at its end")
		case !strings.Contains(text, "/"):
			o.names[strings.ToLower(text)] = true
			continue
		case o.app.Name != "":
			return Own{}, errors.New("has two resource ids: want that of the function app, and names of other resources")
		}
		id, err := event.ParseResourceID(text)
		if err != nil {
			return Own{}, err
		}
		if !strings.EqualFold(id.Type, appType) || id.ChildType != "" {
			return Own{}, fmt.Errorf("resource id %q: want that of the function app, of the type %s", event.Shorten(text), appType)
		}
		o.app = id
	}
	if o.app.Name == "" {
		return Own{}, errors.New("lacks the resource id of the function app")
	}
	return o, nil
}

// App returns the resource id of the function app, "" if it is not known.
func (o Own) App() string {
	if o.app.Name == "" {
		return ""
	}
	return o.app.Resource()
}

// holds reports whether hubwatch is made of a resource.
func (o Own) holds(resource string) bool {
	id, err := event.ParseResourceID(resource)
	if err != nil || !strings.EqualFold(id.SubscriptionID, o.app.SubscriptionID) || !strings.EqualFold(id.ResourceGroup, o.app.ResourceGroup) {
		return false
	}
	name, app := strings.ToLower(id.Name), strings.ToLower(o.app.Name)
	return o.names[name] || name == app || strings.HasPrefix(name, app+"-")
}

// Of returns d as it is in this deployment. A detector whose trigger is Own finds nothing in
// operations on other resources, and the hub of what it finds is the function app, so that
// all alerts about hubwatch itself stand together. Other detectors stay as they are. So do
// all if nothing is known of the deployment: then the hub is the resource.
func (o Own) Of(d Detector) Detector {
	if !d.On.Own || o.app.Name == "" {
		return d
	}
	detect := d.Detect
	d.Detect = func(e event.Event) ([]alert.Finding, error) {
		findings, err := detect(e)
		var own []alert.Finding
		for _, f := range findings {
			if o.holds(f.Hub.ResourceID) {
				f.Hub = alert.Hub{Name: o.app.Name, ResourceID: o.app.Resource(), SubscriptionID: o.app.SubscriptionID}
				own = append(own, f)
			}
		}
		if len(findings) > len(own) {
			err = nil // What is wrong is wrong with somebody else's resource.
		}
		return own, err
	}
	return d
}
