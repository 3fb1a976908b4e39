// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Frame is one message of the protocol in encoded form. Sending it once uses it
// up.
type Frame struct{ data mem.BufferSlice }

// Raw is one received message in encoded form. Its bytes are valid until Free.
type Raw struct{ data mem.Buffer }

// Bytes are the encoded message; nobody may change them.
func (r *Raw) Bytes() []byte {
	if r.data == nil {
		return nil
	}
	return r.data.ReadOnlyData()
}

// Free gives the bytes back to their pool.
func (r *Raw) Free() {
	if r.data != nil {
		r.data.Free()
		r.data = nil
	}
}

// Codec is grpc's protobuf codec, for generated messages, Frame and Raw.
type Codec struct{ proto encoding.CodecV2 }

var _ encoding.CodecV2 = Codec{}

// NewCodec returns the codec; it is safe for concurrent use.
func NewCodec() Codec { return Codec{proto: encoding.GetCodecV2(protocodec.Name)} }

// Marshal encodes a *Frame or a generated message.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*Frame); ok {
		data := f.data
		f.data = nil
		return data, nil
	}
	return c.proto.Marshal(v)
}

// Unmarshal decodes into a *Raw or a generated message.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(*Raw); ok {
		r.Free()
		r.data = data.MaterializeToBuffer(mem.DefaultBufferPool())
		return nil
	}
	return c.proto.Unmarshal(data, v)
}

// Name is that of grpc's protobuf codec: the bytes on the wire are the same.
func (c Codec) Name() string { return protocodec.Name }
