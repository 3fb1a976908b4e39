// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"log/slog"
	"slices"
	"strings"

	"go.uber.org/zap/zapcore"
)

// bridge hands what etcd logs to our logger: warnings and worse; everything else
// is its inner life. Nil loggers drop all.
type bridge struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// harmless are messages that etcd logs at every clean stop, at the first start,
// or because of how it is embedded here.
var harmless = []string{
	"http: Server closed", "grpc: the server has been stopped", "use of closed network connection", "server closed",
	"Running http and grpc server on single port", "simple token is not cryptographically signed",
	"failed to publish local member to cluster through raft", "stopping insecure grpc server",
	"serving client traffic insecurely", "unexpected server exit", "missing term information", "request cancelled",
}

// Enabled implements zapcore.Core.
func (b *bridge) Enabled(level zapcore.Level) bool { return b.log != nil && level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, fields: append(slices.Clip(b.fields), fields...)}
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
