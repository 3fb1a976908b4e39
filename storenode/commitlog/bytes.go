// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"encoding/binary"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// Fields of an encoded entry header, at the places that package record fixes.

func lePrevCRC(b []byte) uint32 { return binary.LittleEndian.Uint32(b[8:]) }

func leLSN(b []byte) ident.LSN { return ident.LSN(binary.LittleEndian.Uint64(b[16:])) }

func leTerm(b []byte) ident.Term { return ident.Term(binary.LittleEndian.Uint64(b[24:])) }

func leTime(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b[32:])) } //nolint:gosec // the format

func lePadded(b []byte) int { return record.Padded(int(binary.LittleEndian.Uint32(b))) }

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
