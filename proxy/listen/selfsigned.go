// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// CertName is the file of a self-signed certificate in its directory: clients
	// that verify take it as their root.
	CertName = "cert.pem"
	// KeyName is the file of its key, for the server's eyes only.
	KeyName = "key.pem"

	// organization marks the certificates that are made here.
	organization = "self-signed"

	// validFor is long, since clients pin a self-signed certificate; renewBefore
	// keeps a server from starting with one that is about to end.
	validFor    = 10 * 365 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
)

// selfSigned returns a certificate for this machine: that of the directory if it
// has a good one, else a new one, which is stored there. Without a directory it
// lives as long as the process.
func selfSigned(o *Options) (*tls.Certificate, error) {
	const op = "listen.TLS"
	if o.Dir != "" {
		pair, good, err := load(o)
		if err != nil || good {
			return &pair, err
		}
	}
	certPEM, keyPEM, err := generate(o)
	if err != nil {
		return nil, fault.Errorf(op, fault.Internal, "make a self-signed certificate: %w", err)
	}
	if o.Dir != "" {
		if err := store(o.Dir, certPEM, keyPEM); err != nil {
			return nil, fault.Errorf(op, fault.Invalid, "store the self-signed certificate: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	return &pair, nil
}

func generate(o *Options) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := o.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mansio", Organization: []string{organization}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	for _, host := range names(o.Hosts) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM, nil
}

// names are the hosts that a certificate is for: this machine's own, and others.
func names(others []string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	for _, h := range others {
		if h != "" && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
