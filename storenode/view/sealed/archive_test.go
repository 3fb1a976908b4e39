// SPDX-License-Identifier: Apache-2.0

package sealed

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/ident"
)

type run struct {
	seg    Segment
	name   string
	closed *int
}

func (r run) Segment() Segment { return r.seg }

func (r run) Close() error {
	*r.closed++
	return errors.New("nobody is told")
}

func names(runs []run) (all string) {
	for _, r := range runs {
		all += r.name
	}
	return all
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestArchive(t *testing.T) {
	var a Archive[run]
	closed := 0
	mk := func(name string, base, end ident.LSN) run { return run{Segment{base, end}, name, &closed} }
	want(t, names(a.Snapshot()), "")
	a.Insert(mk("b", 100, 200))
	a.Insert(mk("d", 300, 400))
	a.Insert(mk("a", 8, 100)) // one that was made again
	a.Insert(mk("c", 200, 300))
	before := a.Snapshot()
	want(t, names(before), "abcd")
	old, ok := a.Replace(mk("C", 200, 300))
	if !ok || old.name != "c" {
		t.Fatal(old, ok)
	}
	want(t, names(a.Retire(99)), "")
	want(t, names(a.Retire(250)), "ab")
	want(t, names(a.Snapshot()), "Cd")
	want(t, names(before), "abcd")
	if closed != 2 {
		t.Fatalf("closed %d", closed)
	}
	if _, ok := a.Replace(mk("A", 8, 100)); ok {
		t.Fatal("replaced what was retired")
	}
	a.Close()
	want(t, names(a.Snapshot()), "")
	if closed != 4 {
		t.Fatalf("closed %d", closed)
	}
}

func TestOverlapCrashes(t *testing.T) {
	for _, seg := range []Segment{{100, 200}, {150, 250}, {50, 101}, {8, 500}, {199, 200}} {
		var a Archive[run]
		a.Insert(run{seg: Segment{100, 200}})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was accepted", seg)
				}
			}()
			a.Insert(run{seg: seg})
		}()
	}
}

// TestConcurrent has readers check that every snapshot is whole while segments
// come, are replaced and go.
func TestConcurrent(t *testing.T) {
	var a Archive[run]
	closed := 0
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				runs := a.Snapshot()
				for i := 1; i < len(runs); i++ {
					if runs[i-1].seg.End != runs[i].seg.Base {
						t.Errorf("%v before %v", runs[i-1].seg, runs[i].seg)
					}
				}
			}
		})
	}
	for i := range ident.LSN(2000) {
		r := run{seg: Segment{i * 8, i*8 + 8}, closed: &closed}
		a.Insert(r)
		a.Replace(r)
		a.Retire(max(i*8, 80) - 80)
	}
	close(done)
	readers.Wait()
	if n := len(a.Snapshot()); n != 11 {
		t.Fatal(n, cmp.Diff(nil, a.Snapshot()))
	}
}
