// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/bench"
)

// TestBenchFlags: every flag reaches the options.
func TestBenchFlags(t *testing.T) {
	var got bench.Options
	c := &cobra.Command{Use: "x", RunE: func(c *cobra.Command, _ []string) (err error) {
		s, err := loadSettings(c)
		if err == nil {
			got, err = benchOptions(c, s)
		}
		return err
	}}
	benchFlags(c, "e:1")
	c.SetArgs(strings.Fields("--tls --topic t --group g --size 2KiB --in-flight 3 --connections 2 --rate 9.5 --warm-up 4s --count 5 " +
		"--batch 6 --consumers 7 --wait 8s --invisible 9s --no-ack --drain 10s --server-pid 11,12 --server-pid 13"))
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	want := bench.Options{
		Endpoint: "e:1", TLS: true, Topic: "t", Group: "g", Body: 2048, InFlight: 3, Connections: 2, Rate: 9.5, WarmUp: 4 * time.Second, Count: 5,
		Batch: 6, Consumers: 7, Wait: 8 * time.Second, Invisible: 9 * time.Second, NoAck: true, Drain: 10 * time.Second, PIDs: []int{11, 12, 13},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestBenchCommands: results are printed in each form, and a run through which
// nothing went fails.
func TestBenchCommands(t *testing.T) {
	f, address := start(t)
	mansio(t, "topic", "create", "bench", "--server", address)
	common := []string{"--endpoint", address, "--in-flight", "2", "--warm-up", "0s", "--wait", "1s", "--drain", "10s", "--server-pid", strconv.Itoa(os.Getpid())}
	o := mansio(t, append([]string{"bench", "send", "--count", "20", "-o", "json"}, common...)...)
	var r bench.Result
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.failed != nil || r.Messages != 20 || r.RSSMax == 0 || len(f.messages) != 20 {
		t.Fatalf("%v, %v: %s", err, o.failed, o.out)
	}
	o = mansio(t, append([]string{"bench", "e2e", "--count", "30", "--group", "other"}, common...)...)
	for _, want := range []string{"messages", "delivery", "ledger", "acknowledged 30, received 30, lost 0", "foreign 20"} {
		if o.failed != nil || !strings.Contains(o.out, want) {
			t.Errorf("no %q: %v in\n%s", want, o.failed, o.out)
		}
	}
	o = mansio(t, append([]string{"bench", "receive", "--duration", "100ms"}, common...)...) // everything is taken
	if o.failed == nil || !strings.Contains(o.out, "0 in") {
		t.Errorf("nothing went through: %v, %s", o.failed, o.out)
	}
	t.Setenv("MANSIO_SERVER", address)
	o = mansio(t, "bench", "e2e", "--count", "7", "--group", "third", "--wait", "1s", "--drain", "10s", "-o", "json")
	r = bench.Result{}
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.failed != nil || r.Messages != 7 || r.Ledger.Acknowledged != 7 {
		t.Errorf("%v, %v: %s", err, o.failed, o.out)
	}
	if o := mansio(t, "bench", "send", "--server", "127.0.0.1:1"); o.failed == nil || !strings.Contains(o.failed.Error(), "connection refused (server 127.0.0.1:1: does it run?") ||
		strings.Contains(o.failed.Error(), "rpc error") {
		t.Errorf("%v", o.failed)
	}
	for _, line := range []string{"bench send --size 5MiB", "bench send --size x", "bench send --server-pid x", "bench echo --mode fly", "bench send -o csv", "bench e2e --size 10", "bench send --in-flight 0"} {
		o := mansio(t, strings.Fields(line)...)
		if _, usage := errors.AsType[*usageError](o.failed); !usage {
			t.Errorf("%s: %v", line, o.failed)
		}
	}
}
