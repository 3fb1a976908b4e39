// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/mansiomq/mansio/internal/fault"
)

// Formats are the values of -o.
var Formats = []string{"table", "json", "yaml"}

// Printer writes answers in the chosen format.
type Printer struct {
	W      io.Writer
	Format string
}

// Check refuses a format that does not exist.
func (p Printer) Check() error {
	if slices.Contains(Formats, p.Format) {
		return nil
	}
	return fault.Errorf("--output", fault.Invalid, "%q: one of %s", p.Format, strings.Join(Formats, ", "))
}

// Print writes value as JSON or YAML, or else calls table with a writer that
// aligns what is separated by tabs.
func (p Printer) Print(value any, table func(w io.Writer)) error {
	switch p.Format {
	case "json":
		e := json.NewEncoder(p.W)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(value)
	case "yaml":
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = p.W.Write(text)
		return err
	}
	w := tabwriter.NewWriter(p.W, 0, 8, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// Say writes one line for people; in other formats nothing.
func (p Printer) Say(format string, operands ...any) {
	if p.Format == "table" {
		fmt.Fprintf(p.W, format+"\n", operands...)
	}
}

// Row writes one line of a table.
func Row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}

// List joins words with commas; a dash stands for none.
func List[T any](items []T) string {
	if len(items) == 0 {
		return "-"
	}
	words := make([]string, len(items))
	for i := range items {
		words[i] = fmt.Sprint(items[i])
	}
	return strings.Join(words, ",")
}
