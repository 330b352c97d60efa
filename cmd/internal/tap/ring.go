package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is memory shared with the kernel, which puts the packets of one link there: TPACKET_V3 of packet(7). It is
// made of blocks that change hands as a whole.
type ring struct {
	file   *os.File
	raw    syscall.RawConn
	memory []byte
	block  int // bytes of each
	next   int // offset of the block that the kernel hands over next
}

const (
	// blockSize has room for the largest packet that a link hands on, 64 KiB and headers.
	blockSize = 256 << 10
	// retireAfter is how long the kernel keeps a block that does not fill up, in milliseconds.
	retireAfter = 10

	statusUser   = 1 << 0 // TP_STATUS_USER
	statusTagged = 1 << 4 // TP_STATUS_VLAN_VALID
)

// openRing makes a ring of so many blocks and captures nothing yet.
func openRing(block, blocks int) (*ring, error) {
	// Protocol 0: without it packets of all links would come in until the socket is bound to one.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket: %v", err)
	}
	r := &ring{file: os.NewFile(uintptr(fd), "tap"), block: block}
	if err := r.share(fd, blocks); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ring) share(fd, blocks int) (err error) {
	if r.raw, err = r.file.SyscallConn(); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("asking the kernel for TPACKET_V3: %v", err)
	}
	const frame = 2048 // only has to divide the block
	request := unix.TpacketReq3{
		Block_size: uint32(r.block), Block_nr: uint32(blocks), Retire_blk_tov: retireAfter,
		Frame_size: frame, Frame_nr: uint32(r.block / frame * blocks),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("making a ring of %d × %d bytes: %v", blocks, r.block, err)
	}
	r.memory, err = unix.Mmap(fd, 0, r.block*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping the ring: %v", err)
	}
	return nil
}

// attach begins to capture a link, both directions.
func (r *ring) attach(link *net.Interface) error {
	all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff}) // network byte order
	return r.onSocket(func(fd int) error {
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
	})
}

// attached reports whether the link is still the one that attach was given: one that goes away takes the capture along,
// and another may have its name now.
func (r *ring) attached(link *net.Interface) (still bool, err error) {
	err = r.onSocket(func(fd int) error {
		address, err := unix.Getsockname(fd)
		bound, ok := address.(*unix.SockaddrLinklayer)
		still = ok && bound.Ifindex == link.Index
		return err
	})
	return still, err
}

// close frees the ring; nobody may look at its packets any more.
func (r *ring) close() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
	}
	return errors.Join(err, r.file.Close())
}

// interrupt ends a wait for packets, now and later, with os.ErrDeadlineExceeded.
func (r *ring) interrupt() error { return r.file.SetReadDeadline(time.Unix(1, 0)) }

// statistics returns how many packets the kernel has had for the ring, and how many of them it had to drop, since the
// last call.
func (r *ring) statistics() (packets, drops uint64, err error) {
	err = r.onSocket(func(fd int) error {
		s, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			packets, drops = uint64(s.Packets), uint64(s.Drops)
		}
		return err
	})
	return packets, drops, err
}

func (r *ring) onSocket(f func(fd int) error) (err error) {
	if ctlErr := r.raw.Control(func(fd uintptr) { err = f(int(fd)) }); ctlErr != nil {
		return ctlErr
	}
	return err
}

// wait returns when the next block is here.
func (r *ring) wait() error {
	if r.mine() {
		return nil // an interrupted ring still has what came before
	}
	return r.raw.Read(func(uintptr) bool { return r.mine() })
}

// status is the word with which a block changes hands.
func (r *ring) status() *uint32 {
	const statusAt = 8 // after version and offset of private data
	return (*uint32)(unsafe.Pointer(&r.memory[r.next+statusAt]))
}

func (r *ring) mine() bool { return atomic.LoadUint32(r.status())&statusUser != 0 }

// release hands the block back, and turns to the next.
func (r *ring) release() {
	atomic.StoreUint32(r.status(), 0)
	r.next = (r.next + r.block) % len(r.memory)
}

// frames are the packets of the block that is here.
func (r *ring) frames() iter.Seq[captured] {
	block := r.memory[r.next : r.next+r.block]
	header := (*unix.TpacketHdrV1)(unsafe.Pointer(&block[8]))
	return func(yield func(captured) bool) {
		at := int(header.Offset_to_first_pkt)
		for range header.Num_pkts {
			frame := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[at]))
			begin := at + int(frame.Mac)
			// The sender's address, sockaddr_ll, comes after the header; this byte of it tells the direction.
			direction := block[at+unix.SizeofTpacket3Hdr+10]
			if !yield(captured{
				at:       time.Unix(int64(frame.Sec), int64(frame.Nsec)),
				bytes:    block[begin : begin+int(frame.Snaplen)],
				length:   int(frame.Len),
				outgoing: direction == unix.PACKET_OUTGOING,
				tagged:   frame.Status&statusTagged != 0,
			}) {
				return
			}
			at += int(frame.Next_offset)
		}
	}
}
