// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"

	"github.com/mansiomq/mansio/internal/fault"
)

// turns lets one call at a time work on a name, so that a hundred proxies that
// want the same topic make it once and find it made.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the name is free
}

func newTurns() *turns { return &turns{busy: make(map[string]chan struct{})} }

// take waits for the name; the caller frees it with the function that it gets.
func (t *turns) take(ctx context.Context, name string) (free func(), err error) {
	for {
		t.mu.Lock()
		taken, ok := t.busy[name]
		if !ok {
			mine := make(chan struct{})
			t.busy[name] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, name)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, fault.E("wait for another change", fault.Canceled, ctx.Err())
		}
	}
}
