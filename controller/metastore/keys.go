// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// clusterNameMax bounds a cluster's name: it is part of every key.
const clusterNameMax = 64

// Keys knows where each object of one cluster stands.
type Keys struct{ prefix string }

// NewKeys makes the keys of a cluster. A name has 1 to 64 letters, digits, dots,
// underscores and hyphens.
func NewKeys(cluster string) (Keys, error) {
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	if cluster == "" || len(cluster) > clusterNameMax || strings.ContainsFunc(cluster, func(r rune) bool { return !legal(r) }) {
		return Keys{}, fault.Errorf("cluster name", fault.Invalid,
			"%q is not 1 to %d letters, digits, dots, underscores and hyphens", cluster, clusterNameMax)
	}
	return Keys{prefix: "/mansio/" + cluster + "/v1/"}, nil
}

// All is the prefix of every key of the cluster.
func (k Keys) All() string { return k.prefix }

// Cluster is the key of what holds for the whole cluster.
func (k Keys) Cluster() string { return k.prefix + "cluster" }

// Ids is the key of the counters.
func (k Keys) Ids() string { return k.prefix + "ids" }

// Topic is the key of the topic of that name; "" gives the prefix of all.
func (k Keys) Topic(name string) string { return k.prefix + "topics/" + name }

// Group is the key of the group of that name; "" gives the prefix of all.
func (k Keys) Group(name string) string { return k.prefix + "groups/" + name }

// Start is the key of a group's start in a topic.
func (k Keys) Start(group ident.Group, topic ident.Topic) string {
	return fmt.Sprintf("%s%016x", k.StartsOf(group), uint64(topic))
}

// StartsOf is the prefix of a group's starts.
func (k Keys) StartsOf(group ident.Group) string {
	return fmt.Sprintf("%sstarts/%016x/", k.prefix, uint64(group))
}

// Shard is the key of a shard.
func (k Keys) Shard(id ident.Shard) string {
	return fmt.Sprintf("%sshards/%010d", k.prefix, uint32(id))
}

// Node is the key of the node of that name.
func (k Keys) Node(name string) string { return k.prefix + "nodes/" + name }

// Candidates is the prefix of the controllers that lead or wait.
func (k Keys) Candidates() string { return k.prefix + "controllers/" }

// Add decodes an entry into the state that it is part of. Keys that are not part
// of what watchers see, or that a newer version wrote, are passed over.
func (k Keys) Add(state *controlv1.WatchResponse, entry Entry) error {
	kind, _ := k.Split(entry.Key)
	switch kind {
	case "cluster":
		state.Cluster = &controlv1.Cluster{}
		return Decode(entry, state.GetCluster())
	case "topics":
		topic := &controlv1.Topic{}
		state.Topics = append(state.Topics, topic)
		return Decode(entry, topic)
	case "groups":
		group := &controlv1.Group{}
		state.Groups = append(state.Groups, group)
		return Decode(entry, group)
	case "starts":
		start := &controlv1.Start{}
		state.Starts = append(state.Starts, start)
		return Decode(entry, start)
	case "shards":
		shard := &controlv1.Shard{}
		state.Shards = append(state.Shards, shard)
		return Decode(entry, shard)
	case "nodes":
		node := &controlv1.Node{}
		state.Nodes = append(state.Nodes, node)
		return Decode(entry, node)
	default:
		return nil
	}
}

// Split takes a key apart: "topics", "NAME". kind is "" for keys of others.
func (k Keys) Split(key string) (kind, name string) {
	rest, ok := strings.CutPrefix(key, k.prefix)
	if !ok {
		return "", ""
	}
	kind, name, _ = strings.Cut(rest, "/")
	return kind, name
}

// ParseStart reads the name part of a start's key.
func ParseStart(name string) (ident.Group, ident.Topic, error) {
	group, topic, _ := strings.Cut(name, "/")
	g, errGroup := strconv.ParseUint(group, 16, 64)
	t, errTopic := strconv.ParseUint(topic, 16, 64)
	if errGroup != nil || errTopic != nil {
		return 0, 0, fault.Errorf("read metadata", fault.Corrupt, "%q is not the key of a start", name)
	}
	return ident.Group(g), ident.Topic(t), nil
}

// ParseShard reads the name part of a shard's key.
func ParseShard(name string) (ident.Shard, error) {
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0, fault.Errorf("read metadata", fault.Corrupt, "%q is not the key of a shard", name)
	}
	return ident.Shard(id), nil
}

// Encode makes the stored form of an object: its revision is left out.
func Encode(object proto.Message) ([]byte, error) {
	clone := proto.Clone(object)
	switch o := clone.(type) {
	case *controlv1.Topic:
		o.Revision = 0
	case *controlv1.Group:
		o.Revision = 0
	case *controlv1.Start:
		o.Revision = 0
	case *controlv1.Shard:
		o.Revision = 0
	case *controlv1.Node:
		o.Revision = 0
	case *controlv1.Cluster:
		o.EtcdClusterId = 0
	default:
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(clone)
	if err != nil {
		return nil, fault.E("write metadata", fault.Internal, err)
	}
	return value, nil
}

// Decode reads the stored form of an object and fills its revision.
func Decode(entry Entry, object proto.Message) error {
	if err := proto.Unmarshal(entry.Value, object); err != nil {
		return fault.Errorf("read metadata", fault.Corrupt, "%s: %w", entry.Key, err)
	}
	switch o := object.(type) {
	case *controlv1.Topic:
		o.Revision = entry.Revision
	case *controlv1.Group:
		o.Revision = entry.Revision
	case *controlv1.Start:
		o.Revision = entry.Revision
	case *controlv1.Shard:
		o.Revision = entry.Revision
	case *controlv1.Node:
		o.Revision = entry.Revision
	default:
	}
	return nil
}
