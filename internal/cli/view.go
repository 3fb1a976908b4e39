// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"time"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Topic is a topic as programs see it.
type Topic struct {
	Name          string   `json:"name"`
	ID            uint64   `json:"id"`
	Type          string   `json:"type"`
	Queues        int      `json:"queues"`
	FIFOQueues    uint32   `json:"fifo_queues"`
	Shards        []uint32 `json:"shards"`
	Reply         string   `json:"reply"`
	Deduplicate   bool     `json:"deduplicate"`
	DeadLettersOf uint64   `json:"dead_letters_of,omitempty"`
	Created       string   `json:"created,omitempty"`
	Updated       string   `json:"updated,omitempty"`
	Revision      int64    `json:"revision"`
}

// TopicView makes the view of a topic. Shards has one number per queue.
func TopicView(t *controlv1.Topic) Topic {
	v := Topic{
		Name: t.GetName(), ID: t.GetId(), Type: word(t.GetType().String(), "TOPIC_TYPE_"), Queues: len(t.GetQueues()),
		FIFOQueues: t.GetFifoQueues(), Shards: []uint32{}, Reply: word(t.GetReply().String(), "REPLY_POINT_"),
		Deduplicate: t.GetDeduplicate(), DeadLettersOf: t.GetDeadLettersOf(),
		Created: moment(t.GetCreatedMs()), Updated: moment(t.GetUpdatedMs()), Revision: t.GetRevision(),
	}
	if t.GetReply() == controlv1.ReplyPoint_REPLY_POINT_UNSPECIFIED {
		v.Reply = "committed"
	}
	for _, q := range t.GetQueues() {
		v.Shards = append(v.Shards, q.GetShard())
	}
	return v
}

// Group is a consumer group as programs see it.
type Group struct {
	Name         string   `json:"name"`
	ID           uint64   `json:"id"`
	FIFO         bool     `json:"fifo"`
	MaxAttempts  uint32   `json:"max_attempts"`
	Backoff      []string `json:"backoff"`
	StrictExpiry bool     `json:"strict_expiry"`
	ConsumeFrom  string   `json:"consume_from"`
	Invisible    string   `json:"invisible"`
	Created      string   `json:"created,omitempty"`
	Updated      string   `json:"updated,omitempty"`
	Revision     int64    `json:"revision"`
}

// GroupView makes the view of a group.
func GroupView(g *controlv1.Group) Group {
	v := Group{
		Name: g.GetName(), ID: g.GetId(), FIFO: g.GetFifo(), MaxAttempts: g.GetMaxAttempts(), Backoff: []string{},
		StrictExpiry: g.GetStrictExpiry(), ConsumeFrom: word(g.GetConsumeFrom().String(), "CONSUME_FROM_"),
		Invisible: duration(g.GetInvisibleMs()), Created: moment(g.GetCreatedMs()), Updated: moment(g.GetUpdatedMs()),
		Revision: g.GetRevision(),
	}
	if g.GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED {
		v.ConsumeFrom = "earliest"
	}
	for _, ms := range g.GetBackoff().GetStepsMs() {
		v.Backoff = append(v.Backoff, duration(ms))
	}
	return v
}

// Shard is a shard as programs see it; nodes are named.
type Shard struct {
	Shard    uint32   `json:"shard"`
	Leader   string   `json:"leader"`
	Term     uint64   `json:"term"`
	InSync   []string `json:"in_sync"`
	Replicas []string `json:"replicas"`
	Phase    string   `json:"phase"`
	// Reachable says that the leader's node reports to the controller.
	Reachable bool   `json:"reachable"`
	Blocked   string `json:"blocked,omitempty"` // why it cannot get a leader now
}

// ShardViews makes the views of shards, with the names of their nodes.
func ShardViews(r *controlv1.ListShardsResponse) []Shard {
	names := make(map[uint64]string)
	for _, n := range r.GetNodes() {
		names[n.GetId()] = n.GetName()
	}
	list := func(ids []*controlv1.ReplicaID) []string {
		out := []string{}
		for _, id := range ids {
			out = append(out, names[id.GetNode()])
		}
		return out
	}
	views := []Shard{}
	for _, s := range r.GetShards() {
		v := Shard{
			Shard: s.GetId(), Term: s.GetTerm(), InSync: list(s.GetInSync()), Replicas: list(s.GetReplicas()),
			Phase: word(s.GetPhase().String(), "PHASE_"), Blocked: r.GetBlocked()[s.GetId()],
		}
		if s.GetPhase() == controlv1.Phase_PHASE_STEADY {
			v.Leader = names[s.GetLeader().GetNode()]
			v.Reachable = slices.Contains(r.GetLive(), s.GetLeader().GetNode())
		}
		views = append(views, v)
	}
	return views
}

// Node is a store node as programs see it.
type Node struct {
	Name    string `json:"name"`
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	Zone    string `json:"zone"`
	State   string `json:"state"` // alive: it reports to the controller; else away
	Since   string `json:"since,omitempty"`
	Joined  string `json:"joined,omitempty"` // this process of it
}

// NodeViews makes the views of store nodes.
func NodeViews(r *controlv1.ListNodesResponse) []Node {
	views := []Node{}
	for _, n := range r.GetNodes() {
		v := Node{
			Name: n.GetName(), ID: n.GetId(), Address: n.GetAddress(), Zone: n.GetZone(), State: "away",
			Since: moment(r.GetSinceMs()[n.GetId()]), Joined: moment(n.GetSeenMs()),
		}
		if slices.Contains(r.GetLive(), n.GetId()) {
			v.State = "alive"
		}
		views = append(views, v)
	}
	return views
}

// Lag is a group's progress in one queue. Exactly one of QueueProgress and Error is
// there: Error when the queue's shard could not be asked.
type Lag struct {
	Topic string `json:"topic"`
	Queue uint32 `json:"queue"`
	Shard uint32 `json:"shard"`
	*QueueProgress
	Error string `json:"error,omitempty"`
}

// QueueProgress is how far a group is in one queue.
type QueueProgress struct {
	Min      uint64 `json:"min_offset"`
	Next     uint64 `json:"next_offset"`
	Ready    uint64 `json:"ready"`
	InFlight uint64 `json:"in_flight"`
	Done     uint64 `json:"done"`
}

// LagView makes the view of a group's progress.
func LagView(q *controlv1.QueueLag) Lag {
	v := Lag{Topic: q.GetTopic(), Queue: q.GetQueue(), Shard: q.GetShard(), Error: q.GetError()}
	if v.Error == "" {
		v.QueueProgress = &QueueProgress{
			Min: q.GetMinOffset(), Next: q.GetNextOffset(), Ready: q.GetReady(), InFlight: q.GetInFlight(), Done: q.GetDone(),
		}
	}
	return v
}

// word is the name of an enum's value as people type it.
func word(name, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", "-"))
}

func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func duration(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
