// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/logdump"
	"github.com/mansiomq/mansio/storenode/record"
)

func newLogdump() *cobra.Command {
	c := &cobra.Command{
		Use: "logdump DIR", Short: "Print the log of a shard, such as DATA/store/shard-000001; it may be in use or damaged", Args: args(1, 1),
		RunE: func(c *cobra.Command, dirs []string) error {
			o, err := logdumpOptions(c)
			if err != nil {
				return err
			}
			return logdump.Dump(c.Context(), c.OutOrStdout(), disk.OS{}, dirs[0], o)
		},
	}
	f := c.Flags()
	f.Uint64("from", 0, "entries at or behind this LSN")
	f.Uint64("to", 0, "entries before this LSN; 0: all")
	f.String("type", "", "only entries of this type, such as Message")
	f.Bool("json", false, "one JSON object a line")
	f.Bool("bodies", false, "print what users wrote, not only its length")
	return c
}

func logdumpOptions(c *cobra.Command) (o logdump.Options, err error) {
	s, err := loadSettings(c)
	if err != nil {
		return o, err
	}
	from, err := c.Flags().GetUint64("from")
	if err != nil {
		return o, err
	}
	to, err := c.Flags().GetUint64("to")
	if err != nil {
		return o, err
	}
	o = logdump.Options{From: ident.LSN(from), To: ident.LSN(to), JSON: s.k.Bool("json"), Bodies: s.k.Bool("bodies")}
	if name := s.k.String("type"); name != "" {
		o.Type, err = entryType(name)
	}
	return o, err
}

// entryType finds an entry type by its name.
func entryType(name string) (record.Type, error) {
	var names []string
	for t := range record.Type(255) {
		if !t.Known() {
			continue
		}
		if strings.EqualFold(t.String(), name) {
			return t, nil
		}
		names = append(names, t.String())
	}
	return 0, usagef("--type %q: one of %s", name, strings.Join(names, ", "))
}
