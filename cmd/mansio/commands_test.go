// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCommands runs command lines against a server in memory: each file is one
// server. SERVER stands for its address; message ids are written as ID.
func TestCommands(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		f, address := start(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "laggards" {
				f.laggards = strings.Fields(d.Input)
				return ""
			}
			line := words(d.Input)
			if d.Cmd != "local" {
				line = append(line, "--server", address)
			}
			o := mansio(t, line...)
			text := o.out + o.err
			if o.failed != nil {
				code := exitFailed
				if _, usage := errors.AsType[*usageError](o.failed); usage {
					code = exitUsage
				}
				text += fmt.Sprintf("error %d: %s\n", code, oneLine(o.failed))
			}
			for _, m := range f.messages {
				text = strings.ReplaceAll(text, m.GetSystemProperties().GetMessageId(), "ID")
				if born := m.GetSystemProperties().GetBornTimestamp(); born != nil {
					text = strings.ReplaceAll(text, cli.MessageView(m).Born, "BORN")
				}
			}
			return strings.ReplaceAll(text, address, "SERVER")
		})
	})
}

// words splits a command line at blanks, outside of double quotes.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func TestMessageByID(t *testing.T) {
	f, address := start(t)
	for _, line := range []string{"topic create orders", "send orders hello --key k --tag a"} {
		if o := mansio(t, append(strings.Fields(line), "--server", address)...); o.failed != nil {
			t.Fatal(o.failed)
		}
	}
	o := mansio(t, "message", "get", "orders", f.messages[0].GetSystemProperties().GetMessageId(), "--server", address, "-o", "json")
	var views []cli.Message
	if err := json.Unmarshal([]byte(o.out), &views); err != nil || len(views) != 1 {
		t.Fatalf("%v in %s (%v)", err, o.out, o.failed)
	}
	v := views[0]
	if *v.Body != "hello" || v.Tag != "a" || v.Keys[0] != "k" || *v.Shard != 1 || v.LSN != 8 || v.Stored != "1970-01-01T00:00:02.000Z" {
		t.Errorf("%+v", v)
	}
	if o := mansio(t, "message", "get", "orders", "nobody", "--server", address); o.failed == nil {
		t.Error("a message that does not exist is found")
	}
}

// TestQueryEnds: a query gives up when its pages do not get on.
func TestQueryEnds(t *testing.T) {
	_, address := start(t)
	if o := mansio(t, "message", "query", "stuck", "--key", "k", "--server", address); o.failed == nil {
		t.Errorf("a query that does not get on is answered %s", o.out)
	}
}

func TestBodies(t *testing.T) {
	f, address := start(t)
	path := filepath.Join(t.TempDir(), "body")
	binary := "\x00\x01binary\xff\n"
	if err := os.WriteFile(path, []byte(binary), 0o600); err != nil {
		t.Fatal(err)
	}
	mansio(t, "topic", "create", "orders", "--server", address)
	for _, c := range []struct {
		name, want string
		line       []string
	}{
		{"operand", "given", []string{"given"}},
		{"standard input loses one newline", "from standard input", nil},
		{"file, byte by byte", binary, []string{"--file", path}},
	} {
		o := mansio(t, append([]string{"send", "orders", "--server", address}, c.line...)...)
		if o.failed != nil || string(f.messages[len(f.messages)-1].GetBody()) != c.want {
			t.Errorf("%s: %v, stored %q", c.name, o.failed, f.messages[len(f.messages)-1].GetBody())
		}
	}
	o := mansio(t, "receive", "orders", "--group", "g", "--server", address, "-o", "json", "--max", "3", "--ack")
	if n := strings.Count(o.out, "\n"); n != 3 || !strings.Contains(o.out, `"body_base64":"AAFiaW5hcnn/Cg=="`) || len(f.acked) != 3 {
		t.Errorf("%d lines, %d acks: %s %v", n, len(f.acked), o.out, o.failed)
	}
	for name, line := range map[string][]string{
		"both":         {"send", "orders", "x", "--file", path},
		"no file":      {"send", "orders", "--file", path + "nope"},
		"no topic":     {"send", "nowhere", "x"},
		"count 0":      {"send", "orders", "x", "--count", "0"},
		"no group":     {"receive", "orders"},
		"receive none": {"receive", "nowhere", "--group", "g"},
	} {
		if o := mansio(t, append(line, "--server", address)...); o.failed == nil {
			t.Errorf("%s: accepted, %s", name, o.out)
		}
	}
}

// TestAdminToken: the token of the file is presented.
func TestAdminToken(t *testing.T) {
	f, address := start(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("a-token-that-is-long-enough\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MANSIO_ADMIN_TOKEN_FILE", path)
	t.Setenv("MANSIO_SERVER", address)
	if o := mansio(t, "node", "list"); o.failed != nil || len(f.tokens) != 1 || f.tokens[0] != "Bearer a-token-that-is-long-enough" {
		t.Errorf("%v; tokens %q", o.failed, f.tokens)
	}
}

// TestCompletion: a shell asks the program itself.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if o := mansio(t, "completion", shell); o.failed != nil || !strings.Contains(o.out, "mansio") {
			t.Errorf("%s: %v", shell, o.failed)
		}
	}
	if o := mansio(t, "__complete", "topic", "de"); !strings.Contains(o.out, "delete") || !strings.Contains(o.out, "describe") {
		t.Errorf("%q", o.out)
	}
}
