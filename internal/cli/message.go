// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/base64"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Message is a message as programs see it. Exactly one of Body and BodyBase64 is
// set: Body when it is readable text.
type Message struct {
	ID         string            `json:"id"`
	Topic      string            `json:"topic"`
	Type       string            `json:"type"`
	Tag        string            `json:"tag,omitempty"`
	Keys       []string          `json:"keys,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	Shard      *uint32           `json:"shard,omitempty"`
	LSN        uint64            `json:"lsn,omitempty"`
	Queue      *int64            `json:"queue,omitempty"` // absent when the server did not say
	Offset     int64             `json:"offset"`
	Born       string            `json:"born,omitempty"`
	Stored     string            `json:"stored,omitempty"`
	Attempt    int32             `json:"attempt,omitempty"`
	Body       *string           `json:"body,omitempty"`
	BodyBase64 string            `json:"body_base64,omitempty"`
}

// Text is the body for people.
func (m *Message) Text() string {
	if m.Body != nil {
		return *m.Body
	}
	return "base64:" + m.BodyBase64
}

// MessageView makes the view of a message.
func MessageView(m *v2.Message) Message {
	s := m.GetSystemProperties()
	v := Message{
		ID: s.GetMessageId(), Topic: m.GetTopic().GetName(), Type: word(s.GetMessageType().String(), "MESSAGE_TYPE_"),
		Tag: s.GetTag(), Keys: s.GetKeys(), Properties: m.GetUserProperties(), Queue: new(int64(s.GetQueueId())),
		Offset: s.GetQueueOffset(), Attempt: s.GetDeliveryAttempt(),
	}
	if s.GetBornTimestamp() != nil {
		v.Born = moment(s.GetBornTimestamp().AsTime().UnixMilli())
	}
	if s.GetStoreTimestamp() != nil {
		v.Stored = moment(s.GetStoreTimestamp().AsTime().UnixMilli())
	}
	if text := string(m.GetBody()); readable(text) {
		v.Body = &text
	} else {
		v.BodyBase64 = base64.StdEncoding.EncodeToString(m.GetBody())
	}
	return v
}

// readable says whether a terminal can show the text.
func readable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}

// StoredView makes the view of a message that a shard holds.
func StoredView(m *controlv1.StoredMessage) (Message, error) {
	var inner v2.Message
	if err := proto.Unmarshal(m.GetMessage(), &inner); err != nil {
		return Message{}, fault.Errorf("stored message", fault.Corrupt, "shard %d, LSN %d: %w", m.GetShard(), m.GetLsn(), err)
	}
	v := MessageView(&inner)
	shard := m.GetShard()
	v.Shard, v.LSN, v.Queue, v.Offset = &shard, m.GetLsn(), new(int64(m.GetQueue())), int64(m.GetOffset()) //nolint:gosec // offsets stay small
	v.Stored = moment(m.GetStoreMs())
	return v, nil
}

// SendOne sends one message and returns its view with where it was stored.
func SendOne(ctx context.Context, c *Conn, to *rocketmq.Client, m *v2.Message) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	entries, err := to.Send(ctx, m)
	if err != nil {
		return Message{}, c.Explain(err)
	}
	v := MessageView(m)
	v.Queue = nil // the protocol's answer has only the offset
	if len(entries) > 0 {
		v.Offset = entries[0].GetOffset()
	}
	return v, nil
}
