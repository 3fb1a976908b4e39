// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
)

// version is the release; a build that is no release says so.
var version = "0.1.0-dev"

// revision is the commit of the build, if whoever built it told the linker: Go
// itself knows only when git runs where it builds, and may.
var revision string

// modified is the end of a revision that is not exactly the commit.
const modified = "+modified"

// build is what `mansio version` tells.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if b.Revision, b.Modified = strings.CutSuffix(revision, modified); b.Revision != "" {
		return b
	}
	b.Revision = "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

func newVersion() *cobra.Command {
	c := &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			format, err := c.Flags().GetString("output")
			if err != nil {
				return err
			}
			p := cli.Printer{W: c.OutOrStdout(), Format: format}
			if err := p.Check(); err != nil {
				return &usageError{err}
			}
			b := thisBuild()
			return p.Print(b, func(w io.Writer) {
				cli.Row(w, "mansio", b.Version)
				if b.Modified {
					b.Revision += modified
				}
				cli.Row(w, "revision", b.Revision)
				cli.Row(w, "built with", b.Go, b.Platform)
			})
		},
	}
	outputFlags(c.Flags())
	return c
}
