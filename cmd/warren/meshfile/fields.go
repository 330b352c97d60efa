package meshfile

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A fieldType is a field of an operation by the name that it has in JSON, and in files.
type fieldType struct {
	name  string
	index int
}

// fieldsOf are the fields of a struct that files have, in its order.
func fieldsOf(t reflect.Type, but ...string) []fieldType {
	var out []fieldType
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" && !slices.Contains(but, name) {
			out = append(out, fieldType{name, i})
		}
	}
	return out
}

// intoFields gives readers for the fields of an operation: words, whole numbers, true and false, and lists of them.
// A field that a later version adds is read without a line being written here.
func (r *reader) intoFields(op any, but ...string) map[string]func(*yaml.Node, string) {
	v := reflect.ValueOf(op).Elem()
	out := map[string]func(*yaml.Node, string){}
	for _, f := range fieldsOf(v.Type(), but...) {
		to := v.Field(f.index)
		out[f.name] = func(n *yaml.Node, at string) {
			if to.Kind() != reflect.Slice {
				r.into(to, n, at)
				return
			}
			items := []*yaml.Node{n}
			if n.Kind == yaml.SequenceNode {
				items = n.Content
			}
			for i, item := range items {
				v := reflect.New(to.Type().Elem()).Elem()
				r.into(v, item, at+"/"+strconv.Itoa(i))
				to.Set(reflect.Append(to, v))
			}
		}
	}
	return out
}

// into reads one word into a field.
func (r *reader) into(to reflect.Value, n *yaml.Node, at string) {
	_ = one(r, n, at, func(s string) (struct{}, error) { return struct{}{}, fromText(to, s) })
}

func fromText(to reflect.Value, s string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](to.Addr()); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch to.Kind() {
	case reflect.String:
		to.SetString(s)
	case reflect.Bool:
		v, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%.40q: want true or false", s)
		}
		to.SetBool(v)
	case reflect.Int:
		v, err := whole(s)
		to.SetInt(int64(v))
		return err
	default:
		return fmt.Errorf("this version cannot read it")
	}
	return nil
}

// toText is the inverse of fromText; empty for what is left out.
func toText(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		if text, err := m.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
