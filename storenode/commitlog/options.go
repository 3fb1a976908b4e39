// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"log/slog"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	// SegmentBytesDefault is the size of a segment that nobody chose: large
	// enough that rolling is rare, small enough that retention is fine-grained
	// and that recovery replays it within a second.
	SegmentBytesDefault = 256 << 20
	// SegmentBytesMin is the least that makes sense, in tests. A segment must hold
	// the largest entry that its shard admits.
	SegmentBytesMin = 64 << 10
	// PrepareBytesDefault is how far ahead of the end blocks are zeroed: some
	// 60 ms of the fastest writing that one disk was seen to take.
	PrepareBytesDefault = 16 << 20

	// SealReserve is kept free behind every block, so that the Seal entry always
	// fits: its header and, if its body ever grows, some more.
	SealReserve = 256
	// reserveBytesMax bounds the spare that a full disk leaves for entries that
	// are not from clients.
	reserveBytesMax = 64 << 20
	// vitalBytes is the end of the spare, at most a quarter of it, for what must be
	// written even then.
	vitalBytes = 64 << 10
	// poolMax bounds the retired segment files that wait for their next use.
	poolMax = 2
	// prepareStepBytes is zeroed and synced at a time: a commit that meets it
	// waits some milliseconds at most.
	prepareStepBytes = 4 << 20
	// zeroWriteBytes is one pwrite of preparation.
	zeroWriteBytes = 256 << 10
	// prepareBytesPerSecond is the pace of preparing while there is no hurry.
	prepareBytesPerSecond = 64 << 20
	// prepareWaitMax bounds how long Append waits for prepared blocks: a disk
	// that zeroes nothing for so long does not take appends either.
	prepareWaitMax = 10 * time.Second
	// spaceEvery is how often the free space is read, and preparation tried again
	// on a full disk.
	spaceEvery = time.Second
	// readChunk is one read of a scan: the kernel's read-ahead does the rest.
	readChunk = 1 << 20
	// pointRead is what a Read of one entry asks for before it knows its length:
	// one page serves most messages with one pread.
	pointRead = 4096
	// searchGapMax ends the search for entries behind a bad one: more than all
	// bytes that can be under way at once, so whatever was written behind the bad
	// entry has left a whole entry within it.
	searchGapMax = 64 << 20
)

// Options say where a log lives and how it grows.
type Options struct {
	FS          disk.FS
	Dir         string // the shard's folder, this log's alone
	ClusterHash uint64
	Shard       ident.Shard
	// SegmentBytes is the log bytes of a new segment, behind its header;
	// 0 = SegmentBytesDefault.
	SegmentBytes int64
	// PrepareBytes are zeroed ahead of the end; 0 = PrepareBytesDefault.
	PrepareBytes int64
	// RingBytes is the newest part of the log that is kept in memory, outside
	// the Go heap; 0 = none.
	RingBytes int64
	// FreeBytes reads the space of the disk; nil = unlimited.
	FreeBytes func() (free, total int64, err error)
	// MinFreeBytes is the free space below which Space says Low.
	MinFreeBytes int64
	Logger       *slog.Logger // nil = none
}

func (o *Options) setDefaults() error {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = SegmentBytesDefault
	}
	if o.PrepareBytes == 0 {
		o.PrepareBytes = PrepareBytesDefault
	}
	if o.FreeBytes == nil {
		o.FreeBytes = func() (int64, int64, error) { return 1 << 62, 1 << 62, nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.SegmentBytes &^= record.Align - 1
	switch {
	case o.FS == nil || o.Dir == "":
		return fault.E("commitlog.Open", fault.Invalid, errors.New("no folder given"))
	case o.SegmentBytes < SegmentBytesMin:
		return fault.Errorf("commitlog.Open", fault.Invalid, "segment size %d below %d", o.SegmentBytes, SegmentBytesMin)
	}
	return nil
}

// Use says what a block is for, which decides how far it may go on a full disk.
type Use uint8

// The uses. Client blocks stop when no further block can be prepared; inner
// ones (deliveries, settlements, configuration, copies) go on into the spare;
// the vital ones (TermStart, Trim, Seal) may use the spare up.
const (
	UseClient Use = iota
	UseInner
	UseVital
)

// Space is the state of the disk as the log last saw it.
type Space struct {
	FreeBytes  int64
	TotalBytes int64
	// Low: below MinFreeBytes, until 1.2 × that is free again. Entries from
	// clients that store something new should be refused; the log itself does
	// not.
	Low bool
	// NeededBytes is how much must be free for Low to be false.
	NeededBytes int64
	// Full: preparing a block failed for want of space, and has not succeeded
	// since.
	Full bool
	// InnerBytes is, on a full disk, how many bytes of inner entries the log still
	// takes before only vital ones can be written: in what is prepared and in the
	// spare. On any other disk it is as good as unlimited.
	InnerBytes int64
}

// Segment describes one segment.
type Segment struct {
	Base        ident.LSN
	End         ident.LSN // of its entries
	FirstTimeMS int64     // log time of its first entry, 0 if it has none
	Sealed      bool
	LastCRC     uint32 // of its last entry, its Seal, if another segment follows
	Bytes       int64  // size of its file
}

// Tail is the state of the log's chain behind its last entry: what one must
// know to check the next one.
type Tail struct {
	CRC    uint32 // of the last entry
	Term   ident.Term
	TimeMS int64
	Sealed bool // the last entry is a Seal
	// Terms are the newest terms in force, oldest first, at most 128.
	Terms []TermStart
}

// TermStart says at which LSN a term's first entry stands.
type TermStart struct {
	Term  ident.Term
	Start ident.LSN
}
