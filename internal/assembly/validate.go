// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"net"
	"strconv"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
)

// memoryBytesMin is the least budget that a process can live in.
const memoryBytesMin = 64 << 20

// Validate reports what can't work, with what to do about it.
func (c *Config) Validate() error {
	const op = "configuration"
	switch {
	case c.Controller == nil && c.StoreNode == nil && c.Proxy == nil:
		return fault.Errorf(op, fault.Invalid, "no role is set")
	case c.Controller == nil && len(c.Controllers) == 0:
		return fault.Errorf(op, fault.Invalid, "no controller: give --controller HOST:PORT[,HOST:PORT…]")
	case c.Controller != nil && !c.Controller.Embedded && len(c.Controller.EtcdEndpoints) == 0:
		return fault.Errorf(op, fault.Invalid, "no etcd: give --etcd-embedded or --etcd-endpoints HOST:PORT[,…]")
	case c.Controller != nil && c.Controller.Embedded && len(c.Controller.EtcdEndpoints) > 0:
		return fault.Errorf(op, fault.Invalid, "--etcd-embedded and --etcd-endpoints exclude each other")
	case (c.StoreNode != nil || c.Controller != nil) && c.Data == "":
		return fault.Errorf(op, fault.Invalid, "no data folder: give --data DIR")
	case c.StoreNode != nil && c.StoreNode.SegmentBytes != 0 && c.StoreNode.SegmentBytes < segmentBytesMin:
		return fault.Errorf(op, fault.Invalid, "--segment-size %d: at least %d bytes (1MiB)", c.StoreNode.SegmentBytes, segmentBytesMin)
	case c.StoreNode != nil && c.StoreNode.Retention < 0:
		return fault.Errorf(op, fault.Invalid, "--retention %v: a time to keep messages for, such as 72h", c.StoreNode.Retention)
	case c.Proxy != nil && (c.Proxy.TLSCert == "") != (c.Proxy.TLSKey == ""):
		return fault.Errorf(op, fault.Invalid, "--tls-cert and --tls-key belong together")
	case c.MemoryBytes != 0 && c.MemoryBytes < memoryBytesMin:
		return fault.Errorf(op, fault.Invalid, "--memory %d: at least %d bytes (64MiB)", c.MemoryBytes, memoryBytesMin)
	}
	return c.validateAddresses()
}

// validateAddresses finds what nobody could listen on or dial, before anything
// waits for it.
func (c *Config) validateAddresses() error {
	type named struct{ flag, address string }
	listen, dial := []named{{"http-listen", c.HTTPListen}}, []named{}
	if c.Controller != nil {
		listen = append(listen, named{"listen", c.Controller.Listen})
	} else {
		for _, a := range c.Controllers {
			dial = append(dial, named{"controller", a})
		}
	}
	if c.StoreNode != nil {
		listen, dial = append(listen, named{"listen", c.StoreNode.Listen}), append(dial, named{"advertise", c.StoreNode.Advertise})
	}
	if c.Proxy != nil {
		listen, dial = append(listen, named{"listen", c.Proxy.Listen}), append(dial, named{"advertise", c.Proxy.Advertise})
	}
	for _, l := range listen {
		if l.address != "" && !isAddress(l.address, true) {
			return fault.Errorf("configuration", fault.Invalid, "--%s %q: write HOST:PORT, or :PORT for every address of this machine", l.flag, l.address)
		}
	}
	for _, d := range dial {
		if d.address != "" && !isAddress(d.address, false) {
			return fault.Errorf("configuration", fault.Invalid, "--%s %q: write HOST:PORT", d.flag, d.address)
		}
	}
	return nil
}

// checkAdvertise refuses a node that listens on every address and does not say at
// which one others reach it.
func (n *StoreNode) checkAdvertise() error {
	if n.Advertise != "" || !everywhere(n.Listen) {
		return nil
	}
	return fault.Errorf("configuration", fault.Invalid,
		"--listen %q is every address of this machine: give --advertise HOST:PORT, where the other processes reach this node", n.Listen)
}

// everywhere reports whether a listener's address is every one of the machine.
func everywhere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "" || ip.IsUnspecified())
}

// isAddress reports whether the text is HOST:PORT. For a listener HOST may be
// missing, which means all, and PORT may be 0, which means any.
func isAddress(text string, listener bool) bool {
	host, port, err := net.SplitHostPort(text)
	n, wrong := strconv.ParseUint(port, 10, 16)
	return err == nil && wrong == nil && (listener || host != "" && n > 0) && !strings.ContainsAny(host, "/ ")
}
