// SPDX-License-Identifier: Apache-2.0

package storewire

import "github.com/mansiomq/mansio/internal/storeapi"

// appendReply appends reply in its encoded form.
func appendReply(b []byte, id uint64, reply *storeapi.Reply) []byte {
	b = putUint(b, 1, id)
	b = putUint(b, 2, uint64(reply.Code)+1)
	b = putText(b, 3, reply.Leader)
	b = putUint(b, 4, uint64(reply.Term))
	b = putText(b, 5, reply.Detail)
	return appendResult(b, reply.Result)
}

func appendResult(b []byte, result storeapi.Result) []byte {
	var at int
	switch r := result.(type) {
	case *storeapi.AppendResult:
		b, at = open(b, 16)
		for i := range r.Entries {
			var inner int
			b, inner = open(b, 1)
			b = putUint(b, 1, uint64(r.Entries[i].Code)+1)
			b = putUint(b, 2, uint64(r.Entries[i].LSN))
			b = putSint(b, 3, r.Entries[i].Offset)
			shut(b, inner)
		}
	case *storeapi.SettleResult:
		b, at = open(b, 17)
		if len(r.Codes) > 0 {
			var inner int
			b, inner = open(b, 1) // packed: a code is one byte, since there are fewer than 128
			for _, c := range r.Codes {
				b = append(b, byte(c)+1)
			}
			shut(b, inner)
		}
	case *storeapi.TakeResult:
		b, at = open(b, 19)
		b = appendTakeResult(b, r)
	case *storeapi.ReadyResult:
		b, at = open(b, 20)
		b = putUint(b, 1, r.Ticket)
	case *storeapi.OffsetsResult:
		b, at = open(b, 23)
		for i := range r.Queues {
			b = appendQueueState(b, &r.Queues[i])
		}
	case *storeapi.QueryResult:
		b, at = open(b, 24)
		for i := range r.Messages {
			b = appendFound(b, &r.Messages[i])
		}
		b = putBool(b, 2, r.More)
		b = putUint(b, 3, uint64(r.Next))
	default:
		return b
	}
	shut(b, at)
	return b
}

func appendTakeResult(b []byte, r *storeapi.TakeResult) []byte {
	b = putUint(b, 1, uint64(r.Grant))
	b = putUint(b, 2, uint64(r.Term))
	b = putUint(b, 3, uint64(r.Generation))
	b = putInt(b, 4, r.DueMS)
	for i := range r.Messages {
		m := &r.Messages[i]
		var at int
		b, at = open(b, 5)
		b = putUint(b, 1, uint64(m.Queue))
		b = putUint(b, 2, uint64(m.Offset))
		b = putInt(b, 3, int64(m.Attempt))
		b = putInt(b, 4, m.StoreMS)
		b = putUint(b, 5, uint64(m.Grant))
		b = putItem(b, 6, m.Payload)
		shut(b, at)
	}
	return b
}

func appendQueueState(b []byte, q *storeapi.QueueState) []byte {
	b, at := open(b, 1)
	b = putUint(b, 1, uint64(q.Queue))
	b = putUint(b, 2, uint64(q.Min))
	b = putUint(b, 3, uint64(q.Next))
	b = putUint(b, 4, q.Ready)
	b = putUint(b, 5, q.InFlight)
	b = putUint(b, 6, q.Done)
	shut(b, at)
	return b
}

func appendFound(b []byte, m *storeapi.Found) []byte {
	b, at := open(b, 1)
	b = putUint(b, 1, uint64(m.LSN))
	b = putUint(b, 2, uint64(m.Queue))
	b = putSint(b, 3, m.Offset)
	b = putInt(b, 4, m.StoreMS)
	b = putItem(b, 5, m.Payload)
	shut(b, at)
	return b
}
