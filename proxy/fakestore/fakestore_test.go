// SPDX-License-Identifier: Apache-2.0

package fakestore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/storewire/peertest"
	"github.com/mansiomq/mansio/proxy/fakestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract holds the fake to what the real stores promise.
func TestContract(t *testing.T) {
	peertest.Run(t, func(t *testing.T) *peertest.Env {
		n := fakestore.New()
		t.Cleanup(n.Close)
		return &peertest.Env{Peer: n, Shard: 1, Topic: 2, Group: 3, Proxy: 4}
	})
}
