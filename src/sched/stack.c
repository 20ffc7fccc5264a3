// SPDX-License-Identifier: MIT
// Stacks: reserved by the slab, guarded without a mapping each, touched by nobody but their goroutine.
//
// Invariants
//   - A stack is in use by one goroutine, or in one P's cache, or on one central list, or not carved yet.
//   - Below a stack's lo there is a guard, or its flag STACK_CANARY is set and the canary words stand there.
//   - The pages of a stack with STACK_CLEAN set have not been touched since they were given back, or ever.
//
// Problem. A million goroutines at once, each with room for printf, on default kernel settings; an overflow must be
// noticed, not overwrite a neighbour; and a launch must not cost a system call.
//
// Rejected. A mapping for each stack: vm.max_map_count is 65530, and two system calls each. Stacks that grow by being
// copied, as Go's: C has pointers to locals. Segmented stacks: need the compiler, and hot calls that cross a
// boundary are slow. One size for all with memory committed: a million times 64 KiB.
//
// The way. A slab is one large mapping of which nothing is resident. It is cut into slots of one size; a stack is the
// upper part of a slot, the lower part is its guard: 36 KiB that
// fault, 20 below a stack of 16 (MADV_GUARD_INSTALL, which marks pages in the
// page table and costs no mapping). Guards are installed for a few dozen slots by one call, when the first of them is
// wanted. Where the kernel cannot do that, PROT_NONE does, until half of the mappings a process may have are
// used up; after that the lowest words hold a canary, which is checked at each switch. A frame larger than the guard
// can jump over it: programs with such frames should be compiled with -fstack-clash-protection, which
// touches each page (goroutine.pc says so to the compiler).
//
// The descriptors of stacks lie elsewhere, so that handing out, taking back and listing stacks touches none of their
// pages: a blocked goroutine costs the one page it uses. Tops differ in their place within the page (colours), or
// all goroutines' hottest words would compete for the same lines of the cache. And slots are a page more than a power of two
// apart, or all hottest pages would compete for the same few entries of the translation buffer, and their page-table
// entries for the same lines of the cache: a prime sieve of 3000 goroutines took two fifths more time.
//
// Small stacks, of 2, 4 and 8 KiB, are for millions: they lie side by side in huge pages, so that 2 MiB come with one page
// fault, and have a canary and no guard. Their descriptor is at their own top: 2048 bytes are the whole cost.
//
// In a rush. A program that begins thousands of goroutines that all wait pays for a page fault each, and that is most
// of what they cost. When clean stacks are wanted by the dozen, one call asks for the first pages of all that go to a
// cache: two thirds of the price on machines where a fault is dear, about the same on others. Guards are installed outside
// of the list's lock, each P its own. And slabs grow to 16 GiB: mmap must wait until no page fault is under way, and where
// others take one after the other it waits for milliseconds.
//
// Giving back. Each central list remembers the fewest stacks it has held since the last look: so many nobody needed. Their
// pages go back to the system, outside of the lock; the stacks go to a list of their own, to be used again after those that are
// still resident. While goroutines run, this gets a hundredth of a processor, as in Go: a program that has had a million goroutines may
// have them again, and giving a page back costs as much as running one. When the process does next to nothing, all go at once. Small stacks
// share pages, so whole chunks of 2 MiB go back when all their stacks are idle.
//
// The nasty race: a stack goes to a cache while its goroutine is still on it. The caller prevents that: it is put
// back from the other side of the switch.
#include "sched/stack.h"

#include "os/lock.h"
#include "os/os.h"
#include "os/vm.h"

#if HAVE_ASAN
void __asan_unpoison_memory_region(const volatile void *start, size_t size);
void __lsan_register_root_region(const void *start, size_t size);
#endif
#if GO_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#define REGISTER_STACK(lo, hi) (void)VALGRIND_STACK_REGISTER(lo, hi)
#else
#define REGISTER_STACK(lo, hi)
#endif

#define SLAB_FIRST (2u << 20)
#define SLAB_MOST ((uint64_t)16 << 30)
#define SLAB_USUAL ((uint64_t)1 << 30) /* larger ones for those who have many: at most an eighth of what they have */
#define SMALL_SLAB (64u << 20)
#define CARVE_MOST 64 /* slots whose guards one call installs */
#define SANITIZED_LEAST (64u << 10)
#define COLOURS 16
#define COLOUR_STEP CACHE_LINE
#define GUARD_MOST (32u << 10)
#define CANARY_BYTES 16
#define CHUNK VM_HUGE
#define DISCARD_AT_ONCE 64

/* A huge page of small stacks. */
struct chunk {
    char *base;
    struct chunk *next;  /* on partial, empty or fresh */
    struct chunk **back; /* what points to it there */
    struct stack *free;
    uint32_t carved, idle; /* slots handed out ever since it was fresh; of these, on `free` */
};

struct central {
    struct lock lock;
    struct stack *free;    /* resident; all under lock, as what follows */
    struct stack *clean;   /* given back */
    uint64_t idle;         /* on `free` */
    uint64_t low_water;    /* the least idle since the last look */
    struct stack *slots;   /* descriptors of the present slab */
    char *slab;
    uint64_t next_slot, slot_count, slab_bytes, carve;
    uint64_t reserved;     /* bytes of all slabs */
    uint64_t carving;      /* how many are at it outside of the lock */

    struct chunk *partial, *empty, *fresh; /* small: some free; all free; untouched or given back */
    uint64_t empty_count, empty_low;
};

static struct central centrals[STACK_CLASSES] = {
    [0 ... STACK_CLASSES - 1] = { .lock = LOCK_INIT(RANK_STACK) },
};
static bool executable; /* as the program's own stack */
static _Atomic uint8_t guard_kind;
static _Atomic long mappings_left;
static _Atomic bool no_populate; /* the kernel has refused it once */
static struct {
    _Atomic uint64_t made, given_back, reserved;
} counters;

static size_t slot_size(unsigned class)
{
    return (size_t)2048 << class;
}

/* From one slot to the next: see the way. */
static size_t slot_stride(unsigned class)
{
    return slot_size(class) + vm_page_size();
}

static size_t guard_size(unsigned class)
{
    size_t half = slot_size(class) / 2, most = GUARD_MOST;
    if (most < vm_page_size())
        most = vm_page_size();
    return (half < most ? half : most) + slot_stride(class) - slot_size(class);
}

static bool is_small(unsigned class)
{
    return class < STACK_CLASS_GUARDED;
}

size_t stack_class_size(unsigned class)
{
    if (is_small(class))
        return slot_size(class) - sizeof(struct stack) - CANARY_BYTES;
    return slot_stride(class) - guard_size(class);
}

unsigned stack_class_for(size_t size)
{
    if (size == 0)
        return STACK_CLASS_DEFAULT;
    /* Sanitizers make frames larger, and write their reports on the stack they find something on. */
    if ((HAVE_ASAN || HAVE_TSAN) && size < SANITIZED_LEAST)
        size = SANITIZED_LEAST;
    for (unsigned class = 0; class < STACK_CLASSES; class++) {
        if (class == STACK_CLASS_GUARDED - 1)
            continue; /* 16 KiB asked for are 16 KiB with a guard */
        if (!is_small(class) && slot_size(class) < 4 * vm_page_size())
            continue; /* pages of 64 KiB: a guard and what is given back must be whole ones */
        if (size <= (is_small(class) ? slot_size(class) : stack_class_size(class)))
            return class;
    }
    return STACK_CLASSES - 1;
}

void stack_init(void)
{
    executable = os_executable_stacks();
    enum stack_guard kind = options.guard;
    if (kind == GUARD_AUTO || kind == GUARD_MADVISE) {
        /* Ask the kernel, not its version; and do not believe it, for emulators accept any advice. */
        size_t page = vm_page_size();
        char *probe = vm_map(page, 0);
        struct vm_range range = { probe, page };
        kind = probe && vm_guard(&range, 1, false) == 0 && vm_faults(probe) ? GUARD_MADVISE
                                                                             : GUARD_MPROTECT;
        if (probe)
            vm_unmap(probe, page);
    }
    store_relaxed(&mappings_left, vm_map_limit() / 4); /* a guard splits a mapping: two more */
    store_relaxed(&guard_kind, (uint8_t)kind);
}

static void write_canary(struct stack *s)
{
    uint64_t *canary = (uint64_t *)(void *)s->lo - 2;
    canary[0] = canary[1] = STACK_CANARY_WORD;
}

/* --- stacks with guards --- */

/* A new slab for c, under its lock: twice as large as the last one, or as there is room for. */
static bool slab_add(struct central *c, unsigned class)
{
    size_t stride = slot_stride(class);
    uint64_t want = c->slab_bytes ? c->slab_bytes * 2 : SLAB_FIRST;
    uint64_t most = c->reserved / 8 > SLAB_USUAL ? c->reserved / 8 : SLAB_USUAL;
    if (most > SLAB_MOST)
        most = SLAB_MOST;
    if (want > most)
        want = most;
    if (class == STACK_CLASSES - 1)
        return false;
    for (;; want /= 2) {
        uint64_t count = want > stride ? want / stride : 1, bytes = count * stride;
        struct stack *slots = vm_map(count * sizeof *slots, 0);
        char *slab = slots ? vm_map(bytes, 0) : NULL;
        if (slab) {
            vm_no_huge(slab, bytes);
            if (executable)
                vm_executable(slab, bytes); /* or not: the system may forbid it */
#if HAVE_ASAN
            __lsan_register_root_region(slots, count * sizeof *slots);
#endif
            c->slots = slots;
            c->slab = slab;
            c->next_slot = 0;
            c->slot_count = count;
            c->slab_bytes = want;
            c->reserved += bytes;
            add_relaxed(&counters.reserved, bytes);
            return true;
        }
        if (slots)
            vm_unmap(slots, count * sizeof *slots);
        if (want <= SLAB_FIRST || count == 1)
            return false;
    }
}

/* Guards for n slots from `base`; the kind of guard they got. */
static enum stack_guard install_guards(char *base, uint64_t n, unsigned class)
{
    size_t stride = slot_stride(class), guard = guard_size(class);
    enum stack_guard kind = load_relaxed(&guard_kind);
    if (kind == GUARD_MADVISE) {
        struct vm_range ranges[CARVE_MOST];
        for (uint64_t i = 0; i < n; i++)
            ranges[i] = (struct vm_range){ base + i * stride, guard };
        if (vm_guard(ranges, n, options.process_madvise) == 0)
            return kind;
        /* No memory for page tables: these slots go without guards. One that has a guard already would fault at the canary. */
        vm_unguard(base, n * stride);
        return GUARD_CANARY;
    }
    if (kind == GUARD_MPROTECT) {
        check(n == 1);
        if (atomic_fetch_sub_explicit(&mappings_left, 1, memory_order_relaxed) >= 1 && vm_no_access(base, guard) == 0)
            return kind;
        store_relaxed(&guard_kind, GUARD_CANARY); /* the mappings are used up */
    }
    return GUARD_CANARY;
}

/* Carves some more stacks for c->clean. Under its lock, which is released meanwhile: another P that wants some carves its own. */
static bool carve(struct central *c, unsigned class)
{
    if (c->next_slot == c->slot_count && !slab_add(c, class))
        return false;
    size_t stride = slot_stride(class), guard = guard_size(class);
    uint64_t left = c->slot_count - c->next_slot, first = c->next_slot;
    c->carve = c->carve ? c->carve * 2 : 1;
    if (c->carve > CARVE_MOST)
        c->carve = CARVE_MOST;
    uint64_t n = c->carve < left ? c->carve : left;
    if (load_relaxed(&guard_kind) == GUARD_MPROTECT)
        n = 1;
    struct stack *slots = c->slots + first;
    char *base = c->slab + first * stride;
    c->next_slot += n;
    c->carving++;
    lock_release(&c->lock);

    bool canary = install_guards(base, n, class) == GUARD_CANARY;
    for (uint64_t i = n; i-- > 0;) {
        struct stack *s = &slots[i];
        char *end = base + (i + 1) * stride;
        *s = (struct stack){
            .lo = base + i * stride + guard,
            .hi = end - (first + i) % COLOURS * COLOUR_STEP,
            .next = i + 1 < n ? s + 1 : NULL,
            .class = (uint8_t)class,
            .flags = (uint8_t)(STACK_CLEAN | (canary ? STACK_CANARY : 0)),
        };
#if HAVE_ASAN
        __lsan_register_root_region(s->lo, (size_t)(end - s->lo)); /* not the guards: they fault */
#endif
        REGISTER_STACK(s->lo, end);
    }
    add_relaxed(&counters.made, n);

    lock_take(&c->lock);
    c->carving--;
    slots[n - 1].next = c->clean;
    c->clean = slots;
    return true;
}

static struct stack *guarded_get(struct central *c, unsigned class)
{
    for (;;) {
        struct stack *s = c->free;
        if (s) {
            c->free = s->next;
            if (--c->idle < c->low_water)
                c->low_water = c->idle;
            return s;
        }
        if ((s = c->clean)) {
            c->clean = s->next;
            return s;
        }
        if (carve(c, class))
            continue;
        if (c->carving == 0)
            return NULL;
        lock_release(&c->lock); /* there is no more memory, but somebody is about to bring some stacks */
        os_thread_yield();
        lock_take(&c->lock);
    }
}

/* --- small stacks --- */

static void chunk_link(struct chunk **list, struct chunk *k)
{
    k->next = *list;
    k->back = list;
    if (k->next)
        k->next->back = &k->next;
    *list = k;
}

static void chunk_unlink(struct chunk *k)
{
    *k->back = k->next;
    if (k->next)
        k->next->back = k->back;
}

static bool small_slab_add(struct central *c)
{
    uint64_t n = SMALL_SLAB / CHUNK;
    struct chunk *chunks = vm_map(n * sizeof *chunks, 0);
    if (!chunks)
        return false;
    char *slab = vm_map(SMALL_SLAB, CHUNK);
    if (!slab) {
        vm_unmap(chunks, n * sizeof *chunks);
        return false;
    }
    if (options.huge_pages)
        vm_huge(slab, SMALL_SLAB);
    if (executable)
        vm_executable(slab, SMALL_SLAB);
#if HAVE_ASAN
    __lsan_register_root_region(slab, SMALL_SLAB);
#endif
    add_relaxed(&counters.reserved, SMALL_SLAB);
    for (uint64_t i = n; i-- > 0;) {
        chunks[i] = (struct chunk){ .base = slab + i * CHUNK };
        chunk_link(&c->fresh, &chunks[i]);
    }
    return true;
}

static struct stack *small_get(struct central *c, unsigned class)
{
    struct chunk *k = c->partial ? c->partial : c->empty ? c->empty : c->fresh;
    if (!k) {
        if (!small_slab_add(c))
            return NULL;
        k = c->fresh;
    }
    if (k == c->empty && --c->empty_count < c->empty_low)
        c->empty_low = c->empty_count;
    if (k != c->partial) {
        chunk_unlink(k);
        chunk_link(&c->partial, k);
    }
    struct stack *s = k->free;
    size_t slot = slot_size(class);
    if (s) {
        k->free = s->next;
        k->idle--;
        c->idle--;
    } else {
        char *end = k->base + (k->carved + 1) * slot;
        s = (struct stack *)(void *)(end - sizeof *s);
        *s = (struct stack){
            .lo = end - slot + CANARY_BYTES,
            .hi = (char *)((uintptr_t)s & ~(uintptr_t)15),
            .chunk = k,
            .class = (uint8_t)class,
            .flags = STACK_CANARY,
        };
        write_canary(s);
        REGISTER_STACK(s->lo, s->hi);
        k->carved++;
        add_relaxed(&counters.made, 1);
    }
    if (!k->free && k->carved == CHUNK / slot) {
        chunk_unlink(k); /* on no list while all are in use */
        k->next = NULL;
    }
    return s;
}

static void small_put(struct central *c, struct stack *s)
{
    struct chunk *k = s->chunk;
    bool was_full = !k->free && k->carved == CHUNK / slot_size(s->class);
    s->next = k->free;
    k->free = s;
    c->idle++;
    if (++k->idle == k->carved) {
        if (!was_full)
            chunk_unlink(k);
        chunk_link(&c->empty, k);
        c->empty_count++;
    } else if (was_full) {
        chunk_link(&c->partial, k);
    }
}

/* --- the central lists --- */

/* Under c->lock. */
static void central_put(struct central *c, struct stack *s)
{
    if (is_small(s->class)) {
        small_put(c, s);
        return;
    }
    s->next = c->free;
    c->free = s;
    c->idle++;
}

static struct vm_range first_page(const struct stack *s)
{
    size_t page = vm_page_size();
    return (struct vm_range){ (char *)(((uintptr_t)s->hi - 1) & ~(page - 1)), page };
}

struct stack *stack_get(struct stack_cache *cache, unsigned class)
{
    struct stack *s = stack_get_hot(cache, class);
    if (s)
        return s;
    struct central *c = &centrals[class];
    /* A few at a time, but not for a program that needs one. */
    unsigned want = 1, room = 0;
    if (class < STACK_CLASSES_CACHED)
        room = STACK_CACHE_MOST / 2;
    lock_take(&c->lock);
    if (c->idle > 0 || c->carve >= STACK_CACHE_MOST || is_small(class))
        want += room;
    struct vm_range first[STACK_CACHE_MOST / 2 + 1]; /* pages of clean ones */
    size_t clean = 0;
    for (; want > 0; want--) {
        struct stack *more = is_small(class) ? small_get(c, class) : guarded_get(c, class);
        if (!more)
            break;
        if ((more->flags & STACK_CANARY) && (more->flags & STACK_CLEAN))
            write_canary(more); /* now, for those in the cache are handed out without a look */
        if (more->flags & STACK_CLEAN)
            first[clean++] = first_page(more);
        more->flags &= (uint8_t)~STACK_CLEAN;
        if (want == 1 || class >= STACK_CLASSES_CACHED) {
            s = more;
            break;
        }
        more->next = cache->list[class];
        cache->list[class] = more;
        cache->count[class]++;
    }
    lock_release(&c->lock);
    if (clean > STACK_CACHE_MOST / 4 && options.process_madvise && !load_relaxed(&no_populate) &&
        !vm_populate(first, clean))
        store_relaxed(&no_populate, true);
    return s ? s : stack_get_hot(cache, class);
}

void stack_put_slow(struct stack_cache *cache, struct stack *s)
{
    unsigned class = s->class;
    struct central *c = &centrals[class];
#if HAVE_ASAN
    /* What the goroutine's frames have poisoned is not the next one's concern. */
    __asan_unpoison_memory_region(s->lo, (size_t)(s->hi - s->lo));
#endif
    /* This one, and so many of the cache's that half of it is left. */
    unsigned n = 0;
    if (class < STACK_CLASSES_CACHED && cache->count[class] > STACK_CACHE_MOST / 2)
        n = cache->count[class] - STACK_CACHE_MOST / 2;
    lock_take(&c->lock);
    for (;;) {
        central_put(c, s);
        if (n-- == 0)
            break;
        s = stack_get_hot(cache, class);
    }
    lock_release(&c->lock);
}

void stack_cache_flush(struct stack_cache *cache)
{
    for (unsigned class = 0; class < STACK_CLASSES_CACHED; class++) {
        struct central *c = &centrals[class];
        struct stack *s;
        lock_take(&c->lock);
        while ((s = stack_get_hot(cache, class)))
            central_put(c, s);
        lock_release(&c->lock);
    }
}

/* --- giving back --- */

static enum scavenged scavenged(uint64_t left, uint64_t idle)
{
    return left > 0 ? SCAVENGED_CUT_SHORT : idle > 0 ? SCAVENGED_OTHERS_IDLE : SCAVENGED_ALL;
}

/* Stacks that nobody needed since the last look: off the list, out of anybody's sight, and back as clean ones. */
static enum scavenged scavenge_guarded(struct central *c, int64_t until)
{
    size_t page = vm_page_size();
    lock_take(&c->lock);
    uint64_t n = c->low_water;
    lock_release(&c->lock);
    while (n > 0 && os_now() < until) {
        struct vm_range ranges[DISCARD_AT_ONCE];
        struct stack *list = NULL;
        size_t count = 0;
        lock_take(&c->lock);
        while (n > 0 && count < DISCARD_AT_ONCE && c->free) {
            struct stack *s = c->free;
            c->free = s->next;
            c->idle--;
            n--;
            s->next = list;
            list = s;
            char *end = (char *)(((uintptr_t)s->hi + page - 1) & ~(page - 1));
            char *start = (char *)((uintptr_t)s->lo & ~(page - 1));
            ranges[count++] = (struct vm_range){ start, (size_t)(end - start) };
        }
        bool last = c->free == NULL;
        lock_release(&c->lock);
        if (count == 0) {
            n = 0;
            break;
        }
        vm_discard(ranges, count, options.process_madvise);
        add_relaxed(&counters.given_back, count);
        lock_take(&c->lock);
        while (list) {
            struct stack *s = list;
            list = s->next;
            s->flags |= STACK_CLEAN;
            s->next = c->clean;
            c->clean = s;
        }
        lock_release(&c->lock);
        if (last)
            n = 0;
    }
    lock_take(&c->lock);
    c->low_water = n > 0 && n < c->idle ? n : c->idle;
    enum scavenged result = scavenged(n, c->idle);
    lock_release(&c->lock);
    return result;
}

/* Chunks all of whose stacks are idle. What stands in them, descriptors and canaries, is written anew when they are
 * carved again. */
static enum scavenged scavenge_small(struct central *c, unsigned class, int64_t until)
{
    lock_take(&c->lock);
    uint64_t n = c->empty_low;
    lock_release(&c->lock);
    for (; n > 0 && os_now() < until; n--) {
        lock_take(&c->lock);
        struct chunk *k = c->empty;
        if (k) {
            chunk_unlink(k);
            c->empty_count--;
            c->idle -= k->idle;
        }
        lock_release(&c->lock);
        if (!k) {
            n = 0;
            break;
        }
        struct vm_range range = { k->base, CHUNK };
        vm_discard(&range, 1, false);
        add_relaxed(&counters.given_back, CHUNK / slot_size(class));
        lock_take(&c->lock);
        k->free = NULL;
        k->carved = k->idle = 0;
        chunk_link(&c->fresh, k);
        lock_release(&c->lock);
    }
    lock_take(&c->lock);
    c->empty_low = n > 0 && n < c->empty_count ? n : c->empty_count;
    enum scavenged result = scavenged(n, c->empty_count);
    lock_release(&c->lock);
    return result;
}

enum scavenged stack_scavenge(int64_t until)
{
    enum scavenged most = SCAVENGED_ALL;
    for (unsigned class = 0; class < STACK_CLASSES; class++) {
        struct central *c = &centrals[class];
        enum scavenged result = is_small(class) ? scavenge_small(c, class, until) : scavenge_guarded(c, until);
        if (result > most)
            most = result;
    }
    return most;
}

struct stack_stats stack_stats(void)
{
    struct stack_stats stats = {
        .made = load_relaxed(&counters.made),
        .given_back = load_relaxed(&counters.given_back),
        .reserved = load_relaxed(&counters.reserved),
        .guard = load_relaxed(&guard_kind),
    };
    for (unsigned class = 0; class < STACK_CLASSES; class++) {
        struct central *c = &centrals[class];
        lock_take(&c->lock);
        stats.idle += c->idle;
        lock_release(&c->lock);
    }
    return stats;
}

bool stack_fault_in_guard(const struct stack *s, const void *address, const void *sp)
{
    const char *at = address, *top = sp;
    if (!s)
        return false;
    /* Where no guard stopped it, the overflow has gone on to where there is no memory. */
    if (s->flags & STACK_CANARY)
        return top < s->lo && s->lo - top < SLAB_FIRST;
    return !is_small(s->class) && at < s->lo && at >= s->lo - guard_size(s->class);
}
