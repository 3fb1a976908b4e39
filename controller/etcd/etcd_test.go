// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
)

func start(t *testing.T, dir string, log *slog.Logger) *Embedded {
	t.Helper()
	e, err := StartEmbedded(t.Context(), EmbeddedOptions{Dir: dir, Token: "token", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A restart on the same folder finds what was written, and both starts and stops are silent.
func TestEmbeddedKeepsData(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	dir := filepath.Join(t.TempDir(), "etcd")
	e := start(t, dir, log)
	put, err := e.Client.Put(t.Context(), "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(e.Endpoint)
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("endpoint %s", e.Endpoint)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	again := time.Now()
	e = start(t, dir, log)
	t.Logf("restart took %v", time.Since(again))
	got, err := e.Client.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if got.Count != 1 || string(got.Kvs[0].Value) != "v" || got.Header.ClusterId != put.Header.ClusterId {
		t.Errorf("%v, before %v", got, put)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if out.Len() > 0 {
		t.Errorf("logged:\n%s", out.String())
	}
}

// Clusters are told apart by the id that the token makes unique.
func TestTokenMakesTheClusterID(t *testing.T) {
	ids := make(map[uint64]bool)
	for _, token := range []string{"a", "b"} {
		e, err := StartEmbedded(t.Context(), EmbeddedOptions{Dir: t.TempDir(), Token: token, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Client.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		ids[got.Header.ClusterId] = true
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 2 {
		t.Errorf("%v", ids)
	}
}

func TestEmbeddedRefusesAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartEmbedded(t.Context(), EmbeddedOptions{Dir: file}); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestDial(t *testing.T) {
	e := start(t, t.TempDir(), nil)
	defer e.Close()
	client, err := Dial(t.Context(), ExternalOptions{Endpoints: []string{e.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestDialErrors(t *testing.T) {
	closed := deadAddress(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	password := filepath.Join(t.TempDir(), "password")
	for name, c := range map[string]struct {
		options ExternalOptions
		kind    fault.Kind
		text    string
	}{
		"nothing given":     {ExternalOptions{}, fault.Invalid, "give --etcd-endpoints"},
		"nobody listens":    {ExternalOptions{Endpoints: []string{closed}}, fault.Unavailable, "check --etcd-endpoints: dial tcp " + closed + ": connect: connection refused"},
		"nobody, by URL":    {ExternalOptions{Endpoints: []string{"http://" + closed}}, fault.Unavailable, "connection refused"},
		"several":           {ExternalOptions{Endpoints: []string{closed, closed}}, fault.Unavailable, "refused; dial tcp"},
		"unknown host":      {ExternalOptions{Endpoints: []string{"no-such-host.invalid:2379"}}, fault.Unavailable, "no-such-host.invalid"},
		"not etcd":          {ExternalOptions{Endpoints: []string{silent.Addr().String()}}, fault.Unavailable, "accepts connections but does not answer"},
		"no password file":  {ExternalOptions{Endpoints: []string{closed}, User: "u", PasswordFile: password}, fault.Invalid, "password"},
		"no CA file":        {ExternalOptions{Endpoints: []string{closed}, CAFile: password}, fault.Invalid, "CA"},
		"no key of the two": {ExternalOptions{Endpoints: []string{closed}, CertFile: password}, fault.Invalid, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := Dial(t.Context(), c.options)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
			if took := time.Since(began); took > dialMax+2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// deadAddress returns an address at which nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
