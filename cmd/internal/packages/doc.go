// Package packages holds nothing but tests: of the units in systemd/, and of the packages that
// `make packages` builds from them.
package packages
