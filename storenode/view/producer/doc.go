// SPDX-License-Identifier: Apache-2.0

// Package producer is the view that keeps a replayed send from being stored
// twice. Proxies number their messages per shard; the view remembers, for every
// proxy, where its last messages stand.
//
// # What it promises
//
//   - A message whose (proxy, seq) was applied is a duplicate as long as its
//     number is less than Window below the highest one of that proxy, and is
//     answered with the first one's place.
//   - A number further below is too old: whether it was stored is not known any
//     more, so the caller refuses it.
//   - At most ProxiesMax proxies are remembered; when another one comes, the one
//     with the oldest message, by log time, is forgotten.
//   - Proxy 0 and seq 0 mean that the message has no number: it is never a
//     duplicate and never remembered.
//
// # Checkpoint, version 1
//
//	version u8, n uv, n × { proxy u64, last_ms sv, highest uv, m uv,
//	                        m × { highest − seq uv, lsn uv, offset uv } }
//
// proxies sorted by number, messages by falling seq.
package producer
