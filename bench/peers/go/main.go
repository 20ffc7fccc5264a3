// SPDX-License-Identifier: MIT

// The benchmark's workloads as a Go user would write them: one program, `bench WORK [N...]`.
// GOMAXPROCS comes from the environment. Each line printed is "metric value unit".
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

var works = map[string]func(){
	"launch":   launch,
	"yield":    yield,
	"pingpong": pingpong,
	"buffered": buffered,
	"select":   selectFour,
	"skynet":   skynet,
	"blocked":  blocked,
	"sieve":    sieve,
	"sleepers": sleepers,
	"mutex":    mutex,
	"echo":     echo,
	"http":     httpHello,
	"hog":      hog,
	"wakeup":   wakeup,
	"idle":     idle,
}

func main() {
	work := ""
	if len(os.Args) > 1 {
		work = os.Args[1]
	}
	run := works[work]
	if run == nil {
		fmt.Fprintln(os.Stderr, "usage: bench WORK [N...]")
		os.Exit(2)
	}
	run()
}

// arg is the numeric argument at position i (1 is the first after the workload), or otherwise.
func arg(i, otherwise int) int {
	if len(os.Args) <= i+1 {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[i+1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}

func put(name string, value float64, unit string) {
	fmt.Printf("%s %.4g %s\n", name, value, unit)
}

// watch measures wall time and the CPU time of the whole process.
type watch struct {
	wall time.Time
	cpu  time.Duration
}

func start() watch { return watch{time.Now(), cpuTime()} }

// per prints the time per operation.
func (w watch) per(operations int) {
	wall, cpu := time.Since(w.wall), cpuTime()-w.cpu
	put("time", float64(wall.Nanoseconds())/float64(operations), "ns")
	put("cpu", float64(cpu.Nanoseconds())/float64(operations), "ns")
}

// whole prints the time of all.
func (w watch) whole() {
	wall, cpu := time.Since(w.wall), cpuTime()-w.cpu
	put("time", float64(wall.Nanoseconds())/1e6, "ms")
	put("cpu", float64(cpu.Nanoseconds())/1e6, "ms")
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
