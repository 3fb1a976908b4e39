// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

// Cut is a range of the log that was cut away on purpose: bytes found in it
// prove nothing.
type Cut struct{ From, To ident.LSN }

// Seen is the newest metadata that the replica has ever obeyed; older metadata
// comes from an etcd that went back in time.
type Seen struct {
	Term          ident.Term
	ModRevision   int64
	EtcdClusterID uint64
}

// Meta is what a replica remembers besides its log.
type Meta struct {
	Cluster     uint64 // hash of the cluster's UUID
	Shard       ident.Shard
	Incarnation uint64
	Term        ident.Term // highest promised
	Instance    uint64     // process that wrote this
	BootID      [16]byte   // of the machine's boot in which it was written
	Clean       bool       // the last stop was clean: log and checkpoint are whole
	FlushSync   bool       // every acknowledgement was preceded by a sync
	Lossy       bool       // may lack entries that it has acknowledged
	Unclean     bool       // an operator gave up entries, and no barrier has said so yet
	Floor       ident.LSN  // everything below was durable: unreadable means corrupt
	Seen        Seen
	Cuts        []Cut
}

const (
	metaMagic   = "MNSOMETA"
	metaFormat  = 1
	metaFixed   = 8 + 2 + 2 + 8 + 8 + 4 + 8 + 8 + 8 + 16 + 8 + 8 + 8 + 8 + 2
	metaCutSize = 16
	// cutsMax bounds the notes: old ones fall out when the log is trimmed beyond
	// them, and more cuts than this in one retention are no longer an accident.
	cutsMax = 128

	flagClean, flagFlushSync, flagLossy, flagUnclean = 1, 2, 4, 8

	flagsKnown = flagClean | flagFlushSync | flagLossy | flagUnclean
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode draws the slot file, little-endian:
//
//	 0 magic "MNSOMETA"   8 format u16   10 flags u16 (1 clean, 2 flush sync, 4 lossy, 8 unclean)
//	12 sequence u64      20 cluster u64  28 shard u32     32 incarnation u64
//	40 term u64          48 instance u64 56 boot id 16    72 floor u64
//	80 seen term u64     88 seen revision i64             96 seen etcd cluster u64
//	104 cuts u16         106 cuts × { from u64, to u64 }  last: CRC-32C of all before
func (m *Meta) encode(sequence uint64) []byte {
	le := binary.LittleEndian
	var flags uint16
	for bit, on := range map[uint16]bool{flagClean: m.Clean, flagFlushSync: m.FlushSync, flagLossy: m.Lossy, flagUnclean: m.Unclean} {
		if on {
			flags |= bit
		}
	}
	b := make([]byte, 0, metaFixed+len(m.Cuts)*metaCutSize+4)
	b = append(b, metaMagic...)
	b = le.AppendUint16(b, metaFormat)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint64(b, sequence)
	b = le.AppendUint64(b, m.Cluster)
	b = le.AppendUint32(b, uint32(m.Shard))
	b = le.AppendUint64(b, m.Incarnation)
	b = le.AppendUint64(b, uint64(m.Term))
	b = le.AppendUint64(b, m.Instance)
	b = append(b, m.BootID[:]...)
	b = le.AppendUint64(b, uint64(m.Floor))
	b = le.AppendUint64(b, uint64(m.Seen.Term))
	b = le.AppendUint64(b, uint64(m.Seen.ModRevision)) //nolint:gosec // the format
	b = le.AppendUint64(b, m.Seen.EtcdClusterID)
	b = le.AppendUint16(b, uint16(len(m.Cuts))) //nolint:gosec // at most cutsMax
	for _, c := range m.Cuts {
		b = le.AppendUint64(b, uint64(c.From))
		b = le.AppendUint64(b, uint64(c.To))
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMeta reads a slot. fault.Incompatible: another or a newer format;
// fault.Corrupt: anything else that is wrong.
func decodeMeta(b []byte) (m Meta, sequence uint64, err error) {
	const op = "replica meta"
	le := binary.LittleEndian
	if len(b) < metaFixed+4 || string(b[:8]) != metaMagic {
		return m, 0, fault.Errorf(op, fault.Corrupt, "%d bytes without the meta file's head", len(b))
	}
	if f := le.Uint16(b[8:]); f != metaFormat {
		return m, 0, fault.Errorf(op, fault.Incompatible, "format %d, this build reads %d", f, metaFormat)
	}
	cuts := int(le.Uint16(b[104:]))
	size := metaFixed + cuts*metaCutSize
	if cuts > cutsMax || len(b) != size+4 || crc32.Checksum(b[:size], castagnoli) != le.Uint32(b[size:]) {
		return m, 0, fault.Errorf(op, fault.Corrupt, "length or CRC is wrong")
	}
	flags := le.Uint16(b[10:])
	if unknown := flags &^ flagsKnown; unknown != 0 {
		return m, 0, fault.Errorf(op, fault.Incompatible, "flags %#x, which this build does not know", unknown)
	}
	m = Meta{
		Clean: flags&flagClean != 0, FlushSync: flags&flagFlushSync != 0, Lossy: flags&flagLossy != 0, Unclean: flags&flagUnclean != 0,
		Cluster: le.Uint64(b[20:]), Shard: ident.Shard(le.Uint32(b[28:])), Incarnation: le.Uint64(b[32:]),
		Term: ident.Term(le.Uint64(b[40:])), Instance: le.Uint64(b[48:]), BootID: [16]byte(b[56:72]),
		Floor: ident.LSN(le.Uint64(b[72:])),
		Seen: Seen{
			Term: ident.Term(le.Uint64(b[80:])), ModRevision: int64(le.Uint64(b[88:])), //nolint:gosec // the format
			EtcdClusterID: le.Uint64(b[96:]),
		},
	}
	for i := range cuts {
		at := b[metaFixed+i*metaCutSize:]
		m.Cuts = append(m.Cuts, Cut{ident.LSN(le.Uint64(at)), ident.LSN(le.Uint64(at[8:]))})
	}
	return m, le.Uint64(b[12:]), nil
}

func (m *Meta) String() string {
	return fmt.Sprintf("shard %d incarnation %d term %d floor %d clean %v", m.Shard, m.Incarnation, m.Term, m.Floor, m.Clean)
}
