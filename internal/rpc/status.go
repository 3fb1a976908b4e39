// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/fault"
)

// errorDomain marks the details that this package wrote.
const errorDomain = "mansio"

// kindCodes maps every kind to its code. A code's first kind in kindOrder is what
// the code means when the detail is missing.
var kindCodes = map[fault.Kind]codes.Code{
	fault.Other:        codes.Unknown,
	fault.Invalid:      codes.InvalidArgument,
	fault.NotFound:     codes.NotFound,
	fault.Exists:       codes.AlreadyExists,
	fault.Conflict:     codes.Aborted,
	fault.NotLeader:    codes.FailedPrecondition,
	fault.Unavailable:  codes.Unavailable,
	fault.Throttled:    codes.ResourceExhausted,
	fault.DiskFull:     codes.ResourceExhausted,
	fault.Timeout:      codes.DeadlineExceeded,
	fault.Canceled:     codes.Canceled,
	fault.Corrupt:      codes.DataLoss,
	fault.Incompatible: codes.FailedPrecondition,
	fault.Denied:       codes.PermissionDenied,
	fault.Unsupported:  codes.Unimplemented,
	fault.Internal:     codes.Internal,
}

// codeKinds is the way back for answers without our detail: from gRPC itself,
// from proxies in between, from other programs.
var codeKinds = map[codes.Code]fault.Kind{
	codes.Canceled:           fault.Canceled,
	codes.Unknown:            fault.Other,
	codes.InvalidArgument:    fault.Invalid,
	codes.DeadlineExceeded:   fault.Timeout,
	codes.NotFound:           fault.NotFound,
	codes.AlreadyExists:      fault.Exists,
	codes.PermissionDenied:   fault.Denied,
	codes.ResourceExhausted:  fault.Throttled,
	codes.FailedPrecondition: fault.Incompatible,
	codes.Aborted:            fault.Conflict,
	codes.OutOfRange:         fault.Invalid,
	codes.Unimplemented:      fault.Unsupported,
	codes.Internal:           fault.Internal,
	codes.Unavailable:        fault.Unavailable,
	codes.DataLoss:           fault.Corrupt,
	codes.Unauthenticated:    fault.Denied,
}

var kindsByName = func() map[string]fault.Kind {
	byName := make(map[string]fault.Kind, len(kindCodes))
	for kind := range kindCodes {
		byName[kind.String()] = kind
	}
	return byName
}()

// Status turns an error into what gRPC sends: nil stays nil, an error that is a
// status already stays as it is unless it also has a kind.
func Status(err error) error {
	if err == nil {
		return nil
	}
	kind := kindOf(err)
	if kind == fault.Other {
		if _, ok := status.FromError(err); ok {
			return err
		}
	}
	return StatusAs(kindCodes[kind], err)
}

// StatusAs is Status with a code that the contract of a call asks for; the kind
// of the error travels all the same.
func StatusAs(code codes.Code, err error) error {
	plain := status.New(code, fault.Text(err))
	detailed, failed := plain.WithDetails(&errdetails.ErrorInfo{Domain: errorDomain, Reason: kindOf(err).String()})
	if failed != nil { // code OK: nothing to explain
		return plain.Err()
	}
	return detailed.Err()
}

func kindOf(err error) fault.Kind {
	kind := fault.KindOf(err)
	switch {
	case kind != fault.Other:
		return kind
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Timeout
	case errors.Is(err, context.Canceled):
		return fault.Canceled
	default:
		return fault.Other
	}
}

// Fault turns what a call returned into an error of package fault, with the text
// that the other side wrote. status.Code still works on the result.
func Fault(err error) error {
	if err == nil || fault.KindOf(err) != fault.Other {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return fault.E("", kindOf(err), err)
	}
	kind := codeKinds[st.Code()]
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			if named, known := kindsByName[info.GetReason()]; known {
				kind = named
			}
		}
	}
	return &fault.Error{Kind: kind, Err: &remote{st}}
}

// Answered reports whether the other side wrote the error that a call returned;
// else it comes from the way there.
func Answered(err error) bool {
	st, ok := status.FromError(err)
	return ok && slices.ContainsFunc(st.Details(), func(detail any) bool {
		info, ok := detail.(*errdetails.ErrorInfo)
		return ok && info.GetDomain() == errorDomain
	})
}

// Cause is the text of what went wrong on the way to a server, without gRPC's
// story of how it was found.
func Cause(err error) string {
	text := err.Error()
	for _, story := range []string{"Error while dialing: ", "authentication handshake failed: ", "error reading server preface: "} {
		if _, rest, ok := strings.Cut(text, story); ok {
			return strings.TrimSuffix(rest, "\"")
		}
	}
	return text
}

// remote is an error that another process answered. Its text is what a person
// should read; the code is for programs.
type remote struct{ st *status.Status }

func (r *remote) Error() string {
	if r.st.Message() == "" {
		return fmt.Sprintf("answer %s", r.st.Code())
	}
	return r.st.Message()
}

func (r *remote) GRPCStatus() *status.Status { return r.st }
