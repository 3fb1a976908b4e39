// SPDX-License-Identifier: Apache-2.0

package bench

import "sync"

// Balance is what a ledger says at the end.
type Balance struct {
	Acknowledged int64 `json:"acknowledged"` // sends answered OK
	Received     int64 `json:"received"`     // different messages of this run
	Lost         int64 `json:"lost"`
	Duplicate    int64 `json:"duplicate"`
	Returned     int64 `json:"returned"`
	Foreign      int64 `json:"foreign"`
}

// Sound reports whether nothing is missing and nothing came back.
func (b *Balance) Sound() bool { return b.Lost == 0 && b.Returned == 0 }

// entry is what is known of one message.
type entry uint8

const (
	acknowledged entry = 1 << iota // its send was answered OK
	received
	acked   // the acknowledgement of its delivery was answered OK
	retried // it was sent more than once, so it may be stored more than once
)

// ledger keeps what was sent and received. All methods may be called from any
// goroutine.
type ledger struct {
	run uint64

	mu      sync.Mutex
	entries [][]entry // by producer and seq
	balance Balance
	missing int64 // acknowledged and not received yet
}

func newLedger(run uint64, producers int) *ledger {
	return &ledger{run: run, entries: make([][]entry, producers)}
}

// at returns the entry of a message, making room for it. The lock is held.
func (l *ledger) at(m mark) *entry {
	list := &l.entries[m.producer]
	for uint64(len(*list)) <= m.seq {
		*list = append(*list, 0)
	}
	return &(*list)[m.seq]
}

// own reports whether a mark is of this run and plausible.
func (l *ledger) own(m mark) bool {
	return m.run == l.run && int(m.producer) < len(l.entries) && m.seq < countMax
}

// acknowledge notes that a send was answered OK.
func (l *ledger) acknowledge(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.at(m)
	if *e&acknowledged != 0 {
		return
	}
	*e |= acknowledged
	l.balance.Acknowledged++
	if *e&received == 0 {
		l.missing++
	}
}

// retry notes that a message is about to be sent again.
func (l *ledger) retry(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.at(m) |= retried
}

// receive notes a delivery, and tells whether it is the first one of a message
// of this run.
func (l *ledger) receive(body []byte) (m mark, first bool) {
	m, marked := markOf(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !marked || !l.own(m) {
		l.balance.Foreign++
		return m, false
	}
	e := l.at(m)
	if *e&received != 0 {
		l.balance.Duplicate++
		if *e&acked != 0 && *e&retried == 0 {
			l.balance.Returned++
		}
		return m, false
	}
	*e |= received
	l.balance.Received++
	if *e&acknowledged != 0 {
		l.missing--
	}
	return m, true
}

// done notes that the acknowledgement of a delivery was answered OK.
func (l *ledger) done(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.own(m) {
		*l.at(m) |= acked
	}
}

// absent is how many acknowledged messages were not received yet.
func (l *ledger) absent() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing
}

// close returns the balance; what is absent now is lost.
func (l *ledger) close() Balance {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.balance
	b.Lost = l.missing
	return b
}
