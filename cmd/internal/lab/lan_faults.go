package lab

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// A portFault is what is wrong with the port of a LAN to a host. It stays through a reboot.
type portFault int

const (
	portWell portFault = iota
	portDown           // no carrier
	portMute           // a carrier, and nobody behind it
)

// PullLAN pulls the cable of the host's LAN link: lan0 has no carrier any more.
func (h *Host) PullLAN() error { return h.breakPort(portDown) }

// CutLAN drops every packet between the host and its LAN, both ways and without a sign: lan0 has its carrier.
func (h *Host) CutLAN() error { return h.breakPort(portMute) }

// RestoreLAN undoes PullLAN and CutLAN.
func (h *Host) RestoreLAN() error { return h.breakPort(portWell) }

func (h *Host) breakPort(fault portFault) error {
	if h.lan == nil {
		return fmt.Errorf("%s is on no LAN", h.Name())
	}
	h.mu.Lock()
	h.port = fault
	off := h.spaces.network == nil
	h.mu.Unlock()
	if off {
		return nil // it has no port until it boots
	}
	if err := h.lan.do(h.setPort); err != nil {
		return fmt.Errorf("cutting or restoring the LAN link of %s: %v", h.Name(), err)
	}
	return nil
}

// setPort puts the LAN's port to the host into the state that it is to have; the calling thread must be in the LAN's
// namespace. A mute port is up and belongs to no bridge.
func (h *Host) setPort() error {
	h.mu.Lock()
	fault := h.port
	h.mu.Unlock()
	port, err := netlink.LinkByName(h.spec.Name)
	if err != nil {
		return fmt.Errorf("port %s of LAN %s: %v", h.spec.Name, h.lan.name, err)
	}
	if fault == portDown {
		return netlink.LinkSetDown(port)
	}
	if fault == portMute {
		err = netlink.LinkSetNoMaster(port)
	} else {
		var to netlink.Link
		if to, err = netlink.LinkByName(bridge); err == nil {
			err = netlink.LinkSetMaster(port, to)
		}
	}
	if err != nil {
		return fmt.Errorf("port %s of LAN %s: %v", h.spec.Name, h.lan.name, err)
	}
	return netlink.LinkSetUp(port)
}
