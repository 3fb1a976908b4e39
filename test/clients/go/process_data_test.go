// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

const anyPort = "127.0.0.1:0"

// TestProcessData starts servers on data folders that are not theirs to use: each is left as it was.
func TestProcessData(t *testing.T) {
	t.Parallel()
	t.Run("of a newer format", func(t *testing.T) {
		t.Parallel()
		wantIdentityRefused(t, "format", func([]byte) []byte { return []byte("mansio data folder\nformat: 99\nand more\n") })
	})
	t.Run("with a damaged identity", func(t *testing.T) {
		t.Parallel()
		wantIdentityRefused(t, "identity", func(text []byte) []byte {
			damaged := bytes.Clone(text)
			damaged[len(damaged)/2] ^= 1
			return damaged
		})
	})
	t.Run("that cannot be made", func(t *testing.T) {
		t.Parallel()
		wantRefusal(t, []string{"/proc/no-such"}, "standalone", "--data", "/proc/no-such", "--listen", anyPort,
			"--http-listen", anyPort)
	})
	t.Run("of another node or cluster", otherNodesData)
	t.Run("etcd that is not there", func(t *testing.T) {
		t.Parallel()
		wantRefusal(t, []string{"127.0.0.1:1"}, "controller", "--data", t.TempDir(), "--listen", anyPort,
			"--http-listen", anyPort, "--etcd-endpoints", "http://127.0.0.1:1")
	})
}

// wantIdentityRefused changes the identity of a folder that was used, and wants a start to refuse it, naming the folder
// and the word; with the old identity back everything is there.
func wantIdentityRefused(t *testing.T, word string, change func([]byte) []byte) {
	t.Helper()
	p, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	topic := unique(t)
	c := dialTo(t, p.Addr, false)
	route(t, c, raw.Resource(topic), c.Endpoints())
	id := send(t, c, raw.Message(topic, "kept"))
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.Data, "identity")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, file, change(text))
	wantRefusal(t, []string{p.Data, word}, "standalone", "--data", p.Data, "--listen", anyPort, "--http-listen", anyPort)
	rewrite(t, file, text)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := receive(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: shortLease})[0]
	if m.GetSystemProperties().GetMessageId() != id {
		t.Errorf("received %s, want %s", m.GetSystemProperties().GetMessageId(), id)
	}
}

func rewrite(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func otherNodesData(t *testing.T) {
	t.Parallel()
	cluster, err := server.StartCluster(t.Context(), server.ClusterSpec{Bin: bin, Dir: t.TempDir(), Stores: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	store := cluster.Stores[0]
	if err := store.Stop(); err != nil {
		t.Fatal(err)
	}
	storeNode := func(node, controller string) []string {
		return []string{
			"storenode", "--data", store.Data, "--listen", anyPort, "--http-listen", anyPort, "--node", node,
			"--controller", controller,
		}
	}
	wantRefusal(t, []string{store.Data, "store-0"}, storeNode("store-9", cluster.Controller.Addr)...)

	far, err := server.StartCluster(t.Context(), server.ClusterSpec{Bin: bin, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Kill)
	wantRefusal(t, []string{"store-0", "cluster", "--data"}, storeNode("store-0", far.Controller.Addr)...)
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}
