// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// script is a controller that does with a watch what the test says.
type script struct {
	controlv1.UnimplementedMetadataServer
	watch func(grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse]) error
}

func (s *script) Watch(stream grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse]) error {
	return s.watch(stream)
}

type stream = grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse]

// follow starts a watcher of the scripts and returns its table, and what Run returned.
func follow(t *testing.T, scripts ...func(stream) error) (*Table, <-chan error) {
	t.Helper()
	dialer := rpc.NewDialer(rpc.Guard{})
	ctx, cancel := context.WithCancel(t.Context())
	var conns []grpc.ClientConnInterface
	served := make(chan error, len(scripts))
	for i, watch := range scripts {
		address := string(rune('a' + i))
		listener, err := dialer.Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		server := rpc.NewServer(rpc.ServerOptions{})
		controlv1.RegisterMetadataServer(server, &script{watch: watch})
		go func() { served <- server.Serve(ctx, []net.Listener{listener}...) }()
		conn, err := dialer.Conn(address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	table := NewTable()
	ended, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(ended)
		result <- NewWatcher(WatcherOptions{Name: "proxy p", Controllers: conns, Table: table}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		for range scripts {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
		if err := dialer.Close(); err != nil {
			t.Error(err)
		}
	})
	return table, result
}

func whole(revision int64, more bool, names ...string) *controlv1.WatchResponse {
	m := &controlv1.WatchResponse{Snapshot: true, Revision: revision, More: more, Cluster: &controlv1.Cluster{Uuid: "c"}}
	for i, name := range names {
		m.Topics = append(m.Topics, &controlv1.Topic{Id: uint64(len(name)*100 + i), Name: name, Revision: revision})
	}
	return m
}

// The state comes in parts, is applied at once, and every applied revision is reported.
func TestWatcherReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan *controlv1.WatchRequest, 10)
		table, _ := follow(t, func(s stream) error {
			hear := func() {
				report, err := s.Recv()
				if err != nil {
					t.Error(err)
				}
				reports <- report
			}
			hear()
			_ = s.Send(whole(7, true, "a"))
			_ = s.Send(whole(7, false, "bb"))
			hear()
			_ = s.Send(&controlv1.WatchResponse{Revision: 9, DeletedTopics: []uint64{100}})
			hear()
			<-s.Context().Done()
			return nil
		})
		hello := <-reports
		if hello.GetWatcher() != "proxy p" || hello.GetAppliedRevision() != 0 {
			t.Errorf("hello %v", hello)
		}
		for _, want := range []int64{7, 9} {
			if got := <-reports; got.GetAppliedRevision() != want {
				t.Errorf("reported %v, want %d", got, want)
			}
		}
		s := table.Snapshot()
		if s.TopicByName("a") != nil || s.TopicByName("bb") == nil || table.Applied() != 9 {
			t.Errorf("applied %d, %v", table.Applied(), s.Counts())
		}
	})
}

// Controllers fail in every way: refuse, end, are behind, say nothing. The watcher goes on to the next, and the table
// stays as it is meanwhile.
func TestWatcherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		silent := make(chan struct{}, 10)
		first := true
		table, _ := follow(t,
			func(stream) error { return fault.Errorf("", fault.Unavailable, "the one at b leads") },
			func(s stream) error { return errors.Join(s.Send(whole(7, false, "a")), errors.New("and gone")) },
			func(s stream) error { // behind at first
				revision := int64(8)
				if first {
					first, revision = false, 6
				}
				if err := s.Send(whole(revision, false)); err != nil {
					return err
				}
				<-s.Context().Done()
				return nil
			},
			func(s stream) error {
				silent <- struct{}{}
				<-s.Context().Done()
				return nil
			})
		if err := table.WaitRevision(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		<-silent
		if table.Snapshot().TopicByName("a") == nil {
			t.Error("what was known is gone")
		}
		if err := table.WaitRevision(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < firstAnswerMax || took > firstAnswerMax+10*retryMax {
			t.Errorf("took %v", took)
		}
	})
}

func TestWatcherRefusesAnotherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, result := follow(t,
			func(s stream) error { return s.Send(whole(7, false)) },
			func(s stream) error {
				return s.Send(&controlv1.WatchResponse{Snapshot: true, Revision: 9, Cluster: &controlv1.Cluster{Uuid: "d"}})
			})
		if err := <-result; !fault.Is(err, fault.Incompatible) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatcherNeedsControllers(t *testing.T) {
	if err := NewWatcher(WatcherOptions{Table: NewTable()}).Run(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}
