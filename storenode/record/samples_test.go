// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
)

// codec is one body type with its decoder, for tests that go over all of them.
type codec struct {
	typ    Type
	decode func([]byte) (any, error)
	encode func(any) []byte
}

func codecOf[B any, P interface {
	*B
	Append(dst []byte) []byte
}](t Type, decode func([]byte) (B, error)) codec {
	return codec{
		typ:    t,
		decode: func(b []byte) (any, error) { return decode(b) },
		encode: func(v any) []byte { b := v.(B); return P(&b).Append(nil) },
	}
}

var codecs = []codec{
	codecOf(TypeTermStart, DecodeTermStart),
	codecOf(TypeConfig, DecodeConfig),
	codecOf(TypeTimeShift, DecodeTimeShift),
	codecOf(TypeTrim, DecodeTrim),
	codecOf(TypeSkipEntry, DecodeSkipEntry),
	codecOf(TypeDeadLetter, DecodeDeadLetter),
	codecOf(TypePopGrant, DecodePopGrant),
	codecOf(TypeSettle, DecodeSettle),
	codecOf(TypeRenew, DecodeRenew),
	codecOf(TypeOffsetCommit, DecodeOffsetCommit),
	codecOf(TypeGroupReset, DecodeGroupReset),
}

func codecFor(t Type) codec {
	for _, c := range codecs {
		if c.typ == t {
			return c
		}
	}
	return codec{}
}

// sample is one body and the name of its golden file.
type sample struct {
	name string
	typ  Type
	body any // nil for bodies that this package does not decode
	raw  []byte
}

func (s *sample) bytes() []byte {
	if s.body == nil {
		return s.raw
	}
	return codecFor(s.typ).encode(s.body)
}

func samplePayload() message.Payload {
	h := message.Head{
		Topic: 1001, Queue: 3, Proxy: 0xABCDEF, Seq: 17, IDHash: ident.Hash64("01A2B3"), BornMS: 1_790_000_000_123,
		TagHash: ident.Hash32("blue"), GroupHash: ident.Hash64("order-4711"), KeyHashes: []uint32{ident.Hash32("k1"), ident.Hash32("k2")},
	}
	return message.Append(nil, &h, []byte("sys"), []byte("rest of the message"))
}

// samples has every type that is written today, with small and extreme values.
func samples() []sample {
	payload := samplePayload()
	const most = 1<<64 - 1
	return []sample{
		{"term-start", TypeTermStart, TermStart{
			InSync: []ReplicaID{{Node: 1, Incarnation: 7}, {Node: most, Incarnation: most}}, PrevEnd: 1 << 40, Unclean: true,
		}, nil},
		{"term-start-first", TypeTermStart, TermStart{InSync: []ReplicaID{{Node: 1, Incarnation: 1}}, PrevEnd: 8}, nil},
		{"seal", TypeSeal, nil, []byte{}},
		{"config-topic", TypeConfig, Config{Kind: ConfigTopic, ID: 1001, Revision: 12, Bytes: []byte("topic config")}, nil},
		{"config-deleted", TypeConfig, Config{Kind: ConfigLite, ID: most, RestoreEpoch: 2, Revision: 1 << 50, Deleted: true, Bytes: []byte{}}, nil},
		{"time-shift", TypeTimeShift, TimeShift{DeltaMS: -3_600_000}, nil},
		{"trim", TypeTrim, Trim{NewStart: 268_435_464}, nil},
		{"skip-entry", TypeSkipEntry, SkipEntry{LSN: 4096}, nil},
		{"message", TypeMessage, nil, payload},
		{"dead-letter", TypeDeadLetter, DeadLetter{
			Group: 5, Topic: 1001, Generation: 1, Queue: 2, Offset: 77, Grant: 8888, Reason: ReasonAttempts, Payload: payload,
		}, nil},
		{"pop-grant", TypePopGrant, PopGrant{
			Group: 5, Topic: 1001, InvisibleMS: 30_000, Owner: "client-1", AttemptHash: most,
			Items: []GrantItem{
				{Queue: 0, First: 10, Runs: []Run{{Kind: RunLease, Count: 16}, {Kind: RunSkip, Count: 1}, {Kind: RunPass, Count: 1 << 32}}},
				{Queue: 7, First: 0, Runs: []Run{{Kind: RunLease, Count: 1}}},
			},
		}, nil},
		{"pop-grant-fifo", TypePopGrant, PopGrant{
			Group: 6, Topic: 1002, Generation: 1<<32 - 1, InvisibleMS: 1, FIFO: true,
			Items: []GrantItem{{Queue: 1, First: 4, Runs: []Run{
				{Kind: RunLease, Count: 2, GroupHash: 0xFEED, After: 4}, {Kind: RunPass, Count: 3}, {Kind: RunLease, Count: 1, GroupHash: 1},
			}}},
		}, nil},
		{"settle", TypeSettle, Settle{Items: []SettleItem{
			{Group: 5, Topic: 1001, Queue: 0, Offset: 10, Term: 3, Grant: 8888, Verdict: VerdictAck},
			{Group: 5, Topic: 1001, Generation: 2, Queue: 7, Offset: 1, Term: 3, Grant: 9999, Verdict: VerdictExtend, MS: 60_000},
			{Group: 6, Topic: 1002, Queue: 1, Offset: 4, Term: 4, Grant: 1 << 60, Verdict: VerdictRelease, NoCount: true, MS: 0},
		}}, nil},
		{"renew", TypeRenew, Renew{Items: []RenewItem{
			{Group: 5, Topic: 1001, Owner: "client-1", TTLMS: 60_000}, {Group: 5, Topic: 1001, Owner: "", TTLMS: 15_000, Terminated: true},
		}}, nil},
		{"offset-commit", TypeOffsetCommit, OffsetCommit{Items: []OffsetItem{{Group: 5, Topic: 1001, Generation: 1, Queue: 3, Offset: 1 << 33}}}, nil},
		{"group-reset", TypeGroupReset, GroupReset{Group: 5, Topic: 1001, Generation: 2, Kind: StartTime, TimeMS: 1_790_000_000_000}, nil},
	}
}

// roundTrip decodes body and encodes it again. Whatever decodes must come out
// as it would have been written: equal after a second pass, and equal to body
// unless a varint in it was longer than it had to be.
func roundTrip(c codec, body []byte) error {
	v, err := c.decode(body)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("the error is not ErrDamaged: %w", err)
		}
		return nil
	}
	again := c.encode(v)
	if len(again) > len(body) {
		return fmt.Errorf("%d bytes grew to %d: %x", len(body), len(again), again)
	}
	w, err := c.decode(again)
	if err != nil {
		return fmt.Errorf("what it encodes does not decode: %w", err)
	}
	if !reflect.DeepEqual(v, w) || !bytes.Equal(again, c.encode(w)) {
		return fmt.Errorf("two passes differ: %+v and %+v", v, w)
	}
	return nil
}
