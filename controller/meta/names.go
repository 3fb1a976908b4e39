// SPDX-License-Identifier: Apache-2.0

package meta

import (
	"slices"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// TopicNameMax bounds the name of a topic, in bytes: official clients and servers share the limit.
	TopicNameMax = 127
	// GroupNameMax bounds the name of a group, in bytes: likewise, and its dead-letter topic's name still fits.
	GroupNameMax = 120
	// NodeNameMax bounds the name of a node.
	NodeNameMax = 63
	// DeadLetterPrefix begins the name of a group's dead-letter topic.
	DeadLetterPrefix = "%DLQ%"
	retryPrefix      = "%RETRY%"
	systemPrefix     = "rmq_sys_"
	systemGroup      = "CID_RMQ_SYS_"
)

// systemTopics are names with a meaning in RocketMQ, which clients refuse or misunderstand.
var systemTopics = []string{
	"TBW102", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRACE_TOPIC",
	"RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT", "CHECKPOINT_TOPIC",
}

// CheckTopicName returns an error of kind Invalid when no topic may have that name.
func CheckTopicName(name string) error {
	const op = "topic name"
	if err := checkName(op, name, TopicNameMax); err != nil {
		return err
	}
	if slices.Contains(systemTopics, name) || strings.HasPrefix(name, systemPrefix) {
		return fault.Errorf(op, fault.Invalid, "%q is a system topic of RocketMQ: choose another name", name)
	}
	return nil
}

// CheckGroupName returns an error of kind Invalid when no group may have that name.
func CheckGroupName(name string) error {
	const op = "group name"
	if err := checkName(op, name, GroupNameMax); err != nil {
		return err
	}
	if strings.HasPrefix(name, systemGroup) || reserved(name) {
		return fault.Errorf(op, fault.Invalid, "%q is reserved for the system: choose another name", name)
	}
	return nil
}

// CheckNodeName returns an error of kind Invalid when no node may have that name.
func CheckNodeName(name string) error {
	bad := func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("._-", r) }
	if name == "" || len(name) > NodeNameMax || strings.ContainsFunc(name, bad) {
		return fault.Errorf("node name", fault.Invalid,
			"%q is not 1 to %d letters, digits, dots, underscores and hyphens: give another --node", name, NodeNameMax)
	}
	return nil
}

// DeadLetterName is the name of a group's dead-letter topic.
func DeadLetterName(group string) string { return DeadLetterPrefix + group }

// reserved names are made by the system only.
func reserved(name string) bool {
	return strings.HasPrefix(name, DeadLetterPrefix) || strings.HasPrefix(name, retryPrefix)
}

func checkName(op, name string, lengthMax int) error {
	bad := func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("%|_-", r) }
	switch {
	case name == "":
		return fault.Errorf(op, fault.Invalid, "it is empty: give one of 1 to %d characters", lengthMax)
	case len(name) > lengthMax:
		return fault.Errorf(op, fault.Invalid, "%q has %d characters: at most %d", name, len(name), lengthMax)
	case strings.ContainsFunc(name, bad):
		return fault.Errorf(op, fault.Invalid, "%q: use letters, digits and %% | _ - only", name)
	default:
		return nil
	}
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
