// SPDX-License-Identifier: MIT

package main

import "sync"

func launchOne(wg *sync.WaitGroup) { wg.Done() }

// launch: launch, run, end; so many at a time (default 1000), a million in all.
func launch() {
	batch := arg(1, 1000)
	n := arg(2, 1000000) / batch * batch
	var wg sync.WaitGroup
	round := func(n int) {
		for i := 0; i < n; i += batch {
			wg.Add(batch)
			for j := 0; j < batch; j++ {
				go launchOne(&wg)
			}
			wg.Wait()
		}
	}
	round(n / 10)
	w := start()
	round(n)
	w.per(n)
}
