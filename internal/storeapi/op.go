// SPDX-License-Identifier: Apache-2.0

package storeapi

import (
	"time"

	"github.com/mansiomq/mansio/internal/ident"
)

// Bounds per pair of proxy and store node. At a bound Submit completes the
// operation with Overloaded.
const (
	// OpsMax bounds the operations in flight, Parks aside.
	OpsMax = 4096
	// ParksMax bounds the parked receives.
	ParksMax = 65536
	// BytesMax bounds the payload bytes in flight, each way.
	BytesMax = 32 << 20
	// SeqWindow is how far a message's sequence number may run ahead of the
	// oldest unanswered one on its shard.
	SeqWindow = 4096
	// ClientIDBytesMax bounds the text of a client id: shards remember and log ids.
	ClientIDBytesMax = 255
)

// Op is one operation on one shard.
type Op struct {
	Shard    ident.Shard
	TermHint ident.Term
	// TopicRevision and GroupRevision are the metadata revisions of the topic
	// and the group that the request names, as the proxy knows them; 0 = none.
	// A store that has an older one waits for it up to a second, then answers
	// NeedConfig; the proxy sends again with Attached set.
	TopicRevision int64
	GroupRevision int64
	Attached      []Config
	Deadline      time.Time // zero: none
	Request       Request
	Done          func(Reply)
}

// Kinds of configuration, as entries of the log number them.
const (
	ConfigTopic uint8 = 1
	ConfigGroup uint8 = 2
	ConfigStart uint8 = 3
)

// Config is one object's configuration, carried along when the store's own
// metadata watch lags: its kind, and its protobuf form.
type Config struct {
	Kind     uint8
	ID       uint64
	Revision int64
	Bytes    []byte
}

// Request is one of *Append, *Settle, *Alive, *Take, *Park, *Unpark, *Decline,
// *Offsets, *Query.
type Request interface{ request() }

// Result is one of *AppendResult, *SettleResult, *TakeResult, *OffsetsResult,
// *QueryResult; nil where the code says all.
type Result interface{ result() }

// Reply completes an Op.
type Reply struct {
	Code   Code
	Leader string     // address of the leader, when NotLeader knows it
	Term   ident.Term // of the answering replica
	Detail string     // for people
	Result Result
}

// Append stores messages of one topic, in order. Payloads are those of package
// internal/message; the proxy has stamped queue and source.
type Append struct {
	Topic    ident.Topic
	Payloads [][]byte
}

// AppendResult has one entry per payload, in order.
type AppendResult struct{ Entries []Appended }

// Appended tells where a message stands.
type Appended struct {
	Code   Code // OK, or why this one is not stored
	LSN    ident.LSN
	Offset int64 // −1 when the reply point is before apply
}

// Verdict is what a client says of a delivery: record's verdicts and Bury.
type Verdict uint8

// The verdicts.
const (
	Ack     Verdict = iota
	Extend          // due again MS from now, counted from the entry's time
	Release         // give it back, visible after MS
	Bury            // to the group's dead letters
)

// Delivery names one delivery of one message to one group.
type Delivery struct {
	Group      ident.Group
	Topic      ident.Topic
	Generation ident.Generation
	Queue      ident.Queue
	Offset     ident.Offset
	Term       ident.Term
	Grant      ident.LSN
}

// SettleItem settles one delivery.
type SettleItem struct {
	Delivery
	Verdict Verdict
	NoCount bool // Release: the next delivery is no further attempt
	MS      int64
}

// Settle settles deliveries, each for itself.
type Settle struct{ Items []SettleItem }

// SettleResult has one code per item, in order: OK, InvalidHandle, …
type SettleResult struct{ Codes []Code }

// FilterKind says how a filter chooses.
type FilterKind uint8

// The kinds.
const (
	FilterAll FilterKind = iota
	FilterTags
)

// Filter chooses messages by tag. Tags are texts: the shard finds by hash and
// compares the text before it delivers.
type Filter struct {
	Kind FilterKind
	Tags []string // sorted, without duplicates
}

// Take leases up to Max messages, or answers None at once.
type Take struct {
	Group       ident.Group
	Topic       ident.Topic
	Filter      Filter
	Max         int
	BytesMax    int
	InvisibleMS int64
	AutoRenew   bool   // then Client owns the leases
	Client      string // client id
	AttemptHash uint64 // xxh64 of the attempt id, 0 without one
	RegrantOnly bool
	// Ticket names the Ready that this Take follows, 0 for none.
	Ticket uint64
}

// TakeResult holds the leased messages. Code None comes without one.
type TakeResult struct {
	Grant      ident.LSN // the delivery's name
	Term       ident.Term
	Generation ident.Generation
	DueMS      int64 // log time at which the leases pass
	Messages   []Taken
}

// Taken is one leased message.
type Taken struct {
	Queue   ident.Queue
	Offset  ident.Offset
	Attempt int32 // 1 = first delivery
	StoreMS int64
	Payload []byte
	Grant   ident.LSN // 0 = that of the TakeResult
}

// Park waits until a Take of that group, topic and filter would find something,
// and grants nothing. Its Done comes once: Ready (with the ticket in Result),
// or why not. ID is unique among all senders while parked: a sender counts up
// from a random 64-bit number.
type Park struct {
	ID     uint64
	Group  ident.Group
	Topic  ident.Topic
	Filter Filter
	Client string
}

// ReadyResult comes with code Ready: the ticket to put into the Take or the
// Decline that must follow within 50 ms.
type ReadyResult struct{ Ticket uint64 }

// Unpark ends a Park early; its Done then comes with Canceled unless it was
// Ready before. Unpark itself is completed with OK.
type Unpark struct{ ID uint64 }

// Decline passes an unused Ready on to the next waiter.
type Decline struct{ Ticket uint64 }

// Subscription is what one client consumes in one group.
type Subscription struct {
	Topic  ident.Topic
	Filter Filter
}

// ClientSign is one client's sign of life in one group.
type ClientSign struct {
	Client        string
	Group         ident.Group
	Terminated    bool
	Unknown       bool // the client's filters are not known
	Subscriptions []Subscription
}

// Alive carries signs of life to a shard.
type Alive struct{ Signs []ClientSign }

// Offsets asks for the state of a topic's queues on the shard and, when Group
// is set, of that group in them.
type Offsets struct {
	Topic ident.Topic
	Group ident.Group
}

// OffsetsResult has one entry per queue that exists on the shard.
type OffsetsResult struct{ Queues []QueueState }

// QueueState is one queue's extent and a group's progress in it.
type QueueState struct {
	Queue    ident.Queue
	Min      ident.Offset // oldest retained
	Next     ident.Offset // one behind the newest visible
	Ready    uint64       // visible, never leased or given back
	InFlight uint64       // leased
	Done     uint64       // settled for good
}

// Query finds messages by id, by key or by store time. Results are candidates
// whose texts were compared.
type Query struct {
	Topic     ident.Topic
	MessageID string // by id, or
	Key       string // by key, or
	FromMS    int64  // by store time [FromMS, ToMS)
	ToMS      int64
	After     ident.LSN // continue behind this LSN
	Max       int
}

// QueryResult lists what was found, ordered by LSN. More says that there may be
// more: behind Next−1 if Next is set, as it is when the scan ended at its limit,
// with or without a match; else behind the last message.
type QueryResult struct {
	Messages []Found
	More     bool
	Next     ident.LSN
}

// Found is one stored message.
type Found struct {
	LSN     ident.LSN
	Queue   ident.Queue
	Offset  int64 // −1: not known
	StoreMS int64
	Payload []byte
}

func (*Append) request()  {}
func (*Settle) request()  {}
func (*Take) request()    {}
func (*Park) request()    {}
func (*Unpark) request()  {}
func (*Decline) request() {}
func (*Alive) request()   {}
func (*Offsets) request() {}
func (*Query) request()   {}

func (*AppendResult) result()  {}
func (*SettleResult) result()  {}
func (*TakeResult) result()    {}
func (*ReadyResult) result()   {}
func (*OffsetsResult) result() {}
func (*QueryResult) result()   {}
