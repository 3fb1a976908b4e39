// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// ok is the status of everything that went well. It is shared: nobody changes it.
var ok = &pb.Status{Code: pb.Code_OK, Message: "OK"}

func status(code pb.Code, text string) *pb.Status { return &pb.Status{Code: code, Message: text} }

func statusf(code pb.Code, format string, operands ...any) *pb.Status {
	return &pb.Status{Code: code, Message: fmt.Sprintf(format, operands...)}
}

func notImplemented(what string) *pb.Status {
	return status(pb.Code_NOT_IMPLEMENTED, what+" is not built yet")
}

// storeCodes says what clients hear of a store's code. When nothing was done and
// trying again later helps, that is the one code after which SDKs pause.
var storeCodes = map[storeapi.Code]pb.Code{
	storeapi.OK:             pb.Code_OK,
	storeapi.None:           pb.Code_MESSAGE_NOT_FOUND,
	storeapi.NotLeader:      pb.Code_TOO_MANY_REQUESTS,
	storeapi.NeedConfig:     pb.Code_TOO_MANY_REQUESTS,
	storeapi.TopicNotFound:  pb.Code_TOPIC_NOT_FOUND,
	storeapi.GroupNotFound:  pb.Code_CONSUMER_GROUP_NOT_FOUND,
	storeapi.InvalidHandle:  pb.Code_INVALID_RECEIPT_HANDLE,
	storeapi.DiskFull:       pb.Code_TOO_MANY_REQUESTS,
	storeapi.Overloaded:     pb.Code_TOO_MANY_REQUESTS,
	storeapi.Expired:        pb.Code_PROXY_TIMEOUT,
	storeapi.Unknown:        pb.Code_PROXY_TIMEOUT,
	storeapi.Unavailable:    pb.Code_TOO_MANY_REQUESTS,
	storeapi.SeqTooOld:      pb.Code_PROXY_TIMEOUT,
	storeapi.NotImplemented: pb.Code_NOT_IMPLEMENTED,
	storeapi.Canceled:       pb.Code_INTERNAL_SERVER_ERROR,
	storeapi.Internal:       pb.Code_INTERNAL_SERVER_ERROR,
	storeapi.Invalid:        pb.Code_INTERNAL_SERVER_ERROR,
	storeapi.TooLarge:       pb.Code_MESSAGE_BODY_TOO_LARGE,
}

// storeTexts say what a person can do about a store's code.
var storeTexts = map[storeapi.Code]string{
	storeapi.NotLeader:     "no leader of the shard is known; it may be electing one",
	storeapi.NeedConfig:    "the store does not know this topic or group yet",
	storeapi.TopicNotFound: "the topic does not exist",
	storeapi.GroupNotFound: "the consumer group does not exist",
	storeapi.InvalidHandle: "the receipt handle's delivery is over",
	storeapi.DiskFull:      "the store is short of disk space: free some, or lower --min-free-disk or the retention",
	storeapi.Overloaded:    "too many requests are under way",
	storeapi.Expired:       "the store did not answer in time; nothing was done",
	storeapi.Unknown:       "the store did not answer in time; whether it was done is not known",
	storeapi.Unavailable:   "the store cannot be reached; nothing was done",
	storeapi.TooLarge:      "the message is larger than a log segment of the store: send less, or raise --segment-size there",
	storeapi.SeqTooOld:     "whether an earlier attempt was stored is not known any more",
}

// storeStatus turns a store's answer into a status.
func storeStatus(code storeapi.Code, detail string) *pb.Status {
	if code == storeapi.OK {
		return ok
	}
	text := storeTexts[code]
	switch {
	case text == "" && detail == "":
		text = code.String()
	case text == "":
		text = detail
	case detail != "":
		text += " (" + detail + ")"
	}
	c, known := storeCodes[code]
	if !known {
		c = pb.Code_INTERNAL_SERVER_ERROR
	}
	return status(c, text)
}

// settleStatus is storeStatus for settling: what is final must say so with the one
// code on which clients give up.
func settleStatus(code storeapi.Code, detail string) *pb.Status {
	if code == storeapi.TopicNotFound || code == storeapi.GroupNotFound {
		return status(pb.Code_INVALID_RECEIPT_HANDLE, storeTexts[code])
	}
	return storeStatus(code, detail)
}

// common is the status of a response whose entries have these: their common one,
// or MULTIPLE_RESULTS.
func common[E interface{ GetStatus() *pb.Status }](entries []E) *pb.Status {
	first := entries[0].GetStatus()
	for _, e := range entries[1:] {
		if e.GetStatus().GetCode() != first.GetCode() {
			return status(pb.Code_MULTIPLE_RESULTS, "the entries differ")
		}
	}
	return first
}
