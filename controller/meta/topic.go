// SPDX-License-Identifier: Apache-2.0

package meta

import (
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/names"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// QueuesDefault is the number of queues of a topic for which none is given.
	QueuesDefault = 8
	// QueuesMax keeps a route below the size that clients accept, and a topic's record small.
	QueuesMax = 4096
)

// NewTopic checks what a request asks for and fills in defaults. The result has
// no id, queues and times yet; the second one is the number of queues.
//
//	type          normal
//	queues        QueuesDefault
//	reply         committed
//	deduplicate   as given; always on for FIFO topics at creation
func NewTopic(request *controlv1.CreateTopicRequest) (*controlv1.Topic, int, error) {
	const op = "create topic"
	asked := request.GetTopic()
	if err := names.Topic(asked.GetName()); err != nil {
		return nil, 0, err
	}
	if names.Reserved(asked.GetName()) {
		return nil, 0, fault.Errorf(op, fault.Invalid,
			"%q is reserved: topics for dead letters are made together with their group", asked.GetName())
	}
	topic := &controlv1.Topic{
		Name: asked.GetName(), Type: asked.GetType(), Reply: asked.GetReply(), Deduplicate: asked.GetDeduplicate(),
	}
	if topic.GetType() == controlv1.TopicType_TOPIC_TYPE_UNSPECIFIED {
		topic.Type = controlv1.TopicType_TOPIC_TYPE_NORMAL
	}
	if topic.GetReply() == controlv1.ReplyPoint_REPLY_POINT_UNSPECIFIED {
		topic.Reply = controlv1.ReplyPoint_REPLY_POINT_COMMITTED
	}
	if _, ok := controlv1.TopicType_name[int32(topic.GetType())]; !ok {
		return nil, 0, fault.Errorf(op, fault.Invalid, "unknown type %d", topic.GetType())
	}
	if err := checkReply(op, topic.GetReply()); err != nil {
		return nil, 0, err
	}
	if topic.GetType() == controlv1.TopicType_TOPIC_TYPE_FIFO {
		topic.Deduplicate = true
	}
	queues := int(request.GetQueues())
	if queues == 0 {
		queues = QueuesDefault
	}
	if err := checkQueues(op, queues); err != nil {
		return nil, 0, err
	}
	return topic, queues, nil
}

// AutoTopic is the topic that is made when somebody asks for the route of a name
// that does not exist. Names with % are never made that way.
func AutoTopic(name string) (*controlv1.Topic, int, error) {
	if strings.Contains(name, "%") {
		return nil, 0, fault.Errorf("create topic", fault.NotFound, "there is no topic %q, and names with %% are not made by themselves", name)
	}
	return NewTopic(&controlv1.CreateTopicRequest{
		Topic: &controlv1.Topic{Name: name, Type: controlv1.TopicType_TOPIC_TYPE_MIXED},
	})
}

// SameTopic returns nil when an existing topic is what the request asks for, else
// an error of kind Exists that names the difference. With if_not_exists, fields
// that the request leaves open match anything.
func SameTopic(have *controlv1.Topic, request *controlv1.CreateTopicRequest) error {
	want, queues, err := NewTopic(request)
	if err != nil {
		return err
	}
	lenient, asked := request.GetIfNotExists(), request.GetTopic()
	differs := func(what string, have, want any) error {
		return fault.Errorf("create topic", fault.Exists, "%s exists with %s %v, not %v: use `topic update`, or delete it first",
			asked.GetName(), what, have, want)
	}
	switch {
	case have.GetType() != want.GetType() && !(lenient && asked.GetType() == controlv1.TopicType_TOPIC_TYPE_UNSPECIFIED):
		return fault.Errorf("create topic", fault.Exists, "%s exists with type %s, not %s; a topic keeps its type: delete it first, or choose another name",
			asked.GetName(), TypeName(have.GetType()), TypeName(want.GetType()))
	case len(have.GetQueues()) != queues && !(lenient && request.GetQueues() == 0):
		return differs("queues", len(have.GetQueues()), queues)
	case have.GetReply() != want.GetReply() && !(lenient && asked.GetReply() == controlv1.ReplyPoint_REPLY_POINT_UNSPECIFIED):
		return differs("reply", have.GetReply(), want.GetReply())
	case have.GetDeduplicate() != want.GetDeduplicate() && !(lenient && !asked.GetDeduplicate()):
		return differs("deduplicate", have.GetDeduplicate(), want.GetDeduplicate())
	default:
		return nil
	}
}

// UpdateTopic changes the topic as asked and returns how many queues to add.
func UpdateTopic(topic *controlv1.Topic, request *controlv1.UpdateTopicRequest) (added int, err error) {
	const op = "update topic"
	if request.Queues != nil {
		added = int(request.GetQueues()) - len(topic.GetQueues())
		if err := checkQueues(op, int(request.GetQueues())); err != nil {
			return 0, err
		}
		if topic.GetDeadLettersOf() != 0 {
			return 0, fault.Errorf(op, fault.Invalid, "%s has one queue on each shard, which is not to be changed", topic.GetName())
		}
		if added < 0 {
			return 0, fault.Errorf(op, fault.Invalid, "%s has %d queues: there can be more, never fewer", topic.GetName(), len(topic.GetQueues()))
		}
		if added > 0 && !Growable(topic) {
			return 0, fault.Errorf(op, fault.Invalid, "%s keeps its %d queues: a topic of type %s never gets more, since its order depends on them",
				topic.GetName(), len(topic.GetQueues()), TypeName(topic.GetType()))
		}
	}
	if request.Reply != nil {
		if err := checkReply(op, request.GetReply()); err != nil {
			return 0, err
		}
		topic.Reply = request.GetReply()
		if topic.GetReply() == controlv1.ReplyPoint_REPLY_POINT_UNSPECIFIED {
			topic.Reply = controlv1.ReplyPoint_REPLY_POINT_COMMITTED
		}
	}
	if request.Deduplicate != nil {
		topic.Deduplicate = request.GetDeduplicate()
	}
	return added, nil
}

// Growable reports whether the topic may get more queues: neither order nor
// priority depends on their number.
func Growable(topic *controlv1.Topic) bool {
	switch topic.GetType() {
	case controlv1.TopicType_TOPIC_TYPE_FIFO, controlv1.TopicType_TOPIC_TYPE_PRIORITY, controlv1.TopicType_TOPIC_TYPE_LITE:
		return false
	default:
		return true
	}
}

// TypeName is how people write a topic's type.
func TypeName(t controlv1.TopicType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "TOPIC_TYPE_"))
}

func checkQueues(op string, queues int) error {
	if queues < 1 || queues > QueuesMax {
		return fault.Errorf(op, fault.Invalid, "%d queues: give 1 to %d", queues, QueuesMax)
	}
	return nil
}

func checkReply(op string, reply controlv1.ReplyPoint) error {
	if _, ok := controlv1.ReplyPoint_name[int32(reply)]; !ok {
		return fault.Errorf(op, fault.Invalid, "unknown reply point %d: give written, committed or all", reply)
	}
	return nil
}

// AddQueues appends queues on the shards. They come into being at some revision
// after `known`, the newest one that is known: whatever subscribed up to then
// consumes them from their beginning.
func AddQueues(topic *controlv1.Topic, shards []ident.Shard, known int64) {
	for _, shard := range shards {
		topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: uint32(shard), CreatedRevision: known + 1})
	}
}
