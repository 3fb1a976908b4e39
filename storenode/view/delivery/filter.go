// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
)

// Filter says which messages a subscription wants, by the hashes of their tags.
// The zero value wants all. Equal filters have equal keys.
type Filter struct {
	key  uint64
	tags []uint32 // sorted, without repetition
}

// TagFilter wants the messages with one of the tags; none means all messages.
// Filters of different tags differ, also if the hashes are the same.
func TagFilter(tags []string) Filter {
	if len(tags) == 0 {
		return Filter{}
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	hashes, text := make([]uint32, len(tags)), []byte(nil)
	for i, tag := range tags {
		hashes[i] = ident.Hash32(tag)
		text = append(binary.AppendUvarint(text, uint64(len(tag))), tag...)
	}
	return newFilter(hashes, text)
}

func newFilter(hashes []uint32, text []byte) Filter {
	slices.Sort(hashes)
	return Filter{key: max(xxhash.Sum64(text), 1), tags: slices.Compact(hashes)}
}

// Key names the filter: 0 for the one that wants all.
func (f Filter) Key() uint64 { return f.key }

// All reports whether the filter wants every message.
func (f Filter) All() bool { return len(f.tags) == 0 }

// Wants reports whether a message with that tag hash passes.
func (f Filter) Wants(tagHash uint32) bool {
	if f.All() {
		return true
	}
	_, ok := slices.BinarySearch(f.tags, tagHash)
	return ok
}
