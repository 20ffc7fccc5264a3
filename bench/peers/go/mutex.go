// SPDX-License-Identifier: MIT

package main

import "sync"

// mutex: so many goroutines (default 1) lock and unlock one mutex around an addition.
func mutex() {
	goroutines := arg(1, 1)
	each := arg(2, 20000000) / goroutines
	var mu sync.Mutex
	var wg sync.WaitGroup
	count := 0
	wg.Add(goroutines)
	w := start()
	for i := 0; i < goroutines; i++ {
		go func() {
			for j := 0; j < each; j++ {
				mu.Lock()
				count++
				mu.Unlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	w.per(goroutines * each)
	if count != goroutines*each {
		fail()
	}
}
