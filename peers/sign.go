package peers

import (
	"encoding/binary"

	"github.com/warren-mesh/warren/peers/key"
)

// SignKey makes the HostKey of a generation: the host's identity vouches for its WireGuard public key,
// so that a controller cannot put another in its place. Signed is "warren/wireguard-key/1", then the
// mesh id behind its length (one byte), the generation (eight bytes, big endian) and the key.
func SignKey(mesh string, identity key.IdentityKey, g Generation, public key.Public) HostKey {
	return HostKey{Generation: g, Public: public, Signature: identity.Sign(keyMessage(mesh, g, public))}
}

// VerifyKey reports whether identity vouches for k in the mesh.
func VerifyKey(mesh string, identity key.Identity, k HostKey) bool {
	return !k.Public.IsZero() && identity.Verify(keyMessage(mesh, k.Generation, k.Public), k.Signature)
}

func keyMessage(mesh string, g Generation, public key.Public) []byte {
	m := make([]byte, 0, 128)
	m = append(m, "warren/wireguard-key/1"...)
	m = append(append(m, byte(len(mesh))), mesh...)
	m = binary.BigEndian.AppendUint64(m, uint64(g))
	return append(m, public[:]...)
}
