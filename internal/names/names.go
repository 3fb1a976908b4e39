// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// TopicMax bounds the name of a topic, in bytes: official clients and servers share the limit.
	TopicMax = 127
	// GroupMax bounds the name of a group, in bytes: likewise, and its dead-letter topic's name still fits.
	GroupMax = 120
	// LiteMax bounds the name of a lite topic, in bytes.
	LiteMax = 64
	// NodeMax bounds the name of a node.
	NodeMax = 63
	// DeadLetterPrefix begins the name of a group's dead-letter topic.
	DeadLetterPrefix = "%DLQ%"

	retryPrefix  = "%RETRY%"
	systemPrefix = "rmq_sys_"
	systemGroup  = "CID_RMQ_SYS_"

	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// systemTopics are names with a meaning in RocketMQ, which clients refuse or misunderstand.
var systemTopics = map[string]bool{
	"TBW102": true, "SCHEDULE_TOPIC_XXXX": true, "BenchmarkTest": true, "RMQ_SYS_TRANS_HALF_TOPIC": true,
	"RMQ_SYS_TRACE_TOPIC": true, "RMQ_SYS_TRANS_OP_HALF_TOPIC": true, "TRANS_CHECK_MAX_TIME_TOPIC": true,
	"SELF_TEST_TOPIC": true, "OFFSET_MOVED_EVENT": true, "CHECKPOINT_TOPIC": true,
}

// systemGroups are the groups of RocketMQ's own tools and of its classic clients that were given no name.
var systemGroups = map[string]bool{
	"DEFAULT_CONSUMER": true, "TOOLS_CONSUMER": true, "FILTERSRV_CONSUMER": true, "__MONITOR_CONSUMER": true,
	"SELF_TEST_C_GROUP": true, "CID_ONS-HTTP-PROXY": true, "CID_ONSAPI_PERMISSION": true, "CID_ONSAPI_OWNER": true,
	"CID_ONSAPI_PULL": true,
}

// chars is a set of bytes.
type chars [256]bool

func charsOf(text string) (set chars) {
	for i := range len(text) {
		set[text[i]] = true
	}
	return set
}

var (
	nameChars = charsOf(alphanumeric + "%|_-")
	nodeChars = charsOf(alphanumeric + "._-")
	liteChars = charsOf(alphanumeric + "_-")
)

// Topic says why no topic may have that name; nil: one may. It needs no memory
// when the name is right.
func Topic[S string | []byte](name S) error {
	const op = "topic name"
	if err := check(op, name, TopicMax); err != nil {
		return err
	}
	if systemTopics[string(name)] || begins(name, systemPrefix) {
		return fault.Errorf(op, fault.Invalid, "%q is a system topic of RocketMQ: choose another name", name)
	}
	return nil
}

// Group says why no group may have that name; nil: one may.
func Group(name string) error {
	const op = "group name"
	if err := check(op, name, GroupMax); err != nil {
		return err
	}
	if systemGroups[name] || begins(name, systemGroup) || Reserved(name) {
		return fault.Errorf(op, fault.Invalid, "%q is reserved for the system: choose another name", name)
	}
	return nil
}

// Lite reports whether a lite topic may have that name.
func Lite(name []byte) bool {
	return len(name) > 0 && len(name) <= LiteMax && consists(name, &liteChars)
}

// Node says why no node may have that name; nil: one may.
func Node(name string) error {
	if name == "" || len(name) > NodeMax || !consists(name, &nodeChars) {
		return fault.Errorf("node name", fault.Invalid,
			"%q is not 1 to %d letters, digits, dots, underscores and hyphens: give another --node", name, NodeMax)
	}
	return nil
}

// DeadLetters is the name of a group's dead-letter topic.
func DeadLetters(group string) string { return DeadLetterPrefix + group }

// Reserved reports whether only the system makes things of that name.
func Reserved(name string) bool {
	return strings.HasPrefix(name, DeadLetterPrefix) || strings.HasPrefix(name, retryPrefix)
}

func check[S string | []byte](op string, name S, lengthMax int) error {
	switch {
	case len(name) == 0:
		return fault.Errorf(op, fault.Invalid, "it is empty: give one of 1 to %d characters", lengthMax)
	case len(name) > lengthMax:
		return fault.Errorf(op, fault.Invalid, "%.150q has %d characters: at most %d", name, len(name), lengthMax)
	case !consists(name, &nameChars):
		return fault.Errorf(op, fault.Invalid, "%q: use letters, digits and %% | _ - only", name)
	}
	return nil
}

func consists[S string | []byte](name S, of *chars) bool {
	for i := range len(name) {
		if !of[name[i]] {
			return false
		}
	}
	return true
}

func begins[S string | []byte](name S, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}
