// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// A send that is refused for want of space says how much there is, how much is
// needed, and where.
func TestShortageHasNumbers(t *testing.T) {
	l := beginOn(t, setting{disk: disk.NewMemory(), dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) {
		o.MinFreeBytes, o.Free = 1000, func(string) (int64, int64, error) { return 700, 5000, nil }
	}})
	defer l.stop()
	r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "m", "", 1)}})
	if want := "700 bytes are free in s, 1200 are needed"; r.Code != storeapi.DiskFull || r.Detail != want {
		t.Errorf("%v, want %s", r, want)
	}
}
