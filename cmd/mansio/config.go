// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mansiomq/mansio/internal/fault"
)

const configFlag = "config"

// settings are the effective values of a command's flags: what the command line
// says, else the environment, else the file, else the flag's default.
type settings struct {
	k       *koanf.Koanf
	unknown []string // MANSIO_* variables that set nothing
}

// loadSettings reads them. What is wrong with them was asked for wrongly.
func loadSettings(c *cobra.Command) (*settings, error) {
	s, err := readSettings(c)
	if err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

func readSettings(c *cobra.Command) (*settings, error) {
	k := koanf.New(keySeparator)
	if err := loadFile(k, c.Flags()); err != nil {
		return nil, err
	}
	fromEnv := env.Provider(keySeparator, env.Opt{
		Prefix: envPrefix,
		TransformFunc: func(name, value string) (string, any) {
			key := settingOf(name)
			if c.Flags().Lookup(key) == nil {
				return "", nil
			}
			return key, value
		},
	})
	if err := k.Load(fromEnv, nil); err != nil {
		return nil, fault.E("read environment", fault.Invalid, err)
	}
	if err := checkTypes(k, c.Flags()); err != nil {
		return nil, err
	}
	if err := k.Load(posflag.Provider(c.Flags(), keySeparator, k), nil); err != nil {
		return nil, fault.E("read flags", fault.Invalid, err)
	}
	return &settings{k, unknownVariables(c.Root(), os.Environ())}, nil
}

// keySeparator never stands in the name of a setting: settings are flat.
const keySeparator = "/"

// loadFile reads the YAML file, if one is named. A key that is no flag is an
// error: it would be a setting that has no effect.
func loadFile(k *koanf.Koanf, flags *pflag.FlagSet) error {
	const op = "read configuration"
	if flags.Lookup(configFlag) == nil {
		return nil
	}
	path, err := flags.GetString(configFlag)
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv(envPrefix + "CONFIG")
	}
	if path == "" {
		return nil
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fault.Errorf(op, fault.Invalid, "%s: %w", path, err)
	}
	for _, key := range k.Keys() {
		if flags.Lookup(key) == nil || key == configFlag {
			return fault.Errorf(op, fault.Invalid, "%s: there is no setting %q", path, key)
		}
	}
	return nil
}

// checkTypes holds what came from the file and the environment against the types
// of the flags: a wrong value must not silently become a zero.
func checkTypes(k *koanf.Koanf, flags *pflag.FlagSet) error {
	for _, key := range k.Keys() {
		flag := flags.Lookup(key)
		text := k.String(key)
		var err error
		switch flag.Value.Type() {
		case "bool":
			_, err = strconv.ParseBool(text)
		case "int":
			_, err = strconv.Atoi(text)
		case "duration":
			err = parseDuration(text)
		}
		if err != nil {
			return fault.Errorf("setting "+key, fault.Invalid, "%q is no %s", text, flag.Value.Type())
		}
	}
	return nil
}

// printable are the effective settings for people; values that are secrets
// themselves are masked (files that hold one are not).
func (s *settings) printable() map[string]any {
	all := s.k.All()
	for key := range all {
		if d, ok := all[key].(time.Duration); ok {
			all[key] = d.String()
		}
		secret := slices.ContainsFunc([]string{"secret", "token", "password"}, func(w string) bool { return strings.Contains(key, w) })
		if secret && !strings.HasSuffix(key, "-file") && fmt.Sprint(all[key]) != "" {
			all[key] = "********"
		}
	}
	delete(all, "help")
	delete(all, configFlag)
	return all
}
