// SPDX-License-Identifier: Apache-2.0

package sealed

// DamageError says that the file of a segment's run is damaged where it was
// read. The run can be made again from the log.
type DamageError struct {
	Segment Segment
	Err     error // of kind fault.Corrupt
}

func (e *DamageError) Error() string { return e.Err.Error() }

func (e *DamageError) Unwrap() error { return e.Err }
