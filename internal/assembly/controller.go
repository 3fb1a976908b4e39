// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"net"
	"time"

	"github.com/mansiomq/mansio/controller"
	"github.com/mansiomq/mansio/controller/etcd"
	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/disk"
)

// addController adds the controller, with its etcd, and its server.
func (p *process) addController(ctx context.Context) error {
	c := p.cfg.Controller
	var listeners []net.Listener
	address := localController
	if c.Listen != "" {
		l, err := listenOn(ctx, "--listen", c.Listen)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		address = advertised("", l)
		p.where.Controller = l.Addr().String()
	}
	local, err := p.dialer.Listen(localController)
	if err != nil {
		return err
	}
	listeners = append(listeners, local)
	cfg := controller.Config{
		Cluster: c.Cluster, Address: address, Data: p.data, Embedded: c.Embedded, Free: disk.OSFree, ShardsPerNode: c.ShardsPerNode,
		AutoCreateTopics: c.AutoCreateTopics, AutoCreateGroups: c.AutoCreateGroups, ConsumeFrom: controlv1.ConsumeFrom_CONSUME_FROM_EARLIEST,
		Dial: p.dialer.Conn, Now: time.Now, Log: p.logger, Meter: p.cfg.Telemetry.Meter(),
	}
	if c.ConsumeLatest {
		cfg.ConsumeFrom = controlv1.ConsumeFrom_CONSUME_FROM_LATEST
	}
	if !c.Embedded {
		cfg.External = &etcd.ExternalOptions{
			Endpoints: c.EtcdEndpoints, CAFile: c.EtcdCA, CertFile: c.EtcdCert, KeyFile: c.EtcdKey,
			User: c.EtcdUser, PasswordFile: c.EtcdPasswordFile,
		}
	}
	control, err := controller.New(cfg)
	if err != nil {
		return err
	}
	options := p.serverOptions()
	options.Admin = []string{controlv1.Admin_ServiceDesc.ServiceName}
	server := rpc.NewServer(options)
	control.Register(server)
	p.serve("controller server", server, listeners...)
	p.addStoring("controller", func(ctx context.Context, ready func()) error {
		ended := make(chan struct{})
		announced := make(chan struct{})
		go func() {
			defer close(announced)
			select {
			case <-control.Ready():
				ready()
			case <-ended:
			}
		}()
		err := control.Run(ctx)
		close(ended)
		<-announced
		return err
	})
	return nil
}
