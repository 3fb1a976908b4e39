// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
)

// TestConfigKinds says that proxies number configuration as entries of the log do.
func TestConfigKinds(t *testing.T) {
	for theirs, ours := range map[uint8]record.ConfigKind{
		storeapi.ConfigTopic: record.ConfigTopic, storeapi.ConfigGroup: record.ConfigGroup, storeapi.ConfigStart: record.ConfigStart,
	} {
		if record.ConfigKind(theirs) != ours {
			t.Errorf("%d is not %d", theirs, ours)
		}
	}
}
