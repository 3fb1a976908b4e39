// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
)

// Op is a kind of call.
type Op uint8

// The kinds of calls that a hook sees.
const (
	OpOpen Op = iota
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpSyncDir
	OpRemove
	OpRename
	OpList
	OpMkdir
	opCount
)

// Call is one call on a Memory that is about to happen.
type Call struct {
	Op   Op
	Name string // of the file when it was opened, or of the directory
	Off  int64
	Len  int
	N    int // how many calls of this Op there were, this one included
}

// Hook makes every later call ask fn first; nil ends that. What fn returns, the
// call returns, and does nothing; a Sync that fails so has lost the bytes for
// good. fn may wait, count and use other disks; it runs on the caller's
// goroutine, several at a time.
func (m *Memory) Hook(fn func(Call) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = fn
}

func (m *Memory) call(c Call) error {
	m.mu.Lock()
	m.calls[c.Op]++
	c.N = m.calls[c.Op]
	hook := m.hook
	m.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(c)
}

// FailNth returns a hook that fails the n-th call of that kind, counted from
// the disk's birth, and all later ones, as a broken device does.
func FailNth(op Op, n int, errno syscall.Errno) func(Call) error {
	return func(c Call) error {
		if c.Op == op && c.N >= n {
			return pathError("injected", c.Name, errno)
		}
		return nil
	}
}

// Lie makes every later Sync and SyncDir report success and do nothing, as a
// disk does that acknowledges from a cache without a battery. A suite that claims
// to prove durability must fail on such a disk.
func (m *Memory) Lie() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lies = true
}

// Calls says how many calls of that kind there were.
func (m *Memory) Calls(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// Crash returns the disk as it could be found after losing power now. The old
// one is untouched: a process that still runs on it changes nothing in the new.
// Hooks, counts and lies stay behind, the limit goes along.
func (m *Memory) Crash(rng *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	c.dirs = maps.Clone(m.dirs)
	c.space = m.space
	names := maps.Clone(m.kept)
	keep := luck(rng)
	for i := range m.journal {
		if rng.Float64() < keep {
			m.journal[i].apply(names)
		}
	}
	for _, name := range sortedNames(names) {
		f := names[name].survive(rng)
		c.files[name], c.kept[name] = f, f
	}
	return c
}

// luck is how much of what was not synced survives: often nothing or all.
func luck(rng *rand.Rand) float64 {
	switch rng.IntN(4) {
	case 0:
		return 0
	case 1:
		return 1
	default:
		return rng.Float64()
	}
}

func (n *inode) survive(rng *rand.Rand) *inode {
	img := n.kept.clone()
	keep := luck(rng)
	for i := range n.changes {
		n.changes[i].applySome(&img, rng, keep)
	}
	return &inode{now: img, kept: img.clone(), linked: true}
}

func sortedNames(names map[string]*inode) []string {
	return slices.Sorted(maps.Keys(names))
}
