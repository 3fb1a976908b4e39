// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"fmt"
	"testing"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// manyTopics returns a table with n topics of 8 queues each.
func manyTopics(tb testing.TB, n int) *Table {
	tb.Helper()
	m := &controlv1.WatchResponse{Snapshot: true, Revision: 1, Cluster: &controlv1.Cluster{Uuid: "c"}}
	for i := range n {
		m.Topics = append(m.Topics, &controlv1.Topic{
			Id: uint64(i + 1), Name: fmt.Sprintf("topic-%06d", i), Queues: make([]*controlv1.Queue, 8), Revision: 1,
		})
	}
	table := NewTable()
	if err := table.Apply(m); err != nil {
		tb.Fatal(err)
	}
	return table
}

func BenchmarkTopicByName(b *testing.B) {
	table := manyTopics(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if table.Snapshot().TopicByName("topic-054321") == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkTopicByID(b *testing.B) {
	table := manyTopics(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if table.Snapshot().TopicByID(54321) == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkApplyOneChange(b *testing.B) {
	table := manyTopics(b, 100_000)
	b.ReportAllocs()
	for revision := int64(2); b.Loop(); revision++ {
		topic := &controlv1.Topic{Id: 54321, Name: "topic-054320", Revision: revision}
		if err := table.Apply(&controlv1.WatchResponse{Revision: revision, Topics: []*controlv1.Topic{topic}}); err != nil {
			b.Fatal(err)
		}
	}
}
