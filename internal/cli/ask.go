// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/telemetry"
)

// Ask puts a question on out and reads the answer from in: only "y" and "yes"
// mean yes. Where nobody can answer it is an error that names the flag to give.
func Ask(in io.Reader, out io.Writer, question string) (bool, error) {
	if !telemetry.IsTerminal(in) {
		return false, fault.Errorf("", fault.Invalid, "%s Nobody can answer here: give --yes", question)
	}
	return ask(in, out, question)
}

func ask(in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && answer == "" {
		return false, fault.E("read the answer", fault.Canceled, err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// Progress shows how far a long command is: on a terminal only, in one line that
// it overwrites.
type Progress struct {
	w     io.Writer
	shown bool
}

// NewProgress shows progress on w if that is a terminal.
func NewProgress(w io.Writer) *Progress {
	if !telemetry.IsTerminal(w) {
		return &Progress{}
	}
	return &Progress{w: w}
}

// Show replaces the line.
func (p *Progress) Show(format string, operands ...any) {
	if p.w == nil {
		return
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K"+format, operands...)
}

// Clear removes the line; call it before anything else is written.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
