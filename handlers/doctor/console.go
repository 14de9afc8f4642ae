package doctor

import (
	"context"
	"fmt"
	"net/http"

	"hubwatch/handlers/app"
	"hubwatch/handlers/reach"
)

// consoleApp is the name of the console's function app that main.bicep gives.
func (d Deployment) consoleApp() string { return d.App + "-console" }

// checkConsole checks that the console lets nobody in who does not sign in, if there is
// one in Azure. It asks for its page as a stranger does, so it sees what a stranger sees,
// whatever the settings say.
func checkConsole(d Deployment, a azure) check {
	return check{"console", func(ctx context.Context) Result {
		response, err := a.apps.Get(ctx, d.ResourceGroup, d.consoleApp(), nil)
		switch {
		case notFound(err):
			return ok("there is none in Azure; hubwatch console serves it on a computer")
		case err != nil:
			return unknown("%s", reason(err))
		}
		properties := value(response.Properties)
		host := value(properties.DefaultHostName)
		if host == "" {
			return unknown("the app %s does not tell its address", d.consoleApp())
		}
		status, err := a.visit(ctx, "https://"+host+app.ConsolePath+"/")
		if err != nil {
			return unknown("%s", reason(err))
		}
		switch status {
		case http.StatusFound, http.StatusUnauthorized, http.StatusForbidden:
			return ok("it answers a stranger with %d", status)
		case http.StatusOK:
			return wrong("https://%s shows its pages to everybody: stop it with az functionapp stop, then %s", host, deployMain)
		}
		return unknown("https://%s answers a stranger with %d, want 302 or 401: make publish PART=console", host, status)
	}}
}

// visit asks for a page without a credential, and returns the status of the answer. It
// follows no redirect.
func visit(ctx context.Context, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := reach.Default.Do(request)
	if err != nil {
		return 0, fmt.Errorf("the console does not answer: %w", err)
	}
	return response.StatusCode, response.Body.Close()
}
