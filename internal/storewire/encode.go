// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/storeapi"
)

// lengthSize is the size of a nested message's length: always a varint of four
// bytes, patched when the message is complete. 28 bits, more than BytesMax.
const lengthSize = 4

// open starts the nested message num and returns where its body begins.
func open(b []byte, num protowire.Number) (grown []byte, start int) {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = append(b, 0, 0, 0, 0)
	return b, len(b)
}

// shut writes the length of the nested message that began at start.
func shut(b []byte, start int) {
	n := len(b) - start
	l := b[start-lengthSize : start]
	for i := range l {
		l[i] = byte(n&0x7f) | 0x80
		n >>= 7
	}
	l[lengthSize-1] &= 0x7f
}

func putUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func putInt(b []byte, num protowire.Number, v int64) []byte {
	return putUint(b, num, uint64(v)) //nolint:gosec // two's complement is the format
}

func putSint(b []byte, num protowire.Number, v int64) []byte {
	return putUint(b, num, protowire.EncodeZigZag(v))
}

// putCount writes a number that makes no sense below zero.
func putCount(b []byte, num protowire.Number, v int) []byte {
	return putUint(b, num, uint64(min(max(v, 0), 1<<31-1)))
}

func putBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, num, 1)
}

func putText(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// putItem writes one element of a repeated bytes or string field, empty ones too.
func putItem[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendOp appends op in its encoded form. left is the time until its deadline
// and is not looked at when it has none.
func appendOp(b []byte, id uint64, op *storeapi.Op, left time.Duration) []byte {
	b = putUint(b, 1, id)
	b = putUint(b, 2, uint64(op.Shard))
	b = putUint(b, 3, uint64(op.TermHint))
	b = putInt(b, 4, op.TopicRevision)
	b = putInt(b, 5, op.GroupRevision)
	for i := range op.Attached {
		c := &op.Attached[i]
		var at int
		b, at = open(b, 6)
		b = putUint(b, 1, uint64(c.Kind))
		b = putUint(b, 2, c.ID)
		b = putInt(b, 3, c.Revision)
		b = putItem(b, 4, c.Bytes)
		shut(b, at)
	}
	if !op.Deadline.IsZero() {
		b = putInt(b, 7, min(max(left.Milliseconds(), 1), 1<<31-1))
	}
	return appendRequest(b, op.Request)
}

func appendRequest(b []byte, request storeapi.Request) []byte {
	var at int
	switch q := request.(type) {
	case *storeapi.Append:
		b, at = open(b, 16)
		b = putUint(b, 1, uint64(q.Topic))
		for _, p := range q.Payloads {
			b = putItem(b, 2, p)
		}
	case *storeapi.Settle:
		b, at = open(b, 17)
		b = appendSettle(b, q)
	case *storeapi.Alive:
		b, at = open(b, 18)
		b = appendAlive(b, q)
	case *storeapi.Take:
		b, at = open(b, 19)
		b = appendTake(b, q)
	case *storeapi.Park:
		b, at = open(b, 20)
		b = putUint(b, 1, q.ID)
		b = putUint(b, 2, uint64(q.Group))
		b = putUint(b, 3, uint64(q.Topic))
		b = putFilter(b, 4, &q.Filter)
		b = putText(b, 5, q.Client)
	case *storeapi.Unpark:
		b, at = open(b, 21)
		b = putUint(b, 1, q.ID)
	case *storeapi.Decline:
		b, at = open(b, 22)
		b = putUint(b, 1, q.Ticket)
	case *storeapi.Offsets:
		b, at = open(b, 23)
		b = putUint(b, 1, uint64(q.Topic))
		b = putUint(b, 2, uint64(q.Group))
	case *storeapi.Query:
		b, at = open(b, 24)
		b = appendQuery(b, q)
	default:
		return b
	}
	shut(b, at)
	return b
}

func appendSettle(b []byte, q *storeapi.Settle) []byte {
	for i := range q.Items {
		s := &q.Items[i]
		var at int
		b, at = open(b, 1)
		b = putUint(b, 1, uint64(s.Group))
		b = putUint(b, 2, uint64(s.Topic))
		b = putUint(b, 3, uint64(s.Generation))
		b = putUint(b, 4, uint64(s.Queue))
		b = putUint(b, 5, uint64(s.Offset))
		b = putUint(b, 6, uint64(s.Term))
		b = putUint(b, 7, uint64(s.Grant))
		b = putUint(b, 8, uint64(s.Verdict)+1)
		b = putBool(b, 9, s.NoCount)
		b = putInt(b, 10, s.MS)
		shut(b, at)
	}
	return b
}

func appendAlive(b []byte, q *storeapi.Alive) []byte {
	for i := range q.Signs {
		s := &q.Signs[i]
		var at int
		b, at = open(b, 1)
		b = putText(b, 1, s.Client)
		b = putUint(b, 2, uint64(s.Group))
		b = putBool(b, 3, s.Terminated)
		b = putBool(b, 4, s.Unknown)
		for j := range s.Subscriptions {
			var inner int
			b, inner = open(b, 5)
			b = putUint(b, 1, uint64(s.Subscriptions[j].Topic))
			b = putFilter(b, 2, &s.Subscriptions[j].Filter)
			shut(b, inner)
		}
		shut(b, at)
	}
	return b
}

func appendTake(b []byte, q *storeapi.Take) []byte {
	b = putUint(b, 1, uint64(q.Group))
	b = putUint(b, 2, uint64(q.Topic))
	b = putFilter(b, 3, &q.Filter)
	b = putCount(b, 4, q.Max)
	b = putCount(b, 5, q.BytesMax)
	b = putInt(b, 6, q.InvisibleMS)
	b = putBool(b, 7, q.AutoRenew)
	b = putText(b, 8, q.Client)
	b = putUint(b, 9, q.AttemptHash)
	b = putBool(b, 10, q.RegrantOnly)
	return putUint(b, 11, q.Ticket)
}

func putFilter(b []byte, num protowire.Number, f *storeapi.Filter) []byte {
	b, at := open(b, num)
	b = putUint(b, 1, uint64(f.Kind)+1)
	for _, tag := range f.Tags {
		b = putItem(b, 2, tag)
	}
	shut(b, at)
	return b
}

func appendQuery(b []byte, q *storeapi.Query) []byte {
	b = putUint(b, 1, uint64(q.Topic))
	b = putText(b, 2, q.MessageID)
	b = putText(b, 3, q.Key)
	b = putInt(b, 4, q.FromMS)
	b = putInt(b, 5, q.ToMS)
	b = putUint(b, 6, uint64(q.After))
	return putCount(b, 7, q.Max)
}
