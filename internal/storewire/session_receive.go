// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"time"

	"github.com/mansiomq/mansio/internal/storeapi"
)

// takeBytes is what a Take that names no limit reserves.
const takeBytes = 4 << 20

// receive submits operations as they arrive, until the stream ends.
func (ss *session) receive() (err error) {
	defer ss.server.contain(&err)
	var a assembler
	var in inFrame
	var batch []*pending
	for {
		if err := ss.stream.RecvMsg(&in); err != nil {
			return err
		}
		if batch, err = ss.decode(in.data, &a, batch[:0]); err != nil {
			return protocolError(err)
		}
		ss.submit(ss.admit(batch))
		clear(batch)
	}
}

// decode decodes the operations of one message and takes its credit.
func (ss *session) decode(b []byte, a *assembler, batch []*pending) ([]*pending, error) {
	now := time.Now()
	r := reader{rest: b}
	for r.next() {
		item := []byte(nil)
		switch r.num {
		case fieldItem:
			item = r.bytes()
		case fieldPart:
			item = a.part(&r)
		case 4:
			ss.addCredit(r.uint())
		}
		if item == nil || r.err != nil {
			continue
		}
		p := &pending{session: ss}
		var err error
		if p.id, err = decodeOp(item, now, &p.op); err != nil {
			r.fail(err)
		}
		p.op.Done = p.done
		batch = append(batch, p)
	}
	return batch, r.err
}

func (ss *session) addCredit(n uint64) {
	ss.mu.Lock()
	ss.mu.credit = min(ss.mu.credit+int(min(n, storeapi.BytesMax)), storeapi.BytesMax)
	ss.mu.Unlock()
	signal(ss.wake)
}

// admit counts operations in and returns those that go to the target now. The
// others are answered, or held until there is room.
func (ss *session) admit(batch []*pending) []*storeapi.Op {
	ops := make([]*storeapi.Op, 0, len(batch))
	answered := false
	ss.mu.Lock()
	for _, p := range batch {
		code, goes := ss.check(p)
		switch {
		case code != storeapi.OK || !goes && p.reserved == 0:
			ss.mu.out = append(ss.mu.out, answer{id: p.id, reply: storeapi.Reply{Code: code}})
			answered = true
		case goes:
			ops = append(ops, &p.op)
		}
	}
	ss.mu.Unlock()
	if answered {
		signal(ss.wake)
	}
	return ops
}

// check counts one operation in. It answers a code other than OK when it is
// refused, and goes = false when it is done or held. The lock is held.
func (ss *session) check(p *pending) (code storeapi.Code, goes bool) {
	if _, parks := p.op.Request.(*storeapi.Park); !parks && ss.mu.inFlight >= storeapi.OpsMax {
		return storeapi.Overloaded, false
	}
	switch q := p.op.Request.(type) {
	case *storeapi.Park:
		return ss.checkPark(p, q)
	case *storeapi.Unpark:
		at, ok := ss.mu.parks[q.ID]
		if !ok {
			return storeapi.OK, false // it has ended already
		}
		q.ID = at.target
	case *storeapi.Append:
		for _, payload := range q.Payloads {
			p.bytes += len(payload)
		}
		if ss.mu.bytes+p.bytes > storeapi.BytesMax {
			return storeapi.Overloaded, false
		}
		ss.mu.bytes += p.bytes
	case *storeapi.Take:
		p.reserved = q.BytesMax
		if p.reserved <= 0 {
			p.reserved = takeBytes
		}
		p.reserved = min(p.reserved, storeapi.BytesMax)
		if len(ss.mu.held) > 0 || !ss.reserve(p) {
			ss.mu.inFlight++
			ss.mu.held = append(ss.mu.held, p)
			return storeapi.OK, false
		}
	}
	ss.mu.inFlight++
	return storeapi.OK, true
}

func (ss *session) checkPark(p *pending, q *storeapi.Park) (code storeapi.Code, goes bool) {
	if _, twice := ss.mu.parks[q.ID]; twice {
		return storeapi.Invalid, false
	}
	if len(ss.mu.parks) >= storeapi.ParksMax {
		return storeapi.Overloaded, false
	}
	p.park = q.ID
	q.ID = ss.server.parkID.Add(1) | foreignPark
	ss.mu.parks[p.park] = parked{op: p.id, target: q.ID, shard: p.op.Shard}
	return storeapi.OK, true
}

// reserve sets room for a Take's answer aside, if there is any. The lock is held.
func (ss *session) reserve(p *pending) bool {
	if ss.mu.reserved > 0 && ss.mu.reserved+p.reserved > storeapi.BytesMax {
		return false
	}
	ss.mu.reserved += p.reserved
	return true
}

// done takes the target's answer.
func (p *pending) done(reply storeapi.Reply) {
	ss := p.session
	a := answer{id: p.id, reply: reply, from: p}
	ss.mu.Lock()
	lost := ss.mu.dead
	switch p.op.Request.(type) {
	case *storeapi.Park:
		if at, ok := ss.mu.parks[p.park]; ok && at.op == p.id {
			delete(ss.mu.parks, p.park)
		} else {
			lost = true // the proxy has its answer
		}
	case *storeapi.Take:
		ss.mu.inFlight--
		a.reserved = min(takenBytes(reply.Result), p.reserved)
		ss.mu.reserved -= p.reserved - a.reserved
	default:
		ss.mu.inFlight--
		ss.mu.bytes -= p.bytes
		a.from = nil
	}
	if !lost {
		ss.mu.out = append(ss.mu.out, a)
	}
	ss.mu.Unlock()
	if lost {
		ss.submit(appendUndo(nil, &a))
		return
	}
	signal(ss.wake)
}

// takenBytes is the payload size of a Take's result.
func takenBytes(result storeapi.Result) (bytes int) {
	if r, ok := result.(*storeapi.TakeResult); ok {
		for i := range r.Messages {
			bytes += len(r.Messages[i].Payload)
		}
	}
	return bytes
}
