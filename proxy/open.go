// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync"

	"github.com/mansiomq/mansio/internal/fault"
)

// openStreams counts the calls that stay open, so that they can be ended.
type openStreams struct {
	reconnect chan struct{} // closed: clients are asked to connect elsewhere
	ending    chan struct{} // closed: streams end
	empty     chan struct{} // closed: streams end, and the last one has
	mu        struct {
		sync.Mutex
		n        int
		stopping bool
		ended    bool
	}
}

func newOpenStreams() *openStreams {
	return &openStreams{reconnect: make(chan struct{}), ending: make(chan struct{}), empty: make(chan struct{})}
}

// enter counts a call in; false: no call may stay open any more.
func (o *openStreams) enter() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.ended {
		return false
	}
	o.mu.n++
	return true
}

func (o *openStreams) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.n--
	if o.mu.ended && o.mu.n == 0 {
		close(o.empty)
	}
}

func (o *openStreams) stopping() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.stopping
}

func (o *openStreams) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.mu.stopping {
		o.mu.stopping = true
		close(o.reconnect)
	}
}

// end ends all calls that are open and waits for that.
func (o *openStreams) end(ctx context.Context) error {
	o.mu.Lock()
	if !o.mu.ended {
		o.mu.ended = true
		close(o.ending)
		if o.mu.n == 0 {
			close(o.empty)
		}
	}
	o.mu.Unlock()
	select {
	case <-o.empty:
		return nil
	case <-ctx.Done():
		return fault.E("proxy.Drain", fault.Timeout, ctx.Err())
	}
}
