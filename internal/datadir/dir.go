// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

const (
	lockName     = "LOCK"
	identityName = "identity"
	etcdName     = "etcd"
	storeName    = "store"
	tlsName      = "tls"
	shardPrefix  = "shard-"
	folderMode   = 0o700
	fileMode     = 0o600
)

// Dir is a data folder that this process holds. Safe for concurrent use.
type Dir struct {
	path string
	lock *os.File

	mu struct {
		sync.Mutex
		identity Identity
	}
}

// Open takes the folder, and makes it if it does not exist. The holder is what
// this process is called, for the error that another one gets: "mansio standalone".
// Errors have kind Invalid (path, permissions), Unavailable (in use), Incompatible
// (newer format) or Corrupt.
func Open(path, holder string) (*Dir, error) {
	const op = "open data folder"
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err)
	}
	if err := os.MkdirAll(path, folderMode); err != nil { //nolint:gosec // the operator names the folder
		return nil, fault.Errorf(op, fault.Invalid, "%w: choose another --data", err)
	}
	lock, err := takeLock(filepath.Join(path, lockName), holder)
	if err != nil {
		return nil, fault.E(op, fault.Other, err)
	}
	d := &Dir{path: path, lock: lock}
	if err := d.load(); err != nil {
		return nil, errors.Join(fault.E(op, fault.Other, err), lock.Close())
	}
	return d, nil
}

// load reads the identity, or makes one in a folder without data.
func (d *Dir) load() error {
	text, err := os.ReadFile(d.file(identityName))
	switch {
	case err == nil:
		identity, err := decodeIdentity(text)
		if err != nil {
			return fmt.Errorf("%s: %w", d.file(identityName), err)
		}
		d.mu.identity = identity
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fault.E("", fault.Corrupt, err)
	}
	for _, name := range []string{etcdName, storeName} {
		if _, err := os.Stat(d.file(name)); !errors.Is(err, fs.ErrNotExist) {
			return fault.Errorf("", fault.Corrupt,
				"%s has data in %s/ but no file %s: restore it from a backup, or choose another --data", d.path, name, identityName)
		}
	}
	d.mu.identity = Identity{Format: Format, Data: uuid.NewString()}
	if err := d.write(d.mu.identity); err != nil {
		return err
	}
	// The folder's own name must last as well. Who may not open the parent did not make the folder.
	if err := syncDir(filepath.Dir(d.path)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fault.E("", fault.Unavailable, err)
	}
	return nil
}

// Identity returns whose the folder is.
func (d *Dir) Identity() Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.identity
}

// BindCluster records, durably, which cluster the data belong to. It refuses (kind
// Incompatible) when they belong to another one. An empty name is not known yet.
func (d *Dir) BindCluster(id, name string) error {
	return d.bind(func(i *Identity) error {
		if i.Cluster != "" && i.Cluster != id {
			return fault.Errorf("bind data folder", fault.Incompatible,
				"%s belongs to cluster %s (%s), not to %s (%s): choose another --data, or connect to its own cluster",
				d.path, i.ClusterName, i.Cluster, name, id)
		}
		i.Cluster = id
		if name != "" { // some callers know the UUID only
			i.ClusterName = name
		}
		return nil
	})
}

// BindNode records, durably, which store node the data belong to. It refuses (kind
// Incompatible) when they belong to another one. An id of 0 is not known yet.
func (d *Dir) BindNode(name string, id ident.Node) error {
	return d.bind(func(i *Identity) error {
		if i.Node != "" && i.Node != name {
			return fault.Errorf("bind data folder", fault.Incompatible,
				"%s belongs to node %s, not to %s: give --node %s, or choose another --data", d.path, i.Node, name, i.Node)
		}
		if i.NodeID != 0 && id != 0 && i.NodeID != uint64(id) {
			return fault.Errorf("bind data folder", fault.Incompatible,
				"%s belongs to node %s with id %d, the cluster calls it %d: its metadata was lost or is another cluster's",
				d.path, i.Node, i.NodeID, id)
		}
		i.Node = name
		if id != 0 {
			i.NodeID = uint64(id)
		}
		return nil
	})
}

func (d *Dir) bind(change func(*Identity) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	identity := d.mu.identity
	if err := change(&identity); err != nil {
		return err
	}
	if identity == d.mu.identity {
		return nil
	}
	if err := identity.check(); err != nil {
		return err
	}
	if err := d.write(identity); err != nil {
		return err
	}
	d.mu.identity = identity
	return nil
}

// write replaces the identity as a whole: after a crash the old or the new one is
// there, and the new one for good once write has returned.
func (d *Dir) write(identity Identity) (err error) {
	const op = "write identity"
	temporary := d.file(identityName + ".new")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fault.E(op, fault.Invalid, err)
	}
	_, err = file.Write(identity.encode())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if err := os.Rename(temporary, d.file(identityName)); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if err := syncDir(d.path); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// Path is the folder itself, absolute.
func (d *Dir) Path() string { return d.path }

// Etcd is the folder of the embedded etcd; whoever needs it makes it.
func (d *Dir) Etcd() string { return d.file(etcdName) }

// TLS is the folder of generated certificates; whoever needs it makes it.
func (d *Dir) TLS() string { return d.file(tlsName) }

// Store is the folder of all replicas.
func (d *Dir) Store() string { return d.file(storeName) }

// Shard is the folder of one replica.
func (d *Dir) Shard(id ident.Shard) string {
	return filepath.Join(d.Store(), fmt.Sprintf("%s%06d", shardPrefix, uint32(id)))
}

// Shards lists the shards that have a folder here, in order. What is not called
// like one is left alone.
func (d *Dir) Shards() ([]ident.Shard, error) {
	entries, err := os.ReadDir(d.Store())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.E("list shards", fault.Corrupt, err)
	}
	var shards []ident.Shard
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), shardPrefix)
		id, err := strconv.ParseUint(number, 10, 32)
		if ok && err == nil && entry.IsDir() && filepath.Base(d.Shard(ident.Shard(id))) == entry.Name() {
			shards = append(shards, ident.Shard(id))
		}
	}
	slices.Sort(shards)
	return shards, nil
}

// Close gives the folder back.
func (d *Dir) Close() error { return d.lock.Close() }
