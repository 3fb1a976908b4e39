// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
)

// origin is the view of where the log begins: at its first LSN, or where the
// newest Trim says. A log that begins later has lost files.
//
// As a section: version u8 = 1, start u64 little-endian.
type origin struct{ start ident.LSN }

const (
	originVersion = 1
	originBytes   = 1 + 8
)

func newOrigin() *origin { return &origin{start: commitlog.FirstLSN} }

func (o *origin) encode() []byte {
	return binary.LittleEndian.AppendUint64([]byte{originVersion}, uint64(o.start))
}

// Checkpoint implements view.View.
func (o *origin) Checkpoint(w io.Writer) error {
	_, err := w.Write(o.encode())
	return err
}

// Restore implements view.View.
func (o *origin) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case len(b) != originBytes || b[0] != originVersion:
		return fault.Errorf("", fault.Corrupt, "the log's origin in %d bytes", len(b))
	}
	o.start = ident.LSN(binary.LittleEndian.Uint64(b[1:]))
	return nil
}

// Digest implements view.View.
func (o *origin) Digest() uint64 { return xxhash.Sum64(o.encode()) }

// checkOrigin fails when the log lacks segments that no Trim has retired, and
// gives back those that a Trim retired before the last stop. The Trim may be
// among what an operator gave up: then the next term logs it again.
func (s *Shard) checkOrigin(ctx context.Context) error {
	start, want := s.commitlog.Start(), s.views.origin.start
	switch {
	case start > want && s.meta.Get().Unclean:
		s.views.origin.start, s.retrim = start, start
		return s.applyTrim(ctx, start)
	case start > want:
		return fault.Errorf("recover", fault.Corrupt,
			"the log's files for LSN %d to %d are missing from %s, and nothing retired them: put them back, for example from a backup",
			want, start, s.o.Dir)
	case start < want:
		return s.commitlog.Trim(want)
	}
	return nil
}
