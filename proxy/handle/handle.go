// SPDX-License-Identifier: Apache-2.0

package handle

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"sync"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
)

const (
	version  = 1
	bodySize = 65
	macSize  = 8
	rawSize  = bodySize + macSize

	// Size is the length of every handle's text.
	Size = (rawSize*8 + 5) / 6
)

// ErrInvalid says that a text is no handle of this cluster. It does not say
// why: the answer to a forger is always the same.
var ErrInvalid = errors.New("handle: not a receipt handle of this cluster")

// Handle is what a receipt handle says.
type Handle struct {
	Shard ident.Shard
	storeapi.Delivery
}

// Key is a secret that signs handles, with the number by which handles name it.
type Key struct {
	ID     uint32
	Secret []byte
}

// Codec makes and reads the handles of one cluster. It is safe for concurrent use.
type Codec struct {
	cluster uint32
	keys    map[uint32]*signer
	signing *signer
}

type signer struct {
	id   uint32
	pool sync.Pool // of *mac
}

type mac struct {
	h   hash.Hash
	sum [sha256.Size]byte
	raw [rawSize]byte
}

// NewCodec returns the codec of the cluster with that UUID. The last key signs,
// all of them verify. Without a key the codec can do neither: Append returns
// nothing and every text is invalid.
func NewCodec(clusterUUID string, keys []Key) *Codec {
	c := &Codec{cluster: ident.Hash32(clusterUUID), keys: make(map[uint32]*signer, len(keys))}
	for _, k := range keys {
		secret := append([]byte(nil), k.Secret...)
		s := &signer{id: k.ID}
		s.pool.New = func() any { return &mac{h: hmac.New(sha256.New, secret)} }
		c.keys[k.ID] = s
		c.signing = s
	}
	return c
}

// CanSign reports whether the codec has a key.
func (c *Codec) CanSign() bool { return c.signing != nil }

// Append appends h's text to dst.
func (c *Codec) Append(dst []byte, h *Handle) []byte {
	s := c.signing
	if s == nil {
		return dst
	}
	m := s.pool.Get().(*mac) //nolint:forcetypeassert // the pool holds nothing else
	defer s.pool.Put(m)
	le := binary.LittleEndian
	b := m.raw[:0]
	b = append(b, version)
	b = le.AppendUint32(b, s.id)
	b = le.AppendUint32(b, c.cluster)
	b = le.AppendUint32(b, uint32(h.Shard))
	b = le.AppendUint64(b, uint64(h.Topic))
	b = le.AppendUint64(b, uint64(h.Group))
	b = le.AppendUint64(b, uint64(h.Queue))
	b = le.AppendUint64(b, uint64(h.Offset))
	b = le.AppendUint64(b, uint64(h.Term))
	b = le.AppendUint64(b, uint64(h.Grant))
	b = le.AppendUint32(b, uint32(h.Generation))
	b = append(b, m.sign(b)...)
	return base64.RawURLEncoding.AppendEncode(dst, b)
}

// sign returns the MAC of body; the result is valid until m is used again.
func (m *mac) sign(body []byte) []byte {
	m.h.Reset()
	m.h.Write(body)
	return m.h.Sum(m.sum[:0])[:macSize]
}

// Parse reads a handle's text, or says ErrInvalid.
func (c *Codec) Parse(text string) (Handle, error) {
	var raw [rawSize]byte
	if len(text) != Size {
		return Handle{}, ErrInvalid
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text)); err != nil || n != rawSize {
		return Handle{}, ErrInvalid
	}
	le := binary.LittleEndian
	s := c.keys[le.Uint32(raw[1:])]
	if raw[0] != version || s == nil || le.Uint32(raw[5:]) != c.cluster {
		return Handle{}, ErrInvalid
	}
	m := s.pool.Get().(*mac) //nolint:forcetypeassert // the pool holds nothing else
	genuine := hmac.Equal(m.sign(raw[:bodySize]), raw[bodySize:])
	s.pool.Put(m)
	if !genuine {
		return Handle{}, ErrInvalid
	}
	return Handle{
		Shard: ident.Shard(le.Uint32(raw[9:])),
		Delivery: storeapi.Delivery{
			Topic:      ident.Topic(le.Uint64(raw[13:])),
			Group:      ident.Group(le.Uint64(raw[21:])),
			Queue:      ident.Queue(le.Uint64(raw[29:])),
			Offset:     ident.Offset(le.Uint64(raw[37:])),
			Term:       ident.Term(le.Uint64(raw[45:])),
			Grant:      ident.LSN(le.Uint64(raw[53:])),
			Generation: ident.Generation(le.Uint32(raw[61:])),
		},
	}, nil
}
