// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Health is a set of named checks. The zero value passes. All methods may be
// called from any goroutine.
type Health struct {
	mu struct {
		sync.Mutex
		checks []check
	}
}

type check struct {
	name string
	run  func() error
}

// Add registers a check, which must be quick and never block: nil passes, an
// error says in one line what is missing. Checks run in the order of their
// names.
func (h *Health) Add(name string, run func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.checks = append(h.mu.checks, check{name, run})
	slices.SortStableFunc(h.mu.checks, func(a, b check) int { return strings.Compare(a.name, b.name) })
}

// Failing runs all checks and returns one line for each that fails.
func (h *Health) Failing() (lines []string) {
	h.mu.Lock()
	checks := slices.Clone(h.mu.checks)
	h.mu.Unlock()
	for _, c := range checks {
		if err := c.run(); err != nil {
			lines = append(lines, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	return lines
}
