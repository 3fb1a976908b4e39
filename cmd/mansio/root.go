// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a command line that can't be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, operands ...any) error {
	return &usageError{fmt.Errorf(format, operands...)}
}

// newRoot makes the command tree.
func newRoot() *cobra.Command {
	root := parent("mansio", "Messaging that speaks the RocketMQ 5 protocol",
		newTopic(), newGroup(), newShard(), newNode(), newMessage(),
		newSend(), newReceive(), newBench(), newLogdump(), newConfig(), newHealth(), newVersion(),
	)
	for _, r := range roles() {
		root.AddCommand(r.command())
	}
	root.SetHelpCommand(newHelp(root))
	completions(root)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Version = version
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see `%s --help`", err, c.CommandPath())
	})
	return root
}

// parent makes a command that only has others below it: alone it shows its help.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("there is no command `%s %s`%s", c.CommandPath(), args[0], hint)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(children...)
	return c
}

// execute runs the command tree. cobra's own completion command answers a shell
// that it does not know with its help; this one refuses.
func execute(ctx context.Context, root *cobra.Command) error {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if like := parent(c.Name(), ""); c.Name() == "completion" {
			c.Args, c.RunE = like.Args, like.RunE
		}
	}
	return root.ExecuteContext(ctx)
}

// newHelp makes `mansio help COMMAND`.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, words []string) error {
			c, rest, err := root.Find(words)
			if err != nil || c == nil || len(rest) > 0 {
				return usagef("there is no command `mansio %s`", strings.Join(words, " "))
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// args demands between least and most operands; what they are called stands in
// the command's usage line.
func args(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if len(given) >= least && len(given) <= most {
			return nil
		}
		return usagef("%d operands; the command is `%s`", len(given), c.UseLine())
	}
}
