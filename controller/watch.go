// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// partBytesMax is how large one part of the whole state grows before the next one begins.
	partBytesMax = 1 << 20
	// watcherNameMax bounds what a watcher may call itself in answers to administrators.
	watcherNameMax = 200
)

// metadataService answers proxies and store nodes.
type metadataService struct {
	controlv1.UnimplementedMetadataServer
	c *Controller
}

// Watch implements controlv1.MetadataServer.
func (s *metadataService) Watch(stream grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse]) error {
	r, err := s.c.lead()
	if err != nil {
		return err
	}
	hello, err := stream.Recv()
	if err != nil {
		return err
	}
	name := hello.GetWatcher()
	if name == "" || len(name) > watcherNameMax {
		return fault.Errorf("", fault.Invalid, "a watcher gives its name, at most %d bytes", watcherNameMax)
	}
	w := r.hub.join(name, 0)
	defer r.hub.leave(w)
	gone := make(chan error, 1)
	go func() { gone <- r.hear(stream, w) }() // ends with the call
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case err := <-gone:
			return err
		case <-r.life.Done():
			return errOver
		case <-w.wake:
		}
		if err := r.tell(stream, w); err != nil {
			return err
		}
	}
}

// hear notes what the watcher has applied.
func (r *reign) hear(stream grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse], w *watcher) error {
	for {
		report, err := stream.Recv()
		if err != nil {
			return err
		}
		r.hub.apply(w, report.GetAppliedRevision())
	}
}

// tell sends what is due.
func (r *reign) tell(stream grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse], w *watcher) error {
	whole, changes := r.hub.take(w)
	if whole != nil {
		return sendWhole(whole, stream.Send)
	}
	for _, change := range changes {
		if err := stream.Send(change); err != nil {
			return err
		}
	}
	return nil
}

// sendWhole sends a state in parts of bounded size; the last one has more = false.
func sendWhole(s *metadata.Snapshot, send func(*controlv1.WatchResponse) error) error {
	fresh := func() *controlv1.WatchResponse {
		return &controlv1.WatchResponse{Snapshot: true, Revision: s.Revision(), Cluster: s.Cluster()}
	}
	part, bytes := fresh(), 0
	add := func(object proto.Message, put func()) error {
		put()
		bytes += proto.Size(object)
		if bytes < partBytesMax {
			return nil
		}
		full := part
		full.More = true
		part, bytes = fresh(), 0
		return send(full)
	}
	for node := range s.Nodes() {
		if err := add(node, func() { part.Nodes = append(part.Nodes, node) }); err != nil {
			return err
		}
	}
	for shard := range s.Shards() {
		if err := add(shard, func() { part.Shards = append(part.Shards, shard) }); err != nil {
			return err
		}
	}
	for topic := range s.Topics() {
		if err := add(topic, func() { part.Topics = append(part.Topics, topic) }); err != nil {
			return err
		}
	}
	for group := range s.Groups() {
		if err := add(group, func() { part.Groups = append(part.Groups, group) }); err != nil {
			return err
		}
	}
	for start := range s.Starts() {
		if err := add(start, func() { part.Starts = append(part.Starts, start) }); err != nil {
			return err
		}
	}
	return send(part)
}
