// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mansiomq/mansio/internal/names"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/wire"
)

// Limits of a message.
const (
	userPropertiesMax = 128
	propertiesBytes   = 16384 // keys and values of properties, tag and keys together
	keysMax           = 1024
	messageGroupMax   = 63 // bytes
	messageIDMax      = 255
	bornHostMax       = 255
	traceContextMax   = 1024
	// aroundBodyMax bounds the bytes of a message beside its body, in the form in
	// which it came: fields count that nobody knows, too.
	aroundBodyMax = 64 << 10
	orphanTimeMax = time.Hour
	// delayMax is how far ahead a delivery may lie: 40 days.
	delayMax = 40 * 24 * time.Hour
)

// reserved are the property keys that mean something inside the classic broker:
// no user may set them.
var reserved = func() map[string]bool {
	set := make(map[string]bool)
	for key := range strings.FieldsSeq(`KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET
		MAX_OFFSET BUYER_ID ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON
		UNIQ_KEY EXTEND_UNIQ_INFO MAX_RECONSUME_TIMES CONSUME_START_TIME POP_CK POP_CK_OFFSET 1ST_POP_TIME
		TRAN_PREPARED_QUEUE_OFFSET DUP_INFO INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME
		CLUSTER MSG_TYPE INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS TIMER_ENQUEUE_MS
		TIMER_DEQUEUE_MS TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL __BORNHOST BORN_TIMESTAMP
		DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID __CRC32# _SYS_MSG_PRIORITY_`) {
		set[key] = true
	}
	return set
}()

// badMessage says what is wrong with a message by itself; nil: nothing.
func badMessage(m *wire.Message, nowMS int64) *pb.Status {
	for _, check := range []func(*wire.Message) *pb.Status{badBody, badUserProperties, badTag, badKeys, badSize, badID} {
		if bad := check(m); bad != nil {
			return bad
		}
	}
	if _, known := pb.Encoding_name[int32(m.Encoding)]; !known { // clients make an empty body of it
		return statusf(pb.Code_BAD_REQUEST, "body_encoding %d is not known", m.Encoding)
	}
	if d, valid := m.Orphan.Duration(); m.Declared == pb.MessageType_TRANSACTION && m.Orphan.Set && (!valid || d > orphanTimeMax) {
		return statusf(pb.Code_BAD_REQUEST, "orphaned_transaction_recovery_duration is longer than %v", orphanTimeMax)
	}
	if at, valid := m.Deliver.Millis(); m.Deliver.Set && (!valid || at-nowMS > delayMax.Milliseconds()) {
		return statusf(pb.Code_ILLEGAL_DELIVERY_TIME, "delivery_timestamp lies more than %v ahead", delayMax)
	}
	if topic := m.LiteTopic; topic.Set && !names.Lite(topic.Bytes) {
		return statusf(pb.Code_ILLEGAL_LITE_TOPIC, "lite topic %.80q: use 1 to %d letters, digits, _ and -", topic.Bytes, names.LiteMax)
	}
	return badGroupOf(m)
}

func badID(m *wire.Message) *pb.Status {
	switch {
	case blank(m.ID):
		return status(pb.Code_ILLEGAL_MESSAGE_ID, "message id is blank")
	case len(m.ID) > messageIDMax:
		return statusf(pb.Code_ILLEGAL_MESSAGE_ID, "message id has %d bytes, at most %d are allowed", len(m.ID), messageIDMax)
	}
	return nil
}

func badBody(m *wire.Message) *pb.Status {
	switch {
	case len(m.Body) == 0:
		return status(pb.Code_MESSAGE_BODY_EMPTY, "message body is empty")
	case len(m.Body) > bodyMax:
		return statusf(pb.Code_MESSAGE_BODY_TOO_LARGE, "message body has %d bytes, at most %d are allowed", len(m.Body), bodyMax)
	}
	return nil
}

func badUserProperties(m *wire.Message) *pb.Status {
	if m.PropertyCount > userPropertiesMax {
		return statusf(pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, "%d user properties, at most %d are allowed", m.PropertyCount, userPropertiesMax)
	}
	const code = pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY
	for _, p := range m.Properties {
		switch {
		case reserved[string(p.Key)]:
			return statusf(code, "property key %s is reserved", p.Key)
		case controls(p.Key):
			return statusf(code, "property key %q holds a control character", p.Key)
		case controls(p.Value):
			return statusf(code, "the value of property %s holds a control character", p.Key)
		}
	}
	return nil
}

func badTag(m *wire.Message) *pb.Status {
	const code = pb.Code_ILLEGAL_MESSAGE_TAG
	switch tag := m.Tag.Bytes; {
	case len(tag) == 0:
		return nil
	case blank(tag):
		return status(code, "tag is blank")
	case bytes.IndexByte(tag, '|') >= 0:
		return statusf(code, "tag %q holds a |", tag)
	case controls(tag):
		return statusf(code, "tag %q holds a control character", tag)
	}
	return nil
}

func badKeys(m *wire.Message) *pb.Status {
	for _, key := range m.Keys {
		switch {
		case len(key) == 0:
		case blank(key):
			return status(pb.Code_ILLEGAL_MESSAGE_KEY, "a key is blank")
		case controls(key):
			return statusf(pb.Code_ILLEGAL_MESSAGE_KEY, "key %q holds a control character", key)
		}
	}
	if m.KeyCount > keysMax {
		return statusf(pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, "%d keys, at most %d are allowed", m.KeyCount, keysMax)
	}
	return nil
}

func badSize(m *wire.Message) *pb.Status {
	size := len(m.Tag.Bytes)
	for _, key := range m.Keys {
		size += len(key)
	}
	for _, p := range m.Properties {
		size += len(p.Key) + len(p.Value)
	}
	if size > propertiesBytes {
		return statusf(pb.Code_MESSAGE_PROPERTIES_TOO_LARGE,
			"properties, tag and keys have %d bytes together, at most %d are allowed", size, propertiesBytes)
	}
	for _, field := range []struct {
		name string
		size int
		most int
	}{
		{"born_host", len(m.BornHost), bornHostMax},
		{"trace_context", len(m.Trace.Bytes), traceContextMax},
		{"all of the message beside its body", m.Size - len(m.Body), aroundBodyMax},
	} {
		if field.size > field.most {
			return statusf(pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, "%s has %d bytes, at most %d are allowed", field.name, field.size, field.most)
		}
	}
	return nil
}

func badGroupOf(m *wire.Message) *pb.Status {
	const code = pb.Code_ILLEGAL_MESSAGE_GROUP
	switch group := m.Group; {
	case !group.Set:
		return nil
	case blank(group.Bytes):
		return status(code, "message group is blank")
	case len(group.Bytes) > messageGroupMax:
		return statusf(code, "message group has %d bytes, at most %d are allowed", len(group.Bytes), messageGroupMax)
	case controls(group.Bytes):
		return statusf(code, "message group %q holds a control character", group.Bytes)
	}
	return nil
}

// blank reports whether a text is empty or white space.
func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// controls reports whether a text holds an ISO control character.
func controls(text []byte) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < 0x20 || c == 0x7f {
			return true
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if unicode.IsControl(r) {
				return true
			}
			i += size - 1
		}
	}
	return false
}
