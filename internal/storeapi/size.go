// SPDX-License-Identifier: Apache-2.0

package storeapi

// AliveBytesMax is the Size of signs that should go into one Alive: shards handle
// one whole, and a store node refuses what is far larger.
const AliveBytesMax = 1 << 20

// around is more than what stands around one text, number or list in any form
// that an operation takes.
const around = 32

// Size is about how many bytes the filter takes, never less than in a message.
func (f *Filter) Size() int {
	n := around
	for _, tag := range f.Tags {
		n += around/4 + len(tag)
	}
	return n
}

// Size is about how many bytes the sign takes, never less than in a message.
func (s *ClientSign) Size() int {
	n := 2*around + len(s.Client)
	for i := range s.Subscriptions {
		n += around + s.Subscriptions[i].Filter.Size()
	}
	return n
}
