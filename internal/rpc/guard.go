// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// clusterHeader carries the token that proves knowledge of the cluster secret.
	clusterHeader = "mansio-cluster-token"
	// adminHeader carries `Bearer TOKEN` of administrators.
	adminHeader  = "authorization"
	bearerPrefix = "Bearer "
	// clusterPurpose is what is signed with the cluster secret. It has a number, so that another use of the
	// secret can never produce the same token.
	clusterPurpose = "mansio/cluster-token/1"
	// secretBytesMin keeps out secrets that can be guessed.
	secretBytesMin = 16
	// secretBytesMax is far above any sensible secret: a larger file is the wrong file.
	secretBytesMax = 4096
)

// Guard decides who may call internal and administrative services. The zero
// value lets in callers on the loopback interface only. It is immutable and safe
// for concurrent use.
type Guard struct {
	clusterToken string // empty: no cluster secret
	adminToken   string // empty: no admin token
}

// NewGuard makes a guard from the two secrets; either may be empty.
func NewGuard(clusterSecret, adminToken string) Guard {
	g := Guard{adminToken: adminToken}
	if clusterSecret != "" {
		mac := hmac.New(sha256.New, []byte(clusterSecret))
		mac.Write([]byte(clusterPurpose))
		g.clusterToken = base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return g
}

// LoadGuard reads the secrets from files; an empty path means that there is none.
// Surrounding white space does not count. It refuses empty, short and huge files.
func LoadGuard(clusterSecretFile, adminTokenFile string) (Guard, error) {
	cluster, err := readSecret("cluster secret", clusterSecretFile)
	if err != nil {
		return Guard{}, err
	}
	admin, err := readSecret("admin token", adminTokenFile)
	if err != nil {
		return Guard{}, err
	}
	return NewGuard(cluster, admin), nil
}

func readSecret(what, file string) (string, error) {
	const op = "read secret"
	if file == "" {
		return "", nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Errorf(op, fault.Invalid, "%s: %w", what, err)
	}
	secret := strings.TrimSpace(string(content))
	if len(secret) < secretBytesMin || len(secret) > secretBytesMax {
		return "", fault.Errorf(op, fault.Invalid, "%s in %s has %d bytes: write %d to %d, for example with `openssl rand -hex 32`",
			what, file, len(secret), secretBytesMin, secretBytesMax)
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.Errorf(op, fault.Invalid, "%s in %s: printable ASCII characters without spaces only", what, file)
	}
	return secret, nil
}

// CheckListen refuses to offer an internal service on an address that others can
// reach when there is no cluster secret.
func (g Guard) CheckListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fault.Errorf("listen", fault.Invalid, "address %q is not host:port: %w", address, err)
	}
	ip := net.ParseIP(host)
	if g.clusterToken != "" || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fault.Errorf("listen", fault.Invalid,
		"%s can be reached from outside: give --cluster-secret-file (the same on all nodes), or listen on 127.0.0.1", address)
}

// CheckCluster lets in the other processes of this cluster.
func (g Guard) CheckCluster(ctx context.Context) error {
	switch {
	case g.clusterToken == "" && local(ctx):
		return nil
	case g.clusterToken == "":
		return fault.Errorf("", fault.Denied, "only callers on this machine are let in: there is no --cluster-secret-file")
	case presents(ctx, clusterHeader, g.clusterToken):
		return nil
	default:
		return fault.Errorf("", fault.Denied, "the caller does not know the cluster secret: give it the same --cluster-secret-file")
	}
}

// CheckAdmin lets in administrators, and processes that know the cluster secret.
func (g Guard) CheckAdmin(ctx context.Context) error {
	switch {
	case g.clusterToken != "" && presents(ctx, clusterHeader, g.clusterToken):
		return nil
	case g.adminToken == "" && local(ctx):
		return nil
	case g.adminToken == "":
		return fault.Errorf("", fault.Denied, "administration is open to callers on this machine only: there is no --admin-token-file")
	case presents(ctx, adminHeader, bearerPrefix+g.adminToken):
		return nil
	default:
		return fault.Errorf("", fault.Denied, "the admin token is missing or wrong: give --admin-token-file")
	}
}

// Credentials presents what the guard knows on every call.
func (g Guard) Credentials() credentials.PerRPCCredentials { return tokens{g} }

type tokens struct{ guard Guard }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokens) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	headers := make(map[string]string, 2)
	if t.guard.clusterToken != "" {
		headers[clusterHeader] = t.guard.clusterToken
	}
	if t.guard.adminToken != "" {
		headers[adminHeader] = bearerPrefix + t.guard.adminToken
	}
	return headers, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: networks
// inside a cluster carry plaintext.
func (tokens) RequireTransportSecurity() bool { return false }

// presents reports whether exactly one value of the header is the wanted one.
func presents(ctx context.Context, header, want string) bool {
	values := metadata.ValueFromIncomingContext(ctx, header)
	return len(values) == 1 && subtle.ConstantTimeCompare([]byte(values[0]), []byte(want)) == 1
}

// local reports whether the caller is this process or on the loopback interface.
func local(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return false
	}
	switch addr := p.Addr.(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	default:
		return addr.Network() == memoryNetwork
	}
}
