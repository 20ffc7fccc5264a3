// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"sync"
)

// pingpong: a value there and another back over two unbuffered channels, in one or more pairs of goroutines.
func pingpong() {
	n := arg(1, 1000000)
	pairs := arg(2, 1)
	each := n / pairs
	if each < 1 {
		each = 1
	}
	var wg sync.WaitGroup
	wg.Add(pairs)
	w := start()
	for p := 0; p < pairs; p++ {
		ping, pong := make(chan int), make(chan int)
		go func() {
			for v := range ping {
				pong <- v + 1
			}
		}()
		go func() {
			for i := 0; i < each; i++ {
				ping <- i
				if v := <-pong; v != i+1 {
					fail()
				}
			}
			close(ping)
			wg.Done()
		}()
	}
	wg.Wait()
	w.per(pairs * each)
}

// buffered: so many producers and as many consumers (default 1) on one channel of capacity 128.
func buffered() {
	sides := arg(1, 1)
	n := arg(2, 5000000)
	each := n / sides
	c := make(chan int, 128)
	sums := make(chan int)
	var senders sync.WaitGroup
	senders.Add(sides)
	w := start()
	for i := 0; i < sides; i++ {
		go func() {
			for v := 0; v < each; v++ {
				c <- v
			}
			senders.Done()
		}()
		go func() {
			sum := 0
			for v := range c {
				sum += v
			}
			sums <- sum
		}()
	}
	senders.Wait()
	close(c)
	sum := 0
	for i := 0; i < sides; i++ {
		sum += <-sums
	}
	w.per(sides * each)
	if sum != sides*(each*(each-1)/2) {
		fail()
	}
}

// selectFour: four goroutines send on an unbuffered channel each, one selects over the four.
func selectFour() {
	n := arg(1, 1000000)
	var c [4]chan int
	for i := range c {
		c[i] = make(chan int)
		go func(c chan int) {
			for v := 0; v < n/4; v++ {
				c <- v
			}
		}(c[i])
	}
	sum := 0
	w := start()
	for i := 0; i < n/4*4; i++ {
		select {
		case v := <-c[0]:
			sum += v
		case v := <-c[1]:
			sum += v
		case v := <-c[2]:
			sum += v
		case v := <-c[3]:
			sum += v
		}
	}
	w.per(n / 4 * 4)
	if sum != 4*((n/4)*(n/4-1)/2) {
		fail()
	}
}

func leaf(result chan int, number, size int) {
	if size == 1 {
		result <- number
		return
	}
	below := make(chan int)
	for i := 0; i < 10; i++ {
		go leaf(below, number+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-below
	}
	result <- sum
}

// skynet: a tree of goroutines, each with ten below it, a million leaves; the sum of their numbers comes up.
func skynet() {
	n := arg(1, 1000000)
	w := start()
	result := make(chan int)
	go leaf(result, 0, n)
	sum := <-result
	w.whole()
	putPeak()
	if sum != n*(n-1)/2 {
		fail()
	}
}

// sieve: the first 3000 primes by a chain of filters.
func sieve() {
	n := arg(1, 3000)
	w := start()
	c := make(chan int)
	go func(c chan int) {
		for i := 2; ; i++ {
			c <- i
		}
	}(c)
	prime := 0
	for i := 0; i < n; i++ {
		p := <-c
		prime = p
		next := make(chan int)
		go func(in, out chan int) {
			for {
				if v := <-in; v%p != 0 {
					out <- v
				}
			}
		}(c, next)
		c = next
	}
	w.whole()
	if n == 3000 && prime != 27449 {
		fail()
	}
}

func fail() {
	fmt.Fprintln(os.Stderr, "wrong result")
	os.Exit(1)
}
