// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const (
	topicBytesMax = 127
	groupBytesMax = 120
	// systemGroups is the prefix of groups that belong to the classic broker.
	systemGroups = "CID_RMQ_SYS_"
	// systemTopicPrefix begins topics that belong to the classic broker.
	systemTopicPrefix = "rmq_sys_"
)

// systemTopics belong to the classic broker; nobody may use them.
var systemTopics = map[string]bool{
	"TBW102": true, "SCHEDULE_TOPIC_XXXX": true, "BenchmarkTest": true, "RMQ_SYS_TRANS_HALF_TOPIC": true,
	"RMQ_SYS_TRACE_TOPIC": true, "RMQ_SYS_TRANS_OP_HALF_TOPIC": true, "TRANS_CHECK_MAX_TIME_TOPIC": true,
	"SELF_TEST_TOPIC": true, "OFFSET_MOVED_EVENT": true, "CHECKPOINT_TOPIC": true,
}

// nameChars are what names may consist of.
var nameChars = func() (set [256]bool) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for _, c := range []byte(letters + strings.ToUpper(letters) + "0123456789_-%|") {
		set[c] = true
	}
	return set
}()

func plain[S string | []byte](name S) bool {
	for i := range len(name) {
		if !nameChars[name[i]] {
			return false
		}
	}
	return true
}

// badTopic says what is wrong with a topic's name; nil: nothing.
func badTopic[S string | []byte](name S) *pb.Status {
	switch {
	case len(name) == 0:
		return status(pb.Code_ILLEGAL_TOPIC, "topic name is empty")
	case len(name) > topicBytesMax:
		return statusf(pb.Code_ILLEGAL_TOPIC, "topic name has %d characters, at most %d are allowed", len(name), topicBytesMax)
	case !plain(name):
		return statusf(pb.Code_ILLEGAL_TOPIC, "topic name %q: letters, digits, %%, |, _ and - are allowed", name)
	case systemTopics[string(name)], strings.HasPrefix(string(name), systemTopicPrefix):
		return statusf(pb.Code_ILLEGAL_TOPIC, "topic %q belongs to the system", name)
	}
	return nil
}

// badGroup says what is wrong with a group's name; nil: nothing.
func badGroup(name string) *pb.Status {
	switch {
	case name == "":
		return status(pb.Code_ILLEGAL_CONSUMER_GROUP, "consumer group name is empty")
	case len(name) > groupBytesMax:
		return statusf(pb.Code_ILLEGAL_CONSUMER_GROUP, "consumer group name has %d characters, at most %d are allowed", len(name), groupBytesMax)
	case !plain(name):
		return statusf(pb.Code_ILLEGAL_CONSUMER_GROUP, "consumer group name %q: letters, digits, %%, |, _ and - are allowed", name)
	case strings.HasPrefix(name, systemGroups):
		return statusf(pb.Code_ILLEGAL_CONSUMER_GROUP, "consumer group %q belongs to the system", name)
	}
	return nil
}
