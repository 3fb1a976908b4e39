// SPDX-License-Identifier: Apache-2.0

package delivery

const (
	pageBits = 7
	pageLen  = 1 << pageBits
)

// pool holds values of one type in pages and names them by index, so that
// structures of millions of values have no pointers. Index 0 is nobody.
// Pointers from at stay good until the value is put back.
type pool[T any] struct {
	pages []*[pageLen]T
	free  []uint32
	top   uint32 // highest index ever given out since the pool was last empty
	used  int
}

func (p *pool[T]) at(i uint32) *T { return &p.pages[i>>pageBits][i&(pageLen-1)] }

// get gives out a zero value.
func (p *pool[T]) get() (uint32, *T) {
	p.used++
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i, p.at(i)
	}
	p.top++
	if int(p.top>>pageBits) >= len(p.pages) {
		p.pages = append(p.pages, new([pageLen]T))
	}
	return p.top, p.at(p.top)
}

// put takes a value back. An empty pool keeps one page and gives the rest of
// its memory back.
func (p *pool[T]) put(i uint32) {
	var zero T
	*p.at(i) = zero
	p.used--
	if p.used > 0 {
		p.free = append(p.free, i)
		return
	}
	clear(p.pages[1:])
	p.pages, p.top = p.pages[:1], 0
	if cap(p.free) > pageLen {
		p.free = nil
	}
	p.free = p.free[:0]
}
