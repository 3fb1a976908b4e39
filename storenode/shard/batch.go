// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/record"
)

// batchBytesMax is where a batch stops growing: what one round of write and
// sync carries. More waits in the inbox, where its own bounds hold it.
const batchBytesMax = 4 << 20

// batch is what one round writes: entries in log order, laid out in blocks of
// which none spans two segments. While one batch is being synced the next one
// grows; a batch's memory is reused when its entries have been applied.
type batch struct {
	blocks  []block
	entries []sequenced
	settle  openSettle
}

// block is a run of whole padded entries inside one segment.
type block struct {
	buf  []byte
	last record.Header
	use  commitlog.Use
}

// sequenced is an entry that has its place in the log but is not committed yet,
// with what waits for it.
type sequenced struct {
	header record.Header
	block  int
	at     int // of the entry in the block
	waits  waiter
}

func (b *batch) empty() bool { return len(b.entries) == 0 && len(b.settle.items) == 0 }

func (b *batch) bytes() (n int) {
	for i := range b.blocks {
		n += len(b.blocks[i].buf)
	}
	return n
}

// reset makes the batch empty and keeps its memory.
func (b *batch) reset() {
	for i := range b.blocks {
		b.blocks[i].buf = b.blocks[i].buf[:0]
	}
	b.blocks = b.blocks[:0]
	clear(b.entries)
	b.entries = b.entries[:0]
	b.settle.reset()
}

// entry is the i-th entry; its body is valid until reset.
func (b *batch) entry(i int) record.Entry {
	s := &b.entries[i]
	at := b.blocks[s.block].buf[s.at:]
	return record.Entry{Header: s.header, Body: at[record.HeaderSize:s.header.Len:s.header.Len]}
}

// nextBlock opens a block for the segment that follows.
func (b *batch) nextBlock() {
	if len(b.blocks) < cap(b.blocks) {
		b.blocks = b.blocks[:len(b.blocks)+1]
		last := &b.blocks[len(b.blocks)-1]
		*last = block{buf: last.buf[:0], use: commitlog.UseVital}
		return
	}
	b.blocks = append(b.blocks, block{use: commitlog.UseVital})
}

// tail is where the sequencer stands: the end of everything sequenced.
type tail struct {
	end     ident.LSN
	crc     uint32
	term    ident.Term
	timeMS  int64
	segment ident.LSN // base of the segment that end lies in
	firstMS int64     // log time of that segment's first entry, 0: none yet
	room    int64     // bytes that the segment still takes, its Seal aside
}

// add lays one entry out at the tail; it copies the body.
func (b *batch) add(t *tail, typ record.Type, commit ident.LSN, waits waiter, body []byte) {
	if len(b.blocks) == 0 {
		b.nextBlock()
	}
	n := len(b.blocks) - 1
	blk := &b.blocks[n]
	at := len(blk.buf)
	blk.buf = append(blk.buf, make([]byte, record.HeaderSize)...)
	buf := append(blk.buf, body...) //nolint:gocritic // it goes back into the block below
	size := len(buf) - at
	invariant.Check(size <= record.EntryBytesMax, "%v entry of %d bytes", typ, size)
	h := record.Header{
		Len: uint32(size), PrevCRC: t.crc, Type: typ, Version: record.Version, LSN: t.end, Term: t.term, //nolint:gosec // checked
		TimeMS: t.timeMS, CommitBack: record.CommitBack(t.end, commit),
	}
	h.CRC = record.Finish(buf[at:], &h)
	for pad := record.Padded(size) - size; pad > 0; pad-- {
		buf = append(buf, 0)
	}
	blk.buf, blk.last, blk.use = buf, h, min(blk.use, useOf(typ))
	t.room -= int64(h.End() - t.end) //nolint:gosec // the size of one entry
	t.crc, t.end = h.CRC, h.End()
	if t.firstMS == 0 {
		t.firstMS = t.timeMS
	}
	b.entries = append(b.entries, sequenced{header: h, block: n, at: at, waits: waits})
}

// useOf says how far an entry may go on a full disk. Messages are refused long
// before, so those that are in a batch go on like everything else.
func useOf(typ record.Type) commitlog.Use {
	switch typ {
	case record.TypeTermStart, record.TypeTrim, record.TypeSeal:
		return commitlog.UseVital
	default:
		return commitlog.UseInner
	}
}
