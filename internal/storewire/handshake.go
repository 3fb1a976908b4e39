// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// hello is the first message of a stream.
type hello struct {
	version     uint64
	proxy       string
	incarnation uint64
	lane        storev1.Lane
}

// frame encodes the hello with the first credit.
func (h *hello) frame() *outFrame {
	b, at := open(nil, 1)
	b = putUint(b, 1, version)
	b = putText(b, 2, h.proxy)
	b = putUint(b, 3, h.incarnation)
	b = putInt(b, 4, int64(h.lane))
	shut(b, at)
	b = putCount(b, 4, storeapi.BytesMax)
	return plainFrame(b)
}

func plainFrame(b []byte) *outFrame { return &outFrame{buf: &b, pool: mem.NopBufferPool{}} }

// decodeHello decodes the first message of a stream.
func decodeHello(b []byte) (h hello, credit int, err error) {
	r := reader{rest: b}
	greeted := false
	for r.next() {
		switch r.num {
		case 1:
			greeted = true
			s := r.sub()
			for s.next() {
				switch s.num {
				case 1:
					h.version = s.uint()
				case 2:
					h.proxy = s.text()
				case 3:
					h.incarnation = s.uint()
				case 4:
					h.lane = storev1.Lane(s.uint32()) //nolint:gosec // checked below
				}
			}
			r.done(&s)
		case 4:
			credit = int(min(r.uint(), storeapi.BytesMax))
		case 2, 3:
			r.fail(errors.New("operations before the welcome"))
		}
	}
	switch {
	case r.err != nil:
		return h, 0, r.err
	case !greeted:
		return h, 0, errors.New("the first message has no hello")
	case h.version != version:
		return h, 0, fmt.Errorf("the proxy speaks version %d of the store protocol, this node %d", h.version, version)
	case h.lane != storev1.Lane_LANE_WRITE && h.lane != storev1.Lane_LANE_READ:
		return h, 0, fmt.Errorf("lane %d", h.lane)
	}
	return h, credit, nil
}

// welcomeFrame encodes the store's answer to a hello.
func welcomeFrame() *outFrame {
	b, at := open(nil, 1)
	b = putUint(b, 1, version)
	shut(b, at)
	return plainFrame(b)
}

// checkWelcome reports whether b is a welcome.
func checkWelcome(b []byte) error {
	r := reader{rest: b}
	welcomed := false
	for r.next() {
		welcomed = welcomed || r.num == 1
	}
	if r.err == nil && !welcomed {
		return errors.New("the store's first message is no welcome")
	}
	return r.err
}
