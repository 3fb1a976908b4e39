// SPDX-License-Identifier: Apache-2.0

package wire

import "github.com/cespare/xxhash/v2"

// hash64 is ident.Hash64 of a text that is still bytes.
func hash64(text []byte) uint64 { return xxhash.Sum64(text) }
