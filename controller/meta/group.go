// SPDX-License-Identifier: Apache-2.0

package meta

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/names"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// AttemptsDefault is one delivery and 16 retries, as in RocketMQ.
	AttemptsDefault = 17
	// AttemptsMax fits the byte in which shards count attempts.
	AttemptsMax = 250
	// InvisibleDefaultMS is how long a delivery is leased when the client does not say.
	InvisibleDefaultMS = int64(60_000)
	// InvisibleMaxMS is the longest lease.
	InvisibleMaxMS = int64(12 * time.Hour / time.Millisecond)
	// BackoffStepsMax bounds the table of waits: no group has more attempts.
	BackoffStepsMax = AttemptsMax
	// BackoffMaxMS is the longest wait between two attempts.
	BackoffMaxMS = int64(24 * time.Hour / time.Millisecond)
	// MultiplierMax bounds exponential growth.
	MultiplierMax = 100
	// InFlightMax bounds the leases of one group on one shard.
	InFlightMax = 10_000_000
)

// DefaultBackoff returns RocketMQ's table of waits, 1 s to 2 h.
func DefaultBackoff() *controlv1.Backoff {
	seconds := []int64{1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200}
	for i := range seconds {
		seconds[i] *= 1000
	}
	return &controlv1.Backoff{StepsMs: seconds}
}

// NewGroup checks what a request asks for and fills in defaults:
//
//	max_attempts    AttemptsDefault
//	backoff         DefaultBackoff
//	strict_expiry   true
//	consume_from    as the cluster says
//	invisible_ms    InvisibleDefaultMS
//
// The result has no id, dead-letter topic and times yet.
func NewGroup(request *controlv1.CreateGroupRequest, from controlv1.ConsumeFrom) (*controlv1.Group, error) {
	const op = "create group"
	asked := request.GetGroup()
	if err := names.Group(asked.GetName()); err != nil {
		return nil, err
	}
	group := &controlv1.Group{
		Name: asked.GetName(), Fifo: asked.GetFifo(), MaxAttempts: asked.GetMaxAttempts(),
		Backoff: proto.CloneOf(asked.GetBackoff()), StrictExpiry: true,
		ConsumeFrom: asked.GetConsumeFrom(), InvisibleMs: asked.GetInvisibleMs(), InFlightMax: asked.GetInFlightMax(),
	}
	if request.StrictExpiry != nil {
		group.StrictExpiry = request.GetStrictExpiry()
	}
	if group.GetMaxAttempts() == 0 {
		group.MaxAttempts = AttemptsDefault
	}
	if emptyBackoff(group.GetBackoff()) {
		group.Backoff = DefaultBackoff()
	}
	if group.GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED {
		group.ConsumeFrom = from
	}
	if group.GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED {
		group.ConsumeFrom = controlv1.ConsumeFrom_CONSUME_FROM_EARLIEST
	}
	if group.GetInvisibleMs() == 0 {
		group.InvisibleMs = InvisibleDefaultMS
	}
	return group, checkGroup(op, group)
}

// SameGroup returns nil when an existing group is what the request asks for, else
// an error of kind Exists that names the difference. With if_not_exists, fields
// that the request leaves open match anything.
func SameGroup(have *controlv1.Group, request *controlv1.CreateGroupRequest, from controlv1.ConsumeFrom) error {
	want, err := NewGroup(request, from)
	if err != nil {
		return err
	}
	lenient, asked := request.GetIfNotExists(), request.GetGroup()
	differs := func(what string, have, want any) error {
		return fault.Errorf("create group", fault.Exists, "%s exists with %s %v, not %v: use `group update`, or delete it first",
			asked.GetName(), what, have, want)
	}
	switch {
	case have.GetFifo() != want.GetFifo() && !(lenient && !asked.GetFifo()):
		return differs("fifo", have.GetFifo(), want.GetFifo())
	case have.GetMaxAttempts() != want.GetMaxAttempts() && !(lenient && asked.GetMaxAttempts() == 0):
		return differs("max attempts", have.GetMaxAttempts(), want.GetMaxAttempts())
	case !proto.Equal(have.GetBackoff(), want.GetBackoff()) && !(lenient && emptyBackoff(asked.GetBackoff())):
		return differs("backoff", have.GetBackoff(), want.GetBackoff())
	case have.GetStrictExpiry() != want.GetStrictExpiry() && !(lenient && request.StrictExpiry == nil):
		return differs("strict expiry", have.GetStrictExpiry(), want.GetStrictExpiry())
	case have.GetConsumeFrom() != want.GetConsumeFrom() &&
		!(lenient && asked.GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED):
		return differs("consume from", have.GetConsumeFrom(), want.GetConsumeFrom())
	case have.GetInvisibleMs() != want.GetInvisibleMs() && !(lenient && asked.GetInvisibleMs() == 0):
		return differs("invisible ms", have.GetInvisibleMs(), want.GetInvisibleMs())
	case have.GetInFlightMax() != want.GetInFlightMax() && !(lenient && asked.GetInFlightMax() == 0):
		return differs("in-flight max", have.GetInFlightMax(), want.GetInFlightMax())
	default:
		return nil
	}
}

// UpdateGroup changes the group as asked.
func UpdateGroup(group *controlv1.Group, request *controlv1.UpdateGroupRequest) error {
	if request.MaxAttempts != nil {
		group.MaxAttempts = request.GetMaxAttempts()
	}
	if request.Fifo != nil {
		group.Fifo = request.GetFifo()
	}
	if request.StrictExpiry != nil {
		group.StrictExpiry = request.GetStrictExpiry()
	}
	if request.ConsumeFrom != nil {
		group.ConsumeFrom = request.GetConsumeFrom()
	}
	if request.InvisibleMs != nil {
		group.InvisibleMs = request.GetInvisibleMs()
	}
	if !emptyBackoff(request.GetBackoff()) {
		group.Backoff = proto.CloneOf(request.GetBackoff())
	}
	return checkGroup("update group", group)
}

// NewDeadLetters is the topic for the dead letters of a group, without ids,
// queues and times.
func NewDeadLetters(group string) *controlv1.Topic {
	return &controlv1.Topic{
		Name: names.DeadLetters(group), Type: controlv1.TopicType_TOPIC_TYPE_NORMAL,
		Reply: controlv1.ReplyPoint_REPLY_POINT_COMMITTED,
	}
}

func checkGroup(op string, group *controlv1.Group) error {
	if n := group.GetMaxAttempts(); n < 1 || n > AttemptsMax {
		return fault.Errorf(op, fault.Invalid, "%d attempts: give 1 to %d", n, AttemptsMax)
	}
	if ms := group.GetInvisibleMs(); ms < 1 || ms > InvisibleMaxMS {
		return fault.Errorf(op, fault.Invalid, "invisible for %d ms: give 1 ms to 12 h", ms)
	}
	if n := group.GetInFlightMax(); n > InFlightMax {
		return fault.Errorf(op, fault.Invalid, "%d in flight: at most %d", n, InFlightMax)
	}
	if _, ok := controlv1.ConsumeFrom_name[int32(group.GetConsumeFrom())]; !ok ||
		group.GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED {
		return fault.Errorf(op, fault.Invalid, "consume from %v: give earliest or latest", group.GetConsumeFrom())
	}
	return checkBackoff(op, group.GetBackoff())
}

func checkBackoff(op string, b *controlv1.Backoff) error {
	bad := func(ms int64) bool { return ms < 0 || ms > BackoffMaxMS }
	if steps := b.GetStepsMs(); len(steps) > 0 {
		if b.GetInitialMs() != 0 || b.GetMaxMs() != 0 || b.GetMultiplier() != 0 {
			return fault.Errorf(op, fault.Invalid, "backoff: give a table of steps or exponential growth, not both")
		}
		if len(steps) > BackoffStepsMax || slices.ContainsFunc(steps, bad) {
			return fault.Errorf(op, fault.Invalid, "backoff: give at most %d steps of 0 to 24 h", BackoffStepsMax)
		}
		return nil
	}
	if b.GetInitialMs() < 1 || bad(b.GetMaxMs()) || b.GetMaxMs() < b.GetInitialMs() {
		return fault.Errorf(op, fault.Invalid, "backoff: give 1 ms ≤ initial ≤ max ≤ 24 h")
	}
	if m := b.GetMultiplier(); !(m >= 1 && m <= MultiplierMax) { // not a number fails as well
		return fault.Errorf(op, fault.Invalid, "backoff: multiplier %v: give 1 to %d", m, MultiplierMax)
	}
	return nil
}

func emptyBackoff(b *controlv1.Backoff) bool {
	return len(b.GetStepsMs()) == 0 && b.GetInitialMs() == 0 && b.GetMaxMs() == 0 && b.GetMultiplier() == 0
}
