// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// bridge hands what etcd logs to our logger: warnings and worse; everything else
// is its inner life.
type bridge struct {
	log    *slog.Logger
	stale  *atomic.Bool // set by noSegment
	fields []zapcore.Field
}

// noSegment is what etcd logs when it could not prepare the next file of its log.
// It goes on until the present one is full, and then gives up.
const noSegment = "failed to preallocate space when creating a new WAL"

// harmless are messages that etcd logs at every clean stop, at the first start,
// or because of how it is embedded here.
var harmless = []string{
	"http: Server closed", "grpc: the server has been stopped", "use of closed network connection", "server closed",
	"Running http and grpc server on single port", "simple token is not cryptographically signed",
	"failed to publish local member to cluster through raft", "stopping insecure grpc server",
	"serving client traffic insecurely", "unexpected server exit", "missing term information", "request cancelled",
	"pending configuration changes to apply",
}

// Enabled implements zapcore.Core.
func (b *bridge) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, stale: b.stale, fields: append(slices.Clip(b.fields), fields...)}
}

// Check implements zapcore.Core.
func (b *bridge) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(entry.Level) {
		return checked.AddCore(entry, b)
	}
	return checked
}

// Write implements zapcore.Core.
func (b *bridge) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if entry.Message == noSegment {
		b.stale.Store(true)
	}
	values := zapcore.NewMapObjectEncoder()
	for _, field := range append(slices.Clip(b.fields), fields...) {
		field.AddTo(values)
	}
	reason, _ := values.Fields["error"].(string)
	for _, known := range harmless {
		if strings.Contains(entry.Message, known) || strings.Contains(reason, known) {
			return nil
		}
	}
	write := b.log.Warn
	if entry.Level > zapcore.WarnLevel {
		write = b.log.Error
	}
	write("etcd says", "message", entry.Message, "fields", values.Fields)
	return nil
}

// Sync implements zapcore.Core.
func (b *bridge) Sync() error { return nil }
