// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

const (
	// frameMax bounds one message on a stream: small enough that a large answer
	// does not hold up the small ones behind it.
	frameMax = 256 << 10
	// partMin is the size from which an encoded Op or Reply is cut into parts.
	partMin = 64 << 10
	// frameFull is where a message takes no more whole Ops or Replies: one more
	// of partMin still fits.
	frameFull = frameMax - partMin - 1024
	// totalMax bounds an Op or Reply that arrives in parts: BytesMax of payloads
	// and what stands around them.
	totalMax = 40 << 20
	// textsMax bounds the ids, filters and keys of an Op; it fits totalMax beside
	// the rest.
	textsMax = 4 << 20
)

// contentSubtype names the codec to gRPC.
const contentSubtype = "mansio-store"

// outFrame is a message on its way out; gRPC returns its buffer to the pool.
type outFrame struct {
	buf  *[]byte
	pool mem.BufferPool
}

// inFrame is a message that has arrived. The collector owns its bytes, so what
// is decoded from them may share them.
type inFrame struct{ data []byte }

// codec passes frames through gRPC as they are.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func init() { encoding.RegisterCodecV2(codec{}) } //nolint:gochecknoinits // gRPC finds codecs by content subtype

func (codec) Name() string { return contentSubtype }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*outFrame)
	if !ok {
		return nil, fmt.Errorf("storewire: cannot marshal %T", v)
	}
	return mem.BufferSlice{mem.NewBuffer(f.buf, f.pool)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*inFrame)
	if !ok {
		return fmt.Errorf("storewire: cannot unmarshal into %T", v)
	}
	if n := data.Len(); n > frameMax {
		return fmt.Errorf("storewire: a message of %d bytes, the limit is %d", n, frameMax)
	}
	f.data = data.Materialize()
	return nil
}
