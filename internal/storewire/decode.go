// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// decodeOp decodes an Op into op; its byte slices share b's memory. Relative
// deadlines count from now. Done is not set.
func decodeOp(b []byte, now time.Time, op *storeapi.Op) (id uint64, err error) {
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			id = r.uint()
		case 2:
			op.Shard = ident.Shard(r.uint32())
		case 3:
			op.TermHint = ident.Term(r.uint())
		case 4:
			op.TopicRevision = r.int()
		case 5:
			op.GroupRevision = r.int()
		case 6:
			op.Attached = more(&r, op.Attached, decodeConfig(&r))
		case 7:
			if ms := r.uint32(); ms > 0 {
				op.Deadline = now.Add(time.Duration(ms) * time.Millisecond)
			}
		default:
			if q := decodeRequest(&r); q != nil {
				op.Request = q
			}
		}
	}
	if r.err == nil && op.Request == nil {
		r.err = errors.New("an operation without a request")
	}
	return id, r.err
}

func decodeConfig(r *reader) (c storeapi.Config) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			v := s.uint()
			if v > 255 {
				s.fail(fmt.Errorf("config kind %d", v))
			}
			c.Kind = uint8(v) //nolint:gosec // checked above
		case 2:
			c.ID = s.uint()
		case 3:
			c.Revision = s.int()
		case 4:
			c.Bytes = s.bytes()
		}
	}
	r.done(&s)
	return c
}

// decodeRequest decodes the field r stands at as a request, or returns nil when
// it is none.
func decodeRequest(r *reader) storeapi.Request {
	switch r.num {
	case 16:
		return decodeAppend(r)
	case 17:
		q := new(storeapi.Settle)
		each(r, 1, func(s *reader) { q.Items = more(s, q.Items, decodeSettleItem(s)) })
		return q
	case 18:
		q := new(storeapi.Alive)
		each(r, 1, func(s *reader) { q.Signs = more(s, q.Signs, decodeSign(s)) })
		return q
	case 19:
		return decodeTake(r)
	case 20:
		return decodePark(r)
	case 21:
		q := new(storeapi.Unpark)
		each(r, 1, func(s *reader) { q.ID = s.uint() })
		return q
	case 22:
		q := new(storeapi.Decline)
		each(r, 1, func(s *reader) { q.Ticket = s.uint() })
		return q
	case 23:
		q := new(storeapi.Offsets)
		each(r, 1, func(s *reader) { q.Topic = ident.Topic(s.uint()) })
		each(r, 2, func(s *reader) { q.Group = ident.Group(s.uint()) })
		return q
	case 24:
		return decodeQuery(r)
	}
	return nil
}

// each walks the nested message r stands at and calls visit at each field num.
func each(r *reader, num protowire.Number, visit func(*reader)) {
	s := r.sub()
	for s.next() {
		if s.num == num {
			visit(&s)
		}
	}
	r.done(&s)
}

func decodeAppend(r *reader) storeapi.Request {
	q := new(storeapi.Append)
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.Topic = ident.Topic(s.uint())
		case 2:
			q.Payloads = more(&s, q.Payloads, s.bytes())
		}
	}
	r.done(&s)
	return q
}

func decodeSettleItem(r *reader) (i storeapi.SettleItem) {
	s := r.sub()
	verdict := uint64(0)
	for s.next() {
		switch s.num {
		case 1:
			i.Group = ident.Group(s.uint())
		case 2:
			i.Topic = ident.Topic(s.uint())
		case 3:
			i.Generation = ident.Generation(s.uint32())
		case 4:
			i.Queue = ident.Queue(s.uint())
		case 5:
			i.Offset = ident.Offset(s.uint())
		case 6:
			i.Term = ident.Term(s.uint())
		case 7:
			i.Grant = ident.LSN(s.uint())
		case 8:
			verdict = s.uint()
		case 9:
			i.NoCount = s.bool()
		case 10:
			i.MS = s.int()
		}
	}
	if verdict < 1 || verdict > uint64(storeapi.Bury)+1 {
		s.fail(fmt.Errorf("verdict %d", verdict))
	} else {
		i.Verdict = storeapi.Verdict(verdict - 1)
	}
	r.done(&s)
	return i
}

func decodeSign(r *reader) (c storeapi.ClientSign) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			c.Client = s.text()
		case 2:
			c.Group = ident.Group(s.uint())
		case 3:
			c.Terminated = s.bool()
		case 4:
			c.Unknown = s.bool()
		case 5:
			c.Subscriptions = more(&s, c.Subscriptions, decodeSubscription(&s))
		}
	}
	r.done(&s)
	return c
}

func decodeSubscription(r *reader) (sub storeapi.Subscription) {
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			sub.Topic = ident.Topic(s.uint())
		case 2:
			sub.Filter = decodeFilter(&s)
		}
	}
	r.done(&s)
	return sub
}

func decodeFilter(r *reader) (f storeapi.Filter) {
	s := r.sub()
	kind := uint64(0)
	for s.next() {
		switch s.num {
		case 1:
			kind = s.uint()
		case 2:
			f.Tags = more(&s, f.Tags, s.text())
		}
	}
	if kind < 1 || kind > uint64(storeapi.FilterTags)+1 {
		s.fail(fmt.Errorf("filter kind %d", kind))
	} else {
		f.Kind = storeapi.FilterKind(kind - 1)
	}
	r.done(&s)
	return f
}

func decodeTake(r *reader) storeapi.Request {
	q := new(storeapi.Take)
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.Group = ident.Group(s.uint())
		case 2:
			q.Topic = ident.Topic(s.uint())
		case 3:
			q.Filter = decodeFilter(&s)
		case 4:
			q.Max = int(s.uint32())
		case 5:
			q.BytesMax = int(s.uint32())
		case 6:
			q.InvisibleMS = s.int()
		case 7:
			q.AutoRenew = s.bool()
		case 8:
			q.Client = s.text()
		case 9:
			q.AttemptHash = s.uint()
		case 10:
			q.RegrantOnly = s.bool()
		case 11:
			q.Ticket = s.uint()
		}
	}
	r.done(&s)
	return q
}

func decodePark(r *reader) storeapi.Request {
	q := new(storeapi.Park)
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.ID = s.uint()
		case 2:
			q.Group = ident.Group(s.uint())
		case 3:
			q.Topic = ident.Topic(s.uint())
		case 4:
			q.Filter = decodeFilter(&s)
		case 5:
			q.Client = s.text()
		}
	}
	r.done(&s)
	return q
}

func decodeQuery(r *reader) storeapi.Request {
	q := new(storeapi.Query)
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			q.Topic = ident.Topic(s.uint())
		case 2:
			q.MessageID = s.text()
		case 3:
			q.Key = s.text()
		case 4:
			q.FromMS = s.int()
		case 5:
			q.ToMS = s.int()
		case 6:
			q.After = ident.LSN(s.uint())
		case 7:
			q.Max = int(s.uint32())
		}
	}
	r.done(&s)
	return q
}
