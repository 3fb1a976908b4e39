// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/meta"
	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// silenceMax is when a node that reports nothing counts as gone. It deposes
// nobody; it only means that the node is not asked for anything.
const silenceMax = 5 * time.Second

// sessionService ties store nodes to the controller.
type sessionService struct {
	controlv1.UnimplementedNodeSessionServer
	c *Controller
}

// Session implements controlv1.NodeSessionServer.
func (s *sessionService) Session(stream grpc.BidiStreamingServer[controlv1.NodeReport, controlv1.NodeCommand]) error {
	r, err := s.c.lead()
	if err != nil {
		return err
	}
	hello, err := stream.Recv()
	if err != nil {
		return err
	}
	node, err := r.join(stream.Context(), hello)
	if fault.Is(err, fault.Incompatible) || fault.Is(err, fault.Invalid) {
		r.log.WarnContext(stream.Context(), "refused a store node", "node", hello.GetName(), "address", hello.GetAddress(), "reason", err)
		return stream.Send(&controlv1.NodeCommand{Refusal: err.Error()})
	}
	if err != nil {
		return err
	}
	session, err := r.sessions.open(node, hello)
	if err != nil {
		return err
	}
	defer r.sessions.close(session)
	r.log.InfoContext(stream.Context(), "a store node joined",
		"node", node.GetName(), "id", node.GetId(), "address", node.GetAddress(), "replicas", len(hello.GetReplicas()))
	welcome := &controlv1.NodeCommand{NodeId: node.GetId(), ClusterUuid: r.table.Snapshot().Cluster().GetUuid()}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	return r.attend(stream, session)
}

// attend listens to reports until the stream or the reign ends, or a newer session
// of the same node takes over.
func (r *reign) attend(stream grpc.BidiStreamingServer[controlv1.NodeReport, controlv1.NodeCommand], session *session) error {
	heard := make(chan error, 1)
	go func() { // ends with the call
		for {
			report, err := stream.Recv()
			if err != nil {
				heard <- err
				return
			}
			r.sessions.note(session, report)
		}
	}()
	select {
	case err := <-heard:
		r.log.WarnContext(stream.Context(), "a store node's session ended", "node", session.name, "id", session.node, "error", err)
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	case <-r.life.Done():
		return errOver
	case <-session.replaced:
		return fault.Errorf("", fault.Unavailable, "a newer session of this node took over")
	}
}

// join finds out who a node is and enters it into the metadata. Errors of kind
// Incompatible and Invalid are refusals: one sentence for whoever started the node.
func (r *reign) join(ctx context.Context, report *controlv1.NodeReport) (*controlv1.Node, error) {
	if err := meta.CheckNodeName(report.GetName()); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(report.GetAddress()); err != nil || report.GetDataUuid() == "" || report.GetInstance() == 0 {
		return nil, fault.Errorf("join", fault.Invalid, "node %s gives no address (%q), data UUID or instance: give --advertise",
			report.GetName(), report.GetAddress())
	}
	free, err := r.names.take(ctx, "node "+report.GetName())
	if err != nil {
		return nil, err
	}
	defer free()
	ids, err := r.book.LastIDs(ctx)
	if err != nil {
		return nil, err
	}
	have := &controlv1.Node{}
	key := r.book.Keys.Node(report.GetName())
	revision, err := r.book.Read(ctx, key, have)
	if err != nil {
		return nil, err
	}
	if err := admit(report, r.table.Snapshot(), have, ids); err != nil {
		return nil, err
	}
	node := proto.CloneOf(have)
	node.Name, node.DataUuid = report.GetName(), report.GetDataUuid()
	node.Address, node.Zone, node.Instance = report.GetAddress(), report.GetZone(), report.GetInstance()
	if proto.Equal(node, have) {
		return node, r.table.WaitRevision(ctx, revision)
	}
	node.SeenMs = r.config.Now().UnixMilli()
	return r.enter(ctx, node, revision)
}

// enter writes a node, with a new id if it has none.
func (r *reign) enter(ctx context.Context, node *controlv1.Node, revision int64) (*controlv1.Node, error) {
	key := r.book.Keys.Node(node.GetName())
	var err error
	if node.GetId() == 0 {
		revision, err = r.book.CommitWithIDs(ctx, func(ids *metastore.Counters, draft *metastore.Draft) error {
			node.Id = ids.Object()
			draft.Expect(key, 0)
			draft.Put(key, node)
			return nil
		})
	} else {
		draft := &metastore.Draft{}
		draft.Expect(key, revision)
		draft.Put(key, node)
		revision, err = r.book.Commit(ctx, draft)
	}
	if err != nil {
		return nil, err
	}
	node.Revision = revision
	return node, r.table.WaitRevision(ctx, revision)
}

// sessions knows which nodes report.
type sessions struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		open   map[ident.Node]*session // guarded
		change chan struct{}           // guarded; closed when a live node or what it says of its replicas changed
	}
}

// session is one connected node.
type session struct {
	node     ident.Node
	name     string
	instance uint64
	replaced chan struct{} // closed when a newer session took over
	seen     time.Time     // guarded by sessions.mu
	report   plan.Node     // guarded by sessions.mu
}

func newSessions(now func() time.Time) *sessions {
	s := &sessions{now: now}
	s.mu.open = make(map[ident.Node]*session)
	s.mu.change = make(chan struct{})
	return s
}

// open begins a session. While another process of the same folder reports, it is
// not let in: somebody copied the folder, or the old one is not quite gone.
func (s *sessions) open(node *controlv1.Node, report *controlv1.NodeReport) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ident.Node(node.GetId())
	if old := s.mu.open[id]; old != nil {
		if age := s.now().Sub(old.seen); old.instance != report.GetInstance() && age < silenceMax {
			return nil, fault.Errorf("join", fault.Unavailable,
				"another process reported as node %s with this data folder %s ago: try again later", node.GetName(), age.Round(time.Millisecond))
		}
		close(old.replaced)
	}
	session := &session{
		node: id, name: node.GetName(), instance: report.GetInstance(), replaced: make(chan struct{}),
		seen: s.now(), report: reportOf(id, report),
	}
	s.mu.open[id] = session
	s.signal()
	return session, nil
}

// note takes over a report.
func (s *sessions) note(session *session, report *controlv1.NodeReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open[session.node] != session {
		return
	}
	next := reportOf(session.node, report)
	next.Instance = session.instance // of its process, which cannot change
	changed := !slices.Equal(next.Replicas, session.report.Replicas) || s.now().Sub(session.seen) >= silenceMax
	session.seen, session.report = s.now(), next
	if changed {
		s.signal()
	}
}

// close ends a session.
func (s *sessions) close(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open[session.node] == session {
		delete(s.mu.open, session.node)
		s.signal()
	}
}

func (s *sessions) signal() {
	close(s.mu.change)
	s.mu.change = make(chan struct{})
}

// changed returns a channel that is closed at the next change.
func (s *sessions) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.change
}

// live returns the nodes that report now.
func (s *sessions) live() []plan.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes []plan.Node
	for _, session := range s.mu.open {
		if s.now().Sub(session.seen) < silenceMax {
			nodes = append(nodes, session.report)
		}
	}
	return nodes
}

func reportOf(node ident.Node, report *controlv1.NodeReport) plan.Node {
	n := plan.Node{ID: node, Name: report.GetName(), Instance: report.GetInstance()}
	for _, r := range report.GetReplicas() {
		n.Replicas = append(n.Replicas, plan.Replica{
			Shard: ident.Shard(r.GetShard()), Incarnation: r.GetIncarnation(), Term: ident.Term(r.GetTerm()),
			State: r.GetState(), Failure: r.GetFailure(),
		})
	}
	return n
}
