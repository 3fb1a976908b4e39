// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is, which is all that a caller may
// decide by.
type Kind uint8

// The kinds. Other is the zero value: nobody said what it is.
const (
	Other        Kind = iota
	Invalid           // the request or the configuration is wrong; the same call fails again
	NotFound          // the named thing does not exist
	Exists            // the named thing exists already, with other properties
	Conflict          // a compare-and-swap lost; read again and retry
	NotLeader         // this node does not lead the shard; another one may
	Unavailable       // nobody can answer now; retry later
	Throttled         // a named limit is reached; slow down
	DiskFull          // too little free disk space for this kind of write
	Timeout           // no answer in time; the outcome is unknown
	Canceled          // the caller went away
	Corrupt           // bytes on disk or on the wire are not what they must be
	Incompatible      // made by another version, cluster or node
	Denied            // the caller may not do this
	Unsupported       // a valid request for something that is not built
	Internal          // a bug or an unexpected environment
)

var kindNames = [...]string{
	"error", "invalid", "not found", "exists", "conflict", "not leader", "unavailable", "throttled",
	"disk full", "timeout", "canceled", "corrupt", "incompatible", "denied", "unsupported", "internal",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is an operation that failed. Op is `package.Function` or a phrase that
// a person recognises; Err says why and may be nil.
type Error struct {
	Op   string
	Kind Kind
	Err  error
}

// E makes an Error. When kind is Other the kind of err is kept.
func E(op string, kind Kind, err error) error {
	if kind == Other {
		kind = KindOf(err)
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// Errorf makes an Error whose cause is the formatted text; %w works.
func Errorf(op string, kind Kind, format string, operands ...any) error {
	return E(op, kind, fmt.Errorf(format, operands...))
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op + ": " + e.Kind.String()
	case e.Op == "":
		return e.Err.Error()
	default:
		return e.Op + ": " + e.Err.Error()
	}
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain that has one.
func KindOf(err error) Kind {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return Other
		}
		if e.Kind != Other {
			return e.Kind
		}
		err = e.Err
	}
	return Other
}

// Is reports whether err is of that kind.
func Is(err error, kind Kind) bool { return KindOf(err) == kind }
