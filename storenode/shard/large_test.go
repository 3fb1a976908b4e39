// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// TestTooLarge: a message that no segment can hold gets a code of its own, and
// those beside it are stored.
func TestTooLarge(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	least := payload(0, "m", "", 1)
	room := int(l.size) - commitlog.SealReserve - record.HeaderSize - len(least)
	fits := append(payload(0, "m", "", 2), make([]byte, room)...)
	not := append(payload(0, "m", "", 3), make([]byte, room+record.Align)...)
	r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{fits, not, least}})
	entries := r.Result.(*storeapi.AppendResult).Entries
	if entries[0].Code != storeapi.OK || entries[1].Code != storeapi.TooLarge || entries[2].Code != storeapi.OK {
		t.Error(entries)
	}
}
