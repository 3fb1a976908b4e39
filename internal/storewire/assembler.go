// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"errors"
	"fmt"
)

// assembler puts the parts of large items together. One goroutine owns it. The
// far end cuts one item at a time, so one buffer is enough.
type assembler struct {
	id   uint64
	data []byte // what has arrived; its capacity is the total
}

var errPart = errors.New("a part does not continue the one before")

// part takes the Part that r stands at. When it was the last one of its item,
// it returns the item's encoded bytes.
func (a *assembler) part(r *reader) (whole []byte) {
	var id, total uint64
	var piece []byte
	s := r.sub()
	for s.next() {
		switch s.num {
		case 1:
			id = s.uint()
		case 2:
			total = s.uint()
		case 3:
			piece = s.bytes()
		}
	}
	r.done(&s)
	if r.err != nil {
		return nil
	}
	if a.data == nil {
		if total == 0 || total > totalMax {
			r.fail(fmt.Errorf("an item of %d bytes, the limit is %d", total, totalMax))
			return nil
		}
		a.id, a.data = id, make([]byte, 0, total)
	}
	if id != a.id || total != uint64(cap(a.data)) || len(piece) == 0 || len(piece) > cap(a.data)-len(a.data) {
		r.fail(errPart)
		return nil
	}
	if a.data = append(a.data, piece...); len(a.data) < cap(a.data) {
		return nil
	}
	whole, a.data = a.data, nil
	return whole
}
