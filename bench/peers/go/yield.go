// SPDX-License-Identifier: MIT

package main

import (
	"runtime"
	"sync"
)

// yield: so many goroutines (default 100) yield in turn, two million yields in all.
func yield() {
	goroutines := arg(1, 100)
	total := arg(2, 2000000)
	each := total / goroutines
	if each < 1 {
		each = 1
	}
	var begin, end sync.WaitGroup
	begin.Add(goroutines)
	end.Add(goroutines)
	gate := make(chan struct{})
	for i := 0; i < goroutines; i++ {
		go func() {
			begin.Done()
			<-gate
			for j := 0; j < each; j++ {
				runtime.Gosched()
			}
			end.Done()
		}()
	}
	begin.Wait()
	w := start()
	close(gate)
	end.Wait()
	w.per(goroutines * each)
}
