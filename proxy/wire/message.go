// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// PropertiesKept bounds the user properties that a Message lists; PropertyCount
// counts on. It is one more than a message may have, so that a scan of hostile
// bytes costs no memory.
const PropertiesKept = 129

// KeysKept bounds the keys that a Message lists; KeyCount counts on.
const KeysKept = 1025

// Property is one user property.
type Property struct{ Key, Value []byte }

// Time is a protobuf Timestamp or Duration as it came, possibly out of range.
type Time struct {
	Set     bool
	Seconds int64
	Nanos   int32
}

// bounds of a protobuf Timestamp: the years 1 and 9999.
const (
	secondsMin = -62135596800
	secondsMax = 253402300799
)

// Millis is the time in milliseconds since 1970, and whether it is one that
// protobuf allows.
func (t Time) Millis() (int64, bool) {
	if !t.Set || t.Seconds < secondsMin || t.Seconds > secondsMax || t.Nanos < 0 || t.Nanos > 999_999_999 {
		return 0, false
	}
	return t.Seconds*1000 + int64(t.Nanos)/1_000_000, true
}

// Duration is the time as a length, and whether it is one that protobuf allows.
func (t Time) Duration() (time.Duration, bool) {
	const limit = int64(1<<63-1) / int64(time.Second)
	if t.Seconds > limit-1 || t.Seconds < -limit+1 || t.Nanos <= -1_000_000_000 || t.Nanos >= 1_000_000_000 {
		return 0, false
	}
	return time.Duration(t.Seconds)*time.Second + time.Duration(t.Nanos), true
}

// Text is an optional string: absent differs from empty.
type Text struct {
	Set   bool
	Bytes []byte
}

// Message is one message of a send, taken apart. All its slices point into the
// scanned bytes. The zero value is ready for Scan.
type Message struct {
	Size             int // of the scanned bytes
	Namespace, Topic []byte
	Properties       []Property // the first PropertiesKept
	PropertyCount    int
	Body             []byte

	Tag       Text
	Keys      [][]byte // the first KeysKept
	KeyCount  int
	ID        []byte
	Encoding  pb.Encoding
	Declared  pb.MessageType // what message_type says
	Born      Time
	BornHost  []byte
	Deliver   Time
	Group     Text
	Trace     Text
	Orphan    Time
	LiteTopic Text
	Priority  int32
	Ranked    bool // priority is set

	rest       [][]byte // runs of fields other than topic, system properties and body
	unknownSys [][]byte // fields of SystemProperties that nobody knows yet
	sys        []byte   // scratch of Payload
}

// Type is the type that the message has by its properties. The declared one
// counts for transactions only.
func (m *Message) Type() pb.MessageType {
	switch {
	case m.Declared == pb.MessageType_TRANSACTION:
		return pb.MessageType_TRANSACTION
	case m.Deliver.Set:
		return pb.MessageType_DELAY
	case m.Group.Set:
		return pb.MessageType_FIFO
	case m.Ranked:
		return pb.MessageType_PRIORITY
	case m.LiteTopic.Set:
		return pb.MessageType_LITE
	default:
		return pb.MessageType_NORMAL
	}
}

// Field numbers of SendMessageRequest, Message, Resource, the entries of
// user_properties, and Timestamp and Duration.
const (
	fieldMessages protowire.Number = 1

	fieldTopic      protowire.Number = 1
	fieldProperties protowire.Number = 2
	fieldSystem     protowire.Number = 3
	fieldBody       protowire.Number = 4

	fieldNamespace protowire.Number = 1
	fieldName      protowire.Number = 2

	fieldKey   protowire.Number = 1
	fieldValue protowire.Number = 2

	fieldSeconds protowire.Number = 1
	fieldNanos   protowire.Number = 2
)

// Field numbers of SystemProperties.
const (
	sysTag       protowire.Number = 1
	sysKeys      protowire.Number = 2
	sysID        protowire.Number = 3
	sysDigest    protowire.Number = 4
	sysEncoding  protowire.Number = 5
	sysType      protowire.Number = 6
	sysBorn      protowire.Number = 7
	sysBornHost  protowire.Number = 8
	sysStored    protowire.Number = 9
	sysStoreHost protowire.Number = 10
	sysDeliver   protowire.Number = 11
	sysHandle    protowire.Number = 12
	sysQueue     protowire.Number = 13
	sysOffset    protowire.Number = 14
	sysAttempt   protowire.Number = 16
	sysGroup     protowire.Number = 17
	sysTrace     protowire.Number = 18
	sysOrphan    protowire.Number = 19
	sysLite      protowire.Number = 21
	sysPriority  protowire.Number = 22
	sysKnown     protowire.Number = 22 // the highest number known
)
