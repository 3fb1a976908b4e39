// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
)

// newConfig makes `mansio config ROLE`: it takes the flags of the role, the
// environment and the file, and shows what would count.
func newConfig() *cobra.Command {
	c := parent("config", "Show the effective configuration of a role, as a file for --config")
	for _, r := range roles() {
		show := &cobra.Command{
			Use: r.use, Short: "Show the effective configuration of " + r.use, Args: args(0, 0),
			RunE: func(c *cobra.Command, _ []string) error {
				s, err := loadSettings(c)
				if err != nil {
					return err
				}
				format := s.k.String("output")
				s.k.Delete("output")
				if format != "json" && format != "yaml" {
					return usagef("--output %q: yaml or json", format)
				}
				if err := (cli.Printer{W: c.OutOrStdout(), Format: format}).Print(s.printable(), nil); err != nil {
					return err
				}
				for _, name := range s.unknown {
					fmt.Fprintf(c.ErrOrStderr(), "mansio: %s is no setting\n", name)
				}
				_, err = r.config(s) // what is wrong with it, after it was shown
				return err
			},
		}
		commonFlags(show.Flags())
		r.flags(show.Flags())
		show.Flags().StringP("output", "o", "yaml", "yaml or json")
		c.AddCommand(show)
	}
	return c
}
