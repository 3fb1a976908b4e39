// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// echoVariable makes this test binary the echo server, as the command line is.
const echoVariable = "MANSIO_BENCH_TEST_ECHO"

func TestMain(m *testing.M) {
	if mode := os.Getenv(echoVariable); mode != "" {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
		if err := ServeEcho(ctx, mode == "tls", os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func options(endpoint string) Options {
	return Options{
		Endpoint: endpoint, Topic: "t", Group: "g", Body: 100, InFlight: 4, Count: 200, Batch: 8,
		Wait: 2 * time.Second, Invisible: time.Minute, Drain: 500 * time.Millisecond,
	}
}

func TestLedger(t *testing.T) {
	body := func(run uint64, producer uint32, seq uint64) []byte {
		b := make([]byte, BodyMin)
		mark{run: run, producer: producer, seq: seq, sent: time.Now()}.put(b)
		return b
	}
	l := newLedger(7, 2)
	one, two, three := mark{run: 7, seq: 0}, mark{run: 7, producer: 1, seq: 5}, mark{run: 7, seq: 1}
	l.acknowledge(one)
	l.acknowledge(one) // the same send, answered twice
	l.acknowledge(two)
	l.acknowledge(three)
	if _, first := l.receive(body(7, 0, 0)); !first {
		t.Error("the first delivery is not the first")
	}
	l.receive(body(7, 0, 0)) // duplicate before its ack
	l.done(one)
	l.receive(body(7, 0, 0)) // returned
	l.receive(body(7, 0, 9)) // never acknowledged, still received
	l.receive(body(8, 0, 0)) // another run
	l.receive(body(7, 2, 0)) // a producer that does not exist
	l.receive(body(7, 0, 1<<40))
	l.receive([]byte("something else"))
	if n := l.absent(); n != 2 {
		t.Errorf("%d absent, want 2", n)
	}
	l.receive(body(7, 1, 5))
	l.retry(two)
	l.done(two)
	l.receive(body(7, 1, 5)) // stored twice, most likely
	want := Balance{Acknowledged: 3, Received: 3, Lost: 1, Duplicate: 3, Returned: 1, Foreign: 4}
	got := l.close()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Sound() || (&Balance{Returned: 1}).Sound() || !(&Balance{Duplicate: 5, Foreign: 5}).Sound() {
		t.Error("Sound is wrong")
	}
}

func TestE2E(t *testing.T) {
	for _, c := range []struct {
		name string
		fake *fake
		want Balance
		errs string
	}{
		{"all goes well", &fake{}, Balance{Acknowledged: 200, Received: 200}, ""},
		{"acknowledged and forgotten", &fake{loseEach: 20}, Balance{Acknowledged: 200, Received: 190, Lost: 10}, ""},
		{"stored but answered with an error", &fake{failEach: 50}, Balance{Acknowledged: 200, Received: 200, Duplicate: 4}, "grpc: Unavailable"},
		{"delivered twice", &fake{twiceEach: 25}, Balance{Acknowledged: 200, Received: 200, Duplicate: 8}, ""},
		{"foreign messages", &fake{foreign: []*v2.Message{newMessage("t", []byte("old")), newMessage("t", filler(50))}}, Balance{Acknowledged: 200, Received: 200, Foreign: 2}, ""},
		{"acks that fail at first", &fake{refuseAcks: 5}, Balance{Acknowledged: 200, Received: 200}, "INTERNAL_SERVER_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := E2E(t.Context(), options(c.fake.serve(t)))
			if err != nil {
				t.Fatal(err)
			}
			if c.fake.twiceEach > 0 { // the second copy comes before or after the ack of the first
				r.Ledger.Returned = 0
			}
			if diff := cmp.Diff(&c.want, r.Ledger); diff != "" {
				t.Error(diff)
			}
			if r.Messages != c.want.Received || r.PerSecond <= 0 || r.Delivery.P50 <= 0 {
				t.Errorf("%d messages, %v per second, delivery %+v", r.Messages, r.PerSecond, r.Delivery)
			}
			if c.errs == "" && len(r.Errors) > 0 || c.errs != "" && r.Errors[c.errs] == 0 {
				t.Errorf("errors %v, want %q", r.Errors, c.errs)
			}
			if int64(len(c.fake.acked)) != r.Messages+r.Ledger.Foreign {
				t.Errorf("%d messages were acknowledged at the server", len(c.fake.acked))
			}
		})
	}
}

func TestSendAndReceive(t *testing.T) {
	f := &fake{}
	o := options(f.serve(t))
	r, err := Send(t.Context(), o)
	if err != nil || r.Messages != 200 || f.sends != 200 || r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.Max {
		t.Fatalf("%+v, %v; %d sends", r, err, f.sends)
	}
	o.Count, o.Consumers = 25, 1 // 25 batches of 8
	r, err = Receive(t.Context(), o)
	if err != nil || r.Messages != 200 || len(f.acked) != 200 {
		t.Fatalf("%+v, %v; %d acks", r, err, len(f.acked))
	}
}

func TestRefusals(t *testing.T) {
	f := &fake{routeStatus: v2.Code_TOPIC_NOT_FOUND}
	o := options(f.serve(t))
	for name, run := range map[string]func(context.Context, Options) (*Result, error){"send": Send, "receive": Receive, "e2e": E2E} {
		if _, err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "TOPIC_NOT_FOUND") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*Options){
		"no end":            func(o *Options) { o.Count, o.Duration = 0, 0 },
		"nothing in flight": func(o *Options) { o.InFlight = 0 },
		"no topic":          func(o *Options) { o.Topic = "" },
		"too large":         func(o *Options) { o.Body = 5 << 20 },
		"negative rate":     func(o *Options) { o.Rate = -1 },
		"body too small":    func(o *Options) { o.Body = BodyMin - 1 },
	} {
		o := options("127.0.0.1:1")
		spoil(&o)
		if _, err := E2E(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOpenLoop: one stall of the server counts for every operation that should
// have started meanwhile.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Topic: "t", Body: 1, InFlight: 1, Rate: 100, Duration: 10 * time.Second, WarmUp: time.Second}
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		begin, stalled := time.Now(), false
		l := &load{o: &o, workers: 1, usage: &usage{}, do: func(ctx context.Context, _ int) (int, error) {
			if !stalled && time.Since(begin) > 5*time.Second {
				stalled = true
				pause(ctx, time.Second)
			}
			return 1, nil
		}}
		r := l.run(t.Context())
		if r.Operations != 1000 {
			t.Errorf("%d operations, want 1000", r.Operations)
		}
		// 100 of 1000 operations waited 1 s down to 0: a tenth of them is late.
		if r.Latency.P50 > 1 || r.Latency.P99 < 850 || r.Latency.P99 > 950 {
			t.Errorf("p50 %v ms, p99 %v ms; want below 1 and about 900", r.Latency.P50, r.Latency.P99)
		}
	})
}

// TestClosedLoop: operations of the warm-up do not count, and the rate is that
// of the rest.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Topic: "t", Body: 1, InFlight: 3, Duration: 10 * time.Second, WarmUp: 5 * time.Second}
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		l := &load{o: &o, workers: 3, usage: &usage{}, do: func(ctx context.Context, _ int) (int, error) {
			pause(ctx, 10*time.Millisecond)
			return 2, nil
		}}
		r := l.run(t.Context())
		if r.Operations != 3000 || r.Messages != 6000 || r.PerSecond < 599 || r.PerSecond > 601 {
			t.Errorf("%d operations, %v messages per second; want 3000 and 600", r.Operations, r.PerSecond)
		}
	})
}

func TestProc(t *testing.T) {
	const stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 5 6 7 8 250 50 0 0 20 0 9 0 100 1000 200"
	if d := parseCPU([]byte(stat)); d != 3*time.Second {
		t.Errorf("CPU %v, want 3 s", d)
	}
	if n := parseRSS([]byte("VmPeak:\t  9 kB\nVmRSS:\t    2048 kB\nRssAnon: 1 kB\n")); n != 2<<20 {
		t.Errorf("RSS %d, want 2 MiB", n)
	}
	for _, bad := range []string{"", "42", "42 (x) S 1", ")"} {
		if parseCPU([]byte(bad)) != 0 || parseRSS([]byte(bad)) != 0 {
			t.Errorf("%q is understood", bad)
		}
	}
	if RSS([]int{os.Getpid()}) < 1<<20 || CPU([]int{1 << 30}) != 0 {
		t.Error("this process has no memory, or one that does not exist has CPU time")
	}
}

// TestCompare: echo servers are processes of their own, with and without TLS;
// ratios are medians of rounds.
func TestCompare(t *testing.T) {
	f := &fake{}
	for _, secure := range []bool{false, true} {
		t.Setenv(echoVariable, map[bool]string{false: "plain", true: "tls"}[secure])
		o := options("")
		o.TLS = secure
		if !secure {
			o.Endpoint = f.serve(t)
		}
		rounds := 1
		if !secure {
			rounds = 3
		}
		c, err := Compare(t.Context(), o, rounds, Send, []string{os.Args[0]})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Rounds) != rounds || c.Rounds[0].Echo.Messages != 200 || (c.Throughput > 0) != !secure || c.Connections != 1 {
			t.Errorf("TLS %v: %+v", secure, c)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v is %v", c.v, got)
		}
	}
}
