// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden checkpoint of the version that this build writes")

const goldenV1 = "testdata/checkpoint-v1.hex"

func encoded(t testing.TB, d *Deliveries) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sample is a state with one of everything that the encoding has.
func sample(t *testing.T) *Deliveries {
	st := newStage(t, 3, 200)
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 { return uint32(o % 2) }
	h, got := st.receive(150, hashFilter(1))
	st.ack(h, got[10:100]...)
	st.release(h, got[0], 77, true)
	st.release(h, got[1], 0, false)
	st.nowMS += 500
	st.grant(st.choose(70, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "zoe", AttemptHash: 1<<63 + 5})
	st.nowMS += 700
	st.grant(st.choose(70, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "anna"})
	st.d.ApplyRenew(st.header(), &record.Renew{Items: st.d.AppendRenewals(nil, 0, record.RenewItem{Owner: "zoe", Terminated: true})})
	st.d.ApplyTrim(st.key.Topic, 0, 5)
	st.d.ApplyGroupConfig(8, GroupConfig{AttemptsMax: 250, LateAck: true})
	st.d.ApplyStart(Key{8, 9}, Start{Kind: record.StartTime, TimeMS: 1 << 40, Revision: 12})
	st.d.ApplyReset(st.header(), &record.GroupReset{Group: 8, Topic: 10, Generation: 3, Kind: record.StartLatest})
	st.d.ApplyOffsetCommit(st.header(), &record.OffsetCommit{Items: []record.OffsetItem{
		{Group: 8, Topic: 10, Generation: 3, Queue: 1 << 63, Offset: 9},
		{Group: 8, Topic: 10, Generation: 3, Queue: 4, Offset: 1 << 40},
	}})
	return st.d
}

// The bytes of version 1 are for ever: a build that writes another version must
// still read them.
func TestGolden(t *testing.T) {
	want := sample(t)
	if *rewrite {
		text := hex.Dump(encoded(t, want))
		if err := os.WriteFile(goldenV1, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := New()
	if err := got.Restore(bytes.NewReader(golden(t))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, want), encoded(t, got)) || want.Digest() != got.Digest() {
		t.Fatal("the golden checkpoint is another state")
	}
	if encodingVersion == 1 && !bytes.Equal(encoded(t, got), golden(t)) {
		t.Fatal("version 1 is written in other bytes")
	}
}

func golden(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile(goldenV1)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for line := range strings.Lines(string(text)) {
		if len(line) < 60 {
			continue // the length at the end
		}
		b, err := hex.DecodeString(strings.ReplaceAll(line[10:58], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// Every prefix is refused, and no flipped bit is taken for another state that
// breaks what apply relies on.
func TestDamage(t *testing.T) {
	whole := golden(t)
	for n := range whole {
		d := New()
		if err := d.Restore(bytes.NewReader(whole[:n])); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
		if len(d.pairs)+d.chunks.used != 0 {
			t.Fatalf("%d of %d bytes leave state", n, len(whole))
		}
	}
	for bit := range 8 * len(whole) {
		flipped := bytes.Clone(whole)
		flipped[bit/8] ^= 1 << (bit % 8)
		exercise(t, flipped)
	}
}

// exercise restores bytes that may be anything. If they are a state, it is a
// sound one: it encodes to a state that is equal, and can be worked with.
func exercise(t *testing.T, b []byte) {
	d := New()
	if err := d.Restore(bytes.NewReader(b)); err != nil {
		if !fault.Is(err, fault.Corrupt) {
			t.Fatalf("kind %v: %v", fault.KindOf(err), err)
		}
		return
	}
	first := encoded(t, d)
	again := New()
	if err := again.Restore(bytes.NewReader(first)); err != nil {
		t.Fatalf("what was restored does not restore: %v", err)
	}
	if !bytes.Equal(first, encoded(t, again)) {
		t.Fatal("restored twice, it is another state")
	}
	s := NewSelector(d)
	s.Reset()
	for k, p := range d.pairs {
		req := &SelectRequest{Key: k, Max: 10, NowMS: d.epochMS + 1<<32}
		for _, qi := range p.order {
			req.Queues = append(req.Queues, QueueState{ID: d.queues.at(qi).id, Next: ident.Offset(d.queues.at(qi).next)})
		}
		sel := s.Select(req)
		var out GrantOutcome
		d.ApplyGrant(&record.Header{LSN: 1 << 62, Term: 1 << 62, TimeMS: req.NowMS}, &record.PopGrant{
			Group: k.Group, Topic: k.Topic, Generation: sel.Generation, Items: sel.Items,
		}, &out)
		s.Applied(sel)
	}
	for k := range d.pairs {
		d.DropGroup(k.Group)
	}
	if d.chunks.used+d.slabs.used+d.grants.used+d.queues.used+len(d.heap) != 0 {
		t.Fatal("dropping everything leaves something")
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(golden(f))
	f.Add(encoded(f, New()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { exercise(t, b) })
}

type brokenReader struct{}

var errBroken = errors.New("broken")

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestErrorsOfReadersAndWriters(t *testing.T) {
	if err := New().Restore(brokenReader{}); !errors.Is(err, errBroken) || fault.Is(err, fault.Corrupt) {
		t.Fatal(err)
	}
	if err := sample(t).Checkpoint(brokenWriter{}); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
}
