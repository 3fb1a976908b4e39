// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mansiomq/mansio/internal/fault"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options() Options { return Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)} }

// echo answers heartbeats and says what it saw of the caller.
type echo struct {
	pb.UnimplementedMessagingServiceServer
}

func (echo) Heartbeat(ctx context.Context, _ *pb.HeartbeatRequest) (*pb.HeartbeatResponse, error) {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(Info)
	honest, _ := peer.FromContext(Honest(ctx))
	return &pb.HeartbeatResponse{Status: &pb.Status{
		Code: pb.Code_OK, Message: fmt.Sprintf("%s|%s|%v|%s", info.AuthType(), p.Addr, Local(ctx), honest.Addr),
	}}, nil
}

// serve runs a server on l until the test ends.
func serve(t *testing.T, l net.Listener, o Options) {
	t.Helper()
	so, err := ServerOptions(o)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(so...)
	pb.RegisterMessagingServiceServer(s, echo{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
}

func tcp(t *testing.T) *Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return Limit(l, 0)
}

func dial(t *testing.T, target string, creds credentials.TransportCredentials, prefix []byte) pb.MessagingServiceClient {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil && len(prefix) > 0 {
				_, err = c.Write(prefix)
			}
			return c, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return pb.NewMessagingServiceClient(c)
}

func seen(t *testing.T, c pb.MessagingServiceClient) []string {
	t.Helper()
	r, err := c.Heartbeat(t.Context(), &pb.HeartbeatRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(r.GetStatus().GetMessage(), "|")
}

func trusting() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
}

func TestBothOnOnePort(t *testing.T) {
	l := tcp(t)
	serve(t, l, options())
	for want, creds := range map[string]credentials.TransportCredentials{"tls": trusting(), "plaintext": insecure.NewCredentials()} {
		got := seen(t, dial(t, l.Addr().String(), creds, nil))
		if got[0] != want || got[2] != "true" {
			t.Errorf("%s: saw %v", want, got)
		}
	}
	if l.Open() != 2 {
		t.Errorf("%d connections open, want 2", l.Open())
	}
}

// TestALPN says that h2 is agreed on, without which new clients refuse.
func TestALPN(t *testing.T) {
	l := tcp(t)
	serve(t, l, options())
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if p := c.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Errorf("negotiated %q", p)
	}
}

// facts appends as many bytes of facts to a PROXY header of version 2 as a load balancer might.
func facts(t *testing.T, raw []byte, n int) []byte {
	t.Helper()
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xEA, Value: make([]byte, n)}}); err != nil {
		t.Fatal(err)
	}
	if raw, err = h.Format(); err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestProxyProtocol(t *testing.T) {
	l := tcp(t)
	o := options()
	o.ProxyProtocol = true
	serve(t, l, o)
	header := func(version byte, from, to string) []byte {
		source, dest := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to))
		b, err := proxyproto.HeaderProxyFromAddrs(version, source, dest).Format()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tc := range []struct {
		name   string
		prefix []byte
		addr   string // "": that of the connection
		local  string
		honest string // "": that of the connection
	}{
		{"none", nil, "", "true", ""},
		{"v1, IPv4", header(1, "192.0.2.9:1234", "192.0.2.1:80"), "192.0.2.9:1234", "false", "192.0.2.9:1234"},
		{"v1, IPv6", header(1, "[2001:db8::9]:1234", "[2001:db8::1]:80"), "[2001:db8::9]:1234", "false", "[2001:db8::9]:1234"},
		{"v2, IPv4", header(2, "192.0.2.9:1234", "192.0.2.1:80"), "192.0.2.9:1234", "false", "192.0.2.9:1234"},
		{"v2, IPv6", header(2, "[2001:db8::9]:1234", "[2001:db8::1]:80"), "[2001:db8::9]:1234", "false", "[2001:db8::9]:1234"},
		{"v2, with facts", facts(t, header(2, "192.0.2.9:1234", "192.0.2.1:80"), 3000), "192.0.2.9:1234", "false", "192.0.2.9:1234"},
		{"v1, unknown", []byte("PROXY UNKNOWN\r\n"), "", "true", ""},
	} {
		for kind, creds := range map[string]credentials.TransportCredentials{"tls": trusting(), "plaintext": insecure.NewCredentials()} {
			t.Run(tc.name+", "+kind, func(t *testing.T) {
				got := seen(t, dial(t, l.Addr().String(), creds, tc.prefix))
				if got[0] != kind || got[2] != tc.local {
					t.Errorf("saw %v", got)
				}
				if tc.addr != "" && (got[1] != tc.addr || got[3] != tc.honest) || tc.addr == "" && !strings.HasPrefix(got[1], "127.0.0.1:") {
					t.Errorf("saw %v, want %q", got, tc.addr)
				}
			})
		}
	}
}

// TestClaimedAddress says that a PROXY header cannot make a caller local.
func TestClaimedAddress(t *testing.T) {
	remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1}
	here := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2}
	for _, tc := range []struct {
		claimed, via net.Addr
		local        bool
		honest       net.Addr
	}{
		{here, here, true, here},
		{here, remote, false, remote},
		{remote, here, false, remote},
		{remote, remote, false, remote},
	} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: tc.claimed, AuthInfo: Info{Via: tc.via}})
		honest, _ := peer.FromContext(Honest(ctx))
		if Local(ctx) != tc.local || honest.Addr != tc.honest {
			t.Errorf("claimed %v via %v: local %v, honest %v", tc.claimed, tc.via, Local(ctx), honest.Addr)
		}
	}
	if Local(t.Context()) {
		t.Error("a context without a peer is local")
	}
}

// TestSilentConnections says that what does not speak is closed in time, whatever
// it is, and that a call beside it does not notice.
func TestSilentConnections(t *testing.T) {
	hello := clientHello(t)
	for name, first := range map[string][]byte{
		"idle":                 nil,
		"half a client hello":  hello[:len(hello)/2],
		"client hello only":    hello,
		"half a preface":       []byte("PRI * HT"),
		"preface only":         []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"garbage":              []byte("\x00\x01\x02 what is this"),
		"garbage with newline": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"garbage in TLS":       {recordHandshake, 3, 1, 0, 5, 9, 9, 9, 9, 9},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			limited := Limit(l, 0)
			serve(t, limited, options())
			c, err := l.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			ended := make(chan time.Duration)
			go func() {
				_, _ = io.Copy(io.Discard, c)
				ended <- time.Since(start)
			}()
			if len(first) > 0 {
				if _, err := c.Write(first); err != nil {
					t.Fatal(err)
				}
			}
			if took := <-ended; took > 10*time.Second {
				t.Errorf("%s: closed after %v", name, took)
			}
			synctest.Wait()
			if limited.Open() != 0 {
				t.Errorf("%s: %d connections still count", name, limited.Open())
			}
			_ = c.Close()
		})
	}
}

// clientHello is what a TLS client says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	var sent bytes.Buffer
	c := tls.Client(&recorder{w: &sent}, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := c.HandshakeContext(t.Context()); err == nil {
		t.Fatal("a handshake with nobody")
	}
	return sent.Bytes()
}

type recorder struct {
	net.Conn
	w io.Writer
}

func (r *recorder) Write(b []byte) (int, error)        { return r.w.Write(b) }
func (r *recorder) Read([]byte) (int, error)           { return 0, io.EOF }
func (r *recorder) Close() error                       { return nil }
func (r *recorder) SetDeadline(time.Time) error        { return nil }
func (r *recorder) SetWriteDeadline(_ time.Time) error { return nil }

// TestSilentCrowd says that a thousand silent connections do not delay a call.
func TestSilentCrowd(t *testing.T) {
	l := tcp(t)
	serve(t, l, options())
	hello := clientHello(t)
	for i := range 500 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if i%2 == 0 {
			if _, err := c.Write(hello[:len(hello)/2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	seen(t, dial(t, l.Addr().String(), trusting(), nil))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a call among 500 silent connections took %v", took)
	}
}

func TestConnectionsMax(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Limit(inner, 1)
	serve(t, l, options())
	seen(t, dial(t, l.Addr().String(), insecure.NewCredentials(), nil))
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection above the bound stays open")
	}
	if l.Refused() != 1 || l.Open() != 1 {
		t.Errorf("%d refused, %d open", l.Refused(), l.Open())
	}
}

// TestHugeFrame says that a request above the limit is refused alone.
func TestHugeFrame(t *testing.T) {
	l := tcp(t)
	serve(t, l, options())
	c := dial(t, l.Addr().String(), insecure.NewCredentials(), nil)
	before := seen(t, c)[1]
	huge := &pb.HeartbeatRequest{Group: &pb.Resource{Name: strings.Repeat("x", 100<<20)}}
	if _, err := c.Heartbeat(t.Context(), huge); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, want RESOURCE_EXHAUSTED", err)
	}
	if after := seen(t, c)[1]; after != before {
		t.Error("the connection did not survive")
	}
	large := &pb.HeartbeatRequest{Group: &pb.Resource{Name: strings.Repeat("x", 19<<20)}}
	if _, err := c.Heartbeat(t.Context(), large); err != nil {
		t.Errorf("a request of 19 MiB: %v", err)
	}
}

// TestHugeHeaders says that a call with more headers than any client needs is refused, and the next one is not.
func TestHugeHeaders(t *testing.T) {
	l := tcp(t)
	serve(t, l, options())
	c := dial(t, l.Addr().String(), insecure.NewCredentials(), nil)
	for _, n := range []int{8 << 10, 8 << 20} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-mq-client-id", strings.Repeat("c", n))
		if _, err := c.Heartbeat(ctx, &pb.HeartbeatRequest{}); (err != nil) != (n > headersMax) {
			t.Errorf("%d bytes of headers: %v", n, err)
		}
	}
	seen(t, c)
}

// TestPings says that clients may ping every 10 s, that one that calls now and then
// keeps its connection, that one that does not is let go and may come back, and that
// a client that is gone without a word is noticed.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(64 << 10)
		limited := Limit(l, 0)
		serve(t, limited, options())
		links := 0
		c, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				links++
				return l.DialContext(ctx)
			}))
		if err != nil {
			t.Fatal(err)
		}
		client := pb.NewMessagingServiceClient(c)
		after := func(d time.Duration) {
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
		}
		for range 6 {
			seen(t, client)
			after(idleMax - 10*time.Second)
		}
		if n := limited.Open(); n != 1 || links != 1 {
			t.Errorf("%d connections are open of %d: the client had to connect again", n, links)
		}
		after(idleMax)
		if n := limited.Open(); n != 0 {
			t.Errorf("%d connections are open without a call", n)
		}
		seen(t, client)
		_ = c.Close()
		synctest.Wait()
		if n := limited.Open(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		silent, err := l.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// A preface and empty settings, then not a word: no answer to pings either.
		if _, err := silent.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, _ = io.Copy(io.Discard, silent)
		if took := time.Since(start); took < handshakeMax || took > pingAfter+pingTimeout+time.Second {
			t.Errorf("a dead client was noticed after %v", took)
		}
		_ = silent.Close()
	})
}

func TestSelfSignedIsKept(t *testing.T) {
	o := options()
	o.Dir = filepath.Join(t.TempDir(), "tls")
	o.Hosts = []string{"mq.example", "192.0.2.7", "localhost"}
	first, err := selfSigned(&o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := selfSigned(&o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Certificate[0], again.Certificate[0]) {
		t.Error("a restart made another certificate")
	}
	if info, err := os.Stat(filepath.Join(o.Dir, KeyName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info.Mode(), err)
	}
	root, err := os.ReadFile(filepath.Join(o.Dir, CertName))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	l := tcp(t)
	serve(t, l, o)
	for _, host := range []string{"localhost", "127.0.0.1", "mq.example", "192.0.2.7"} {
		seen(t, dial(t, l.Addr().String(), credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host}), nil))
	}
	o.Now = func() time.Time { return time.Now().Add(validFor - renewBefore/2) }
	renewed, err := selfSigned(&o)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.Certificate[0], renewed.Certificate[0]) {
		t.Error("a certificate that is about to end was kept")
	}
}

// TestSelfSignedIsMended says that what a power loss left of a certificate does not stop the server, and that what
// somebody else put there does, if it cannot be used.
func TestSelfSignedIsMended(t *testing.T) {
	o := options()
	o.Dir = filepath.Join(t.TempDir(), "tls")
	certFile, keyFile := filepath.Join(o.Dir, CertName), filepath.Join(o.Dir, KeyName)
	if _, err := selfSigned(&o); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := generate(&o)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]struct {
		file    string
		content []byte
	}{
		"empty certificate": {certFile, nil}, "torn certificate": {certFile, cert[:len(cert)/2]}, "empty key": {keyFile, nil},
		"key of another": {keyFile, otherKey}, "blank certificate": {certFile, make([]byte, len(cert))},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(damage.file, damage.content, 0o600); err != nil {
				t.Fatal(err)
			}
			made, err := selfSigned(&o)
			if err != nil {
				t.Fatal(err)
			}
			again, err := selfSigned(&o)
			if err != nil || !bytes.Equal(made.Certificate[0], again.Certificate[0]) {
				t.Errorf("what was made was not kept: %v", err)
			}
		})
	}
	theirs := bytes.ReplaceAll(decode(t, certFile), []byte(organization), []byte("self-issued")) // as long, of another maker
	theirs = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theirs})
	if err := errors.Join(os.WriteFile(certFile, theirs, 0o600), os.WriteFile(keyFile, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := selfSigned(&o); !fault.Is(err, fault.Invalid) {
		t.Errorf("somebody's certificate with an empty key: %v", err)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := selfSigned(&o); !fault.Is(err, fault.Invalid) {
		t.Errorf("somebody's certificate without its key: %v", err)
	}
	if kept, err := os.ReadFile(certFile); err != nil || !bytes.Equal(kept, theirs) {
		t.Errorf("somebody's certificate was replaced: %v", err)
	}
}

func decode(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	return block.Bytes
}

// TestReload says that new files are in use soon, that files that do not fit
// together are not, and that open connections stay.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	clock := &clock{now: time.Now()}
	o := options()
	o.Now = clock.Now
	o.CertFile, o.KeyFile = filepath.Join(dir, "c"), filepath.Join(dir, "k")
	write := func(certPEM, keyPEM []byte) {
		t.Helper()
		if err := errors.Join(os.WriteFile(o.CertFile, certPEM, 0o600), os.WriteFile(o.KeyFile, keyPEM, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	make1 := func() (certPEM, keyPEM []byte) {
		t.Helper()
		c, k, err := generate(&o)
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	cert1, key1 := make1()
	cert2, key2 := make1()
	write(cert1, key1)
	l := tcp(t)
	serve(t, l, o)
	shown := func() []byte {
		t.Helper()
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].Raw
	}
	open := dial(t, l.Addr().String(), trusting(), nil)
	port := seen(t, open)[1]
	first := shown()
	write(cert2, key1)
	clock.advance(checkEvery)
	if !bytes.Equal(shown(), first) {
		t.Error("a certificate was used without its key")
	}
	write(cert2, append(key2, '\n'))
	if !bytes.Equal(shown(), first) {
		t.Error("the files are looked at for each connection")
	}
	clock.advance(checkEvery)
	if bytes.Equal(shown(), first) {
		t.Error("the new certificate is not in use")
	}
	if seen(t, open)[1] != port {
		t.Error("an open connection was dropped")
	}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestOptionsRefused(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"certificate without key": func(o *Options) { o.CertFile = "c" },
		"key without certificate": func(o *Options) { o.KeyFile = "k" },
		"missing files":           func(o *Options) { o.CertFile, o.KeyFile = "/nonexistent/c", "/nonexistent/k" },
		"directory is a file":     func(o *Options) { o.Dir = "/dev/null/tls" },
	} {
		o := options()
		edit(&o)
		if _, err := ServerOptions(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want kind invalid", name, err)
		}
	}
}
