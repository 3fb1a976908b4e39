// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mansiomq/mansio/internal/fault"
)

// load returns the certificate of the directory. It is not good when a new one is
// to be made: there is none, it ends soon, or what is left of it cannot be used. A
// certificate that somebody else put there is never replaced for being unusable.
func load(o *Options) (pair tls.Certificate, good bool, err error) {
	certFile, keyFile := filepath.Join(o.Dir, CertName), filepath.Join(o.Dir, KeyName)
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	lone := certErr == nil && errors.Is(keyErr, fs.ErrNotExist)
	if errors.Is(certErr, fs.ErrNotExist) || lone && !foreign(certPEM) {
		return pair, false, nil
	}
	if err = errors.Join(certErr, keyErr); err == nil {
		pair, err = tls.X509KeyPair(certPEM, keyPEM)
		if err != nil && !foreign(certPEM) {
			o.Log.Warn("the self-signed certificate is damaged: a new one is made, which clients have to trust anew", "dir", o.Dir, "error", err)
			return pair, false, nil
		}
	}
	if err != nil {
		return pair, false, fault.Errorf("listen.TLS", fault.Invalid,
			"self-signed certificate in %s: %w; delete both files to have a new one made", o.Dir, err)
	}
	return pair, o.Now().Add(renewBefore).Before(pair.Leaf.NotAfter), nil
}

// foreign reports whether a file holds a certificate that was not made here.
func foreign(certPEM []byte) bool {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && !slices.Contains(c.Subject.Organization, organization)
}

// store makes both files durable, the key first: a power loss between them leaves
// what load replaces.
func store(dir string, certPEM, keyPEM []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, KeyName), keyPEM, 0o600); err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, CertName), certPEM, 0o644); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// replace writes a file as a whole: after a crash the old or the new one is there.
func replace(name string, content []byte, mode fs.FileMode) error {
	temporary := name + ".new"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
