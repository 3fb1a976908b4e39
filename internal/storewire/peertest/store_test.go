// SPDX-License-Identifier: Apache-2.0

package peertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/storewire/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStore runs the suite over the store in memory, without a wire.
func TestStore(t *testing.T) {
	peertest.Run(t, func(*testing.T) *peertest.Env {
		return &peertest.Env{Peer: peertest.NewStore(), Shard: 1, Topic: 2, Group: 3, Proxy: 4}
	})
}
