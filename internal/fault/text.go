// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"regexp"
	"strings"
)

// function is what an Op looks like that names a place in the code: `package.Function`.
var function = regexp.MustCompile(`^[a-z]+(/[a-z]+)*\.[A-Z][A-Za-z]*$`)

// Text is the text of an error for users: without the operations that only name
// places in the code. Phrases stay. The text of nil is empty.
func Text(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	strip(err, &text)
	return text
}

func strip(err error, text *string) {
	if e, ok := err.(*Error); ok && function.MatchString(e.Op) { //nolint:errorlint // all of the chain are looked at
		*text = strings.Replace(*text, e.Op+": ", "", 1)
	}
	switch wrapped := err.(type) { //nolint:errorlint // ditto
	case interface{ Unwrap() error }:
		if inner := wrapped.Unwrap(); inner != nil {
			strip(inner, text)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range wrapped.Unwrap() {
			strip(inner, text)
		}
	}
}
