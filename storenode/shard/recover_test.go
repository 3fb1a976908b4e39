// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// files lists what of a kind lies in the replica's folder, oldest first.
func files(t *testing.T, d *disk.Memory, part string) (found []string) {
	t.Helper()
	names, err := d.List("s")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(name, part) {
			found = append(found, filepath.Join("s", name))
		}
	}
	return found
}

// indexes lists the index files of the segments that the log has.
func indexes(t *testing.T, d *disk.Memory) []string {
	t.Helper()
	logs := files(t, d, ".log")
	return slices.DeleteFunc(files(t, d, ".idx"), func(name string) bool {
		return !slices.Contains(logs, strings.TrimSuffix(name, ".idx")+".log")
	})
}

func remove(t *testing.T, d *disk.Memory, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := d.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// spoil flips a bit in the middle of each file.
func spoil(t *testing.T, d *disk.Memory, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := disk.ReadFile(d, name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 4
		if err := disk.Replace(d, name, b); err != nil {
			t.Fatal(err)
		}
	}
}

// cut leaves half of a file.
func cut(t *testing.T, d *disk.Memory, name string) {
	t.Helper()
	b, err := disk.ReadFile(d, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Replace(d, name, b[:len(b)/2]); err != nil {
		t.Fatal(err)
	}
}

// retaining keeps all there is, or half a MiB of it.
func retaining(d *disk.Memory, trimmed bool) setting {
	return setting{disk: d, dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) {
		if o.RetentionMS = 1 << 50; trimmed {
			o.RetentionBytes = 512 << 10
		}
	}}
}

// TestLostDerivedFiles loses files that the log can make again. Nothing that it
// holds may be missing afterwards, and no settled message may come back.
func TestLostDerivedFiles(t *testing.T) {
	const sent, settled = 90, 20
	tests := map[string]func(*testing.T, *disk.Memory){
		"an index":           func(t *testing.T, d *disk.Memory) { remove(t, d, indexes(t, d)[3]) },
		"two indexes":        func(t *testing.T, d *disk.Memory) { remove(t, d, indexes(t, d)[3:5]...) },
		"the oldest index":   func(t *testing.T, d *disk.Memory) { remove(t, d, indexes(t, d)[0]) },
		"the newest index":   func(t *testing.T, d *disk.Memory) { all := indexes(t, d); remove(t, d, all[len(all)-1]) },
		"all indexes":        func(t *testing.T, d *disk.Memory) { remove(t, d, indexes(t, d)...) },
		"half an index":      func(t *testing.T, d *disk.Memory) { cut(t, d, indexes(t, d)[2]) },
		"newest checkpoint":  func(t *testing.T, d *disk.Memory) { remove(t, d, files(t, d, "ckpt-")[1]) },
		"checkpoint damaged": func(t *testing.T, d *disk.Memory) { spoil(t, d, files(t, d, "ckpt-")[1]) },
		"newest checkpoint and retired indexes": func(t *testing.T, d *disk.Memory) {
			live := indexes(t, d)
			retired := slices.DeleteFunc(files(t, d, ".idx"), func(name string) bool { return slices.Contains(live, name) })
			remove(t, d, append(retired, files(t, d, "ckpt-")[1])...)
		},
		"checkpoint and index": func(t *testing.T, d *disk.Memory) {
			remove(t, d, files(t, d, "ckpt-")[1], indexes(t, d)[3])
		},
	}
	for name, lose := range tests {
		for _, trimmed := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " behind a trim"}[trimmed], func(t *testing.T) {
				d := disk.NewMemory()
				at := retaining(d, trimmed)
				l := beginOn(t, at)
				l.bulk(0, sent)
				if trimmed {
					l.until(61_000, func() bool { return l.minimum() > 10 })
				}
				for n := 0; n < settled; {
					got := l.take(1, hourMS)
					for i := range got.Messages { // none: retention took it meanwhile
						l.verdict(named(got, i), storeapi.Ack, 0)
						n++
					}
				}
				want := held(l)
				at.offset = l.offset.Load()
				l.stop()
				lose(t, d)
				l = beginOn(t, at)
				defer l.stop()
				if got := held(l); !slices.Equal(got, want) {
					t.Fatalf("held %v, after the loss %v", want, got)
				}
				l.bulk(1000, 20) // it seals, writes indexes and checkpoints as ever
			})
		}
	}
}

// held lists the offsets that can be received, reading each body; their leases
// pass before it returns.
func held(l *life) (all []ident.Offset) {
	l.t.Helper()
	for {
		got := l.take(64, 1_000)
		if len(got.Messages) == 0 {
			break
		}
		for _, m := range got.Messages {
			all = append(all, m.Offset)
		}
		if len(all) > 10_000 {
			l.t.Fatal("the same messages again and again")
		}
	}
	l.offset.Add(2_000)
	return all
}

// TestLostSegmentsAreNoticed: a log whose files are gone is not taken for one
// that was trimmed, wherever they were.
func TestLostSegmentsAreNoticed(t *testing.T) {
	tests := map[string]func([]string) string{
		"the oldest":     func(all []string) string { return all[0] },
		"in the middle":  func(all []string) string { return all[len(all)/2] },
		"before the end": func(all []string) string { return all[len(all)-2] },
		"the newest":     func(all []string) string { return all[len(all)-1] },
		"half of one":    func(all []string) string { return all[len(all)/2] },
	}
	for name, pick := range tests {
		for _, trimmed := range []bool{false, true} {
			lose := func(t *testing.T, d *disk.Memory, name string) { remove(t, d, name) }
			if strings.HasPrefix(name, "half") {
				lose = cut
			}
			t.Run(name+map[bool]string{true: " behind a trim"}[trimmed], func(t *testing.T) {
				d := disk.NewMemory()
				at := retaining(d, trimmed)
				l := beginOn(t, at)
				l.bulk(0, 90)
				if trimmed {
					l.until(61_000, func() bool { return l.minimum() > 10 })
				}
				l.stop()
				lose(t, d, pick(files(t, d, ".log")))
				if why := l.failure(); !strings.Contains(why, "LSN") {
					t.Fatalf("failed without naming what is missing: %s", why)
				}
			})
		}
	}
}
