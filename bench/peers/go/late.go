// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

func monotonic() int64 {
	var ts syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

func putQuantiles(late []int64) {
	slices.Sort(late)
	put("median", float64(late[len(late)/2])/1e3, "us")
	put("p99", float64(late[len(late)*99/100])/1e3, "us")
	put("worst", float64(late[len(late)-1])/1e3, "us")
}

var hogged int

// hog: one goroutine computes without a call, another wants to run every millisecond; how late is it?
func hog() {
	n := arg(1, 30)
	go func() {
		for {
			hogged++
		}
	}()
	late := make([]int64, n)
	for i := range late {
		before := time.Now()
		time.Sleep(time.Millisecond)
		late[i] = int64(time.Since(before) - time.Millisecond)
	}
	slices.Sort(late)
	put("worst", float64(late[n-1])/1e6, "ms")
	put("median", float64(late[n/2])/1e6, "ms")
}

// wakeup: the process is idle; another one writes the time on its standard input now and then. How old is it when
// a goroutine has read it?
func wakeup() {
	in := os.Stdin
	syscall.SetNonblock(0, true)
	in = os.NewFile(0, "stdin")
	var late []int64
	var stamp [8]byte
	for {
		if _, err := io.ReadFull(in, stamp[:]); err != nil {
			break
		}
		late = append(late, monotonic()-int64(binary.NativeEndian.Uint64(stamp[:])))
	}
	putQuantiles(late)
}

// idle: a thousand goroutines wait, half of them on a channel and half in a sleep; what does a second cost?
func idle() {
	gate := make(chan struct{})
	for i := 0; i < 1000; i++ {
		if i%2 == 0 {
			go func() { <-gate }()
		} else {
			go func() { time.Sleep(time.Hour) }()
		}
	}
	time.Sleep(1500 * time.Millisecond)
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	begin := time.Now()
	time.Sleep(time.Second)
	wall := time.Since(begin).Seconds()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	put("cpu", float64(cpu)/1e3/wall, "us/s")
	put("wakeups", float64(after.Nvcsw-before.Nvcsw)/wall, "1/s")
}
