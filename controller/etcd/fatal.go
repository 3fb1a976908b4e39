// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/mansiomq/mansio/internal/fault"
)

// graceMax is how long the process may take to end in good order after etcd broke.
const graceMax = 8 * time.Second

// trouble is what the owner of a server has to know.
type trouble struct {
	first chan error // the first error; nobody needs more
	dead  atomic.Bool
}

func newTrouble() *trouble { return &trouble{first: make(chan error, 1)} }

func (t *trouble) tell(err error) {
	select {
	case t.first <- err:
	default:
	}
}

// lastWords is called instead of the end of the process when etcd gives up, by
// Fatal or Panic. Etcd counts on it not to return, and it cannot be closed either:
// the goroutine that gave up holds locks. So the owner is told, who ends the
// process with an error that says why; if that takes too long it ends here.
type lastWords struct {
	dir     string
	trouble *trouble
	grace   time.Duration
	exit    zapcore.CheckWriteHook
}

// OnWrite implements zapcore.CheckWriteHook.
func (l *lastWords) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	l.trouble.dead.Store(true)
	l.trouble.tell(l.errorOf(entry.Message, fields))
	<-time.After(l.grace)
	l.exit.OnWrite(entry, fields)
}

func (l *lastWords) errorOf(message string, fields []zapcore.Field) error {
	cause := errors.New("no cause given")
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
			cause = err
		}
	}
	kind, remedy := fault.Internal, "start again"
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		kind, remedy = fault.DiskFull, "make space and start again"
	}
	return fault.Errorf("", kind, "etcd in %s gave up, %s: %s: %w", l.dir, remedy, message, cause)
}
