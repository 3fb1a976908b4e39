// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"testing"

	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

func TestSmoke(t *testing.T) {
	o := Options{FS: disk.OS{}, Dir: t.TempDir() + "/s", ClusterHash: 1, Shard: 2, SegmentBytes: 1 << 20, RingBytes: 1 << 16}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := l.Recover(t.Context(), RecoverOptions{}, func(*record.Entry) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Log(rec)
	n := 0
	for range 10000 {
		e := record.Entry{Header: record.Header{PrevCRC: l.Tail().CRC, Type: record.TypeMessage, Version: 1, LSN: l.End(), Term: 1, TimeMS: 1}, Body: make([]byte, 1000)}
		if l.Room() < 1100 {
			e.Type = record.TypeSeal
			e.Body = nil
		}
		b := e.Append(nil)
		if err := l.Append(b, e.Header); err != nil {
			t.Fatal(err)
		}
		n++
		if n%100 == 0 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := l.Read(e.LSN, nil)
		if err != nil || len(got.Body) != len(e.Body) {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	end := l.End()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	rec, err = l.Recover(t.Context(), RecoverOptions{}, func(*record.Entry) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rec)
	if rec.End != end || rec.Entries != n || rec.Torn {
		t.Fatal(rec, end, n)
	}
	l.Close()
}
