// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

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
	node, session, err := r.join(stream.Context(), hello)
	if fault.Is(err, fault.Incompatible) || fault.Is(err, fault.Invalid) {
		r.log.WarnContext(stream.Context(), "refused a store node", "node", hello.GetName(), "address", hello.GetAddress(), "reason", err)
		return stream.Send(&controlv1.NodeCommand{Refusal: err.Error()})
	}
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
	r.sessions.attended(session)
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
	var err error
	select {
	case err = <-heard:
	case <-stream.Context().Done():
		err = stream.Context().Err()
	case <-r.life.Done():
		return errOver
	case <-session.replaced:
		return fault.Errorf("", fault.Unavailable, "a newer session of this node took over")
	}
	r.log.WarnContext(stream.Context(), "a store node's session ended",
		"node", session.name, "id", session.node, "error", err)
	return err
}

// sessions knows which nodes report.
type sessions struct {
	now     func() time.Time
	silence *silence

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
	begun    bool          // guarded by sessions.mu; the metadata name this process
	seen     time.Time     // guarded by sessions.mu
	report   plan.Node     // guarded by sessions.mu
	since    time.Time     // guarded by sessions.mu; when it began to report
}

func newSessions(now func() time.Time) *sessions {
	s := &sessions{now: now, silence: newSilence(now())}
	s.mu.open = make(map[ident.Node]*session)
	s.mu.change = make(chan struct{})
	return s
}

// reserve takes the place of a node for a process that is about to be entered into
// the metadata. While another process of the same folder reports, it is not let
// in: somebody copied the folder, or the old one is not quite gone. A node that
// has no number yet (0) cannot have such a rival.
func (s *sessions) reserve(node ident.Node, report *controlv1.NodeReport) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.mu.open[node]; old != nil {
		if age := s.now().Sub(old.seen); old.instance != report.GetInstance() && age < silenceMax {
			return nil, fault.Errorf("join", fault.Unavailable,
				"another process reported as node %s with this data folder %s ago: try again later", report.GetName(), age.Round(time.Millisecond))
		}
		close(old.replaced)
	}
	session := &session{
		node: node, name: report.GetName(), instance: report.GetInstance(), replaced: make(chan struct{}),
		seen: s.now(), report: reportOf(node, report),
	}
	if node != 0 {
		s.mu.open[node] = session
		s.signal()
	}
	return session, nil
}

// begin makes a reserved session count, now that the metadata name its process.
// node is its number, also if it got it only now.
func (s *sessions) begin(session *session, node ident.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.node == 0 {
		session.node, session.report.ID = node, node
		s.mu.open[node] = session
	}
	session.begun, session.seen = true, s.now()
	s.signal()
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
		s.silence.began(session.node, s.now())
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
		if session.begun && s.now().Sub(session.seen) < silenceMax {
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
