// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view/delivery"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// Metadata is what a shard asks its node's metadata.
type Metadata interface {
	// Config returns the newest known configuration of a topic or group, or of
	// a start by StartID; false when there is none.
	Config(kind record.ConfigKind, id uint64) (storeapi.Config, bool)
	// Start returns the start of a group on a topic.
	Start(group ident.Group, topic ident.Topic) (*controlv1.Start, bool)
}

// Options say where a shard lives and how it behaves.
type Options struct {
	ID          ident.Shard
	ClusterHash uint64
	Instance    uint64 // of this process
	BootID      [16]byte
	FS          disk.FS
	Dir         string // this replica's folder
	// SegmentBytes, RingBytes, MinFreeBytes and Free are the log's.
	SegmentBytes int64
	RingBytes    int64
	MinFreeBytes int64
	Free         disk.FreeFunc
	// RetentionMS is how long messages are kept; RetentionBytes, if not 0, how
	// many bytes of log.
	RetentionMS    int64
	RetentionBytes int64
	Clock          clock.Source     // nil = clock.System
	Now            func() time.Time // for deadlines
	Metadata       Metadata
	Logger         *slog.Logger
	Counts         *Counts // nil = not counted
}

// RetentionMSDefault is three days.
const RetentionMSDefault = int64(72 * time.Hour / time.Millisecond)

func (o *Options) setDefaults() {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = commitlog.SegmentBytesDefault
	}
	o.SegmentBytes &^= record.Align - 1
	if o.RetentionMS == 0 {
		o.RetentionMS = RetentionMSDefault
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Counts == nil {
		o.Counts = &Counts{}
	}
}

type configKey struct {
	kind record.ConfigKind
	id   uint64
}

type toldConfig struct {
	revision int64
	deleted  bool
}

// Shard is one replica of one shard. See the package comment for its parts and
// who may touch them.
type Shard struct {
	o           Options
	logger      *slog.Logger
	commitlog   *commitlog.Log
	meta        *replica.Memory
	archive     *queue.Archive
	keys        *keyindex.Archive
	incarnation uint64
	inbox       *inbox
	calls       chan func()
	toWrite     chan *batch
	written     chan round
	reads       *workQueue
	chores      *workQueue
	stopping    chan struct{}   // closed when nothing new is taken any more
	stopped     chan struct{}   // closed when the owner has ended
	life        context.Context //nolint:containedctx // a lifecycle's own: that of the goroutines beside the owner
	public      atomic.Pointer[Status]

	// All below belongs to the owner goroutine.
	machine       *replica.Machine
	views         *views
	selector      *delivery.Selector
	subscriptions *delivery.Subscriptions
	parking       *parking
	clock         *clock.Clock  // while leading
	reading       clock.Reading // of the machine's clocks, for the event at hand
	retrim        ident.LSN     // a Trim that is to be logged again: it was given up
	shiftMS       int64         // sum of the clock's steps whose TimeShift is not applied yet
	tail          tail
	space         commitlog.Space // as of the event at hand
	spaceEnd      ident.LSN       // what the log held then
	cutShort      bool            // a batch was given up: the log is not where the sequencer was
	commitEnd     ident.LSN
	restoreEpoch  uint64
	told          map[configKey]toldConfig
	existing      func(record.ConfigKind, uint64) bool // what the metadata said when it was
	existingAt    int64                                // of that revision; nil: nothing yet
	starts        map[delivery.Key]delivery.Start      // logged and not applied yet
	waiting       []*storeapi.Op                       // taken from the inbox
	served        int                                  // of these
	behind        bool                                 // something may wait that no wake-up will come for
	filling       *batch
	syncing       *batch
	spareBatch    *batch
	granting      []granting
	settling      [][]waiter
	signs         map[memberID]struct{}
	renewedMS     int64
	startedMS     int64
	trimming      ident.LSN // newest Trim that was logged
	trims         []trimmed
	burying       int
	ticked        ticks
	timer         *time.Timer
	out           outcome
	scratch       []byte
	queueStates   []delivery.QueueState
	postingRow    []queue.Posting
	exhausted     []delivery.Exhaustion
	woken         []delivery.Key
	touched       []ident.Topic
	unscanned     []place
	starved       bool // receives wait for room on the disk
	fences        []func()
	floor         ident.LSN
	checkpoints   []ident.LSN           // durable ones, oldest first
	mends         map[ident.LSN]mending // by the segment's base
	outworn       []io.Closer           // files that were replaced
}

// Status tells how the replica is.
type Status struct {
	Shard       ident.Shard
	Incarnation uint64
	Term        ident.Term
	Role        replica.Role
	Failure     string
	Start       ident.LSN
	End         ident.LSN
	Commit      ident.LSN
	MaxID       uint64 // highest topic or group id that the log names
}

// Create makes an empty replica in o.Dir, durably. fault.Exists: there is one.
func Create(o Options, incarnation uint64) error {
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return fault.E("create replica", fault.Internal, err)
	}
	_, err := replica.CreateMeta(o.FS, o.Dir, replica.Meta{
		Cluster: o.ClusterHash, Shard: o.ID, Incarnation: incarnation, Instance: o.Instance, BootID: o.BootID, FlushSync: true,
	})
	return err
}

// Open opens the replica in o.Dir; Run recovers it. fault.NotFound: there is
// none; fault.Incompatible: it is another cluster's or a newer format's.
func Open(o Options) (*Shard, error) {
	o.setDefaults()
	memory, err := replica.Recall(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	meta := memory.Get()
	if meta.Cluster != o.ClusterHash || meta.Shard != o.ID {
		return nil, fault.Errorf("open shard", fault.Incompatible, "%s holds a replica of shard %d of another cluster, or another shard", o.Dir, meta.Shard)
	}
	s := &Shard{
		o: o, logger: o.Logger.With("shard", o.ID), meta: memory, incarnation: meta.Incarnation,
		archive: &queue.Archive{}, keys: &keyindex.Archive{}, inbox: newInbox(),
		calls: make(chan func(), 64), toWrite: make(chan *batch, 1), written: make(chan round, 1),
		reads: newWorkQueue(), chores: newWorkQueue(), stopping: make(chan struct{}), stopped: make(chan struct{}),
		machine: replica.NewMachine(meta.Term, o.Instance), views: newViews(), parking: newParking(),
		told: map[configKey]toldConfig{}, starts: map[delivery.Key]delivery.Start{}, signs: map[memberID]struct{}{},
		filling: &batch{}, spareBatch: &batch{}, mends: map[ident.LSN]mending{},
	}
	s.publish()
	s.commitlog, err = commitlog.Open(commitlog.Options{
		FS: o.FS, Dir: o.Dir, ClusterHash: o.ClusterHash, Shard: o.ID, SegmentBytes: o.SegmentBytes, RingBytes: o.RingBytes,
		MinFreeBytes: o.MinFreeBytes, FreeBytes: s.freeBytes(), Logger: s.logger,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Shard) freeBytes() func() (int64, int64, error) {
	if s.o.Free == nil {
		return nil
	}
	return func() (int64, int64, error) { return s.o.Free(s.o.Dir) }
}

// Run recovers the replica and serves until ctx ends; then it stops cleanly. A
// replica that fails goes on answering that it does not lead. Run may be called
// once.
func (s *Shard) Run(ctx context.Context) error {
	if err := s.recover(ctx); err != nil {
		if ctx.Err() != nil {
			s.refuse()
			close(s.stopped)
			return errors.Join(ctx.Err(), s.release())
		}
		err = s.remedied(err)
		s.machine.Fail(err.Error())
		s.logger.Error("replica failed in recovery", "error", err)
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.life = inner
	var g errgroup.Group
	g.Go(func() error { return s.commitlog.Run(inner) })
	g.Go(func() error { return s.write(inner) })
	g.Go(func() error { s.chores.work(); return nil })
	for range readers {
		g.Go(func() error { s.reads.work(); return nil })
	}
	err := s.own(ctx)
	cancel()
	s.reads.close()
	s.chores.close()
	err = errors.Join(err, s.finish(&g))
	return errors.Join(err, s.release())
}

// release closes all files; no goroutine of the shard is left.
func (s *Shard) release() error {
	s.archive.Close()
	s.keys.Close()
	var err error
	for _, f := range s.outworn {
		err = errors.Join(err, f.Close())
	}
	return errors.Join(err, s.commitlog.Close())
}

// finish waits for the goroutines beside the owner and takes what they still
// have to say: after it every operation has been completed.
func (s *Shard) finish(g *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	for {
		select {
		case f := <-s.calls:
			f()
		case err := <-ended:
			for {
				select {
				case f := <-s.calls:
					f()
				default:
					return err
				}
			}
		}
	}
}

// Submit hands operations over; see package storeapi.
func (s *Shard) Submit(ops []*storeapi.Op) {
	n, refusal := s.inbox.put(ops)
	for _, op := range ops[n:] {
		op.Done(storeapi.Reply{Code: refusal})
	}
}

// Fenced is what a replica answers to Fence.
type Fenced struct {
	Status
	LastTerm ident.Term
	Lossy    bool
	NowMS    int64
	Seen     replica.Seen
}

// Fence promises the term, and answers when that and the log up to the end that
// it names are durable.
func (s *Shard) Fence(ctx context.Context, term ident.Term, seen replica.Seen) (Fenced, error) {
	return call(ctx, s, "fence", func(answer func(Fenced, error)) {
		before := s.machine.Term()
		if err := s.machine.Fence(term); err != nil {
			answer(Fenced{}, err)
			return
		}
		if term > before {
			s.stepDown()
		}
		s.fences = append(s.fences, func() { s.fenced(term, seen, answer) })
		s.answerFences()
	})
}

// fenced makes the promise durable beside the owner, and not as a chore: one that
// waits for space must not keep the shard from being led, and so from trimming.
func (s *Shard) fenced(term ident.Term, seen replica.Seen, answer func(Fenced, error)) {
	if s.failed() {
		answer(Fenced{}, fault.Errorf("fence", fault.Corrupt, "replica failed: %s", s.machine.Failure()))
		return
	}
	s.publish()
	f := Fenced{Status: s.Status(), LastTerm: s.views.applied.Term, NowMS: s.reading.Wall}
	s.read(func() {
		err := s.meta.Update(func(m *replica.Meta) {
			m.Term, m.Instance, m.Clean = max(m.Term, term), s.o.Instance, false
			if seen.Term > m.Seen.Term || seen.ModRevision > m.Seen.ModRevision {
				m.Seen = seen
			}
		})
		if err != nil {
			answer(Fenced{}, err)
			s.later(func() { s.fail(err) })
			return
		}
		m := s.meta.Get()
		f.Lossy, f.Seen = m.Lossy, m.Seen
		answer(f, nil)
	})
}

var errStopped = errors.New("the shard is stopping")

// Lead begins the term's reign; it is answered before the barrier is applied.
func (s *Shard) Lead(ctx context.Context, term ident.Term, instance uint64, inSync []record.ReplicaID) error {
	_, err := call(ctx, s, "lead", func(answer func(struct{}, error)) {
		begin, err := s.machine.Lead(term, instance)
		if begin && err == nil {
			s.beginTerm(term, inSync)
		}
		answer(struct{}{}, err)
	})
	return err
}

// Incarnation is which life of the replica this is.
func (s *Shard) Incarnation() uint64 { return s.incarnation }

// Status tells how the replica is, at once, also while it recovers.
func (s *Shard) Status() Status {
	st := *s.public.Load()
	st.Start, st.End, st.Commit = s.commitlog.Start(), s.commitlog.End(), s.commitlog.Synced()
	return st
}

// publish makes the owner's state visible to Status.
func (s *Shard) publish() {
	old := s.public.Load()
	if old != nil && old.Term == s.machine.Term() && old.Role == s.machine.Role() && old.MaxID == s.views.maxID {
		return
	}
	s.public.Store(&Status{
		Shard: s.o.ID, Incarnation: s.incarnation, Term: s.machine.Term(), Role: s.machine.Role(),
		Failure: s.machine.Failure(), MaxID: s.views.maxID,
	})
}

// FailedStatus is that of a replica that could not even be opened.
func FailedStatus(id ident.Shard, why string) Status {
	return Status{Shard: id, Role: replica.Failed, Failure: why}
}

// Forget logs that a topic or group was deleted, if this log names it. The
// node's metadata calls it for every deletion, and for every shard; it waits for
// none that does not lead: that one asks what is missing when it does.
func (s *Shard) Forget(kind record.ConfigKind, id uint64, revision int64) {
	if s.public.Load().Role != replica.Leader {
		return
	}
	s.ask(func() {
		told, known := s.told[configKey{kind, id}]
		if !known || told.deleted || !s.leads() || !s.innerRoom(0) {
			return // what is missing is looked for again by and by
		}
		s.putConfig(kind, storeapi.Config{ID: id, Revision: max(revision, told.revision+1)}, true)
	})
}

// ForgetMissing logs the deletion of every topic and group that this log names
// and that no longer exists: it was deleted while nobody led here. A replica that
// does not lead yet remembers the newest such word until it does.
func (s *Shard) ForgetMissing(exists func(record.ConfigKind, uint64) bool, revision int64) {
	s.ask(func() {
		s.existing, s.existingAt = exists, revision
		s.forgetMissing()
	})
}
