// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

// gapMax is the longest time between two send acknowledgements of one store node while another restarts. It is judged
// with SLOW=1 only: on a busy machine it says nothing.
const gapMax = 200 * time.Millisecond

type split struct {
	*server.Cluster
	topic string
}

func startSplit(t *testing.T) split {
	t.Helper()
	cluster, err := server.StartCluster(t.Context(), server.ClusterSpec{
		Bin: bin, Dir: t.TempDir(), Stores: 2, Proxies: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	s := split{cluster, unique(t)}
	if _, err := server.Run(t.Context(), bin, "topic", "create", s.topic, "--type", "normal",
		"--server", s.Proxies[0].Addr); err != nil {
		t.Fatal(err)
	}
	return s
}

type shardLine struct {
	Shard    json.Number `json:"shard"`
	Leader   string      `json:"leader"`
	Term     json.Number `json:"term"`
	InSync   any         `json:"in_sync"`
	Replicas any         `json:"replicas"`
}

func (s split) shards(t *testing.T) []shardLine {
	t.Helper()
	out, err := server.Run(t.Context(), bin, "shard", "list", "--topic", s.topic, "-o", "json",
		"--server", s.Proxies[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	var lines []shardLine
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&lines); err != nil {
		t.Fatalf("shard list -o json: %v\n%s", err, out)
	}
	return lines
}

// TestSplit runs one controller, two store nodes and two proxies as processes.
func TestSplit(t *testing.T) {
	t.Parallel()
	s := startSplit(t)
	t.Run("the topic is spread over both store nodes", func(t *testing.T) {
		leaders := map[string]int{}
		for _, line := range s.shards(t) {
			if line.Shard == "" || line.Term == "" || line.InSync == nil || line.Replicas == nil {
				t.Errorf("incomplete line %+v", line)
			}
			leaders[line.Leader]++
		}
		if leaders["store-0"] == 0 || leaders["store-1"] == 0 {
			t.Errorf("leaders %v, want both store nodes", leaders)
		}
	})
	t.Run("a topic is usable through every proxy when its creation returns", func(t *testing.T) {
		for i := range 4 {
			name := unique(t)
			if _, err := server.Run(t.Context(), bin, "topic", "create", name, "--type", "normal",
				"--server", s.Proxies[i%2].Addr); err != nil {
				t.Fatal(err)
			}
			send(t, dialTo(t, s.Proxies[(i+1)%2].Addr, false), raw.Message(name, "first"))
		}
	})
	t.Run("settle through the proxy that is left", s.settleElsewhere)
	t.Run("a restarted proxy serves old handles", s.restartedProxy)
	t.Run("a store node restarts while the other serves", s.restartedStore)
}

// settleElsewhere sends through A, receives through B, kills B and settles through A.
func (s split) settleElsewhere(t *testing.T) {
	a, b := dialTo(t, s.Proxies[0].Addr, false), dialTo(t, s.Proxies[1].Addr, true)
	group := unique(t)
	want := map[string]bool{}
	for i := range 32 {
		want[send(t, a, raw.Message(s.topic, fmt.Sprint(i)))] = true
	}
	got := drain(t, b, raw.Receive{Group: group, Topic: s.topic, Invisible: 20 * time.Second}, want)
	s.Proxies[1].Kill()
	for i, m := range got {
		switch i % 3 {
		case 0:
			ack(t, a, group, m, v2.Code_OK)
		case 1:
			resp, err := a.Change(t.Context(), group, m, 0)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, "change through the other proxy", resp.GetStatus(), v2.Code_OK)
		case 2:
			ctx, cancel := a.Call(t.Context())
			resp, err := a.ForwardMessageToDeadLetterQueue(ctx, forwardRequest(group, m))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, "forward through the other proxy", resp.GetStatus(), v2.Code_OK)
		}
	}
	again := map[string]bool{}
	for i, m := range got {
		if i%3 == 1 {
			again[m.GetSystemProperties().GetMessageId()] = true
		}
	}
	for _, m := range drain(t, a, raw.Receive{Group: group, Topic: s.topic, Invisible: time.Minute}, again) {
		if attempt(m) != 2 {
			t.Errorf("attempt %d after giving back, want 2", attempt(m))
		}
		ack(t, a, group, m, v2.Code_OK)
	}
	if err := s.Proxies[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// drain receives exactly the messages of want, each once, and then nothing.
func drain(t *testing.T, c *raw.Client, r raw.Receive, want map[string]bool) []*v2.Message {
	t.Helper()
	seen := map[string]bool{}
	var got []*v2.Message
	for len(seen) < len(want) {
		for _, m := range receive(t, c, r) {
			id := m.GetSystemProperties().GetMessageId()
			if seen[id] || !want[id] {
				t.Fatalf("message %s twice or not asked for", id)
			}
			seen[id] = true
			got = append(got, m)
		}
	}
	wantNothing(t, c, r, 200*time.Millisecond)
	return got
}

func (s split) restartedProxy(t *testing.T) {
	b := dialTo(t, s.Proxies[1].Addr, false)
	group := unique(t)
	id := send(t, b, raw.Message(s.topic, "held"))
	var held *v2.Message
	for held == nil {
		for _, m := range receive(t, b, raw.Receive{Group: group, Topic: s.topic, Invisible: time.Minute}) {
			if m.GetSystemProperties().GetMessageId() == id {
				held = m
			}
		}
	}
	if err := s.Proxies[1].Stop(); err != nil {
		t.Errorf("stop of the proxy: %v\n%s", err, s.Proxies[1].LogTail())
	}
	if err := s.Proxies[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ack(t, dialTo(t, s.Proxies[1].Addr, false), group, held, v2.Code_OK)
}

// restartedStore kills and restarts one store node while sends start every 5 ms, and measures the gap between the
// answers of those that succeed. While the node is down only the other one can have answered.
func (s split) restartedStore(t *testing.T) {
	a := dialTo(t, s.Proxies[0].Addr, false)
	group := unique(t)
	acks := s.sendThrough(t, a)
	if os.Getenv("SLOW") == "1" && acks.gap > gapMax {
		t.Errorf("%v between two send answers while the other store node restarted, want at most %v", acks.gap, gapMax)
	}
	leaders := map[string]int{}
	for _, line := range s.shards(t) {
		leaders[line.Leader]++
	}
	if leaders["store-1"] == 0 {
		t.Errorf("leaders %v: the restarted node leads none of its shards", leaders)
	}
	seen := map[string]bool{}
	limit := time.Now().Add(30 * time.Second)
	for len(acks.ids) > 0 && time.Now().Before(limit) {
		got := receiveOnce(t, a, raw.Receive{
			Group: group, Topic: s.topic, Batch: 32, Invisible: time.Minute, Poll: time.Second,
		})
		for _, m := range got.Messages {
			id := m.GetSystemProperties().GetMessageId()
			if seen[id] {
				t.Errorf("message %s twice", id)
			}
			seen[id] = true
			delete(acks.ids, id)
		}
	}
	if len(acks.ids) > 0 {
		t.Errorf("%d acknowledged messages are lost", len(acks.ids))
	}
}

// acknowledged are the sends that were answered OK.
type acknowledged struct {
	mu   sync.Mutex
	ids  map[string]bool
	last time.Time
	gap  time.Duration
}

func (k *acknowledged) add(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids[id] = true
	now := time.Now()
	k.gap = max(k.gap, now.Sub(k.last))
	k.last = now
}

// sendThrough sends while the second store node is killed and restarted, and for a second after that.
func (s split) sendThrough(t *testing.T, c *raw.Client) *acknowledged {
	t.Helper()
	restarted := make(chan error, 1)
	go func() {
		s.Stores[1].Kill()
		restarted <- s.Stores[1].Start(t.Context())
	}()
	acks := &acknowledged{ids: map[string]bool{}, last: time.Now()}
	var wg sync.WaitGroup
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var end <-chan time.Time
	for running := true; running; {
		wg.Go(func() {
			m := raw.Message(s.topic, "meanwhile")
			// A send that was under way to the killed node may be answered late or not at all; it is not counted.
			if resp, err := c.Send(t.Context(), m); err == nil && resp.GetStatus().GetCode() == v2.Code_OK {
				acks.add(m.GetSystemProperties().GetMessageId())
			}
		})
		select {
		case <-tick.C:
		case <-end:
			running = false
		case err := <-restarted:
			if err != nil {
				t.Fatal(err)
			}
			end = time.NewTimer(time.Second).C
		}
	}
	wg.Wait()
	t.Logf("%d sends answered OK, longest gap %v", len(acks.ids), acks.gap)
	return acks
}
