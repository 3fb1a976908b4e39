// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"net"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/names"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// join finds out who a node is, enters it into the metadata and begins its session.
// Errors of kind Incompatible and Invalid are refusals: one sentence for whoever
// started the node. Whoever is refused changes nothing.
func (r *reign) join(ctx context.Context, report *controlv1.NodeReport) (*controlv1.Node, *session, error) {
	if err := names.Node(report.GetName()); err != nil {
		return nil, nil, err
	}
	if _, _, err := net.SplitHostPort(report.GetAddress()); err != nil || report.GetDataUuid() == "" || report.GetInstance() == 0 {
		return nil, nil, fault.Errorf("join", fault.Invalid, "node %s gives no address (%q), data UUID or instance: give --advertise",
			report.GetName(), report.GetAddress())
	}
	free, err := r.names.take(ctx, "node "+report.GetName())
	if err != nil {
		return nil, nil, err
	}
	defer free()
	ids, err := r.book.LastIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	have := &controlv1.Node{}
	revision, err := r.book.Read(ctx, r.book.Keys.Node(report.GetName()), have)
	if err != nil {
		return nil, nil, err
	}
	if err := admit(report, r.table.Snapshot(), have, ids); err != nil {
		return nil, nil, err
	}
	session, err := r.sessions.reserve(ident.Node(have.GetId()), report)
	if err != nil {
		return nil, nil, err
	}
	node, err := r.enter(ctx, have, report, revision)
	if err != nil {
		r.sessions.close(session)
		return nil, nil, err
	}
	r.sessions.begin(session, ident.Node(node.GetId()))
	return node, session, nil
}

// enter writes what a node says of itself over what the metadata have, with a new
// id if it has none, and waits until the table shows it.
func (r *reign) enter(
	ctx context.Context, have *controlv1.Node, report *controlv1.NodeReport, revision int64,
) (*controlv1.Node, error) {
	node := proto.CloneOf(have)
	node.Name, node.DataUuid = report.GetName(), report.GetDataUuid()
	node.Address, node.Zone, node.Instance = report.GetAddress(), report.GetZone(), report.GetInstance()
	if proto.Equal(node, have) {
		return node, r.table.WaitRevision(ctx, revision)
	}
	node.SeenMs = r.config.Now().UnixMilli()
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
