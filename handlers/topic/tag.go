package topic

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// Tag is the tag of one resource by which hubwatch makes Azure Resource Manager publish an event.
// The client of the SDK for resources would make the handler larger for one request a day
// (https://learn.microsoft.com/rest/api/resources/tags/update-at-scope).
type Tag struct {
	pipeline runtime.Pipeline
	endpoint string
}

// TagName is the name of the tag. Its value is when it was written.
const TagName = "hubwatch-canary"

// tagsOf ends the address of the tags of a resource.
const tagsOf = "/providers/Microsoft.Resources/tags/default"

// CheckTag returns an error unless s is the address of the tags of a resource to which a token may
// be sent: https, with the id of the resource and /providers/Microsoft.Resources/tags/default. An
// address of this machine may have http. It gets no token.
func CheckTag(s string) error {
	if err := checkAddress(s, "of the tags of a resource"); err != nil {
		return err
	}
	u, _ := url.Parse(s)
	path := strings.ToLower(u.Path)
	resource, ok := strings.CutSuffix(path, strings.ToLower(tagsOf))
	if !ok || !strings.HasPrefix(resource, "/subscriptions/") || !strings.Contains(resource, "/providers/") {
		return fmt.Errorf("want the address of Azure Resource Manager with the id of a resource and %s", tagsOf)
	}
	return nil
}

// OpenTag returns the tag at an address, which CheckTag accepts. It does not connect. An address of
// this machine gets no token of credential, which may be nil for it.
func OpenTag(endpoint string, credential azcore.TokenCredential) (*Tag, error) {
	if err := CheckTag(endpoint); err != nil {
		return nil, err
	}
	// A token for Azure Resource Manager is for its address, in every cloud
	// (https://learn.microsoft.com/rest/api/azure/#create-the-request).
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	return &Tag{pipelineTo(endpoint, credential, u.Scheme+"://"+u.Host+"/.default", 3*time.Second), endpoint}, nil
}

// Write gives the tag a value, and leaves the other tags as they are. The error has no token. If
// the identity may not write tags there, it says that the right is missing.
func (t *Tag) Write(ctx context.Context, value string) error {
	request, err := runtime.NewRequest(ctx, http.MethodPatch, t.endpoint+"?api-version=2021-04-01")
	if err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	if err := runtime.MarshalAsJSON(request, map[string]any{"operation": "Merge", "properties": map[string]any{"tags": map[string]string{TagName: value}}}); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	response, err := t.pipeline.Do(request)
	if err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return nil
	case http.StatusForbidden:
		return fmt.Errorf("tag: %s: the right to write it is missing, or a deployment denies it", response.Status)
	}
	return fmt.Errorf("tag: %s", response.Status)
}
