// Package vm boots Debian's cloud kernel in qemu with an initramfs made on the spot, and runs test
// binaries in it as root: for what only a real kernel WireGuard can show. No disk, no network, no
// installation; the kernel package is downloaded and unpacked, never installed.
package vm
