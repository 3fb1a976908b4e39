// SPDX-License-Identifier: Apache-2.0

package storewire

import "github.com/mansiomq/mansio/internal/storeapi"

// weigh returns the payload bytes of an operation, and whether the wire has a
// form for it that the far end takes.
func weigh(op *storeapi.Op) (bytes int, sound bool) {
	items := len(op.Attached)
	for i := range op.Attached {
		bytes += len(op.Attached[i].Bytes)
	}
	texts, longest := 0, 0
	switch q := op.Request.(type) {
	case *storeapi.Append:
		items += len(q.Payloads)
		for _, p := range q.Payloads {
			bytes += len(p)
		}
	case *storeapi.Settle:
		items += len(q.Items)
	case *storeapi.Alive:
		items += len(q.Signs)
		texts, longest = weighSigns(q.Signs)
	case *storeapi.Take:
		items += len(q.Filter.Tags)
		texts = q.Filter.Size() + len(q.Client)
	case *storeapi.Park:
		items += len(q.Filter.Tags)
		texts = q.Filter.Size() + len(q.Client)
	case *storeapi.Query:
		texts = len(q.MessageID) + len(q.Key)
	case *storeapi.Unpark, *storeapi.Decline, *storeapi.Offsets:
	default:
		return 0, false
	}
	return bytes, max(items, longest) <= itemsMax && bytes <= storeapi.BytesMax && texts <= textsMax
}

// weighSigns returns the size of signs, and the length of their longest list.
func weighSigns(signs []storeapi.ClientSign) (bytes, longest int) {
	for i := range signs {
		s := &signs[i]
		bytes += s.Size()
		longest = max(longest, len(s.Subscriptions))
		for j := range s.Subscriptions {
			longest = max(longest, len(s.Subscriptions[j].Filter.Tags))
		}
	}
	return bytes, longest
}

// opHint is about how long op becomes.
func opHint(op *storeapi.Op, payload int) int {
	const plain = 96
	n := plain + payload
	switch q := op.Request.(type) {
	case *storeapi.Append:
		n += 4 * len(q.Payloads)
	case *storeapi.Settle:
		n += 64 * len(q.Items)
	case *storeapi.Alive:
		texts, _ := weighSigns(q.Signs)
		n += texts
	}
	return n
}
