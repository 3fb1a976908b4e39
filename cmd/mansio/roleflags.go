// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/mansiomq/mansio/internal/assembly"
)

func commonFlags(f *pflag.FlagSet) {
	f.String(configFlag, "", "YAML file with settings named like these flags")
	f.String("cluster-secret-file", "", "file with the secret that the processes of a cluster share")
	f.String("admin-token-file", "", "file with the token that administrators present; without it only loopback may administer")
	f.String("http-listen", ":8082", "address of health, metrics and profiles")
	f.Bool("pprof", false, "serve profiles under /debug/pprof/ on the HTTP address, for loopback or administrators")
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "auto", "text, json, or auto: text on a terminal")
	f.String("memory", "", "memory budget, such as 512MiB; default a fraction of the machine's or container's")
}

func controllerFlags(f *pflag.FlagSet, embedded bool) {
	f.String("cluster", "mansio", "name of the cluster")
	f.Bool("etcd-embedded", embedded, "run etcd in this process")
	f.StringSlice("etcd-endpoints", nil, "addresses of an external etcd")
	f.String("etcd-ca", "", "certificate authority of the external etcd")
	f.String("etcd-cert", "", "client certificate for the external etcd")
	f.String("etcd-key", "", "key of that certificate")
	f.String("etcd-user", "", "user of the external etcd")
	f.String("etcd-password-file", "", "file with that user's password")
	f.Bool("auto-create-topics", embedded, "create a topic when a client first asks for its route")
	f.Bool("auto-create-groups", true, "create a consumer group on first use")
	f.String("consume-from", "earliest", "where a new group begins: earliest or latest")
}

func storeFlags(f *pflag.FlagSet) {
	f.String("segment-size", "256MiB", "size of a log segment: at least 1MiB; below 8MiB the largest messages are refused")
	f.String("min-free-disk", "", "free space below which messages from clients are refused; default the greater of 1GiB and 5 % of the disk")
	f.Duration("retention", 72*time.Hour, "how long messages are kept")
	f.String("retention-bytes", "", "how many bytes of log a shard keeps; default no limit")
}

func proxyFlags(f *pflag.FlagSet) {
	f.String("tls-cert", "", "certificate for clients; without it a self-signed one is made")
	f.String("tls-key", "", "key of that certificate")
	f.Bool("proxy-protocol", false, "accept the PROXY protocol (v1 and v2) from a load balancer")
	f.Int("max-topics", 10_000, "up to how many topics new ones are created on first use")
	f.Int("max-groups", 10_000, "up to how many consumer groups new ones are created on first use")
}

// shardsMax bounds the shards of one node: few large logs are faster than many.
const shardsMax = 64

func configureController(s *settings, embedded bool, listen string) (*assembly.Controller, error) {
	from := s.k.String("consume-from")
	if from != "earliest" && from != "latest" {
		return nil, usagef("--consume-from %q: earliest or latest", from)
	}
	return &assembly.Controller{
		Listen: listen, Cluster: s.k.String("cluster"), Embedded: embedded,
		EtcdEndpoints: s.list("etcd-endpoints"), EtcdCA: s.k.String("etcd-ca"), EtcdCert: s.k.String("etcd-cert"),
		EtcdKey: s.k.String("etcd-key"), EtcdUser: s.k.String("etcd-user"), EtcdPasswordFile: s.k.String("etcd-password-file"),
		AutoCreateTopics: s.k.Bool("auto-create-topics"), AutoCreateGroups: s.k.Bool("auto-create-groups"),
		ConsumeLatest: from == "latest",
	}, nil
}

func configureStore(s *settings) (*assembly.StoreNode, error) {
	segment, err := s.bytes("segment-size")
	if err != nil {
		return nil, err
	}
	free, err := s.bytes("min-free-disk")
	if err != nil {
		return nil, err
	}
	keep, err := s.bytes("retention-bytes")
	if err != nil {
		return nil, err
	}
	if s.k.Duration("retention") <= 0 {
		return nil, usagef("--retention %v: a time to keep messages for, such as 72h", s.k.Duration("retention"))
	}
	if s.k.String("segment-size") != "" && segment == 0 {
		segment = 1 // not the default, which is what 0 means from here on
	}
	return &assembly.StoreNode{
		SegmentBytes: segment, MinFreeBytes: free, Retention: s.k.Duration("retention"), RetentionBytes: keep,
	}, nil
}

func configureProxy(s *settings) (*assembly.Proxy, error) {
	for flag, instead := range map[string]string{"max-topics": "auto-create-topics", "max-groups": "auto-create-groups"} {
		if n := s.k.Int(flag); n < 1 {
			return nil, usagef("--%s %d: at least 1; controllers with --%s=false create none", flag, n, instead)
		}
	}
	return &assembly.Proxy{
		Listen: s.k.String("listen"), Advertise: s.k.String("advertise"), TLSCert: s.k.String("tls-cert"),
		TLSKey: s.k.String("tls-key"), ProxyProtocol: s.k.Bool("proxy-protocol"),
		TopicsMax: s.k.Int("max-topics"), GroupsMax: s.k.Int("max-groups"),
	}, nil
}
