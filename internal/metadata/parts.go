// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"hash/maphash"
	"iter"
	"maps"
)

// partCount is how many parts a map is kept in. A change copies the touched part
// and the list of parts: about 100 entries and 8 KiB at 100,000 objects.
const partCount = 1024

var hashSeed = maphash.MakeSeed()

// parts is an immutable map. The zero value is empty.
type parts[K comparable, V any] struct {
	list *[partCount]map[K]V
	size int
}

func partOf[K comparable](key K) uint64 { return maphash.Comparable(hashSeed, key) % partCount }

// get returns the value, or the zero value when there is none.
func (p parts[K, V]) get(key K) V {
	if p.list == nil {
		var none V
		return none
	}
	return p.list[partOf(key)][key]
}

// all yields the values in no particular order.
func (p parts[K, V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		if p.list == nil {
			return
		}
		for _, part := range p.list {
			for _, value := range part {
				if !yield(value) {
					return
				}
			}
		}
	}
}

// edit collects changes to a map; parts that were not touched stay shared.
type edit[K comparable, V any] struct {
	base  parts[K, V]
	list  *[partCount]map[K]V // nil: nothing changed yet
	owned [partCount]bool
	size  int
}

func (p parts[K, V]) edit() *edit[K, V] { return &edit[K, V]{base: p, size: p.size} }

// own returns the part of key, ready to be changed.
func (e *edit[K, V]) own(key K) map[K]V {
	if e.list == nil {
		e.list = new([partCount]map[K]V)
		if e.base.list != nil {
			*e.list = *e.base.list
		}
	}
	i := partOf(key)
	if !e.owned[i] {
		e.owned[i] = true
		if e.list[i] == nil {
			e.list[i] = make(map[K]V, 1)
		} else {
			e.list[i] = maps.Clone(e.list[i])
		}
	}
	return e.list[i]
}

func (e *edit[K, V]) get(key K) V {
	if e.list == nil {
		return e.base.get(key)
	}
	return e.list[partOf(key)][key]
}

func (e *edit[K, V]) set(key K, value V) {
	part := e.own(key)
	before := len(part)
	part[key] = value
	e.size += len(part) - before
}

func (e *edit[K, V]) remove(key K) {
	part := e.own(key)
	before := len(part)
	delete(part, key)
	e.size += len(part) - before
}

// done returns the changed map; the edit must not be used any more.
func (e *edit[K, V]) done() parts[K, V] {
	if e.list == nil {
		return e.base
	}
	return parts[K, V]{list: e.list, size: e.size}
}
