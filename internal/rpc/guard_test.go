// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/peer"

	"github.com/mansiomq/mansio/internal/fault"
)

func TestCheckListen(t *testing.T) {
	secret := NewGuard("a-secret-of-the-cluster", "")
	for address, open := range map[string]bool{
		"127.0.0.1:8083": true,
		"[::1]:8083":     true,
		"localhost:8083": true,
		":8083":          false,
		"0.0.0.0:8083":   false,
		"10.1.2.3:8083":  false,
		"db-7:8083":      false,
	} {
		if err := (Guard{}).CheckListen(address); (err == nil) != open {
			t.Errorf("%s: %v", address, err)
		}
		if err := secret.CheckListen(address); err != nil {
			t.Errorf("%s with a secret: %v", address, err)
		}
	}
	if err := secret.CheckListen("nonsense"); !fault.Is(err, fault.Invalid) {
		t.Errorf("nonsense: %v", err)
	}
}

func TestStrangersAreKeptOut(t *testing.T) {
	for name, addr := range map[string]net.Addr{
		"network": &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 999},
		"unknown": nil,
	} {
		ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: addr})
		if err := (Guard{}).CheckCluster(ctx); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: cluster: %v", name, err)
		}
		if err := (Guard{}).CheckAdmin(ctx); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: admin: %v", name, err)
		}
	}
}

func TestLoadGuard(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("good", "0123456789abcdef0123456789abcdef\n")
	g, err := LoadGuard(good, "")
	if err != nil || g != NewGuard("0123456789abcdef0123456789abcdef", "") {
		t.Errorf("%v %v", g, err)
	}
	if g, err := LoadGuard("", ""); err != nil || g != (Guard{}) {
		t.Errorf("%v %v", g, err)
	}
	for name, file := range map[string]string{
		"absent": filepath.Join(dir, "absent"),
		"empty":  write("empty", " \n"),
		"short":  write("short", "hunter2"),
		"huge":   write("huge", strings.Repeat("x", secretBytesMax+1)),
		"binary": write("binary", "0123456789abcdef\x00\x01"),
		"spaces": write("spaces", "correct horse battery staple"),
	} {
		if _, err := LoadGuard(file, ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s as cluster secret: %v", name, err)
		}
		if _, err := LoadGuard(good, file); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s as admin token: %v", name, err)
		}
	}
}

func TestTokenHidesTheSecret(t *testing.T) {
	headers, err := NewGuard("a-secret-of-the-cluster", "").Credentials().GetRequestMetadata(t.Context())
	if err != nil || len(headers) != 1 || strings.Contains(headers[clusterHeader], "a-secret") || len(headers[clusterHeader]) != 43 {
		t.Errorf("%v %v", headers, err)
	}
}
