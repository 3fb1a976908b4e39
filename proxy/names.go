// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/mansiomq/mansio/internal/names"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// badTopic says what is wrong with a topic's name; nil: nothing.
func badTopic[S string | []byte](name S) *pb.Status {
	if err := names.Topic(name); err != nil {
		return status(pb.Code_ILLEGAL_TOPIC, err.Error())
	}
	return nil
}

// badGroup says what is wrong with a group's name; nil: nothing.
func badGroup(name string) *pb.Status {
	if err := names.Group(name); err != nil {
		return status(pb.Code_ILLEGAL_CONSUMER_GROUP, err.Error())
	}
	return nil
}
