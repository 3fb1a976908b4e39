// SPDX-License-Identifier: Apache-2.0

package park

import (
	"container/heap"
	"time"
)

// alarm is a moment at which something must happen to its owner: exactly one of
// the pointers is set.
type alarm struct {
	at    time.Time
	index int // in the heap, −1: not set

	waiter *waiter // its time is over
	stall  *stall  // its pause is over
	place  *place  // nobody came for a while
}

// alarms is a heap by time.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *alarms) Push(x any) {
	a := x.(*alarm) //nolint:forcetypeassert // the heap holds nothing else
	a.index = len(*h)
	*h = append(*h, a)
}

// Pop implements heap.Interface.
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}

// set sets or moves an alarm; true when it became the earliest.
func (h *alarms) set(a *alarm, at time.Time) bool {
	a.at = at
	if a.index >= 0 {
		heap.Fix(h, a.index)
	} else {
		heap.Push(h, a)
	}
	return a.index == 0
}

func (h *alarms) unset(a *alarm) {
	if a.index >= 0 {
		heap.Remove(h, a.index)
	}
}

// due takes out and returns the earliest alarm if its time has come.
func (h *alarms) due(now time.Time) *alarm {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return nil
	}
	return heap.Pop(h).(*alarm) //nolint:forcetypeassert // the heap holds nothing else
}
