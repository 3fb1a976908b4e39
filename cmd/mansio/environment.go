// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const envPrefix = "MANSIO_"

// foreign reports whether a variable is none of our settings. Kubernetes tells every
// container of services, such as mansio or mansio-proxy, with MANSIO_SERVICE_HOST
// and MANSIO_PROXY_PORT=tcp://10.0.0.1:8081; builds for tests read faults.
func foreign(name, value string) bool {
	return strings.HasPrefix(name, envPrefix+"FAULT_") ||
		strings.Contains(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") || strings.Contains(name, "_PORT_") ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// settingOf is the setting that a variable is meant for.
func settingOf(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, envPrefix)), "_", "-")
}

// unknownVariables are the MANSIO_* variables that are no setting of any command:
// misspelt ones, which have no effect.
func unknownVariables(root *cobra.Command, environ []string) (out []string) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, envPrefix) && !foreign(name, value) && !hasSetting(root, settingOf(name)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func hasSetting(c *cobra.Command, key string) bool {
	return c.Flags().Lookup(key) != nil || slices.ContainsFunc(c.Commands(), func(below *cobra.Command) bool { return hasSetting(below, key) })
}
