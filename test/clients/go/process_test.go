// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

// refuseWithin is how soon a process that cannot run must have said so and ended.
const refuseWithin = 15 * time.Second

// wantRefusal runs the binary and wants it to end by itself, with an exit code, naming the words in what it prints.
func wantRefusal(t *testing.T, words []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), refuseWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("still running after %v:\n%s", refuseWithin, out)
	}
	if err == nil {
		t.Fatalf("ended with exit code 0:\n%s", out)
	}
	for _, word := range words {
		if !strings.Contains(string(out), word) {
			t.Errorf("the message does not name %q:\n%s", word, out)
		}
	}
	if strings.Contains(string(out), "goroutine ") {
		t.Errorf("a stack instead of a message:\n%s", out)
	}
}

// TestProcessRefuses starts servers where they cannot run: each says why, once, and ends; nothing running is harmed.
func TestProcessRefuses(t *testing.T) {
	t.Parallel()
	p, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	topic, group := unique(t), unique(t)
	c := dialTo(t, p.Addr, false)
	if _, err := server.Run(t.Context(), bin, "topic", "create", topic, "--type", "normal", "--server", p.Addr); err != nil {
		t.Fatal(err)
	}
	id := send(t, c, raw.Message(topic, "kept"))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("port in use", func(t *testing.T) {
		wantRefusal(t, []string{p.Addr}, "standalone", "--data", t.TempDir(), "--listen", p.Addr, "--http-listen", anyPort)
	})
	t.Run("HTTP port in use", func(t *testing.T) {
		wantRefusal(t, []string{p.HTTP}, "standalone", "--data", t.TempDir(), "--listen", anyPort, "--http-listen", p.HTTP)
	})
	t.Run("data folder in use", func(t *testing.T) {
		wantRefusal(t, []string{p.Data}, "standalone", "--data", p.Data, "--listen", anyPort, "--http-listen", anyPort)
	})
	t.Run("data folder is a file", func(t *testing.T) {
		wantRefusal(t, []string{file}, "standalone", "--data", file, "--listen", anyPort, "--http-listen", anyPort)
	})
	t.Run("store node on a public address without a secret", func(t *testing.T) {
		wantRefusal(t, []string{"cluster-secret-file"}, "storenode", "--data", t.TempDir(), "--listen", "0.0.0.0:0",
			"--http-listen", anyPort, "--node", "n", "--controller", "127.0.0.1:1")
	})
	t.Run("controller on a public address without a secret", func(t *testing.T) {
		wantRefusal(t, []string{"cluster-secret-file"}, "controller", "--data", t.TempDir(), "--listen", "0.0.0.0:0",
			"--http-listen", anyPort, "--etcd-embedded")
	})
	t.Run("unknown flag", func(t *testing.T) {
		wantRefusal(t, []string{"--no-such-flag"}, "standalone", "--no-such-flag")
	})
	t.Run("topic of an unknown type", func(t *testing.T) {
		wantRefusal(t, []string{"sideways"}, "topic", "create", "x", "--type", "sideways", "--server", p.Addr)
	})
	t.Run("no server", func(t *testing.T) {
		l, err := net.Listen("tcp", anyPort)
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, []string{addr}, "topic", "create", "x", "--type", "normal", "--server", addr)
	})
	t.Run("the server still has everything", func(t *testing.T) {
		m := receive(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute})[0]
		if m.GetSystemProperties().GetMessageId() != id {
			t.Errorf("received %s, want %s", m.GetSystemProperties().GetMessageId(), id)
		}
	})
}

// TestProcessStops says what a client sees when the server is asked to end: it is told to reconnect, its streams end,
// and everything is there after the next start.
func TestProcessStops(t *testing.T) {
	t.Parallel()
	p, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	topic, group := unique(t), unique(t)
	if _, err := server.Run(t.Context(), bin, "topic", "create", topic, "--type", "normal", "--server", p.Addr); err != nil {
		t.Fatal(err)
	}
	c := dialTo(t, p.Addr, false)
	l := leased{c: c, topic: topic, group: group}
	send(t, c, raw.Message(topic, "leased"))
	l.m = l.receive(t, time.Hour)
	kept := send(t, c, raw.Message(topic, "kept"))

	stream := open(t, c)
	stream.settings(t, consumerSettings(c, v2.ClientType_PUSH_CONSUMER, group, topic))
	parked := make(chan error, 1)
	go func() {
		_, err := c.Receive(t.Context(), raw.Receive{
			Group: group, Topic: topic, Tags: "none", Invisible: time.Minute, Poll: 20 * time.Second,
		})
		parked <- err
	}()
	wantNothing(t, c, raw.Receive{Group: group, Topic: topic, Tags: "nothing", Invisible: time.Minute}, 300*time.Millisecond)

	start := time.Now()
	if err := p.Stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, p.LogTail())
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	told := false
	for {
		command, err := stream.Recv()
		if err != nil {
			break
		}
		told = told || command.GetReconnectEndpointsCommand() != nil
	}
	if !told {
		t.Error("the client was not told to reconnect")
	}
	<-parked

	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ack(t, c, group, l.m, v2.Code_OK)
	m := l.receive(t, time.Minute)
	if m.GetSystemProperties().GetMessageId() != kept || attempt(m) != 1 {
		t.Errorf("received %s with attempt %d, want %s with 1", m.GetSystemProperties().GetMessageId(), attempt(m), kept)
	}
}

// TestProcessCreates says that a standalone creates topics that clients ask for, unless it is told not to.
func TestProcessCreates(t *testing.T) {
	t.Parallel()
	p, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	c := dialTo(t, p.Addr, false)
	topic := unique(t)
	wantCode(t, "route of a new topic", route(t, c, raw.Resource(topic), c.Endpoints()).GetStatus(), v2.Code_OK)
	id := send(t, c, raw.Message(topic, "first"))
	m := receive(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute})[0]
	if m.GetSystemProperties().GetMessageId() != id {
		t.Errorf("received %s, want %s", m.GetSystemProperties().GetMessageId(), id)
	}
	wantCode(t, "route of a dead letter topic", route(t, c, raw.Resource("%DLQ%"+unique(t)), c.Endpoints()).GetStatus(),
		v2.Code_TOPIC_NOT_FOUND)
}
