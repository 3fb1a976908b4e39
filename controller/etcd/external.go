// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// dialMax bounds the first contact: a wrong address shall be an error, not a silence.
	dialMax = 5 * time.Second
	// keepaliveEvery and keepaliveMax tell a dead member from a silent one.
	keepaliveEvery = 5 * time.Second
	keepaliveMax   = 3 * time.Second
)

// ExternalOptions says which etcd, and how to be let in.
type ExternalOptions struct {
	Endpoints    []string // host:port or URL
	CAFile       string   // any of the three files: TLS
	CertFile     string
	KeyFile      string
	User         string
	PasswordFile string
}

// Dial connects to an etcd outside and makes sure that it answers. The caller
// closes the client.
func Dial(ctx context.Context, options ExternalOptions) (*clientv3.Client, error) {
	const op = "connect to etcd"
	config, err := options.config()
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	if err := options.reach(ctx); err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fault.Errorf(op, fault.Unavailable, "%s: %w", strings.Join(options.Endpoints, ","), err)
	}
	if _, err := client.Get(ctx, "/mansio/", clientv3.WithKeysOnly(), clientv3.WithLimit(1)); err != nil {
		_ = client.Close() // says only that it is closed
		return nil, fault.Errorf(op, fault.Unavailable,
			"%s accepts connections but does not answer (TLS, user, quorum?): %w", strings.Join(options.Endpoints, ","), err)
	}
	return client, nil
}

func (o ExternalOptions) config() (clientv3.Config, error) {
	if len(o.Endpoints) == 0 {
		return clientv3.Config{}, errors.New("no endpoint: give --etcd-endpoints, or --etcd-embedded")
	}
	password := ""
	if o.PasswordFile != "" {
		content, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return clientv3.Config{}, fmt.Errorf("password: %w", err)
		}
		password = strings.TrimSpace(string(content))
	}
	secure, err := o.tls()
	if err != nil {
		return clientv3.Config{}, err
	}
	return clientv3.Config{
		Endpoints:            o.Endpoints,
		DialTimeout:          dialMax,
		DialKeepAliveTime:    keepaliveEvery,
		DialKeepAliveTimeout: keepaliveMax,
		TLS:                  secure,
		Username:             o.User,
		Password:             password,
		Logger:               zap.NewNop(),
	}, nil
}

// tls returns nil when neither a file nor an https endpoint asks for it.
func (o ExternalOptions) tls() (*tls.Config, error) {
	https := false
	for _, endpoint := range o.Endpoints {
		https = https || strings.HasPrefix(endpoint, "https://")
	}
	if !https && o.CAFile == "" && o.CertFile == "" && o.KeyFile == "" {
		return nil, nil //nolint:nilnil // clientv3 reads nil as plaintext
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA: no certificate in %s", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// reach connects to any endpoint, so that a wrong address is told as what it is:
// etcd's client would only say that time ran out.
func (o ExternalOptions) reach(ctx context.Context) error {
	var failed []string
	for _, endpoint := range o.Endpoints {
		address, network := endpoint, "tcp"
		if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
			address = u.Host
			if strings.HasPrefix(u.Scheme, "unix") {
				continue // a socket file: the first call tells
			}
		}
		dialer := net.Dialer{Timeout: dialMax / time.Duration(len(o.Endpoints))}
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn.Close()
		}
		failed = append(failed, err.Error())
	}
	if len(failed) < len(o.Endpoints) {
		return nil
	}
	return fmt.Errorf("no endpoint answers, check --etcd-endpoints: %s", strings.Join(failed, "; "))
}
