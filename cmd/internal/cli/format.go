package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Format is how results are written. It is a flag value: only what is listed in Formats can be set.
type Format string

// The formats.
const (
	Table Format = "table" // for people
	JSON  Format = "json"  // for machines
)

// Formats are all there are.
func Formats() []string { return []string{string(Table), string(JSON)} }

// Set takes one of Formats.
func (f *Format) Set(s string) error {
	if !slices.Contains(Formats(), s) {
		return errors.New("want " + strings.Join(Formats(), " or "))
	}
	*f = Format(s)
	return nil
}

// String is the format's name.
func (f *Format) String() string { return string(*f) }

// Type is what help texts call the value.
func (f *Format) Type() string { return strings.Join(Formats(), "|") }

// wantsJSON looks for -o json among words that cobra could not make sense of, so that a script gets its
// errors as JSON even when it got a flag wrong.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch {
		case arg == "--":
			return false
		case slices.Contains([]string{"-ojson", "-o=json", "--output=json"}, arg):
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == string(JSON):
			return true
		}
	}
	return false
}

// WriteJSON writes v in lines that a person can read as well.
func WriteJSON(w io.Writer, v any) error {
	return encode(w, v, "  ")
}

// WriteJSONLine writes v on one line, for streams.
func WriteJSONLine(w io.Writer, v any) error {
	return encode(w, v, "")
}

func encode(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %v", err)
	}
	return nil
}
