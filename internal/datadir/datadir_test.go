// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

// holdEnv makes the test binary hold a folder and wait, instead of running tests.
const holdEnv = "DATADIR_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		_, err := Open(path, "mansio standalone")
		fmt.Println("holding", err)           //nolint:forbidigo // read by the test
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the test kills us
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path, "mansio test")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closeDir(t *testing.T, d *Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	first := d.Identity()
	if first.Data == "" || first.Cluster != "" || first.Format != Format {
		t.Errorf("a new folder: %v", first)
	}
	if err := d.BindNode("n1", 0); err != nil {
		t.Fatal(err)
	}
	if err := d.BindCluster("uuid-1", "prod"); err != nil {
		t.Fatal(err)
	}
	if err := d.BindCluster("uuid-1", ""); err != nil {
		t.Fatal(err)
	}
	if err := d.BindNode("n1", 7); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)

	d = open(t, path)
	defer closeDir(t, d)
	want := Identity{Format: 1, Data: first.Data, Cluster: "uuid-1", ClusterName: "prod", Node: "n1", NodeID: 7}
	if diff := cmp.Diff(want, d.Identity()); diff != "" {
		t.Error(diff)
	}
	for what, err := range map[string]error{
		"cluster": d.BindCluster("uuid-2", "test"),
		"name":    d.BindNode("n2", 7),
		"id":      d.BindNode("n1", 8),
	} {
		if !fault.Is(err, fault.Incompatible) {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if err := d.BindCluster("uuid-1", "new\nline"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name of two lines: %v", err)
	}
	if diff := cmp.Diff(want, d.Identity()); diff != "" {
		t.Errorf("after refusals: %s", diff)
	}
}

func TestTwoProcesses(t *testing.T) {
	path := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := stdout.Read(line)
	if err != nil || string(line[:n]) != "holding <nil>\n" {
		t.Fatalf("%q %v", line[:n], err)
	}
	_, err = Open(path, "mansio test")
	want := fmt.Sprintf("%s is in use by mansio standalone, process %d: stop that process, or choose another --data", path, holder.Process.Pid)
	if !fault.Is(err, fault.Unavailable) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed
	closeDir(t, open(t, path))
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(path string) error
		kind    fault.Kind
		text    string
	}{
		"newer format": {
			func(path string) error {
				return os.WriteFile(filepath.Join(path, identityName), []byte("mansio data folder\nformat: 2\nwhatever\n"), 0o600)
			},
			fault.Incompatible, "start a newer mansio",
		},
		"damaged": {
			func(path string) error {
				return os.WriteFile(filepath.Join(path, identityName), bytes.Replace(Identity{Format: 1, Data: "x", Node: "n1"}.encode(), []byte("n1"), []byte("n2"), 1), 0o600)
			},
			fault.Corrupt, "wrong checksum",
		},
		"another file": {
			func(path string) error {
				return os.WriteFile(filepath.Join(path, identityName), []byte("hello"), 0o600)
			},
			fault.Corrupt, "not the identity of a mansio data folder",
		},
		"shards without identity": {
			func(path string) error { return os.MkdirAll(filepath.Join(path, "store", "shard-000001"), 0o700) },
			fault.Corrupt, "restore it from a backup",
		},
		"etcd without identity": {
			func(path string) error { return os.Mkdir(filepath.Join(path, "etcd"), 0o700) },
			fault.Corrupt, "restore it from a backup",
		},
		"a folder as identity": {
			func(path string) error { return os.Mkdir(filepath.Join(path, identityName), 0o700) },
			fault.Corrupt, "is a directory",
		},
		"a folder as lock": {
			func(path string) error { return os.Mkdir(filepath.Join(path, lockName), 0o700) },
			fault.Invalid, "choose another --data",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			if err := c.prepare(path); err != nil {
				t.Fatal(err)
			}
			before := listing(t, path)
			for range 2 { // a refusal changes nothing, the lock file aside
				_, err := Open(path, "mansio test")
				if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v", err)
				}
			}
			if diff := cmp.Diff(before, listing(t, path)); diff != "" {
				t.Error(diff)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, "mansio test"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a file as folder: %v", err)
	}
}

// listing returns what is in a folder, its lock file aside.
func listing(t *testing.T, path string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(path, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() == lockName {
			return err
		}
		content, _ := os.ReadFile(name)
		found[name] = string(content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A write that was cut short leaves its temporary file behind, and the old identity.
func TestInterruptedWrite(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	first := d.Identity()
	closeDir(t, d)
	if err := os.WriteFile(filepath.Join(path, identityName+".new"), []byte("mansio da"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, path)
	defer closeDir(t, d)
	if d.Identity() != first {
		t.Errorf("%v, then %v", first, d.Identity())
	}
	if err := d.BindNode("n1", 1); err != nil {
		t.Error(err)
	}
}

func TestShards(t *testing.T) {
	d := open(t, t.TempDir())
	defer closeDir(t, d)
	if shards, err := d.Shards(); err != nil || shards != nil {
		t.Errorf("%v %v", shards, err)
	}
	for _, id := range []ident.Shard{12, 3, 1234567} {
		if err := os.MkdirAll(d.Shard(id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"shard-1", "shard-x", "spare", "shard-99999999999"} {
		if err := os.MkdirAll(filepath.Join(d.Store(), other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	shards, err := d.Shards()
	if diff := cmp.Diff([]ident.Shard{3, 12, 1234567}, shards); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if got := filepath.Base(d.Shard(3)); got != "shard-000003" {
		t.Error(got)
	}
}

func TestIdentityText(t *testing.T) {
	i := Identity{Format: 1, Data: "d-1", Cluster: "c-1", ClusterName: "prod", Node: "n1", NodeID: 7}
	golden := "mansio data folder\nformat: 1\ndata: d-1\ncluster: c-1\ncluster-name: prod\nnode: n1\nnode-id: 7\ncrc32c: e484ab0b\n"
	if got := string(i.encode()); got != golden {
		t.Errorf("%q", got)
	}
	got, err := decodeIdentity([]byte(golden))
	if err != nil || got != i {
		t.Errorf("%v %v", got, err)
	}
	for at := range golden { // any flipped bit is noticed
		for bit := range 8 {
			text := []byte(golden)
			text[at] ^= 1 << bit
			if got, err := decodeIdentity(text); err == nil {
				t.Errorf("byte %d bit %d: %v", at, bit, got)
			}
		}
	}
}

// The example of the format's page is one.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "formats", "identity.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```\n")
	example, _, _ := strings.Cut(rest, "```")
	i, err := decodeIdentity([]byte(example))
	if err != nil || string(i.encode()) != example {
		t.Errorf("%v: %v, which is written as\n%s", err, i, i.encode())
	}
}

func FuzzDecodeIdentity(f *testing.F) {
	f.Add(Identity{Format: 1, Data: "d"}.encode())
	f.Add(Identity{Format: 1, Data: "d-1", Cluster: "c-1", ClusterName: "prod", Node: "n1", NodeID: 7}.encode())
	f.Add([]byte("mansio data folder\nformat: 9\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := decodeIdentity(text)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Corrupt && k != fault.Incompatible {
				t.Errorf("kind %v: %v", k, err)
			}
			return
		}
		if again, err := decodeIdentity(i.encode()); i.check() == nil && (err != nil || again != i) {
			t.Errorf("%v became %v (%v)", i, again, err)
		}
	})
}
