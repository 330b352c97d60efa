package main

import (
	"os"
	"strconv"
	"strings"
)

// machineDrops is how many packets this machine has dropped between two links because it was too busy to take them on
// (the second column of /proc/net/softnet_stat). It counts for all hosts of a lab, and for whatever else runs here.
func machineDrops() (dropped int) {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		columns := strings.Fields(line)
		if len(columns) < 2 {
			continue
		}
		n, err := strconv.ParseInt(columns[1], 16, 64)
		if err != nil {
			continue
		}
		dropped += int(n)
	}
	return dropped
}
