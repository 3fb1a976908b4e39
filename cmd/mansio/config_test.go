// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/assembly"
)

// effective loads the configuration of a role as its command would.
func effective(t *testing.T, r role, line ...string) (*assembly.Config, error) {
	t.Helper()
	var cfg *assembly.Config
	c := r.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := loadSettings(c)
		if err == nil {
			cfg, err = r.config(s)
		}
		return err
	}
	c.SetArgs(line)
	err := c.Execute()
	return cfg, err
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mansio.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStrength: flags beat the environment, which beats the file, which beats
// the defaults.
func TestStrength(t *testing.T) {
	path := yamlFile(t, "listen: file:1\nadvertise: file:2\nretention: 1h\nsegment-size: 1MiB\nauto-create-topics: false\nshards: 3\n")
	t.Setenv("MANSIO_CONFIG", path)
	t.Setenv("MANSIO_LISTEN", "env:1")
	t.Setenv("MANSIO_ADVERTISE", "env:2")
	t.Setenv("MANSIO_MIN_FREE_DISK", "2GiB")
	c, err := effective(t, standalone, "--listen", "flag:1")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		c.Proxy.Listen, c.Proxy.Advertise, c.StoreNode.MinFreeBytes, c.StoreNode.Retention, c.StoreNode.SegmentBytes,
		c.Controller.AutoCreateTopics, c.Controller.AutoCreateGroups, c.Controller.ShardsPerNode, c.Data, c.HTTPListen, c.Controller.Embedded,
	}
	want := []any{"flag:1", "env:2", int64(2 << 30), time.Hour, int64(1 << 20), false, true, 3, "./data", ":8082", true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRoles(t *testing.T) {
	c, err := effective(t, storeNode, "--data", "/a,/b", "--data", "/c", "--node", "n", "--zone", "z", "--controller", "x:1,y:2", "--advertise", "h:9")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"/a", []string{"/b", "/c"}, "n", "z", []string{"x:1", "y:2"}, "h:9", "127.0.0.1:8084", 72 * time.Hour},
		[]any{c.Data, c.StoreNode.Dirs, c.StoreNode.Node, c.StoreNode.Zone, c.Controllers, c.StoreNode.Advertise, c.StoreNode.Listen, c.StoreNode.Retention}); diff != "" {
		t.Error(diff)
	}
	t.Setenv("MANSIO_ETCD_ENDPOINTS", "e1:1, e2:2")
	c, err = effective(t, controller, "--data", "/d", "--cluster", "blue", "--shards-per-node", "6", "--consume-from", "latest")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{[]string{"e1:1", "e2:2"}, "blue", 6, true, false, "127.0.0.1:8083", false},
		[]any{c.Controller.EtcdEndpoints, c.Controller.Cluster, c.Controller.ShardsPerNode, c.Controller.ConsumeLatest, c.Controller.AutoCreateTopics, c.Controller.Listen, c.Controller.Embedded}); diff != "" {
		t.Error(diff)
	}
	if c, err = effective(t, proxy, "--controller", "x:1", "--proxy-protocol"); err != nil || !c.Proxy.ProxyProtocol || c.Proxy.Listen != ":8081" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWrongSettings(t *testing.T) {
	for name, c := range map[string]struct {
		role role
		line []string
		env  string
		file string
		want string
	}{
		"unknown key of the file": {role: proxy, line: []string{"--controller", "x:1"}, file: "lisen: a", want: `there is no setting "lisen"`},
		"no such file":            {role: proxy, line: []string{"--config", "/nope/x.yaml"}, want: "/nope/x.yaml"},
		"no YAML":                 {role: proxy, file: "{", want: "mansio.yaml"},
		"a bool that is none":     {role: proxy, line: []string{"--controller", "x:1"}, env: "MANSIO_PPROF=perhaps", want: `"perhaps" is no bool`},
		"a duration":              {role: storeNode, file: "retention: long", want: `"long" is no duration`},
		"a size":                  {role: standalone, line: []string{"--segment-size", "12X"}, want: `"12X" is not a size`},
		"no room":                 {role: standalone, line: []string{"--segment-size", "1000KiB"}, want: "--segment-size 1024000: at least"},
		"no room at all":          {role: standalone, line: []string{"--segment-size", "0"}, want: "--segment-size"},
		"a retention of nothing":  {role: storeNode, line: []string{"--data", "/d", "--controller", "x:1", "--retention", "-5h"}, want: "--retention -5h0m0s: a time"},
		"a byte of memory":        {role: standalone, line: []string{"--memory", "1"}, want: "at least 67108864 bytes"},
		"standalone without etcd": {role: standalone, line: []string{"--etcd-embedded=false"}, want: "give --etcd-embedded"},
		"a port is missing":       {role: proxy, line: []string{"--controller", "x:1,nosuch"}, want: `--controller "nosuch": write HOST:PORT`},
		"no port to listen on":    {role: proxy, line: []string{"--controller", "x:1", "--listen", "foo"}, want: `--listen "foo": write HOST:PORT`},
		"no host to advertise":    {role: proxy, line: []string{"--controller", "x:1", "--advertise", ":8081"}, want: `--advertise ":8081": write HOST:PORT`},
		"a URL of a listener":     {role: proxy, line: []string{"--controller", "x:1", "--http-listen", "http://x:1"}, want: "--http-listen"},
		"a level":                 {role: proxy, line: []string{"--controller", "x:1", "--log-level", "loud"}, want: `level "loud"`},
		"an int":                  {role: standalone, env: "MANSIO_SHARDS=xx", want: `"xx" is no int`},
		"no data":                 {role: controller, line: []string{"--etcd-embedded"}, want: "give --data"},
		"no data with any etcd":   {role: controller, line: []string{"--etcd-endpoints", "e:1"}, want: "give --data"},
		"no controller":           {role: proxy, want: "give --controller"},
		"no etcd":                 {role: controller, line: []string{"--data", "/d"}, want: "give --etcd-embedded"},
		"no topic at all":         {role: proxy, line: []string{"--controller", "x:1", "--max-topics", "0"}, want: "--max-topics 0: at least 1"},
		"fewer than no group":     {role: standalone, line: []string{"--max-groups", "-1"}, want: "--max-groups -1: at least 1"},
		"half of TLS":             {role: proxy, line: []string{"--controller", "x:1", "--tls-cert", "c"}, want: "belong together"},
		"consume from":            {role: standalone, line: []string{"--consume-from", "noon"}, want: "earliest or latest"},
		"no shards":               {role: standalone, line: []string{"--shards", "0"}, want: "from 1 to 64"},
		"an operand":              {role: proxy, line: []string{"extra"}, want: "1 operands"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				key, value, _ := strings.Cut(c.env, "=")
				t.Setenv(key, value)
			}
			line := c.line
			if c.file != "" {
				line = append(line, "--config", yamlFile(t, c.file))
			}
			_, err := effective(t, c.role, line...)
			if _, usage := errors.AsType[*usageError](err); !usage || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v (usage %v), want %q", err, usage, c.want)
			}
		})
	}
}

// TestConfigIsAFile: what `mansio config` prints is a file that means the same.
func TestConfigIsAFile(t *testing.T) {
	common := []string{"--http-listen", "h:1", "--pprof", "--log-level", "debug", "--memory", "1GiB"}
	for role, line := range map[string][]string{
		"standalone": {"--data", "/d", "--shards", "2", "--retention", "90m", "--proxy-protocol", "--consume-from", "latest"},
		"controller": {"--data", "/d", "--etcd-embedded", "--cluster", "blue", "--auto-create-groups=false"},
		"storenode":  {"--data", "/a,/b", "--controller", "x:1,y:2", "--retention", "90m", "--segment-size", "64MiB", "--zone", "z"},
		"proxy":      {"--controller", "x:1,y:2", "--listen", "l:1"},
	} {
		for name, line := range map[string][]string{"everything set": append(line, common...), "little set": line[:2]} {
			t.Run(role+"/"+name, func(t *testing.T) {
				first := mansio(t, append([]string{"config", role}, line...)...)
				second := mansio(t, "config", role, "--config", yamlFile(t, first.out))
				if diff := cmp.Diff(first.out, second.out); diff != "" || fmt.Sprint(first.failed) != fmt.Sprint(second.failed) {
					t.Error(diff, first.failed, second.failed)
				}
			})
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknownVariables(newRoot(), []string{
		"MANSIO_LISTN=:1", "MANSIO_LISTEN=:1", "MANSIO_SERVER=x:1", "MANSIO_CONFIG=f", "MANSIO_HTTPS=:1", "OTHER=1", "MANSIO_SERVICE_HOST=10.0.0.1",
		"MANSIO_PORT_8081_TCP=x", "MANSIO_ADMIN_TOKEN=t", "MANSIO_PORT=tcp://10.0.0.1:8081", "MANSIO_PROXY_PORT=tcp://10.0.0.1:8081",
		"MANSIO_PROXY_SERVICE_PORT_CLIENT=8081", "MANSIO_STORE_NODE_PORT_8084_TCP_ADDR=10.0.0.2", "MANSIO_HTTP_PORT=8082",
	})
	if diff := cmp.Diff([]string{"MANSIO_ADMIN_TOKEN", "MANSIO_HTTPS", "MANSIO_HTTP_PORT", "MANSIO_LISTN"}, got); diff != "" {
		t.Error(diff)
	}
	t.Setenv("MANSIO_LISTN", ":1")
	if o := mansio(t, "config", "proxy", "--controller", "x:1"); o.err != "mansio: MANSIO_LISTN is no setting\n" || o.failed != nil {
		t.Errorf("%q, %v", o.err, o.failed)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
	c.Flags().String("etcd-password", "hunter2", "")
	c.Flags().String("admin-token-file", "/etc/token", "")
	s, err := loadSettings(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"etcd-password": "********", "admin-token-file": "/etc/token"}, s.printable()); diff != "" {
		t.Error(diff)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0": 0, "1": 1, "4096": 4096, "1KiB": 1 << 10, "1k": 1 << 10, "1.5 MiB": 3 << 19, "256MB": 256 << 20, "2GiB": 2 << 30, "1T": 1 << 40, "7B": 7,
		"-1": -1, "x": -1, "1X": -1, "KiB": -1, "1e40": -1, "NaN": -1, "1MiBB": -1,
	} {
		if got, ok := parseBytes(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %d, %v", text, got, ok)
		}
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		"[::]:8081": "127.0.0.1:8081", "0.0.0.0:1": "127.0.0.1:1", "10.0.0.1:2": "10.0.0.1:2", "127.0.0.1:3": "127.0.0.1:3",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
	var b strings.Builder
	banner(&b, "standalone", assembly.Addresses{Client: "[::]:8081", HTTP: "[::]:8082", Data: "/d"})
	if !strings.Contains(b.String(), " send orders hello --server 127.0.0.1:8081") || strings.Contains(b.String(), "controller") {
		t.Error(b.String())
	}
}
