// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sys/unix"

	"github.com/mansiomq/mansio/internal/fault"
)

// NewLogger makes the process's logger. Level is debug, info, warn or error;
// format is text, json, or auto: text when w is a terminal, else JSON lines.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	const op = "log"
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil || strings.ContainsAny(level, "+-") {
		return nil, fault.Errorf(op, fault.Invalid, "level %q: debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "auto" {
		format = "json"
		if IsTerminal(w) {
			format = "text"
		}
	}
	switch format {
	case "text":
		return slog.New(spanHandler{slog.NewTextHandler(w, o)}), nil
	case "json":
		return slog.New(spanHandler{slog.NewJSONHandler(w, o)}), nil
	}
	return nil, fault.Errorf(op, fault.Invalid, "format %q: auto, text or json", format)
}

// IsTerminal reports whether w is a terminal that a person may look at.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// spanHandler adds the ids of the span that a record is logged in.
type spanHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h spanHandler) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h spanHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return spanHandler{h.Handler.WithAttrs(a)}
}

// WithGroup implements slog.Handler.
func (h spanHandler) WithGroup(name string) slog.Handler {
	return spanHandler{h.Handler.WithGroup(name)}
}
