// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// completeTime bounds what a shell waits for names from the server, and
	// completeMax how many it is offered.
	completeTime = 2 * time.Second
	completeMax  = 200
)

// namer asks a server for the names that begin with a prefix.
type namer func(ctx context.Context, admin controlv1.AdminClient, prefix string) []string

func topicNames(ctx context.Context, admin controlv1.AdminClient, prefix string) (names []string) {
	r, err := admin.ListTopics(ctx, &controlv1.ListTopicsRequest{Prefix: prefix, PageSize: completeMax})
	if err != nil {
		return nil
	}
	for _, t := range r.GetTopics() {
		names = append(names, t.GetName())
	}
	return names
}

func groupNames(ctx context.Context, admin controlv1.AdminClient, prefix string) (names []string) {
	r, err := admin.ListGroups(ctx, &controlv1.ListGroupsRequest{Prefix: prefix, PageSize: completeMax})
	if err != nil {
		return nil
	}
	for _, g := range r.GetGroups() {
		names = append(names, g.GetName())
	}
	return names
}

// names completes from the server; when it does not answer, nothing is offered.
func names(from namer) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		s, err := loadSettings(c)
		if err != nil || c.Flags().Lookup("server") == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		server := s.server()
		server.Timeout = completeTime
		conn, err := server.Dial()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer func() { _ = conn.Close() }() // what it said is known
		ctx, cancel := context.WithTimeout(c.Context(), completeTime)
		defer cancel()
		return from(ctx, controlv1.NewAdminClient(conn), begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completions teaches the shell the values of flags and operands, of this command
// and all below it.
func completions(c *cobra.Command) {
	values := map[string]cobra.CompletionFunc{
		"output":       oneOf("table", "json", "yaml"),
		"type":         oneOf(enumWords("TOPIC_TYPE_", controlv1.TopicType_value)...),
		"reply":        oneOf(enumWords("REPLY_POINT_", controlv1.ReplyPoint_value)...),
		"consume-from": oneOf(enumWords("CONSUME_FROM_", controlv1.ConsumeFrom_value)...),
		"log-level":    oneOf("debug", "info", "warn", "error"),
		"log-format":   oneOf("auto", "text", "json"),
		"mode":         oneOf("send", "e2e"),
		"group":        names(groupNames),
		"topic":        names(topicNames),
	}
	for flag, complete := range values {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, complete) // the flag is there, and has none yet
		}
	}
	operand := strings.Fields(c.Use + " - -")[1]
	switch {
	case operand == "TOPIC", operand == "NAME" && c.Parent().Name() == "topic" && c.Name() != "create":
		c.ValidArgsFunction = first(names(topicNames))
	case operand == "NAME" && c.Parent().Name() == "group" && c.Name() != "create":
		c.ValidArgsFunction = first(names(groupNames))
	case operand != "DIR":
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, below := range c.Commands() {
		completions(below)
	}
}

// first completes the first operand only.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(c, given, begun)
	}
}

func oneOf(all ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}
