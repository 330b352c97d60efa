package peers

// DigestForTest is the hash that an entry should have.
func DigestForTest(e Entry) Hash {
	sum, err := e.digest()
	if err != nil {
		panic(err)
	}
	return sum
}

// DecodeOpForTest reads an operation as Replay does.
func DecodeOpForTest(kind string, raw []byte) (Op, error) { return decodeOp(kind, raw) }

// KindsForTest is how many kinds of operations there are.
func KindsForTest() int { return len(decoders()) }
