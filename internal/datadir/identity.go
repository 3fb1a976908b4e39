// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
)

// Format is the newest format of data folders that this binary reads and the one
// that it writes.
const Format = 1

const (
	// identityTitle is the first line of an identity.
	identityTitle = "mansio data folder"
	// identityBytesMax is far above any identity: a larger file is something else.
	identityBytesMax = 4096
	// valueBytesMax bounds a name in an identity.
	valueBytesMax = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Identity says whose a data folder is. Empty fields are not decided yet.
type Identity struct {
	Format      int
	Data        string // UUID of this folder, made at its first use
	Cluster     string // UUID of the cluster
	ClusterName string
	Node        string // name of the store node
	NodeID      uint64 // its id in that cluster
}

// String is one line, for logs and tests.
func (i Identity) String() string {
	return fmt.Sprintf("format %d data %s cluster %q %s node %q %d", i.Format, i.Data, i.ClusterName, i.Cluster, i.Node, i.NodeID)
}

// encode returns the text form: title, `key: value` lines, and a checksum over all
// bytes before its line.
func (i Identity) encode() []byte {
	var b strings.Builder
	fmt.Fprintln(&b, identityTitle)
	fmt.Fprintf(&b, "format: %d\n", i.Format)
	fmt.Fprintf(&b, "data: %s\n", i.Data)
	fmt.Fprintf(&b, "cluster: %s\n", i.Cluster)
	fmt.Fprintf(&b, "cluster-name: %s\n", i.ClusterName)
	fmt.Fprintf(&b, "node: %s\n", i.Node)
	fmt.Fprintf(&b, "node-id: %d\n", i.NodeID)
	fmt.Fprintf(&b, "crc32c: %08x\n", crc32.Checksum([]byte(b.String()), castagnoli))
	return []byte(b.String())
}

// decodeIdentity reads the text form. It refuses newer formats (kind
// Incompatible) before it looks at anything else of them, and damage (Corrupt).
func decodeIdentity(text []byte) (Identity, error) {
	const op = "read identity"
	damaged := func(why string) (Identity, error) {
		return Identity{}, fault.Errorf(op, fault.Corrupt, "%s: the file is damaged, restore it from a backup", why)
	}
	if len(text) > identityBytesMax {
		return damaged("too long")
	}
	rest, ok := strings.CutPrefix(string(text), identityTitle+"\nformat: ")
	if !ok {
		return damaged("not the identity of a mansio data folder")
	}
	number, _, _ := strings.Cut(rest, "\n")
	format, err := strconv.Atoi(number)
	if err != nil || format < 1 {
		return damaged("no format number")
	}
	if format > Format {
		return Identity{}, fault.Errorf(op, fault.Incompatible,
			"the data folder has format %d, this binary knows up to %d: start a newer mansio", format, Format)
	}
	at := strings.LastIndex(string(text), "crc32c: ")
	if at < 0 || string(text[at:]) != fmt.Sprintf("crc32c: %08x\n", crc32.Checksum(text[:at], castagnoli)) {
		return damaged("wrong checksum")
	}
	i := Identity{Format: format}
	for line := range strings.Lines(string(text[len(identityTitle)+1 : at])) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if err := i.set(strings.TrimSuffix(key, ":"), value); err != nil {
			return damaged(err.Error())
		}
	}
	if i.Data == "" {
		return damaged("no data UUID")
	}
	return i, nil
}

func (i *Identity) set(key, value string) error {
	var err error
	switch key {
	case "format": // read before
	case "data":
		i.Data = value
	case "cluster":
		i.Cluster = value
	case "cluster-name":
		i.ClusterName = value
	case "node":
		i.Node = value
	case "node-id":
		i.NodeID, err = strconv.ParseUint(value, 10, 64)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

// check refuses values that the text form cannot carry.
func (i Identity) check() error {
	for _, value := range []string{i.Data, i.Cluster, i.ClusterName, i.Node} {
		if len(value) > valueBytesMax || strings.ContainsAny(value, "\n\r") || strings.TrimSpace(value) != value {
			return fault.Errorf("write identity", fault.Invalid, "%q cannot be part of an identity", value)
		}
	}
	return nil
}
