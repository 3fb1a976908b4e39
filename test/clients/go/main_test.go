// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

// bin is the mansio binary and shared the standalone that most tests talk to; it creates no topics by itself.
var (
	bin     string
	shared  *server.Process
	counter atomic.Int64
)

// atOnce is how many tests run side by side: most of them wait for leases and polls, not for a processor.
const atOnce = "32"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set(atOnce)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mansio-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The official client writes its log below the home folder unless told otherwise; it reads these at init, so the
	// logger is made again in startSDK.
	os.Setenv("rocketmq.client.logRoot", filepath.Join(dir, "sdk-log"))
	os.Setenv("rocketmq.client.logLevel", "error")
	ctx := context.Background()
	if bin, err = server.Binary(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared, err = server.Start(ctx, server.Spec{
		Bin: bin, Role: "standalone", Dir: dir, Flags: []string{"--auto-create-topics=false"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	select {
	case <-shared.Dead():
		fmt.Fprintf(os.Stderr, "the shared server ended during the tests:\n%s\n", shared.LogTail())
		code = 1
	default:
	}
	if err := shared.Stop(); err != nil {
		fmt.Fprintf(os.Stderr, "stop of the shared server: %v\n%s\n", err, shared.LogTail())
		code = 1
	}
	return code
}

// unique returns a name that no other test of this run uses, valid for topics and groups.
func unique(t *testing.T) string {
	t.Helper()
	keep := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}
	name := strings.Map(keep, t.Name())
	if len(name) > 80 {
		name = name[:80]
	}
	return fmt.Sprintf("%s-%d", name, counter.Add(1))
}

// newTopic creates a topic of the given type on the shared server with the command line.
func newTopic(t *testing.T, kind string) string {
	t.Helper()
	name := unique(t)
	command(t, "topic", "create", name, "--type", kind, "--server", shared.Addr)
	return name
}

// newGroup creates a consumer group whose messages are dead-lettered after so many attempts.
func newGroup(t *testing.T, maxAttempts int) string {
	t.Helper()
	name := unique(t)
	command(t, "group", "create", name, "--max-attempts", fmt.Sprint(maxAttempts), "--server", shared.Addr)
	return name
}

func command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := server.Run(t.Context(), bin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dial returns a raw plaintext client of the shared server with a fresh client id and a connection of its own.
func dial(t *testing.T) *raw.Client {
	t.Helper()
	return dialTo(t, shared.Addr, false)
}

func dialTo(t *testing.T, addr string, secure bool) *raw.Client {
	t.Helper()
	c, err := raw.Dial(addr, secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send sends one message and returns its id; any answer but OK ends the test.
func send(t *testing.T, c *raw.Client, m *v2.Message) string {
	t.Helper()
	resp, err := c.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "send", resp.GetStatus(), v2.Code_OK)
	return m.GetSystemProperties().GetMessageId()
}

// receive runs receives until one brings messages, and fails the test when none does within 15 s.
func receive(t *testing.T, c *raw.Client, r raw.Receive) []*v2.Message {
	t.Helper()
	if r.Poll == 0 {
		r.Poll = 2 * time.Second
	}
	limit := time.Now().Add(15 * time.Second)
	for time.Now().Before(limit) {
		got := receiveOnce(t, c, r)
		if len(got.Messages) > 0 {
			wantCode(t, "receive", got.Status, v2.Code_OK)
			return got.Messages
		}
		wantCode(t, "empty receive", got.Status, v2.Code_MESSAGE_NOT_FOUND)
	}
	t.Fatalf("no message of topic %s for group %s within 15 s", r.Topic, r.Group)
	return nil
}

func receiveOnce(t *testing.T, c *raw.Client, r raw.Receive) raw.Received {
	t.Helper()
	got, err := c.Receive(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantNothing fails the test when a receive brings a message within the time.
func wantNothing(t *testing.T, c *raw.Client, r raw.Receive, within time.Duration) {
	t.Helper()
	r.Poll = within
	got := receiveOnce(t, c, r)
	for _, m := range got.Messages {
		t.Errorf("unexpected message %s, attempt %d", m.GetSystemProperties().GetMessageId(),
			m.GetSystemProperties().GetDeliveryAttempt())
	}
	wantCode(t, "receive of nothing", got.Status, v2.Code_MESSAGE_NOT_FOUND)
}

func wantCode(t *testing.T, what string, got *v2.Status, want v2.Code) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: no status, want %v", what, want)
	}
	if got.GetCode() != want {
		t.Fatalf("%s: %v %q, want %v", what, got.GetCode(), got.GetMessage(), want)
	}
}

// ack acknowledges m and wants the given code, in the entry and on top.
func ack(t *testing.T, c *raw.Client, group string, m *v2.Message, want v2.Code) {
	t.Helper()
	resp, err := c.Ack(t.Context(), group, m.GetTopic().GetName(), raw.Entry(m))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "ack", resp.GetStatus(), want)
	if len(resp.GetEntries()) != 1 {
		t.Fatalf("ack of one entry answered %d entries", len(resp.GetEntries()))
	}
	entry := resp.GetEntries()[0]
	wantCode(t, "ack entry", entry.GetStatus(), want)
	if entry.GetMessageId() != m.GetSystemProperties().GetMessageId() ||
		entry.GetReceiptHandle() != m.GetSystemProperties().GetReceiptHandle() {
		t.Fatalf("ack entry names message %q and handle %q, not those of the request",
			entry.GetMessageId(), entry.GetReceiptHandle())
	}
}

func attempt(m *v2.Message) int32 { return m.GetSystemProperties().GetDeliveryAttempt() }
