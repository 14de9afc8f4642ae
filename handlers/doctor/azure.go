package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appservice/armappservice/v5"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/iothub/armiothub"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"

	"hubwatch/handlers/version"
)

// azure has the clients of Azure. The doctor calls only methods that read.
type azure struct {
	world
	apps         *armappservice.WebAppsClient
	systemTopics *armeventgrid.SystemTopicsClient
	systemEvents *armeventgrid.SystemTopicEventSubscriptionsClient
	topics       *armeventgrid.TopicsClient
	events       *armeventgrid.TopicEventSubscriptionsClient
	roles        *armauthorization.RoleAssignmentsClient
	definitions  *armauthorization.RoleDefinitionsClient
	hubs         *armiothub.ResourceClient
	diagnostics  *armmonitor.DiagnosticSettingsClient
	metrics      *armmonitor.MetricsClient
	manager      *arm.Client // for a resource of any type
}

// connect makes the clients. It does not connect to anything.
func connect(subscription string, w world) (azure, error) {
	apps, err1 := armappservice.NewClientFactory(subscription, w.credential, w.options)
	grid, err2 := armeventgrid.NewClientFactory(subscription, w.credential, w.options)
	roles, err3 := armauthorization.NewClientFactory(subscription, w.credential, w.options)
	hubs, err4 := armiothub.NewClientFactory(subscription, w.credential, w.options)
	monitor, err5 := armmonitor.NewClientFactory(subscription, w.credential, w.options)
	manager, err6 := arm.NewClient("hubwatch", "v"+version.Version, w.credential, w.options)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return azure{}, fmt.Errorf("clients: %w", err)
	}
	return azure{
		world:        w,
		apps:         apps.NewWebAppsClient(),
		systemTopics: grid.NewSystemTopicsClient(),
		systemEvents: grid.NewSystemTopicEventSubscriptionsClient(),
		topics:       grid.NewTopicsClient(),
		events:       grid.NewTopicEventSubscriptionsClient(),
		roles:        roles.NewRoleAssignmentsClient(),
		definitions:  roles.NewRoleDefinitionsClient(),
		hubs:         hubs.NewResourceClient(),
		diagnostics:  monitor.NewDiagnosticSettingsClient(),
		metrics:      monitor.NewMetricsClient(),
		manager:      manager,
	}, nil
}

// all returns the items of all pages.
func all[P, T any](ctx context.Context, pages *runtime.Pager[P], items func(P) []*T) ([]T, error) {
	var list []T
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range items(page) {
			if item != nil {
				list = append(list, *item)
			}
		}
	}
	return list, nil
}

// value returns what p points to, or the zero value: Azure may leave out any
// member of an answer.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// site has the parts of the function app that the checks need.
type site struct {
	state      string
	principals []string // object ids of its identities
	account    string   // name of the storage account
	tables     string   // table endpoint of the storage account
}

// site reads the function app. A reader may not see the settings of the app,
// because they can hold secrets. But a reader may see where the package of the
// app is: in the same storage account as the alerts.
func (a azure) site(ctx context.Context, d Deployment) (site, error) {
	response, err := a.apps.Get(ctx, d.ResourceGroup, d.App, nil)
	if err != nil {
		return site{}, err
	}
	var s site
	if identity := response.Identity; identity != nil {
		if id := value(identity.PrincipalID); id != "" {
			s.principals = append(s.principals, id)
		}
		for _, assigned := range identity.UserAssignedIdentities {
			if id := value(value(assigned).PrincipalID); id != "" {
				s.principals = append(s.principals, id)
			}
		}
	}
	properties := value(response.Properties)
	s.state = value(properties.State)
	deployed := value(value(properties.FunctionAppConfig).Deployment)
	if container, err := url.Parse(value(value(deployed.Storage).Value)); err == nil {
		account, rest, _ := strings.Cut(container.Host, ".")
		if domain, isBlob := strings.CutPrefix(rest, "blob."); isBlob {
			s.account = account
			s.tables = "https://" + account + ".table." + domain
		}
	}
	return s, nil
}

// function is a function of the app.
type function struct {
	name     string
	disabled bool
}

func (a azure) functions(ctx context.Context, d Deployment) ([]function, error) {
	envelopes, err := all(ctx, a.apps.NewListFunctionsPager(d.ResourceGroup, d.App, nil),
		func(page armappservice.WebAppsClientListFunctionsResponse) []*armappservice.FunctionEnvelope {
			return page.Value
		})
	var list []function
	for _, e := range envelopes {
		// The name of the resource begins with the name of the app: app/function.
		list = append(list, function{lastOf(value(e.Name)), value(value(e.Properties).IsDisabled)})
	}
	return list, err
}

// references returns what became of the settings of the app that are references to Key Vaults, by
// the name of the setting. It returns none of their values
// (https://learn.microsoft.com/rest/api/appservice/web-apps/get-app-settings-key-vault-references).
func (a azure) references(ctx context.Context, d Deployment) (map[string]armappservice.ResolveStatus, error) {
	list, err := all(ctx, a.apps.NewGetAppSettingsKeyVaultReferencesPager(d.ResourceGroup, d.App, nil),
		func(page armappservice.WebAppsClientGetAppSettingsKeyVaultReferencesResponse) []*armappservice.APIKVReference {
			return page.Value
		})
	statuses := map[string]armappservice.ResolveStatus{}
	for _, each := range list {
		statuses[lastOf(value(each.Name))] = value(value(each.Properties).Status)
	}
	return statuses, err
}

func (a azure) subscriptionsOfChanges(ctx context.Context, d Deployment) ([]armeventgrid.EventSubscription, error) {
	return a.subscriptionsOf(ctx, d.ResourceGroup, d.ControlPlaneTopic)
}

// subscriptionsOf returns the event subscriptions of a system topic.
func (a azure) subscriptionsOf(ctx context.Context, group, topic string) ([]armeventgrid.EventSubscription, error) {
	return all(ctx, a.systemEvents.NewListBySystemTopicPager(group, topic, nil),
		func(page armeventgrid.SystemTopicEventSubscriptionsClientListBySystemTopicResponse) []*armeventgrid.EventSubscription {
			return page.Value
		})
}

// subscriptionsOfCustom returns the event subscriptions of a custom topic.
func (a azure) subscriptionsOfCustom(ctx context.Context, d Deployment, topic string) ([]armeventgrid.EventSubscription, error) {
	return all(ctx, a.events.NewListPager(d.ResourceGroup, topic, nil),
		func(page armeventgrid.TopicEventSubscriptionsClientListResponse) []*armeventgrid.EventSubscription {
			return page.Value
		})
}

// hubIDs returns the ids of all IoT hubs of the resource group.
func (a azure) hubIDs(ctx context.Context, d Deployment) ([]string, error) {
	hubs, err := all(ctx, a.hubs.NewListByResourceGroupPager(d.ResourceGroup, nil),
		func(page armiothub.ResourceClientListByResourceGroupResponse) []*armiothub.Description {
			return page.Value
		})
	var ids []string
	for _, hub := range hubs {
		ids = append(ids, value(hub.ID))
	}
	return ids, err
}

// diagnosticSettings returns the diagnostic settings of a hub.
func (a azure) diagnosticSettings(ctx context.Context, hub string) ([]armmonitor.DiagnosticSettingsResource, error) {
	return all(ctx, a.diagnostics.NewListPager(strings.TrimPrefix(hub, "/"), nil),
		func(page armmonitor.DiagnosticSettingsClientListResponse) []*armmonitor.DiagnosticSettingsResource {
			return page.Value
		})
}

// allHubIDs returns the ids of all IoT hubs of the subscription.
func (a azure) allHubIDs(ctx context.Context) ([]string, error) {
	hubs, err := all(ctx, a.hubs.NewListBySubscriptionPager(nil),
		func(page armiothub.ResourceClientListBySubscriptionResponse) []*armiothub.Description {
			return page.Value
		})
	var ids []string
	for _, hub := range hubs {
		ids = append(ids, value(hub.ID))
	}
	return ids, err
}

// allSystemTopics returns all system topics of the subscription.
func (a azure) allSystemTopics(ctx context.Context) ([]armeventgrid.SystemTopic, error) {
	return all(ctx, a.systemTopics.NewListBySubscriptionPager(nil),
		func(page armeventgrid.SystemTopicsClientListBySubscriptionResponse) []*armeventgrid.SystemTopic {
			return page.Value
		})
}
