// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Filter says which messages a subscription wants, by the hashes of their tags.
// The zero value wants all. Equal filters have equal keys.
type Filter struct {
	key  uint64
	tags []uint32 // sorted, without repetition
}

// TagFilter wants the messages whose tag has one of the hashes; none means all
// messages.
func TagFilter(tagHashes ...uint32) Filter {
	if len(tagHashes) == 0 {
		return Filter{}
	}
	tags := slices.Clone(tagHashes)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	text := make([]byte, 0, 4*len(tags))
	for _, t := range tags {
		text = binary.LittleEndian.AppendUint32(text, t)
	}
	return Filter{key: max(xxhash.Sum64(text), 1), tags: tags}
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
