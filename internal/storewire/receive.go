// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// framePool holds the buffers of outgoing messages.
var framePool = mem.DefaultBufferPool()

// errClosed ends a stream that the store has ended in good order.
var errClosed = errors.New("the store node closed the stream")

// receive completes operations as their replies arrive, until the stream ends.
// closing is called when the store says that it is stopping.
func (l *lane) receive(stream grpc.ClientStream, closing func()) error {
	var a assembler
	var in inFrame
	var done []completion
	for {
		if err := stream.RecvMsg(&in); err != nil {
			if errors.Is(err, io.EOF) {
				return errClosed
			}
			return err
		}
		closes, err := l.decode(in.data, &a, &done)
		l.giveBack(len(in.data))
		complete(done)
		clear(done)
		done = done[:0]
		if err != nil {
			return err
		}
		if closes && closing != nil {
			closing()
			closing = nil
		}
	}
}

// decode takes the replies of one message out of the tables into done.
func (l *lane) decode(b []byte, a *assembler, done *[]completion) (closes bool, err error) {
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case fieldItem:
			l.settle(&r, r.bytes(), done)
		case fieldPart:
			if whole := a.part(&r); whole != nil {
				l.settle(&r, whole, done)
			}
		case 4:
			closes = r.bool()
		}
	}
	return closes, r.err
}

// settle matches one encoded reply with its operation.
func (l *lane) settle(r *reader, b []byte, done *[]completion) {
	id, reply, err := decodeReply(b)
	if err != nil {
		r.fail(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// None: it was answered at its deadline. Not written: the store made the
	// number up.
	if s := l.tableOf(id).get(id); s != nil && s.state == written {
		*done = append(*done, completion{l.remove(id, s), reply})
	}
}

// giveBack counts received bytes; a step's worth of them is sent back as credit.
func (l *lane) giveBack(n int) {
	if l.hello.lane != storev1.Lane_LANE_READ {
		return
	}
	l.mu.Lock()
	before := l.mu.credit
	l.mu.credit += n
	due := before < creditStep && l.mu.credit >= creditStep
	l.mu.Unlock()
	if due {
		signal(l.wake)
	}
}
