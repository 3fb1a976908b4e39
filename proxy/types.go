// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/wire"
)

// takes says which types of message a type of topic takes.
var takes = map[controlv1.TopicType][]pb.MessageType{
	controlv1.TopicType_TOPIC_TYPE_UNSPECIFIED: {pb.MessageType_NORMAL},
	controlv1.TopicType_TOPIC_TYPE_NORMAL:      {pb.MessageType_NORMAL},
	controlv1.TopicType_TOPIC_TYPE_FIFO:        {pb.MessageType_FIFO},
	controlv1.TopicType_TOPIC_TYPE_DELAY:       {pb.MessageType_DELAY},
	controlv1.TopicType_TOPIC_TYPE_TRANSACTION: {pb.MessageType_TRANSACTION},
	controlv1.TopicType_TOPIC_TYPE_MIXED: {
		pb.MessageType_NORMAL, pb.MessageType_FIFO, pb.MessageType_DELAY, pb.MessageType_TRANSACTION,
	},
	controlv1.TopicType_TOPIC_TYPE_PRIORITY: {pb.MessageType_PRIORITY},
	controlv1.TopicType_TOPIC_TYPE_LITE:     {pb.MessageType_LITE},
}

var topicTypeNames = map[controlv1.TopicType]string{
	controlv1.TopicType_TOPIC_TYPE_UNSPECIFIED: "normal",
	controlv1.TopicType_TOPIC_TYPE_NORMAL:      "normal",
	controlv1.TopicType_TOPIC_TYPE_FIFO:        "fifo",
	controlv1.TopicType_TOPIC_TYPE_DELAY:       "delay",
	controlv1.TopicType_TOPIC_TYPE_TRANSACTION: "transaction",
	controlv1.TopicType_TOPIC_TYPE_MIXED:       "mixed",
	controlv1.TopicType_TOPIC_TYPE_PRIORITY:    "priority",
	controlv1.TopicType_TOPIC_TYPE_LITE:        "lite",
}

// badType says why the topic does not take the message, or this server not yet.
func badType(t *controlv1.Topic, m *wire.Message, nowMS int64) *pb.Status {
	kind := m.Type()
	late := false // a delivery time that has come is no delay; what else it wants must be built, too
	if at, valid := m.Deliver.Millis(); kind == pb.MessageType_DELAY && valid && !m.Group.Set && !m.Ranked && !m.LiteTopic.Set {
		late = at <= nowMS
	}
	taken := false
	for _, k := range takes[t.GetType()] {
		taken = taken || k == kind
	}
	switch {
	case taken && (kind == pb.MessageType_NORMAL || late):
		return nil
	case taken, t.GetType() == controlv1.TopicType_TOPIC_TYPE_MIXED:
		return notImplemented("sending messages of type " + kind.String())
	}
	return statusf(pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE,
		"the message is of type %s, topic %s takes type %s; create another topic with: mansio topic create NAME --type mixed",
		kind, t.GetName(), topicTypeNames[t.GetType()])
}
