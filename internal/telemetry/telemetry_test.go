// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes telemetry in an environment without OTEL_ variables except env.
func start(t *testing.T, env map[string]string) *Telemetry {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	tel, err := New(t.Context(), Config{Role: "proxy", Node: "p1", Version: "v0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Close(context.Background()) })
	return tel
}

// scrape returns the lines of /metrics that begin with prefix.
func scrape(t *testing.T, tel *Telemetry, prefix string) (lines []string) {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestNamesInMetrics(t *testing.T) {
	tel := start(t, nil)
	m := tel.Meter()
	c, _ := m.Int64Counter("mansio.proxy.messages", metric.WithUnit("{message}"))
	h, _ := m.Float64Histogram("mansio.proxy.send.duration", metric.WithUnit("s"))
	g, _ := m.Int64UpDownCounter("mansio.proxy.parked", metric.WithUnit("{receive}"))
	c.Add(t.Context(), 3, metric.WithAttributes(attribute.String("topic", "t"), attribute.String("client_id", "secret")))
	h.Record(t.Context(), .0003)
	g.Add(t.Context(), 2)
	if diff := cmp.Diff([]string{`mansio_proxy_messages_total{topic="t"} 3`}, scrape(t, tel, "mansio_proxy_messages")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"mansio_proxy_parked 2"}, scrape(t, tel, "mansio_proxy_parked")); diff != "" {
		t.Error(diff)
	}
	if got := scrape(t, tel, `mansio_proxy_send_duration_seconds_bucket{le="0.0005"}`); len(got) != 1 || !strings.HasSuffix(got[0], " 1") {
		t.Errorf("the bucket of half a millisecond: %q", got)
	}
	for _, name := range []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "go_memory_used_bytes", `target_info{`} {
		if len(scrape(t, tel, name)) == 0 {
			t.Errorf("no %s", name)
		}
	}
}

func TestSeriesAreBounded(t *testing.T) {
	tel := start(t, nil)
	c, _ := tel.Meter().Int64Counter("mansio.test.things")
	for i := range 2 * SeriesMax {
		c.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("topic", i)))
	}
	lines := scrape(t, tel, "mansio_test_things_total")
	if len(lines) > SeriesMax {
		t.Errorf("%d series, the limit is %d", len(lines), SeriesMax)
	}
	if !strings.Contains(strings.Join(lines, "\n"), `otel_metric_overflow="true"`) {
		t.Error("nothing tells that the limit is reached")
	}
}

func TestOffUnlessAsked(t *testing.T) {
	tel := start(t, nil)
	_, span := tel.Tracers().Tracer("x").Start(t.Context(), "x")
	if span.IsRecording() || tel.Exports() || len(tel.ServerOptions())+len(tel.DialOptions()) > 0 {
		t.Error("spans are recorded though nobody asked")
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "console"}, true},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false},
	} {
		t.Run(fmt.Sprint(c.env), func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			if got := wanted("TRACES"); got != c.want {
				t.Errorf("wanted is %v", got)
			}
		})
	}
}

// TestOTLP: with the standard variable alone, spans reach a collector, with the
// resource that names the process.
func TestOTLP(t *testing.T) {
	var got struct {
		sync.Mutex
		spans    []string
		resource map[string]string
	}
	got.resource = map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var in io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			in, _ = gzip.NewReader(r.Body)
		}
		body, _ := io.ReadAll(in)
		req := &collector.ExportTraceServiceRequest{}
		if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, req) != nil {
			return
		}
		got.Lock()
		defer got.Unlock()
		for _, rs := range req.GetResourceSpans() {
			for _, kv := range rs.GetResource().GetAttributes() {
				got.resource[kv.GetKey()] = kv.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					got.spans = append(got.spans, s.GetName())
				}
			}
		}
	}))
	defer server.Close()
	tel := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"})
	if !tel.Exports() || len(tel.ServerOptions()) != 1 || len(tel.DialOptions()) != 1 {
		t.Error("calls have no spans though somebody asked")
	}
	_, span := tel.Tracers().Tracer(scope).Start(t.Context(), "send orders")
	span.End()
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got.Lock()
	defer got.Unlock()
	if diff := cmp.Diff([]string{"send orders"}, got.spans); diff != "" {
		t.Error(diff)
	}
	for k, v := range map[string]string{
		"service.name": "mansio", "service.version": "v0", "service.instance.id": "p1", "mansio.role": "proxy",
		"deployment.environment.name": "test",
	} {
		if got.resource[k] != v {
			t.Errorf("resource %s is %q, want %q", k, got.resource[k], v)
		}
	}
}

func TestStreamsHaveNoSpans(t *testing.T) {
	for method, want := range map[string]bool{
		"/mansio.store.v1.Store/Exchange":                     false,
		"/apache.rocketmq.v2.MessagingService/Telemetry":      false,
		"/apache.rocketmq.v2.MessagingService/SendMessage":    true,
		"/apache.rocketmq.v2.MessagingService/ReceiveMessage": true,
	} {
		if got := shortLived(&stats.RPCTagInfo{FullMethodName: method}); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
}

func TestLogger(t *testing.T) {
	tel := start(t, map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
	ctx, span := tel.Tracers().Tracer("x").Start(t.Context(), "x")
	var b bytes.Buffer
	log, err := NewLogger(&b, "info", "auto")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not shown")
	log.With("shard", 7).InfoContext(ctx, "shown")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	if line["msg"] != "shown" || line["shard"] != 7.0 || line["trace_id"] != span.SpanContext().TraceID().String() {
		t.Errorf("%v", line)
	}
	b.Reset()
	if log, err = NewLogger(&b, "DEBUG", "text"); err != nil {
		t.Fatal(err)
	}
	log.Debug("shown")
	if !strings.Contains(b.String(), "level=DEBUG msg=shown") {
		t.Errorf("%q", b.String())
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info+1", "text"}, {"info", "xml"}} {
		if _, err := NewLogger(&b, bad[0], bad[1]); err == nil {
			t.Errorf("%v accepted", bad)
		}
	}
}

func get(t *testing.T, h http.Handler, path, from string, headers ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.RemoteAddr = from
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHealthPages(t *testing.T) {
	var ready Health
	var broken error
	ready.Add("store node", func() error { return broken })
	ready.Add("proxy", func() error { return nil })
	h := Pages{Ready: &ready}.Handler()
	if code, body := get(t, h, "/readyz", "10.0.0.1:5"); code != 200 || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	broken = errors.New("not joined yet")
	if code, body := get(t, h, "/readyz", "10.0.0.1:5"); code != 503 || body != "store node: not joined yet\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, h, "/healthz", "10.0.0.1:5"); code != 200 || body != "ok\n" {
		t.Errorf("liveness follows readiness: %d %q", code, body)
	}
	for _, path := range []string{"/debug/pprof/", "/metrics", "/"} {
		if code, _ := get(t, h, path, "127.0.0.1:5"); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestProfilesAreGuarded(t *testing.T) {
	local := Pages{Pprof: true}.Handler()
	token := Pages{Pprof: true, AdminToken: "secret"}.Handler()
	for _, c := range []struct {
		name string
		h    http.Handler
		from string
		auth string
		want int
	}{
		{"this machine", local, "127.0.0.1:5", "", 200},
		{"this machine, IPv6", local, "[::1]:5", "", 200},
		{"another machine", local, "10.0.0.1:5", "", 403},
		{"another machine with the token", token, "10.0.0.1:5", "Bearer secret", 200},
		{"another machine, wrong token", token, "10.0.0.1:5", "Bearer wrong", 403},
		{"this machine without the token", token, "127.0.0.1:5", "", 403},
		{"no address", local, "", "", 403},
	} {
		if code, _ := get(t, c.h, "/debug/pprof/cmdline", c.from, "Authorization", c.auth); code != c.want {
			t.Errorf("%s: %d, want %d", c.name, code, c.want)
		}
	}
	if s := (Pages{Pprof: true}).Server(); s.ReadHeaderTimeout == 0 {
		t.Error("a client may take for ever to send its header")
	}
}
