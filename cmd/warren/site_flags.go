package main

import (
	"errors"
	"net/netip"
	"strconv"

	"github.com/warren-mesh/warren/peers/wire"
)

var (
	errNoPrefix  = errors.New("want a network and its length, as 10.20.0.0/24")
	errNoAddress = errors.New("want an address, as 10.20.0.1")
	errNoBefore  = errors.New("it says something of the --prefix before it, and there is none")
)

// A networkFlag begins a network of an order, of which the flags behind it say more.
type networkFlag struct{ *wire.SiteOrder }

// Type is what the flag takes.
func (f *networkFlag) Type() string { return "prefix" }

// String is empty: there is no default.
func (f *networkFlag) String() string { return "" }

// Set adds a network.
func (f *networkFlag) Set(text string) error {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return errNoPrefix
	}
	f.Prefixes = append(f.Prefixes, wire.SiteNetwork{Prefix: p})
	return nil
}

// last is the network that flags speak of.
func last(o *wire.SiteOrder) (*wire.SiteNetwork, error) {
	if len(o.Prefixes) == 0 {
		return nil, errNoBefore
	}
	return &o.Prefixes[len(o.Prefixes)-1], nil
}

// An aliasFlag gives the last network its alias.
type aliasFlag struct{ *wire.SiteOrder }

// Type is what the flag takes.
func (f *aliasFlag) Type() string { return "prefix" }

// String is empty: there is no default.
func (f *aliasFlag) String() string { return "" }

// Set gives it.
func (f *aliasFlag) Set(text string) error {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return errNoPrefix
	}
	n, err := last(f.SiteOrder)
	if err != nil {
		return err
	}
	if n.As.IsValid() {
		return errors.New("the --prefix before it has an alias already")
	}
	n.As = p
	return nil
}

// A snatFlag has the last network see the gateway.
type snatFlag struct{ *wire.SiteOrder }

// Type is what the flag takes.
func (f *snatFlag) Type() string { return "bool" }

// String is empty: there is no default.
func (f *snatFlag) String() string { return "" }

// IsBoolFlag says that it needs no value.
func (f *snatFlag) IsBoolFlag() bool { return true }

// Set says so.
func (f *snatFlag) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("want true or false")
	}
	n, err := last(f.SiteOrder)
	if err == nil {
		n.SNAT = on
	}
	return err
}

// A checkFlag names an address that gateways ask.
type checkFlag struct {
	order *wire.SiteOrder
	none  bool
}

// Type is what the flag takes.
func (f *checkFlag) Type() string { return "address" }

// String is empty: there is no default.
func (f *checkFlag) String() string { return "" }

// Set adds an address; none, or nothing, stands alone.
func (f *checkFlag) Set(text string) error {
	none := text == "" || text == "none"
	if f.none || none && f.order.LANCheck != nil {
		return errors.New("none is the only one then")
	}
	if f.none = none; none {
		f.order.LANCheck = []netip.Addr{}
		return nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return errNoAddress
	}
	f.order.LANCheck = append(f.order.LANCheck, a)
	return nil
}

// A virtualFlag names the virtual address of a family.
type virtualFlag struct{ order *wire.SiteOrder }

// Type is what the flag takes.
func (f *virtualFlag) Type() string { return "address" }

// String is empty: there is no default.
func (f *virtualFlag) String() string { return "" }

// Set takes one of each family.
func (f *virtualFlag) Set(text string) error {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return errNoAddress
	}
	to := &f.order.Virtual
	if a.Is6() {
		to = &f.order.Virtual6
	}
	if to.IsValid() {
		return errors.New("there is one of this family already")
	}
	*to = a
	return nil
}
