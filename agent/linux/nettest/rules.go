package nettest

import (
	"embed"
	"io"
	"strings"
	"testing"
)

// What is in rules are the firewalls of others, as they write them: for nft -f, or for iptables-nft-restore.
//
//go:embed rules
var rules embed.FS

// Rules are those of a firewall, with the command that loads them from its standard input.
func Rules(t testing.TB, name string) (text io.Reader, argv []string) {
	t.Helper()
	data, err := rules.ReadFile("rules/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".iptables") {
		return strings.NewReader(string(data)), []string{"iptables-nft-restore"}
	}
	return strings.NewReader(string(data)), []string{"nft", "-f", "-"}
}
