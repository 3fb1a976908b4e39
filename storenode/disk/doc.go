// SPDX-License-Identifier: Apache-2.0

// Package disk is the seam between the store and the file system: everything
// that a shard keeps goes through an FS, so that the whole shard also runs on a
// disk that loses power.
//
// # What the seam promises
//
//	File.WriteAt   visible to every reader at once; durable after a Sync that
//	               began when it had returned
//	File.Sync      fdatasync: the bytes, and the size when it matters for reading
//	               them. Says nothing of the file's name
//	FS.SyncDir     the names: creates, renames and removes done in that directory
//	FS.Rename      replaces the target atomically; durable after SyncDir
//	FS.MkdirAll    durable when it returns
//
// Errors satisfy errors.Is with the usual values: fs.ErrNotExist, fs.ErrExist,
// syscall.ENOSPC, syscall.EIO. After a Sync that failed nobody knows what is on
// the disk: the kernel may have dropped the bytes and marked them clean, so a
// second Sync that succeeds proves nothing. Callers give the file up.
//
// All methods of FS and File may be called concurrently. A File stays usable
// after its name was renamed or removed.
//
// # Two implementations
//
// OS is the machine's file system: pread, pwrite and fdatasync, no mmap.
//
// Memory is a disk in memory that remembers what was not synced. Crash returns
// the disk as a machine could find it after losing power: every synced byte, of
// the unsynced writes any subset of their 512-byte sectors, and of the directory
// changes that were not synced any subset. Its space can be limited and every
// call can be made to fail, wait or be counted.
package disk
