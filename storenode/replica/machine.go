// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
)

// Role is what a replica is doing.
type Role uint8

// The roles.
const (
	Absent Role = iota
	Fenced
	Recovering
	Leader
	Failed
)

var roleNames = [...]string{"ABSENT", "FENCED", "RECOVERING", "LEADER", "FAILED"}

func (r Role) String() string { return roleNames[r] }

// Machine is the pure step machine of one replica: it decides, its driver (the
// shard) makes decisions durable and acts. Not safe for concurrent use.
type Machine struct {
	role     Role
	term     ident.Term // promised
	instance uint64
	failure  string
}

// NewMachine starts a replica that exists on disk: fenced, with the term that
// its meta file remembers.
func NewMachine(term ident.Term, instance uint64) *Machine {
	return &Machine{role: Fenced, term: term, instance: instance}
}

// Role is the present role.
func (m *Machine) Role() Role { return m.role }

// Term is the highest promised term.
func (m *Machine) Term() ident.Term { return m.term }

// Failure says why the role is Failed.
func (m *Machine) Failure() string { return m.failure }

// Fence promises the term. The caller makes it durable before it answers.
// fault.Conflict: a higher term was promised; fault.Corrupt: the replica failed.
func (m *Machine) Fence(term ident.Term) error {
	const op = "fence"
	if m.role == Failed {
		return fault.Errorf(op, fault.Corrupt, "replica failed: %s", m.failure)
	}
	if term < m.term {
		return fault.Errorf(op, fault.Conflict, "term %d, promised %d", term, m.term)
	}
	if term > m.term {
		m.role, m.term = Fenced, term
	}
	return nil
}

// Lead begins the term's reign; the caller appends the barrier. It answers true
// when there is something to begin: leading already is no error.
// fault.Conflict: another term or another process was chosen.
func (m *Machine) Lead(term ident.Term, instance uint64) (begin bool, err error) {
	const op = "lead"
	switch {
	case m.role == Failed:
		return false, fault.Errorf(op, fault.Corrupt, "replica failed: %s", m.failure)
	case term != m.term:
		return false, fault.Errorf(op, fault.Conflict, "term %d, promised %d", term, m.term)
	case instance != m.instance:
		return false, fault.Errorf(op, fault.Conflict, "chosen was process %x, this is %x", instance, m.instance)
	case m.role == Recovering || m.role == Leader:
		return false, nil
	}
	m.role = Recovering
	return true, nil
}

// BarrierApplied makes a recovering replica the leader, if the barrier that was
// applied is its term's.
func (m *Machine) BarrierApplied(term ident.Term) {
	invariant.Check(term <= m.term, "barrier of term %d applied, promised is %d", term, m.term)
	if m.role == Recovering && term == m.term {
		m.role = Leader
	}
}

// Fail ends everything: neither writes nor leads from now on.
func (m *Machine) Fail(why string) {
	if m.role != Failed {
		m.role, m.failure = Failed, why
	}
}
