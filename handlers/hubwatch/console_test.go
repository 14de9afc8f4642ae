package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"

	"hubwatch/handlers/local/azurite"
)

// TestConsole opens the console as a browser does, with the address that the verb prints.
func TestConsole(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		var stderr strings.Builder
		ended <- run(ctx, []string{"console"}, b.getenv, nil, in, &stderr)
		_ = in.Close()
	}()
	line := make([]byte, 1024)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(string(line[:n]))
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/\?token=[A-Z2-7]{26}$`).MatchString(address) {
		t.Fatalf("the address is %q", address)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, browser := range []struct {
		client *http.Client
		url    string
		status int
		want   string
	}{
		{&http.Client{Jar: jar}, address, http.StatusOK, "hubwatch has heard nothing yet."},
		{&http.Client{Jar: jar}, strings.Split(address, "?")[0] + "coverage", http.StatusOK, "What is watched"},
		{http.DefaultClient, strings.Split(address, "?")[0], http.StatusForbidden, "token"},
	} {
		response, err := browser.client.Get(browser.url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != browser.status || !strings.Contains(string(body), browser.want) {
			t.Errorf("%s: %d, %v\n%.500s", browser.url, response.StatusCode, err, body)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
