// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// field reads a "Name:   123 kB" line of a file under /proc, in bytes.
func field(file, name string) float64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n * 1024
		}
	}
	return 0
}

func resident() float64   { return field("/proc/self/smaps_rollup", "Rss") }
func pageTables() float64 { return field("/proc/self/status", "VmPTE") }

func putPeak() {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	put("peak", float64(ru.Maxrss)/1024, "MiB")
}
