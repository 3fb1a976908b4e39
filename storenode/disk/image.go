// SPDX-License-Identifier: Apache-2.0

package disk

import "math/rand/v2"

const (
	pageSize   = 4096
	sectorSize = 512 // what a disk writes as a whole
)

type page [pageSize]byte

// image is the content of a file. Pages that hold zeros only may be nil, so
// that a zeroed segment costs nothing.
type image struct {
	pages []*page
	size  int64
}

func (m *image) clone() image {
	c := image{pages: make([]*page, len(m.pages)), size: m.size}
	for i, p := range m.pages {
		if p != nil {
			cp := *p
			c.pages[i] = &cp
		}
	}
	return c
}

// read fills b from off; what lies beyond the size is left alone.
func (m *image) read(b []byte, off int64) int {
	if off >= m.size {
		return 0
	}
	b = b[:min(int64(len(b)), m.size-off)]
	for n := 0; n < len(b); {
		at := off + int64(n)
		in := int(at % pageSize)
		step := min(len(b)-n, pageSize-in)
		if p := m.page(at); p != nil {
			copy(b[n:n+step], p[in:])
		} else {
			clear(b[n : n+step])
		}
		n += step
	}
	return len(b)
}

func (m *image) page(at int64) *page {
	if i := at / pageSize; i < int64(len(m.pages)) {
		return m.pages[i]
	}
	return nil
}

// write puts b, or n zeros when b is nil, at off.
func (m *image) write(b []byte, n int, off int64) {
	for done := 0; done < n; {
		at := off + int64(done)
		in := int(at % pageSize)
		step := min(n-done, pageSize-in)
		if b == nil {
			if p := m.page(at); p != nil {
				clear(p[in : in+step])
			}
		} else {
			copy(m.make(at)[in:], b[done:done+step])
		}
		done += step
	}
	m.size = max(m.size, off+int64(n))
}

func (m *image) make(at int64) *page {
	i := int(at / pageSize)
	for len(m.pages) <= i {
		m.pages = append(m.pages, nil)
	}
	if m.pages[i] == nil {
		m.pages[i] = new(page)
	}
	return m.pages[i]
}

func (m *image) truncate(size int64) {
	if size < m.size {
		if in := size % pageSize; in != 0 {
			if p := m.page(size); p != nil {
				clear(p[in:])
			}
		}
		if keep := int((size + pageSize - 1) / pageSize); keep < len(m.pages) {
			m.pages = m.pages[:keep:keep]
		}
	}
	m.size = size
}

// change is a write or a truncation that was not synced.
type change struct {
	data     []byte // nil: n zeros
	n        int
	off      int64
	truncate bool // to off
}

func (c *change) apply(m *image) {
	if c.truncate {
		m.truncate(c.off)
		return
	}
	m.write(c.data, c.n, c.off)
}

// applySome applies the change as a disk that loses power may: each sector with
// probability keep, a truncation as a whole.
func (c *change) applySome(m *image, rng *rand.Rand, keep float64) {
	if c.truncate {
		if rng.Float64() < keep {
			m.truncate(c.off)
		}
		return
	}
	for done := 0; done < c.n; {
		step := min(c.n-done, sectorSize-int((c.off+int64(done))%sectorSize))
		if rng.Float64() < keep {
			var b []byte
			if c.data != nil {
				b = c.data[done : done+step]
			}
			m.write(b, step, c.off+int64(done))
		}
		done += step
	}
}
