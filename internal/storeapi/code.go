// SPDX-License-Identifier: Apache-2.0

package storeapi

import "fmt"

// Code is how an operation ended.
type Code uint8

// The codes.
const (
	OK             Code = iota
	None                // nothing to take now
	Ready               // a Park's answer: come and take
	NotLeader           // this replica does not lead the shard; nothing was done
	NeedConfig          // the store does not know that revision yet; nothing was done
	TopicNotFound       // unknown or deleted topic incarnation
	GroupNotFound       // unknown or deleted group incarnation
	InvalidHandle       // the delivery is not the current one, or its lease has passed
	DiskFull            // too little free space for messages from clients
	Overloaded          // a named bound is reached
	Expired             // the deadline passed before anything was done
	Unknown             // the outcome is not known: the stream broke or the term ended after it was written
	Unavailable         // the store cannot be reached, or is stopping; nothing was done
	SeqTooOld           // a replay below the window: whether it was stored is not known
	NotImplemented      // a valid request for something that is not built
	Canceled            // an Unpark ended the Park
	Internal            // a bug; Detail says more
	Invalid             // the request makes no sense; a bug of the sender
	TooLarge            // the message does not fit into a segment of the log; nothing was done
)

// codeMost is the last of them.
const codeMost = TooLarge

var codeNames = [...]string{
	"ok", "none", "ready", "not leader", "need config", "topic not found", "group not found", "invalid handle",
	"disk full", "overloaded", "expired", "unknown outcome", "unavailable", "sequence too old", "not implemented",
	"canceled", "internal error", "invalid request", "too large",
}

// Known reports whether the code is one of those above.
func (c Code) Known() bool { return c <= codeMost }

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}
