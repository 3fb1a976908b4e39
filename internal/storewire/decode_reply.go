// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// decodeReply decodes a Reply; its byte slices share b's memory.
func decodeReply(b []byte) (id uint64, reply storeapi.Reply, err error) {
	r := reader{rest: b}
	coded := false
	for r.next() {
		switch r.num {
		case 1:
			id = r.uint()
		case 2:
			reply.Code, coded = r.code(r.uint()), true
		case 3:
			reply.Leader = r.text()
		case 4:
			reply.Term = ident.Term(r.uint())
		case 5:
			reply.Detail = r.text()
		default:
			if res := decodeResult(&r); res != nil {
				reply.Result = res
			}
		}
	}
	if !coded {
		r.code(0)
	}
	return id, reply, r.err
}

// code turns a code's number on the wire into the code.
func (r *reader) code(v uint64) storeapi.Code {
	if v < 1 || v > math.MaxUint8 || !storeapi.Code(v-1).Known() {
		r.fail(fmt.Errorf("code %d", v))
		return storeapi.Internal
	}
	return storeapi.Code(v - 1)
}

// decodeResult decodes the field r stands at as a result, or returns nil when
// it is none.
func decodeResult(r *reader) storeapi.Result {
	switch r.num {
	case 16:
		q := new(storeapi.AppendResult)
		each(r, 1, func(s *reader) { q.Entries = more(s, q.Entries, decodeAppended(s)) })
		return q
	case 17:
		q := new(storeapi.SettleResult)
		each(r, 1, func(s *reader) { q.Codes = decodeCodes(s, q.Codes) })
		return q
	case 19:
		return decodeTakeResult(r)
	case 20:
		q := new(storeapi.ReadyResult)
		each(r, 1, func(s *reader) { q.Ticket = s.uint() })
		return q
	case 23:
		q := new(storeapi.OffsetsResult)
		each(r, 1, func(s *reader) { q.Queues = more(s, q.Queues, decodeQueueState(s)) })
		return q
	case 24:
		q := new(storeapi.QueryResult)
		each(r, 1, func(s *reader) { q.Messages = more(s, q.Messages, decodeFound(s)) })
		each(r, 2, func(s *reader) { q.More = s.bool() })
		each(r, 3, func(s *reader) { q.Next = ident.LSN(s.uint()) })
		return q
	}
	return nil
}

func decodeAppended(r *reader) (a storeapi.Appended) {
	s := r.sub()
	code := uint64(0)
	for s.next() {
		switch s.num {
		case 1:
			code = s.uint()
		case 2:
			a.LSN = ident.LSN(s.uint())
		case 3:
			a.Offset = s.sint()
		}
	}
	a.Code = s.code(code)
	r.done(&s)
	return a
}

// decodeCodes appends the codes of a packed field, or of one element of an
// unpacked one.
func decodeCodes(r *reader, codes []storeapi.Code) []storeapi.Code {
	if r.typ == protowire.VarintType {
		return more(r, codes, r.code(r.u))
	}
	for b := r.bytes(); len(b) > 0 && r.err == nil; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			r.fail(protowire.ParseError(n))
			break
		}
		codes, b = more(r, codes, r.code(v)), b[n:]
	}
	return codes
}

func decodeTakeResult(r *reader) storeapi.Result {
	q := new(storeapi.TakeResult)
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.Grant = ident.LSN(s.uint())
		case 2:
			q.Term = ident.Term(s.uint())
		case 3:
			q.Generation = ident.Generation(s.uint32())
		case 4:
			q.DueMS = s.int()
		case 5:
			q.Messages = more(&s, q.Messages, decodeTaken(&s))
		}
	}
	r.done(&s)
	return q
}

func decodeTaken(r *reader) (m storeapi.Taken) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			m.Queue = ident.Queue(s.uint())
		case 2:
			m.Offset = ident.Offset(s.uint())
		case 3:
			m.Attempt = int32(s.int()) //nolint:gosec // protobuf's own int32 truncates alike
		case 4:
			m.StoreMS = s.int()
		case 5:
			m.Grant = ident.LSN(s.uint())
		case 6:
			m.Payload = s.bytes()
		}
	}
	r.done(&s)
	return m
}

func decodeQueueState(r *reader) (q storeapi.QueueState) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.Queue = ident.Queue(s.uint())
		case 2:
			q.Min = ident.Offset(s.uint())
		case 3:
			q.Next = ident.Offset(s.uint())
		case 4:
			q.Ready = s.uint()
		case 5:
			q.InFlight = s.uint()
		case 6:
			q.Done = s.uint()
		}
	}
	r.done(&s)
	return q
}

func decodeFound(r *reader) (m storeapi.Found) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			m.LSN = ident.LSN(s.uint())
		case 2:
			m.Queue = ident.Queue(s.uint())
		case 3:
			m.Offset = s.sint()
		case 4:
			m.StoreMS = s.int()
		case 5:
			m.Payload = s.bytes()
		}
	}
	r.done(&s)
	return m
}
