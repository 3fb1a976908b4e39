// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
)

// checkEvery is how long a certificate is used before its files are looked at
// again: new ones are in use well within 10 s.
const checkEvery = 5 * time.Second

// certificates hands out the certificate of two files and notices when they
// change. It has no goroutine: connections that come look.
type certificates struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	mu struct {
		sync.Mutex
		current *tls.Certificate
		stamp   string // of the files that current came from
		bad     string // stamp of files that do not fit together: reported once
		checked time.Time
	}
}

func newCertificates(o *Options) (*certificates, error) {
	c := &certificates{certFile: o.CertFile, keyFile: o.KeyFile, now: o.Now, log: o.Log}
	stamp, err := c.stampOf()
	if err != nil {
		return nil, fault.Errorf("listen.TLS", fault.Invalid, "certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fault.Errorf("listen.TLS", fault.Invalid, "certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.mu.current, c.mu.stamp, c.mu.checked = &pair, stamp, c.now()
	return c, nil
}

// stampOf tells one state of the files from another.
func (c *certificates) stampOf() (stamp string, err error) {
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprintf("%d/%d ", info.Size(), info.ModTime().UnixNano())
	}
	return stamp, nil
}

// get is tls.Config.GetCertificate.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.mu.checked) >= checkEvery {
		c.mu.checked = now
		c.reload(hello.Context())
	}
	return c.mu.current, nil
}

// reload takes over changed files if they fit together; while they do not, as in
// the middle of a rotation, the old certificate stays.
func (c *certificates) reload(ctx context.Context) {
	stamp, err := c.stampOf()
	if err == nil && stamp == c.mu.stamp {
		return
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		if c.mu.bad != stamp || stamp == "" {
			c.log.WarnContext(ctx, "new TLS certificate cannot be used, the old one stays", "cert", c.certFile, "key", c.keyFile, "error", err)
		}
		c.mu.bad = stamp
		return
	}
	c.mu.current, c.mu.stamp, c.mu.bad = &pair, stamp, ""
	c.log.InfoContext(ctx, "TLS certificate reloaded", "cert", c.certFile)
}
