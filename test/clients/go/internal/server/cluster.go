// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Cluster is one controller with embedded etcd, store nodes and proxies, each a process of its own.
type Cluster struct {
	Controller *Process
	Stores     []*Process
	Proxies    []*Process
}

// ClusterSpec says how large a cluster is.
type ClusterSpec struct {
	// Bin is the path of the binary, Dir the folder for all data and logs.
	Bin, Dir string
	// Stores and Proxies count the processes of each role.
	Stores, Proxies int
}

// StartCluster starts the processes in the order controller, store nodes, proxies, each ready before the next.
// On an error nothing is left running.
func StartCluster(ctx context.Context, spec ClusterSpec) (*Cluster, error) {
	c := &Cluster{}
	start := func(role, name string, flags ...string) (*Process, error) {
		dir := filepath.Join(spec.Dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		return Start(ctx, Spec{Bin: spec.Bin, Role: role, Dir: dir, Flags: flags})
	}
	var err error
	if c.Controller, err = start("controller", "controller", "--etcd-embedded"); err != nil {
		return nil, err
	}
	for i := range spec.Stores {
		name := fmt.Sprintf("store-%d", i)
		p, err := start("storenode", name, "--node", name, "--controller", c.Controller.Addr)
		if err != nil {
			c.Kill()
			return nil, err
		}
		c.Stores = append(c.Stores, p)
	}
	for i := range spec.Proxies {
		p, err := start("proxy", fmt.Sprintf("proxy-%d", i), "--controller", c.Controller.Addr)
		if err != nil {
			c.Kill()
			return nil, err
		}
		c.Proxies = append(c.Proxies, p)
	}
	return c, nil
}

// Kill ends every process of the cluster with SIGKILL.
func (c *Cluster) Kill() {
	for _, p := range append(append([]*Process{}, c.Proxies...), c.Stores...) {
		p.Kill()
	}
	c.Controller.Kill()
}
