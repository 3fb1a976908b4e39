// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/telemetry"
)

// Config says what runs in this process. A role is in it when its part is set.
type Config struct {
	// Name is what this process is called in locks, logs and watches.
	Name string
	// Data is the data folder; controllers and store nodes need one.
	Data       string
	Controller *Controller
	StoreNode  *StoreNode
	Proxy      *Proxy
	// Controllers are the addresses of controllers in other processes; ignored
	// when the controller is in this one.
	Controllers       []string
	ClusterSecretFile string
	AdminTokenFile    string
	HTTPListen        string // empty: none
	Pprof             bool
	MemoryBytes       int64 // budget of this process; 0: a fraction of what the machine or container has

	Logger    *slog.Logger
	Telemetry *telemetry.Telemetry
	// Started is told the addresses once everything serves; it may be nil.
	Started func(Addresses)
}

// Controller configures the controller role.
type Controller struct {
	Listen        string
	Cluster       string
	ShardsPerNode int
	// Embedded runs etcd in this process; else EtcdEndpoints name one outside.
	Embedded         bool
	EtcdEndpoints    []string
	EtcdCA           string
	EtcdCert         string
	EtcdKey          string
	EtcdUser         string
	EtcdPasswordFile string
	AutoCreateTopics bool
	AutoCreateGroups bool
	ConsumeLatest    bool // where groups that say nothing begin
}

// StoreNode configures the store node role.
type StoreNode struct {
	Listen         string // empty in standalone: reached in this process only
	Advertise      string
	Node           string
	Zone           string
	Dirs           []string // more data folders for shards; the first is Config.Data
	SegmentBytes   int64    // 0: shard's default
	MinFreeBytes   int64    // 0: max(1 GiB, 5 % of the disk)
	Retention      time.Duration
	RetentionBytes int64
}

// Proxy configures the proxy role.
type Proxy struct {
	Listen        string
	Advertise     string
	TLSCert       string
	TLSKey        string
	ProxyProtocol bool
	TopicsMax     int // up to how many new ones are created on first use; 0: the proxy's default
	GroupsMax     int
}

// Addresses are where the process listens.
type Addresses struct {
	Client, HTTP, Store, Controller string
	Data                            string
}

// watcher names this process among others of its kind, for people who look for one
// that lags.
func (c *Config) watcher() string {
	switch {
	case c.StoreNode != nil:
		return c.Name + " " + c.StoreNode.Node
	case c.Proxy != nil && c.Proxy.Advertise != "":
		return c.Name + " " + c.Proxy.Advertise
	case c.Proxy != nil:
		host, _ := os.Hostname() // without it the address alone has to do
		return c.Name + " " + host + " " + c.Proxy.Listen
	}
	return c.Name
}

// guardOf loads the secrets and checks that internal services are not offered to
// strangers, and are to the other processes.
func (c *Config) guardOf() (rpc.Guard, error) {
	guard, err := rpc.LoadGuard(c.ClusterSecretFile, c.AdminTokenFile)
	if err != nil {
		return guard, err
	}
	if c.Controller != nil && c.Controller.Listen != "" {
		if err := guard.CheckListen(c.Controller.Listen); err != nil {
			return guard, err
		}
	}
	if c.StoreNode != nil && c.StoreNode.Listen != "" {
		if err := guard.CheckListen(c.StoreNode.Listen); err != nil {
			return guard, err
		}
		return guard, c.StoreNode.checkAdvertise()
	}
	return guard, nil
}

// listenOn binds an address with an error that says what to do.
func listenOn(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.Errorf("listen", fault.Unavailable, "%w: free the address or choose another %s", err, flag)
	}
	return l, nil
}

// advertised is the address that others dial: what was configured, else the
// listener's with a host that means something.
func advertised(configured string, l net.Listener) string {
	if configured != "" || l == nil {
		return configured
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if _, err := strconv.Atoi(port); err != nil || strings.TrimSpace(host) == "" {
		return l.Addr().String()
	}
	return net.JoinHostPort(host, port)
}
