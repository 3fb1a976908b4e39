// SPDX-License-Identifier: Apache-2.0

package route

import "github.com/mansiomq/mansio/internal/storeapi"

// call is an operation under way, with the place where its caller waits. Calls
// are used again: channel and completion are made once.
type call struct {
	op       storeapi.Op
	batch    [1]*storeapi.Op
	reply    storeapi.Reply
	done     chan struct{}
	complete func(storeapi.Reply) // op.Done, made once
	append   storeapi.Append      // the request of a send
}

func makeCall() any {
	c := &call{done: make(chan struct{}, 1)}
	c.batch[0] = &c.op
	c.complete = func(r storeapi.Reply) {
		c.reply = r
		c.done <- struct{}{}
	}
	return c
}

func (r *Router) newCall() *call {
	c := r.calls.Get().(*call) //nolint:forcetypeassert // the pool holds nothing else
	c.op.Done = c.complete
	return c
}

// submit hands the operation to the peer and waits for its completion.
func (c *call) submit(p Peer) storeapi.Reply {
	p.Submit(c.batch[:])
	<-c.done
	return c.reply
}

// free gives a call back; its operation must be completed.
func (r *Router) free(c *call) {
	c.op, c.append = storeapi.Op{}, storeapi.Append{}
	c.reply = storeapi.Reply{}
	r.calls.Put(c)
}
