// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/proxy"
	"github.com/mansiomq/mansio/proxy/listen"
)

// proxyGrace bounds how long calls of clients may go on when the process stops.
const proxyGrace = 8 * time.Second

// addProxy adds the proxy and the client port.
func (p *process) addProxy(ctx context.Context) error {
	c := p.cfg.Proxy
	l, err := listenOn(ctx, "--listen", c.Listen)
	if err != nil {
		return err
	}
	p.where.Client = l.Addr().String()
	conns, err := p.controllers()
	if err != nil {
		return err
	}
	px, err := proxy.New(proxy.Config{
		Table: p.table, Controllers: conns, Peers: p.peers.of, Incarnation: p.peers.incarnation,
		Advertise: advertised(c.Advertise, l), CheckAdmin: p.guard.CheckAdmin, Now: time.Now, Log: p.logger,
		Meter: p.cfg.Telemetry.Meter(), Tracer: p.cfg.Telemetry.Tracers(),
		TopicsMax: c.TopicsMax, GroupsMax: c.GroupsMax,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	dir := ""
	if p.data != nil {
		dir = p.data.TLS()
	} else if c.TLSCert == "" {
		p.logger.Info("the certificate for clients lives as long as this process: give --tls-cert and --tls-key where clients verify it")
	}
	options, err := listen.ServerOptions(listen.Options{
		CertFile: c.TLSCert, KeyFile: c.TLSKey, Dir: dir, ProxyProtocol: c.ProxyProtocol, Now: time.Now, Log: p.logger,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := grpc.NewServer(append(options, p.cfg.Telemetry.ServerOptions()...)...)
	px.Register(server)
	p.group.AddFunc("peers", p.peers.run)
	p.group.AddFunc("proxy", px.Run)
	p.group.AddFunc("client port", func(ctx context.Context) error { return serveClients(ctx, server, px, listen.Limit(l, 0)) })
	p.ready.Add("proxy", px.Ready)
	return nil
}

// serveClients answers clients until ctx ends, then lets them go: unready, asked
// to connect elsewhere, streams ended, calls finished.
func serveClients(ctx context.Context, s *grpc.Server, px *proxy.Proxy, l net.Listener) error {
	broken := make(chan error, 1)
	go func() { broken <- s.Serve(l) }()
	select {
	case err := <-broken:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), proxyGrace)
	defer cancel()
	drained := px.Drain(grace)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-grace.Done():
		s.Stop()
		<-stopped
	}
	err := <-broken
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	if errors.Is(drained, context.DeadlineExceeded) {
		drained = nil // the clients were cut off: that is what the grace is for
	}
	return errors.Join(err, drained)
}
