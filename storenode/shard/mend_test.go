// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/replica"
)

// rot flips a bit in a file's bytes, at part of eighths of it.
func rot(t *testing.T, d *disk.Memory, name string, eighths int) []byte {
	t.Helper()
	b, err := disk.ReadFile(d, name)
	if err != nil {
		t.Fatal(err)
	}
	at := len(b) * eighths / 8
	for b[at] == 0 { // not in what only fills up
		at--
	}
	b[at] ^= 2
	if err := disk.Replace(d, name, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// sound reports whether an index file is whole.
func sound(t *testing.T, d *disk.Memory, name string) bool {
	t.Helper()
	base, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".idx"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f, err := index.Open(d, "s", ident.LSN(base))
	if err != nil {
		return false
	}
	bad := f.Verify()
	return f.Close() == nil && bad == nil
}

// everything asks for all that index files say, offsets aside, and reports
// whether all was answered, and every message found by its id and by its time.
func (l *life) everything(n int) bool {
	l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: 1, Client: "c", Filter: storeapi.Filter{
		Kind: storeapi.FilterTags, Tags: []string{"none"},
	}})
	for _, q := range []*storeapi.Query{
		{Topic: topicID, MessageID: "bulk", Max: 256}, {Topic: topicID, FromMS: 1, ToMS: 1 << 60, Max: 256},
	} {
		r, ok := l.do(q).Result.(*storeapi.QueryResult)
		if !ok || len(r.Messages) != n {
			return false
		}
	}
	return true
}

// TestRottenIndexes has bits of index files change under a shard. It makes them
// again from the log while it serves: nothing is lost, and it never fails.
func TestRottenIndexes(t *testing.T) {
	mended := 0
	for eighths := 1; eighths < 8; eighths++ {
		for name, pick := range map[string]func([]string) []string{
			"the oldest": func(all []string) []string { return all[:1] },
			"two":        func(all []string) []string { return []string{all[1], all[3]} },
			"all":        func(all []string) []string { return all },
		} {
			t.Run(name+" "+strconv.Itoa(eighths), func(t *testing.T) {
				d := disk.NewMemory()
				l := begin(t, d, 0)
				l.bulk(0, 40)
				l.stop()
				rotten := map[string][]byte{}
				for _, name := range pick(indexes(t, d)) {
					rotten[name] = rot(t, d, name, eighths)
				}
				l = begin(t, d, l.offset.Load())
				l.until(0, func() bool { return l.everything(40) }) // no time passes: nothing is skipped
				var got []ident.Offset
				l.until(2_000, func() bool {
					for _, m := range l.take(64, hourMS).Messages {
						got = append(got, m.Offset)
					}
					return len(got) >= 40
				})
				slices.Sort(got)
				for i, o := range got {
					if int(o) != i {
						t.Fatalf("received %v", got)
					}
				}
				l.bulk(100, 10)
				if st := l.shard.Status(); st.Role != replica.Leader {
					t.Fatal(st)
				}
				l.stop()
				for name, was := range rotten {
					now, err := disk.ReadFile(d, name)
					if same := bytes.Equal(now, was); err != nil || !same && !sound(t, d, name) {
						t.Errorf("%s was not made again as it should be: %v", name, err)
					} else if !same {
						mended++
					}
				}
			})
		}
	}
	if mended == 0 {
		t.Error("no file was made again")
	}
}

// TestATrimOverRottenIndexes needs the index files of the oldest segments.
func TestATrimOverRottenIndexes(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.bulk(0, 60)
	l.stop()
	for _, name := range indexes(t, d)[:6] {
		rot(t, d, name, 5)
	}
	at := setting{disk: d, dir: "s", offset: l.offset.Load(), segmentBytes: 64 << 10, tune: func(o *Options) {
		o.RetentionMS, o.RetentionBytes = 1<<50, 256<<10
	}}
	l = beginOn(t, at)
	l.until(61_000, func() bool { return l.minimum() > 20 })
	first := l.minimum()
	if got := l.take(1, hourMS); len(got.Messages) != 1 || got.Messages[0].Offset != first {
		t.Fatalf("the first message that is left is at %d, received %+v", first, got.Messages)
	}
	l.stop()
}
