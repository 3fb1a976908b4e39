// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

const (
	killsDefault  = 3
	killProducers = 4
	killConsumers = 4
	killLease     = 3 * time.Second
	heldCount     = 20
)

// ledger is what the clients of the kill test were told. All of it is from the outside: what was answered OK.
type ledger struct {
	mu        sync.Mutex
	sent      map[string]bool         // answered sends, by message id
	attempts  map[string]map[int]bool // deliveries seen, by message id and attempt
	settled   map[string]int          // answered acks, by message id: the attempt that was acknowledged
	doubtful  map[string]bool         // acks without an answer, by message id
	lost      int                     // how often a grant can have been seen by nobody: kills, and receives cut short
	receives  int                     // receives that ended in an error
	conflicts []string
}

func newLedger() *ledger {
	return &ledger{
		sent: map[string]bool{}, attempts: map[string]map[int]bool{}, settled: map[string]int{},
		doubtful: map[string]bool{},
	}
}

func (l *ledger) conflict(format string, args ...any) {
	l.conflicts = append(l.conflicts, fmt.Sprintf(format, args...))
}

func (l *ledger) send(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = true
}

// failed notes a receive that ended in an error. Those that end with the process are counted by kill.
func (l *ledger) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.receives++
	if status.Code(err) != codes.Unavailable {
		l.lost++
	}
}

// kill notes that answers under way are lost: a message is under way at most once.
func (l *ledger) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
}

// deliver checks one delivery: its attempt is new, and nobody acknowledged an earlier one.
func (l *ledger) deliver(id string, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.attempts[id]
	if seen == nil {
		seen = map[int]bool{}
		l.attempts[id] = seen
	}
	if seen[attempt] {
		l.conflict("%s: attempt %d was delivered twice", id, attempt)
	}
	if attempt < 1 || attempt > len(seen)+1+l.lost {
		l.conflict("%s: attempt %d, but only %d deliveries were seen and at most %d lost", id, attempt, len(seen), l.lost)
	}
	seen[attempt] = true
	if acked, ok := l.settled[id]; ok && attempt > acked {
		l.conflict("%s: attempt %d came after attempt %d was acknowledged", id, attempt, acked)
	}
}

// settle notes an answered ack. A message that a later delivery settled answers OK to older handles too, so this says
// nothing about older attempts.
func (l *ledger) settle(id string, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[id] = max(l.settled[id], attempt)
}

// doubt notes an ack without an answer: it may have been done or not.
func (l *ledger) doubt(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtful[id] = true
}

// open counts the messages whose send was answered and that no ack can have settled.
func (l *ledger) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for id := range l.sent {
		if _, ok := l.settled[id]; !ok && !l.doubtful[id] {
			n++
		}
	}
	return n
}

func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MANSIO_KILLS")
	if text == "" {
		return killsDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MANSIO_KILLS=%q is not a positive number", text)
	}
	return n
}

// TestKill kills the server at random moments under producers and consumers and restarts it on its data: every send
// that was answered is received, no acknowledged message comes back, attempts count on, and leases outlive the process.
func TestKill(t *testing.T) {
	t.Parallel()
	p, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	topic, group, holders := unique(t), unique(t), unique(t)
	for _, args := range [][]string{
		{"topic", "create", topic, "--type", "normal"},
		{"group", "create", group, "--max-attempts", "250"},
	} {
		if _, err := server.Run(t.Context(), bin, append(args, "--server", p.Addr)...); err != nil {
			t.Fatal(err)
		}
	}
	held := holdSome(t, p.Addr, topic, holders)

	book := newLedger()
	stop := startClients(t, p.Addr, topic, group, book)
	killAndRestart(t, p, kills(t), book)
	settleAll(t, book, stop)

	book.mu.Lock()
	defer book.mu.Unlock()
	for i, text := range book.conflicts {
		if i == 10 {
			t.Errorf("and %d more", len(book.conflicts)-i)
			break
		}
		t.Error(text)
	}
	lost := 0
	for id := range book.sent {
		if len(book.attempts[id]) == 0 {
			lost++
		}
	}
	t.Logf("%d sends answered, %d acks answered, %d receives ended in an error, %d messages lost", len(book.sent), len(book.settled),
		book.receives, lost)
	if lost > 0 || len(book.sent) == 0 {
		t.Errorf("%d of %d answered sends were never received", lost, len(book.sent))
	}
	wantStillHeld(t, p.Addr, holders, held)
}

// holdSome leases messages for longer than the test runs.
func holdSome(t *testing.T, addr, topic, group string) map[string]*v2.Message {
	t.Helper()
	c := dialTo(t, addr, false)
	for i := range heldCount {
		send(t, c, raw.Message(topic, fmt.Sprint("held ", i)))
	}
	held := map[string]*v2.Message{}
	for len(held) < heldCount {
		for _, m := range receive(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Hour}) {
			held[m.GetSystemProperties().GetMessageId()] = m
		}
	}
	return held
}

// wantStillHeld acknowledges with handles from before the first kill.
func wantStillHeld(t *testing.T, addr, group string, held map[string]*v2.Message) {
	t.Helper()
	c := dialTo(t, addr, false)
	for _, m := range held {
		ack(t, c, group, m, v2.Code_OK)
	}
}

// startClients runs producers and consumers until stop is called: stop(false) ends the producers, stop(true) all.
func startClients(t *testing.T, addr, topic, group string, book *ledger) (stop func(all bool)) {
	t.Helper()
	producing, endProducing := context.WithCancel(t.Context())
	consuming, endConsuming := context.WithCancel(t.Context())
	var producers, consumers sync.WaitGroup
	for range killProducers {
		c := dialTo(t, addr, false)
		producers.Go(func() { produce(producing, c, topic, book) })
	}
	for range killConsumers {
		c := dialTo(t, addr, false)
		consumers.Go(func() { consume(consuming, c, topic, group, book) })
	}
	stop = func(all bool) {
		endProducing()
		producers.Wait()
		if all {
			endConsuming()
			consumers.Wait()
		}
	}
	t.Cleanup(func() { stop(true) })
	return stop
}

func produce(ctx context.Context, c *raw.Client, topic string, book *ledger) {
	for n := 0; ctx.Err() == nil; n++ {
		m := raw.Message(topic, fmt.Sprint(c.ID, " ", n))
		resp, err := c.Send(ctx, m)
		if err == nil && resp.GetStatus().GetCode() == v2.Code_OK {
			book.send(m.GetSystemProperties().GetMessageId())
		}
		// Paced, so that one machine can also receive and settle all of it.
		pause(ctx, 5*time.Millisecond)
	}
}

func consume(ctx context.Context, c *raw.Client, topic, group string, book *ledger) {
	for n := 0; ctx.Err() == nil; n++ {
		got, err := c.Receive(ctx, raw.Receive{
			Group: group, Topic: topic, Invisible: killLease, Poll: time.Second, Deadline: 3 * time.Second,
		})
		for _, m := range got.Messages {
			book.deliver(m.GetSystemProperties().GetMessageId(), int(attempt(m)))
		}
		if err != nil {
			book.failed(err)
			pause(ctx, 20*time.Millisecond)
			continue
		}
		for i, m := range got.Messages {
			// One in eight is left to its lease the first time.
			if attempt(m) == 1 && (i+n)%8 == 0 {
				continue
			}
			resp, err := c.Ack(ctx, group, topic, raw.Entry(m))
			switch id := m.GetSystemProperties().GetMessageId(); {
			case err != nil:
				book.doubt(id)
			case resp.GetStatus().GetCode() == v2.Code_OK:
				book.settle(id, int(attempt(m)))
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func killAndRestart(t *testing.T, p *server.Process, n int, book *ledger) {
	t.Helper()
	for i := range n {
		pause(t.Context(), 300*time.Millisecond+rand.N(900*time.Millisecond))
		select {
		case <-p.Dead():
			t.Fatalf("the server ended by itself:\n%s", p.LogTail())
		default:
		}
		p.Kill()
		book.kill()
		start := time.Now()
		if err := p.Start(t.Context()); err != nil {
			t.Fatalf("restart %d: %v", i+1, err)
		}
		t.Logf("restart %d: ready after %v", i+1, time.Since(start))
	}
	pause(t.Context(), 500*time.Millisecond)
}

// settleAll ends the producers and waits until every answered send has an answered ack.
func settleAll(t *testing.T, book *ledger, stop func(all bool)) {
	t.Helper()
	stop(false)
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for book.open() > 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			stop(true)
			t.Errorf("%d answered sends have no answered ack after 60 s", book.open())
			return
		}
	}
	// What was acknowledged must stay away for longer than a lease.
	pause(t.Context(), killLease+time.Second)
	stop(true)
}
