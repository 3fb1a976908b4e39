// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/fault"
)

// healthBytesMax is more than any health page has.
const healthBytesMax = 64 << 10

// direct asks the process itself, whatever proxy the environment names.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// newHealth makes `mansio health`, for containers and scripts that have no HTTP
// client. It needs no token and asks no shard.
func newHealth() *cobra.Command {
	c := &cobra.Command{
		Use: "health", Short: "Ask a process whether it is alive (/healthz), or with --ready whether it serves (/readyz)", Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := loadSettings(c)
			if err != nil {
				return err
			}
			page := "/healthz"
			if s.k.Bool("ready") {
				page = "/readyz"
			}
			timeout := s.k.Duration("timeout")
			if timeout <= 0 {
				return usagef("--timeout %v: give a time to wait for, such as 5s", timeout)
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			text, err := fetch(ctx, httpURL(healthAddress(s.k.String("http"), os.Getenv(envPrefix+"HTTP_LISTEN")), page))
			if err == nil {
				_, err = io.WriteString(c.OutOrStdout(), text)
			}
			return err
		},
	}
	f := c.Flags()
	f.String("http", "", "HTTP address of the process, HOST:PORT; default MANSIO_HTTP_LISTEN, else 127.0.0.1:8082")
	f.Bool("ready", false, "ask whether it can do its work")
	f.Duration("timeout", 5*time.Second, "how long to wait for an answer")
	return c
}

// healthAddress is the address to ask: the one given, else the one that a process
// with this environment listens on.
func healthAddress(given, listen string) string {
	switch {
	case given != "":
		return given
	case strings.HasPrefix(listen, ":"):
		return "127.0.0.1" + listen
	case listen != "":
		return listen
	}
	return "127.0.0.1:8082"
}

// fetch gets a page of health; any answer but OK is an error with its text.
func fetch(ctx context.Context, url string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // the caller says whom to ask
	if err != nil {
		return "", usagef("--http: %w", err)
	}
	r, err := direct.Do(q) //nolint:gosec // as above
	if err != nil {
		return "", fault.E("health", fault.Unavailable, err)
	}
	defer func() { _ = r.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(r.Body, healthBytesMax))
	if err != nil {
		return "", fault.E("health", fault.Unavailable, err)
	}
	if r.StatusCode != http.StatusOK {
		return "", fault.Errorf("", fault.Unavailable, "%s: %s", url, strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
