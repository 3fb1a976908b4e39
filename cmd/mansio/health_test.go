// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			http.Error(w, "proxy: nothing heard from a controller yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}))
	defer http.DefaultClient.CloseIdleConnections()
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	if o := mansio(t, "health", "--http", address); o.failed != nil || o.out != "ok\n" {
		t.Errorf("%+v", o)
	}
	t.Setenv("MANSIO_HTTP_LISTEN", strings.TrimPrefix(address, "127.0.0.1"))
	if o := mansio(t, "health"); o.failed != nil || o.out != "ok\n" {
		t.Errorf("the address of the environment: %+v", o)
	}
	if o := mansio(t, "health", "--ready"); o.failed == nil || !strings.Contains(o.failed.Error(), "nothing heard from a controller") {
		t.Errorf("%+v", o)
	}
	if o := mansio(t, "health", "--http", "127.0.0.1:1"); o.failed == nil || !strings.Contains(o.failed.Error(), "refused") {
		t.Errorf("%+v", o)
	}
}
