// SPDX-License-Identifier: Apache-2.0

package shard

import "sync"

// workQueue runs functions on the goroutines that call work. It has no limit of
// its own: every function in it belongs to an operation in flight, which the
// peers bound, or is a chore: some of each segment, and one a second for the
// floor. put therefore never waits, which the owner goroutine relies on.
type workQueue struct {
	mu     sync.Mutex
	some   sync.Cond
	tasks  []func()
	closed bool
}

func newWorkQueue() *workQueue {
	q := &workQueue{}
	q.some.L = &q.mu
	return q
}

func (q *workQueue) put(f func()) {
	q.mu.Lock()
	q.tasks = append(q.tasks, f)
	q.mu.Unlock()
	q.some.Signal()
}

// work runs functions until the queue is closed and empty.
func (q *workQueue) work() {
	for {
		q.mu.Lock()
		for len(q.tasks) == 0 && !q.closed {
			q.some.Wait()
		}
		if len(q.tasks) == 0 {
			q.mu.Unlock()
			return
		}
		f := q.tasks[0]
		q.tasks[0] = nil
		q.tasks = q.tasks[1:]
		q.mu.Unlock()
		f()
	}
}

func (q *workQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}
