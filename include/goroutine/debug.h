/* SPDX-License-Identifier: MIT */
/*
 * Seeing inside a running program: leaks, figures, a timeline. The traceback of all goroutines is go_traceback in go.h;
 * for gdb there is a script beside the shared library. docs/debugging.md tells the whole story.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * For tests: writes a report to stderr on every goroutine that is alive besides main and the caller, grouped by the
 * statement that launched them and what they wait for, and returns how many there are. If there are none it writes
 * nothing and returns 0. Goroutines that are not waiting for anything get up to a second to end by themselves first.
 * -ENOMEM if there is no memory for the report. May park; from any thread. GODEBUG=leakcheck=1 does this at exit.
 */
int go_leak_check(void);

/* Kinds of waits, in go_statistics.parks; go_stats_wait(i) is the word for one. */
#define GO_STATS_WAITS 64
/* Steps of the histogram: step i counts what took from 2^i up to 2^(i+1) ns, the last one also whatever took longer. */
#define GO_STATS_STEPS 32

/* What go_stats tells. Counts are since the start of the process. */
typedef struct go_statistics {
	int gomaxprocs;
	int idle_procs;           /* of these, without work */
	int threads;              /* that run goroutines, or could */
	int idle_threads;         /* of these, asleep */
	int foreign_threads;      /* plain threads that have called the library and could wake somebody */
	uint64_t goroutines;      /* alive, without the library's own */
	uint64_t running, runnable, waiting; /* of these; at slightly different moments */
	uint64_t launches, ends;  /* on Ps, the library's own included; what plain threads launch is not in launches */
	uint64_t switches;        /* from one goroutine to another */
	uint64_t steals;          /* of one or more goroutines from another P */
	uint64_t hand_offs;       /* times that a goroutine lost its P, because it computed for a long time or blocked its thread */
	uint64_t stack_bytes;     /* address space reserved for stacks */
	uint64_t stacks_made;     /* stacks ever cut from it; a small one counts again after its memory has gone back */
	uint64_t stacks_idle;     /* unused, in no P's cache, and their memory has not gone back */
	uint64_t stacks_given_back; /* times that an unused stack's memory went back to the system */
	/* Only while detail is on: */
	uint64_t parks[GO_STATS_WAITS];          /* by what was waited for */
	uint64_t wake_latency[GO_STATS_STEPS];   /* from being ready to running */
} go_statistics;

/* One P. */
typedef struct go_proc_statistics {
	int running;              /* 1: a thread has it */
	uint32_t queue;           /* goroutines ready on it */
	uint64_t switches, launches, ends, steals;
	int64_t next_timer;       /* go_time of its earliest timer, INT64_MAX if it has none */
} go_proc_statistics;

/* Fills *stats. Its cost grows with the largest number of goroutines there ever was at the same time. Never parks; from any thread. */
void go_stats(go_statistics *stats);

/* The same for P number i, 0 to gomaxprocs - 1. Returns 0, or -EINVAL if there is none. Never parks; from any thread. */
int go_stats_proc(int i, go_proc_statistics *stats);

/*
 * Switches the counting of parks and wake-up latencies on (1) or off (0) and returns the setting before; any other
 * value only asks. It costs some 10 to 20 ns a switch while on, and nothing while off. GODEBUG=stats=1 switches it
 * on from the start. Never parks; from any thread.
 */
int go_stats_detail(int on);

/* The word for parks[i], as in tracebacks; NULL if there is no such i. Never parks; from any thread. */
const char *go_stats_wait(int i);

/*
 * The flight recorder. While it is on, each P keeps its last events in a ring: which goroutine ran when, why it
 * left, who woke or launched whom. It takes about 5 to 20 ns an event, so it may be left on; `events` (rounded up to a power of
 * two, at least 1024, at most 2^24; 0: 65536) of 16 bytes each are kept for each P; the first start fixes that number. Returns
 * 0, -EALREADY if it is on, or -EINVAL; a P for which there is no memory records nothing. GODEBUG=trace=FILE records the whole
 * run, a million events for each P, and writes FILE at exit, or when a fatal error is reported. Never parks; from any thread.
 */
int go_trace_start(size_t events);

/* Stops recording; what has been recorded stays. Returns 0, or -EALREADY if it is off. Never parks; from any thread. */
int go_trace_stop(void);

/*
 * Writes what is in the rings to fd, in the JSON format of Chrome's tracing, which ui.perfetto.dev shows: a track for each P,
 * slices named after goroutines, arrows from who woke to who was woken. All goroutines are held at their next call into the
 * library while the rings are copied, a millisecond for each 64 K events or so. Recording goes on. Returns 0, -ENODATA if it was
 * never started, -ENOMEM, or what write(2) said. Never parks; from any thread.
 */
int go_trace_dump(int fd);

/*
 * Serves a page about the running program at "127.0.0.1:6060" or another address (as go_listen's): goroutines by launching
 * statement and state with their frames, Ps and their queues, figures, and a button that records a trace. /goroutines is the
 * traceback as text, /goroutines.json and /stats.json are for programs, /trace?ms=1000 is a timeline of the next second, which uses
 * the recorder's rings. Whoever can connect can see all that; nobody can change anything. The goroutines that serve it are not
 * shown or counted. Returns the listening descriptor (go_local_address tells its port, go_close ends the service), or what go_listen
 * said, as a negative errno. Like every descriptor that is waited for, it keeps a deadlock from being noticed. May park; from any
 * thread.
 */
int go_debug_serve(const char *address);

#ifdef __cplusplus
}
#endif
