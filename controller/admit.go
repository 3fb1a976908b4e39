// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// lostMetadata ends every sentence about etcd knowing less than a node.
const lostMetadata = "its metadata was lost or comes from an older backup: restore etcd from a newer backup before you start nodes"

// admit refuses a node (kind Incompatible) that is not who it says, or that knows
// of things which the metadata should know and do not. have is what stands under
// the node's name, empty when there is nothing.
func admit(report *controlv1.NodeReport, known *metadata.Snapshot, have *controlv1.Node, ids *controlv1.Ids) error {
	const op = "join"
	cluster := known.Cluster()
	name := report.GetName()
	switch {
	case report.GetClusterUuid() != "" && report.GetClusterUuid() != cluster.GetUuid():
		return fault.Errorf(op, fault.Incompatible,
			"the data of node %s belong to cluster %s, this is %s (%s): connect it to its own controller, or choose another --data",
			name, report.GetClusterUuid(), cluster.GetUuid(), cluster.GetName())
	case have.GetId() != 0 && have.GetDataUuid() != report.GetDataUuid():
		return fault.Errorf(op, fault.Incompatible,
			"the name %s belongs to a node with another data folder (%s, this one is %s): start it with its own folder, or give this one another --node",
			name, have.GetDataUuid(), report.GetDataUuid())
	case report.GetNodeId() != 0 && have.GetId() == 0:
		return fault.Errorf(op, fault.Incompatible, "node %s joined before as number %d, but the cluster does not know it: %s",
			name, report.GetNodeId(), lostMetadata)
	case report.GetNodeId() != 0 && report.GetNodeId() != have.GetId():
		return fault.Errorf(op, fault.Incompatible, "node %s joined before as number %d, but the cluster knows it as %d: %s",
			name, report.GetNodeId(), have.GetId(), lostMetadata)
	case report.GetMaxTopicOrGroupId() > ids.GetObject():
		return fault.Errorf(op, fault.Incompatible,
			"the logs of node %s name topic or group %d, but the cluster has given out ids up to %d only: %s",
			name, report.GetMaxTopicOrGroupId(), ids.GetObject(), lostMetadata)
	}
	if other := sameFolder(report, known); other != nil {
		return fault.Errorf(op, fault.Incompatible, "this data folder belongs to node %s: give --node %s", other.GetName(), other.GetName())
	}
	return admitReplicas(report, known, ids)
}

// sameFolder returns the node of another name that has the reported data folder.
func sameFolder(report *controlv1.NodeReport, known *metadata.Snapshot) *controlv1.Node {
	for node := range known.Nodes() {
		if node.GetDataUuid() == report.GetDataUuid() && node.GetName() != report.GetName() {
			return node
		}
	}
	return nil
}

// admitReplicas refuses a node that holds replicas of shards which ought to be
// known: whatever took part in an election was entered before.
func admitReplicas(report *controlv1.NodeReport, known *metadata.Snapshot, ids *controlv1.Ids) error {
	const op = "join"
	for _, replica := range report.GetReplicas() {
		if replica.GetShard() > ids.GetShard() || replica.GetIncarnation() > ids.GetIncarnation() {
			return fault.Errorf(op, fault.Incompatible,
				"node %s has a replica of shard %d (incarnation %d), but the cluster has given out numbers up to %d (%d) only: %s",
				report.GetName(), replica.GetShard(), replica.GetIncarnation(), ids.GetShard(), ids.GetIncarnation(), lostMetadata)
		}
		if replica.GetTerm() > 0 && known.Shard(ident.Shard(replica.GetShard())) == nil {
			return fault.Errorf(op, fault.Incompatible, "node %s has data of shard %d, but the cluster does not know that shard: %s",
				report.GetName(), replica.GetShard(), lostMetadata)
		}
	}
	return nil
}
