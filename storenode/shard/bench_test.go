// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// BenchmarkSend keeps 256 sends of 1 KiB in flight on the machine's disk.
func BenchmarkSend(b *testing.B) {
	l := beginOn(b, setting{disk: disk.OS{}, dir: b.TempDir(), segmentBytes: 256 << 20})
	defer l.stop()
	body := make([]byte, 1024)
	slots := make(chan []byte, 256)
	for range cap(slots) {
		slots <- append(payload(0, "0123456789012345678901234567890123", "tag", 0), body...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p := <-slots
		l.shard.Submit([]*storeapi.Op{{
			Shard: 1, TopicRevision: 1, Request: &storeapi.Append{Topic: topicID, Payloads: [][]byte{p}},
			Done: func(storeapi.Reply) { slots <- p },
		}})
	}
	for range cap(slots) {
		<-slots
	}
	b.StopTimer()
	b.ReportMetric(float64(l.shard.o.Counts.Entries.Load())/float64(l.shard.o.Counts.Rounds.Load()), "entries/sync")
}
