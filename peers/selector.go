package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A SelectorKind says by what a Selector selects.
type SelectorKind string

// The kinds of selectors.
const (
	SelectAll    SelectorKind = "*"
	SelectHost   SelectorKind = "host"
	SelectSite   SelectorKind = "site"
	SelectLabel  SelectorKind = "label"
	SelectPrefix SelectorKind = "prefix"
)

// A Selector selects one side of a flow. As text it is host:NAME, site:NAME (the hosts of a site and the
// networks behind its gateways), label:KEY=VALUE, a prefix or an address, or * for everything.
type Selector struct {
	Kind   SelectorKind
	Name   string // of a host or a site, or the key of a label
	Value  string // of a label
	Prefix netip.Prefix
}

// ParseSelector reads what String writes. Whether there is such a host or site is not asked here.
func ParseSelector(text string) (Selector, error) {
	if text == "*" {
		return Selector{Kind: SelectAll}, nil
	}
	kind, rest, _ := strings.Cut(text, ":")
	switch SelectorKind(kind) {
	case SelectHost, SelectSite:
		if !label.MatchString(rest) {
			return Selector{}, fmt.Errorf("%.80q names no %s", text, kind)
		}
		return Selector{Kind: SelectorKind(kind), Name: rest}, nil
	case SelectLabel:
		name, value, ok := strings.Cut(rest, "=")
		if !ok || !isLabelKey(name) || !isLabelValue(value) {
			return Selector{}, fmt.Errorf("%.80q is no label: write label:KEY=VALUE", text)
		}
		return Selector{Kind: SelectLabel, Name: name, Value: value}, nil
	}
	p, err := parsePrefix(text)
	if err != nil {
		return Selector{}, fmt.Errorf("%.80q selects nothing: write host:NAME, site:NAME, label:KEY=VALUE, a prefix or *", text)
	}
	if p != p.Masked() {
		return Selector{}, fmt.Errorf("%v is no network: it has bits set behind its length; write %v", p, p.Masked())
	}
	return Selector{Kind: SelectPrefix, Prefix: p}, nil
}

// parsePrefix reads a prefix, or an address, which is a prefix of one.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		return p, errors.New("write it as an IPv4 prefix")
	}
	return p, nil
}

// String is the selector as it is written in a policy.
func (s Selector) String() string {
	switch s.Kind {
	case SelectAll:
		return "*"
	case SelectHost, SelectSite:
		return string(s.Kind) + ":" + s.Name
	case SelectLabel:
		return "label:" + s.Name + "=" + s.Value
	case SelectPrefix:
		if s.Prefix.IsSingleIP() {
			return s.Prefix.Addr().String()
		}
		return s.Prefix.String()
	}
	return ""
}

// MarshalText is String.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSelector.
func (s *Selector) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSelector(string(text))
	return err
}

// covers reports whether everything that other can select is selected by s, as far as the two tell by
// themselves.
func (s Selector) covers(other Selector) bool {
	switch {
	case s == other || s.Kind == SelectAll:
		return true
	case s.Kind == SelectPrefix && other.Kind == SelectPrefix:
		return s.Prefix.Bits() <= other.Prefix.Bits() && s.Prefix.Contains(other.Prefix.Addr())
	}
	return false
}

func isLabelKey(s string) bool   { return len(s) <= 63 && label.MatchString(s) }
func isLabelValue(s string) bool { return isHandle(s, 63) }
