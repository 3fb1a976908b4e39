// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetLarge says that receives reserve as much as batches need: where these
// are large none is leased that there is no room for, whoever waits, and where
// they are small each has room and many receives may ask at once.
func TestBudgetLarge(t *testing.T) {
	for name, c := range map[string]struct {
		size int64
		many int // receives at once, at least
	}{
		"largest messages": {bodyMax + 1000, receiveBytesMax/(bodyMax+1000) - 1},
		"small messages":   {batchReceiveMax * 1200, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBudget(receiveBytesMax)
			for range 100 {
				n := b.reserve(t.Context(), 0)
				if n < takeBytesMin {
					t.Fatalf("%s: a receive may ask for %d bytes", name, n)
				}
				n, _ = b.correct(n, c.size)
				b.release(n)
			}
			var held []int64
			for n := b.reserve(t.Context(), 0); n > 0; n = b.reserve(t.Context(), 0) {
				held = append(held, n)
			}
			if len(held) < c.many {
				t.Errorf("%s: %d receives at once, want %d", name, len(held), c.many)
			}
			go b.reserve(t.Context(), time.Hour)
			synctest.Wait()
			for i, n := range held {
				if _, fits := b.correct(n, c.size); !fits {
					t.Fatalf("%s: %d of %d batches fit", name, i, len(held))
				}
			}
		})
	}
}
