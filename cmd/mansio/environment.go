// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const envPrefix = "MANSIO_"

// foreignPrefixes begin names that are not ours: Kubernetes tells every container
// of a service named mansio by them, and builds for tests read faults.
var foreignPrefixes = []string{envPrefix + "SERVICE_", envPrefix + "PORT", envPrefix + "FAULT_"}

// settingOf is the setting that a variable is meant for.
func settingOf(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, envPrefix)), "_", "-")
}

// unknownVariables are the MANSIO_* variables that are no setting of any command:
// misspelt ones, which have no effect.
func unknownVariables(root *cobra.Command, environ []string) (out []string) {
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		foreign := slices.ContainsFunc(foreignPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if strings.HasPrefix(name, envPrefix) && !foreign && !hasSetting(root, settingOf(name)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func hasSetting(c *cobra.Command, key string) bool {
	return c.Flags().Lookup(key) != nil || slices.ContainsFunc(c.Commands(), func(below *cobra.Command) bool { return hasSetting(below, key) })
}
