// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// reportEvery is the pace of a node's reports; the controller counts a node
	// as gone after several of them are missing.
	reportEvery = time.Second
	// sessionAgain is the pause before the next controller is asked.
	sessionAgain = 200 * time.Millisecond
)

// refusedError ends the node: the controller will not have it.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return "the controller refused this node: " + e.why }

// session keeps a session with whichever controller takes it.
func (n *Node) session(ctx context.Context) error {
	if len(n.o.Controllers) == 0 {
		return fault.Errorf("store node", fault.Invalid, "no controller to join: give --controller")
	}
	lost := false
	again := time.NewTimer(sessionAgain)
	defer again.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		err := n.attend(ctx, n.o.Controllers[i%len(n.o.Controllers)])
		if _, refused := errors.AsType[*refusedError](err); refused {
			return fault.E("join the cluster", fault.Incompatible, err)
		}
		if ctx.Err() == nil && !lost {
			lost = true
			n.logger.Warn("no session with a controller; leaders go on leading", "error", err)
		}
		if n.joinedNow() {
			lost = false
		}
		again.Reset(sessionAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (n *Node) joinedNow() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.mu.node != 0
}

// attend is one session, until its stream ends.
func (n *Node) attend(parent context.Context, c grpc.ClientConnInterface) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	stream, err := controlv1.NewNodeSessionClient(c).Session(ctx)
	if err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- n.listen(stream) }()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		if err := stream.Send(n.reportNow()); err != nil {
			cancel()
			return errors.Join(err, <-heard)
		}
		select {
		case <-tick.C:
		case <-n.report:
		case err := <-heard:
			return err
		case <-parent.Done():
			cancel()
			<-heard //nolint:errcheck // it says only that the stream was cut here
			return parent.Err()
		}
	}
}

// listen takes the controller's commands.
func (n *Node) listen(stream grpc.BidiStreamingClient[controlv1.NodeReport, controlv1.NodeCommand]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if why := m.GetRefusal(); why != "" {
			return &refusedError{why}
		}
		if err := n.join(m.GetClusterUuid(), ident.Node(m.GetNodeId())); err != nil {
			return &refusedError{err.Error()}
		}
	}
}

// join takes note of who the node is in which cluster.
func (n *Node) join(cluster string, node ident.Node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.cluster == cluster && n.mu.node == node {
		return nil
	}
	if n.mu.cluster != "" && n.mu.cluster != cluster {
		return fault.Errorf("join", fault.Incompatible, "the controller is of cluster %s, this data of cluster %s", cluster, n.mu.cluster)
	}
	if n.o.Joined != nil {
		if err := n.o.Joined(cluster, node); err != nil {
			return err
		}
	}
	n.mu.cluster, n.mu.node = cluster, node
	n.logger.Info("joined the cluster", "cluster", cluster, "node", node)
	return nil
}

// changed makes the next report come at once.
func (n *Node) changed() {
	select {
	case n.report <- struct{}{}:
	default:
	}
}

func (n *Node) reportNow() *controlv1.NodeReport {
	n.mu.RLock()
	cluster, node := n.mu.cluster, n.mu.node
	n.mu.RUnlock()
	r := &controlv1.NodeReport{
		Name: n.o.Name, Address: n.o.Address, Zone: n.o.Zone, DataUuid: n.o.DataUUID, Instance: n.o.Instance,
		ClusterUuid: cluster, NodeId: uint64(node),
	}
	for _, h := range n.all() {
		st := h.status()
		r.Replicas = append(r.Replicas, &controlv1.ReplicaReport{
			Shard: uint32(h.id), Incarnation: st.Incarnation, Term: uint64(st.Term), State: st.Role.String(),
			Failure: st.Failure, LogEnd: uint64(st.End),
		})
		r.MaxTopicOrGroupId = max(r.GetMaxTopicOrGroupId(), st.MaxID)
	}
	return r
}
