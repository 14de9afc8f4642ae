package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// inbox is a receiver of webhooks on this machine, as the owner of a hub may have one. It
// checks the signature of each, as Standard Webhooks describes
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
type inbox struct {
	key   []byte
	mu    sync.Mutex
	times map[string]int // how often each id came
	wrong int            // webhooks whose signature is wrong
}

func newInbox() *inbox {
	b := &inbox{key: make([]byte, 32), times: map[string]int{}}
	_, _ = rand.Read(b.key) // it never fails
	return b
}

// secret returns the key as a setting has it.
func (b *inbox) secret() string { return "whsec_" + base64.StdEncoding.EncodeToString(b.key) }

// ServeHTTP implements http.Handler.
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, b.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age.Abs() > 5*time.Minute || !hmac.Equal([]byte(want), []byte(r.Header.Get("webhook-signature"))) {
		b.wrong++
		http.Error(w, "the signature is wrong", http.StatusUnauthorized)
		return
	}
	b.times[id]++
}

// eachOnce returns an error unless the inbox got one webhook for each alert, and nothing else.
func (b *inbox) eachOnce(alerts []alert.Alert) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrong > 0 {
		return fmt.Errorf("%d webhooks with a wrong signature", b.wrong)
	}
	want := map[string]int{}
	for _, a := range alerts {
		want[export.NewRaising(alert.Raising{Alert: a}, "").ID] = 1
	}
	if !maps.Equal(want, b.times) {
		return fmt.Errorf("webhooks came %v, want each of %q once", b.times, slices.Sorted(maps.Keys(want)))
	}
	return nil
}
