// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAsk(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "sure\n": false} {
		var out bytes.Buffer
		got, err := ask(strings.NewReader(answer), &out, "Delete?")
		if err != nil || got != want || out.String() != "Delete? [y/N] " {
			t.Errorf("%q: %v, %v, asked %q", answer, got, err, out.String())
		}
	}
	if _, err := ask(strings.NewReader(""), io.Discard, "Delete?"); err == nil {
		t.Error("the end of input is an answer")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, in := range []io.Reader{strings.NewReader("y\n"), null} {
		if yes, err := Ask(in, io.Discard, "Delete?"); yes || err == nil || !strings.Contains(err.Error(), "--yes") {
			t.Errorf("nobody is there, and the answer is %v, %v", yes, err)
		}
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b)
	p.Show("half")
	p.Clear()
	if b.Len() > 0 {
		t.Errorf("shown where nobody looks: %q", b.String())
	}
	p = &Progress{w: &b}
	p.Show("%d of %d", 1, 2)
	p.Clear()
	p.Clear()
	if b.String() != "\r\x1b[K1 of 2\r\x1b[K" {
		t.Errorf("%q", b.String())
	}
}

func TestReadable(t *testing.T) {
	for text, want := range map[string]bool{"hello\n\tworld": true, "grüße 你好": true, "": true, "a\x00b": false, "\xff": false, "\x1b[31m": false} {
		v := MessageView(&v2.Message{Body: []byte(text)})
		if (v.Body != nil) != want || want && v.Text() != text || !want && !strings.HasPrefix(v.Text(), "base64:") {
			t.Errorf("%q: %+v", text, v)
		}
	}
	if _, err := StoredView(&controlv1.StoredMessage{Message: []byte{0xff}}); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a broken message: %v", err)
	}
}

func TestYAMLKeepsNumbers(t *testing.T) {
	var b bytes.Buffer
	p := Printer{W: &b, Format: "yaml"}
	if err := p.Print(Shard{Shard: 1, Term: 1<<63 + 1, InSync: []string{}}, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "term: 9223372036854775809\n") {
		t.Error(b.String())
	}
}

// secure is an Admin server with a certificate of its own.
type secure struct {
	controlv1.UnimplementedAdminServer

	silent bool
}

func (s secure) ListNodes(ctx context.Context, _ *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	if s.silent {
		<-ctx.Done()
	}
	return &controlv1.ListNodesResponse{}, nil
}

// serve runs the server with TLS and returns its address and the file of its
// certificate.
func (s secure) serve(t *testing.T) (address, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})))
	controlv1.RegisterAdminServer(g, s)
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-ended })
	return l.Addr().String(), ca
}

func nodes(t *testing.T, s Server) error {
	t.Helper()
	c, err := s.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = Call(t.Context(), c, controlv1.NewAdminClient(c).ListNodes, &controlv1.ListNodesRequest{})
	return err
}

func TestTLS(t *testing.T) {
	address, ca := secure{}.serve(t)
	for _, c := range []struct {
		name string
		s    Server
		kind fault.Kind
		text string
	}{
		{"the authority is known", Server{TLS: true, CAFile: ca}, fault.Other, ""},
		{"any certificate is taken", Server{TLS: true, SkipVerify: true}, fault.Other, ""},
		{"the authority is not known", Server{TLS: true}, fault.Unavailable, "--tls-ca DATA/tls/cert.pem, or --tls-skip-verify"},
		{"plaintext", Server{}, fault.Unavailable, "--server"},
		{"no such file", Server{TLS: true, CAFile: ca + "x"}, fault.Invalid, "--tls-ca"},
		{"no certificate", Server{TLS: true, CAFile: os.Args[0]}, fault.Invalid, "no PEM"},
		{"no token", Server{AdminTokenFile: ca + "x"}, fault.Invalid, "admin token"},
	} {
		c.s.Address, c.s.Timeout = address, 10*time.Second
		err := nodes(t, c.s)
		if fault.KindOf(err) != c.kind || c.text != "" && !strings.Contains(err.Error(), c.text) || err == nil != (c.text == "") {
			t.Errorf("%s: %v (%v)", c.name, err, fault.KindOf(err))
		}
	}
}

func TestWrongServers(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", ":8081", "http://127.0.0.1:8081", "127.0.0.1:"} {
		if err := nodes(t, Server{Address: address, Timeout: time.Second}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "give HOST:PORT") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, timeout := range []time.Duration{0, -time.Second} {
		if err := nodes(t, Server{Address: "127.0.0.1:1", Timeout: timeout}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--timeout") {
			t.Errorf("%v: %v", timeout, err)
		}
	}
}

// TestServersWordsStay: only an error of the way to the server gets advice about
// that way.
func TestServersWordsStay(t *testing.T) {
	said := rpc.Status(fault.Errorf("", fault.Unavailable, "no controller can be reached"))
	if err := Explain(said, "127.0.0.1:8081", time.Second); err.Error() != "no controller can be reached" || !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	address, ca := secure{silent: true}.serve(t)
	err := nodes(t, Server{Address: address, TLS: true, CAFile: ca, Timeout: 100 * time.Millisecond})
	if !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "--timeout") {
		t.Errorf("a silent server: %v", err)
	}
	c, err := Server{Address: address, TLS: true, CAFile: ca, Timeout: 10 * time.Second}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Call(t.Context(), c, controlv1.NewInspectClient(c).GroupLag, &controlv1.GroupLagRequest{})
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "ask a proxy") {
		t.Errorf("a service that is not there: %v", err)
	}
}
