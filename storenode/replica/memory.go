// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"slices"
	"sync"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
)

// Memory is the meta file and what it says. Safe for concurrent use: changes
// are made one after the other, each durable before the next begins, so that
// the promised term never goes back on disk.
type Memory struct {
	mu   sync.Mutex
	file *MetaFile
	meta Meta
}

// Recall loads a replica's memory; errors as of LoadMeta.
func Recall(fs disk.FS, dir string) (*Memory, error) {
	m, f, err := LoadMeta(fs, dir)
	if err != nil {
		return nil, err
	}
	return &Memory{file: f, meta: m}, nil
}

// Get returns what was last made durable.
func (m *Memory) Get() Meta {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.meta
	c.Cuts = slices.Clone(c.Cuts)
	return c
}

// Update changes the memory and makes the change durable. After an error what
// is on the disk is either the old or the new one.
func (m *Memory) Update(change func(*Meta)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.meta
	next.Cuts = slices.Clone(next.Cuts)
	change(&next)
	if err := m.file.Store(next); err != nil {
		return err
	}
	m.meta = next
	return nil
}

// Note adds a cut, forgetting the oldest beyond the limit.
func (m *Meta) Note(c Cut) {
	m.Cuts = append(m.Cuts, c)
	if len(m.Cuts) > cutsMax {
		m.Cuts = m.Cuts[len(m.Cuts)-cutsMax:]
	}
}

// Forget drops the cuts that the log no longer reaches.
func (m *Meta) Forget(start ident.LSN) {
	m.Cuts = slices.DeleteFunc(m.Cuts, func(c Cut) bool { return c.To <= start })
}
