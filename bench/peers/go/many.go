// SPDX-License-Identifier: MIT

package main

import (
	"sync"
	"time"
)

func blockedOne(ready, end *sync.WaitGroup, gate chan struct{}) {
	ready.Done()
	<-gate
	end.Done()
}

// blocked: so many goroutines blocked on a channel at once; time and memory of each.
func blocked() {
	n := arg(1, 1000000)
	var ready, end sync.WaitGroup
	gate := make(chan struct{})
	rss, tables := resident(), pageTables()
	w := start()
	ready.Add(n)
	end.Add(n)
	for i := 0; i < n; i++ {
		go blockedOne(&ready, &end, gate)
	}
	ready.Wait()
	w.per(n)
	put("resident", (resident()-rss)/float64(n), "B")
	put("tables", (pageTables()-tables)/float64(n), "B")
	if n > 100000 {
		return
	}
	again := time.Now()
	close(gate)
	end.Wait()
	put("release", float64(time.Since(again).Nanoseconds())/float64(n), "ns")
}

// sleepers: so many goroutines sleep at once, for one to two seconds each.
func sleepers() {
	n := arg(1, 1000000)
	var wg sync.WaitGroup
	wg.Add(n)
	w := start()
	for i := 0; i < n; i++ {
		go func(i int) {
			time.Sleep(time.Second + time.Duration(i%1000)*time.Millisecond)
			wg.Done()
		}(i)
	}
	wg.Wait()
	w.whole()
	putPeak()
}
