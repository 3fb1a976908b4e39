// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc/metadata"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// addressesMax bounds the addresses of a request that are echoed.
const addressesMax = 64

// endpoints are what routes show: where the client reaches this server. That is
// what the client says it dialled, else what its connection says, else what the
// operator says. All addresses of one answer are of one kind, and names come
// alone, as clients expect.
func (p *Proxy) endpoints(ctx context.Context, asked *pb.Endpoints) *pb.Endpoints {
	if e := sameKind(asked.GetAddresses()); e != nil {
		return e
	}
	for _, authority := range metadata.ValueFromIncomingContext(ctx, ":authority") {
		if a, ok := parseAddress(authority); ok {
			return sameKind([]*pb.Address{a})
		}
	}
	a, _ := parseAddress(p.o.Advertise)
	return sameKind([]*pb.Address{a})
}

// sameKind returns the usable addresses that are of the same kind as the first
// one, or nil.
func sameKind(addresses []*pb.Address) *pb.Endpoints {
	var e *pb.Endpoints
	for _, a := range addresses[:min(len(addresses), addressesMax)] {
		if a.GetHost() == "" || a.GetPort() <= 0 || a.GetPort() > 65535 {
			continue
		}
		switch scheme := schemeOf(a.GetHost()); {
		case e == nil:
			e = &pb.Endpoints{Scheme: scheme, Addresses: []*pb.Address{a}}
		case e.GetScheme() == scheme && scheme != pb.AddressScheme_DOMAIN_NAME:
			e.Addresses = append(e.Addresses, a)
		}
	}
	return e
}

func schemeOf(host string) pb.AddressScheme {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return pb.AddressScheme_DOMAIN_NAME
	case ip.Is4():
		return pb.AddressScheme_IPv4
	default:
		return pb.AddressScheme_IPv6
	}
}

// parseAddress reads HOST:PORT with a host that is an address or a name.
func parseAddress(text string) (*pb.Address, bool) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return nil, false
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return nil, false
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostname(host) {
		return nil, false
	}
	return &pb.Address{Host: host, Port: int32(port)}, true
}

// hostname reports whether the text consists of what names consist of: gRPC
// clients with several addresses put lists and schemes into the authority.
func hostname(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
