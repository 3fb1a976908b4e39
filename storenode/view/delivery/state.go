// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"math"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	// AttemptsDefault is the maximum of deliveries of a group that has none
	// configured.
	AttemptsDefault = 17
	// LeaseCapMS bounds a lease that its owner keeps renewing: a consumer that
	// lives but never settles gives the message back after 3 hours.
	LeaseCapMS = 3 * 60 * 60 * 1000
	// OwnerTTLMS is how long a sign of life keeps an owner's leases.
	OwnerTTLMS = 60_000
	// TerminatedTTLMS is what a client that said goodbye keeps at least for
	// leases that it is working on.
	TerminatedTTLMS = 15_000

	// epochAgeMaxMS is how far log time may be past the epoch before all dues
	// are re-based. It leaves 37 days for a due beyond it.
	epochAgeMaxMS = 1 << 30
)

// Key names what a group knows of one topic.
type Key struct {
	Group ident.Group
	Topic ident.Topic
}

// GroupConfig is what the view needs to know of a group.
type GroupConfig struct {
	AttemptsMax uint8 // 1…250; 0 means AttemptsDefault
	// LateAck lets an ack count that comes after the due and before the offset
	// was leased again (strict_expiry=false).
	LateAck bool
}

func (c GroupConfig) attemptsMax() int {
	if c.AttemptsMax == 0 {
		return AttemptsDefault
	}
	return int(c.AttemptsMax)
}

// Start says where a group begins in a queue that it has never read. For all
// kinds but StartEarliest it is the first offset whose log time is not before
// TimeMS; queues created at a later revision of the metadata than Revision
// begin at their first offset.
type Start struct {
	Kind     record.StartKind
	TimeMS   int64
	Revision uint64
}

// Deliveries is the state of all groups on one shard. It has one owner: no
// method may run beside another.
type Deliveries struct {
	epochMS int64 // what dues in slots count from
	groups  map[ident.Group]GroupConfig
	pairs   map[Key]*pair
	byTopic map[ident.Topic][]*pair
	byOwner map[string][]*pair // where a client owns leases
	queues  pool[popQueue]
	chunks  pool[chunk]
	slabs   pool[slab]
	grants  pool[grant]

	// Accelerators, no part of the state.
	heap    []heapItem
	dying   list
	dueSeq  uint64
	woken   []*pair
	dropped uint64 // counts pairs that went away
}

// pair is what one group knows of one topic.
type pair struct {
	key        Key
	config     GroupConfig
	generation ident.Generation
	start      Start
	queueOf    map[ident.Queue]uint32
	order      []uint32 // queues in the order in which they were first granted
	owners     []owner
	freeOwners []uint32
	ownerOf    map[string]uint32
	committed  map[ident.Queue]ident.Offset
	live       uint64 // offsets
	available  uint64
	totals     Totals

	due    list // chunks with expired leases
	awake  bool // in Deliveries.woken
	capped bool // a cap kept a receive from getting something
}

// Totals count what became of offsets since the group first read the topic;
// they only grow, resets included.
type Totals struct {
	Acked        uint64 // settled by consumers
	Skipped      uint64 // no subscription wanted them
	Expired      uint64 // retention took them first
	DeadLettered uint64
}

// owner is a client that keeps its leases by signs of life.
type owner struct {
	id         string
	untilMS    int64
	terminated bool
	leases     uint32
}

// popQueue is one queue as one group sees it: offsets below next that no chunk
// covers are done, offsets from next on are fresh.
type popQueue struct {
	pair      *pair
	id        ident.Queue
	base      uint64 // where the group began
	next      uint64
	live      uint64
	available uint64
	chunks    []chunkRef // by number; 0 in place of dropped ones, never first or last
	holes     int
}

type chunkRef struct {
	no uint64 // offset / 64
	id uint32
}

const (
	chunkBits = 6
	chunkLen  = 1 << chunkBits
	slabBits  = 3
	slabLen   = 1 << slabBits
)

// chunk is the state of 64 offsets. An offset below the queue's next that is
// neither done nor live is available.
type chunk struct {
	base  uint64
	done  uint64
	live  uint64
	slabs [chunkLen / slabLen]uint32
	queue uint32

	// Accelerators.
	bound  uint32 // no live offset outside busy that is not listed falls due earlier
	heapAt uint32 // position in the heap + 1
	busy   uint64 // promised by the Selector, or on its way to the dead letters
	due    link
	dying  link
	dueSeq uint64
}

// slab holds the slots of 8 offsets.
type slab struct {
	grant    [slabLen]uint32
	due      [slabLen]uint32 // ms since the epoch
	owner    [slabLen]uint32
	attempts [slabLen]uint8
	flags    [slabLen]uint8
}

const (
	flagNoCount = 1 // the next delivery is no further attempt
	flagOwned   = 2

	flagsKnown = flagNoCount | flagOwned
)

// grant is what all live slots of one PopGrant share.
type grant struct {
	lsn         ident.LSN
	term        ident.Term
	timeMS      int64
	attemptHash uint64
	slots       uint32
}

// New returns the state before the first entry.
func New() *Deliveries {
	return &Deliveries{
		groups:  map[ident.Group]GroupConfig{},
		pairs:   map[Key]*pair{},
		byTopic: map[ident.Topic][]*pair{},
		byOwner: map[string][]*pair{},
	}
}

// open returns the pair, made now if it is new; nil when the group is unknown.
func (d *Deliveries) open(k Key) *pair {
	if p := d.pairs[k]; p != nil {
		return p
	}
	config, ok := d.groups[k.Group]
	if !ok {
		return nil
	}
	return d.addPair(k, config)
}

func (d *Deliveries) addPair(k Key, config GroupConfig) *pair {
	p := &pair{
		key: k, config: config,
		queueOf:   map[ident.Queue]uint32{},
		ownerOf:   map[string]uint32{},
		committed: map[ident.Queue]ident.Offset{},
	}
	d.pairs[k] = p
	d.byTopic[k.Topic] = append(d.byTopic[k.Topic], p)
	return p
}

// dueAt is a time as slots keep it. Times up to the epoch have passed anyway;
// later than 49 days after it is nothing, while clients may ask for 12 hours.
func (d *Deliveries) dueAt(timeMS int64) uint32 {
	return uint32(min(max(timeMS-d.epochMS, 0), math.MaxUint32))
}

// later is timeMS + ms without overflow.
func later(timeMS, ms int64) int64 {
	if ms > math.MaxInt64/2-max(timeMS, 0) {
		return math.MaxInt64 / 2
	}
	return timeMS + ms
}

// enter begins an entry: it keeps log time within reach of the epoch.
func (d *Deliveries) enter(timeMS int64) {
	if age := timeMS - d.epochMS; age < 0 || age > epochAgeMaxMS {
		d.rebase(timeMS)
	}
}

func (d *Deliveries) rebase(epochMS int64) {
	shift := epochMS - d.epochMS
	d.epochMS = epochMS
	if d.slabs.used == 0 && len(d.heap) == 0 {
		return
	}
	moved := func(due uint32) uint32 {
		if due == 0 { // passed, nobody knows when
			return 0
		}
		return uint32(min(max(int64(due)-shift, 0), math.MaxUint32))
	}
	for _, page := range d.slabs.pages {
		for i := range page {
			for j := range page[i].due {
				page[i].due[j] = moved(page[i].due[j])
			}
		}
	}
	for i := range d.heap {
		d.heap[i].bound = moved(d.heap[i].bound)
		d.chunks.at(d.heap[i].chunk).bound = d.heap[i].bound
	}
}

// effectiveMS is when the slot's lease ends.
func (d *Deliveries) effectiveMS(p *pair, s *slab, j uint64) int64 {
	due := d.epochMS + int64(s.due[j])
	if s.flags[j]&flagOwned == 0 {
		return due
	}
	return min(d.grants.at(s.grant[j]).timeMS+LeaseCapMS, max(due, p.owners[s.owner[j]].untilMS))
}

// exhausted reports whether the slot has had its last attempt.
func (p *pair) exhausted(s *slab, j uint64) bool {
	return nextAttempt(s, j) > p.config.attemptsMax()
}

// nextAttempt is the number that a delivery after this one would have.
func nextAttempt(s *slab, j uint64) int {
	if s.flags[j]&flagNoCount != 0 {
		return int(s.attempts[j])
	}
	return int(s.attempts[j]) + 1
}
