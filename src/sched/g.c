// SPDX-License-Identifier: MIT
// Where Gs come from: each P has a list of free ones, filled from a central list by batches, and that
// from slabs, which are never given back, so that a G is a G for ever (see g.h).
#include "sched/g_cache.h"

#include <stdlib.h>

#include "os/vm.h"
#include "sched/fatal.h"
#include "sched/sched.h"

#define SLAB_BYTES (2u << 20) /* a huge page, except for the first, which is mostly enough */
#define REGION_MOST (64u << 20) /* slabs are mapped several at a time, twice as many each time: mmap waits for others' page faults */
#define SLAB_GS (SLAB_BYTES / sizeof(struct g))
#define BATCH 32
_Static_assert(BATCH <= G_CACHE_MOST, "a batch fits");
#define ARGS_RECORD 512 /* bytes; larger ones are malloc's */
#define ARGS_P_MOST 64

/* The first G of a slab is this. */
struct slab {
    struct slab *next;
    _Atomic uint32_t used; /* written under lock: Gs handed out so far, this header counted */
};
_Static_assert(sizeof(struct slab) <= sizeof(struct g), "a slab's header takes the place of a G");

static struct {
    struct lock lock;
    struct g *free;              /* under lock */
    _Atomic(struct slab *) slabs; /* written under lock, newest first */
    char *region;                /* under lock: region_left bytes from here on are for slabs to come */
    size_t region_left, region_bytes; /* under lock; and how large the region was */
    _Atomic int64_t foreign;     /* goroutines launched by plain threads */
    _Atomic int64_t system;      /* the library's own */
} central = { .lock = LOCK_INIT(RANK_G) };

/* On a system stack, lock held. */
static void region_add(void)
{
    size_t bytes = central.region_bytes ? central.region_bytes * 2 : SLAB_BYTES;
    if (bytes > REGION_MOST)
        bytes = REGION_MOST;
    char *region = vm_map(bytes, SLAB_BYTES);
    if (!region && bytes > SLAB_BYTES)
        region = vm_map(bytes = SLAB_BYTES, SLAB_BYTES);
    if (!region)
        return;
    if (central.region_bytes)
        vm_huge(region, bytes);
    central.region = region;
    central.region_left = central.region_bytes = bytes;
}

/* On a system stack, lock held. */
static void slab_add(void *arg)
{
    bool *ok = arg;
    if (central.region_left == 0)
        region_add();
    *ok = central.region_left > 0;
    if (!*ok)
        return;
    struct slab *slab = (struct slab *)(void *)central.region;
    central.region += SLAB_BYTES;
    central.region_left -= SLAB_BYTES;
    slab->next = load_relaxed(&central.slabs);
    store_relaxed(&slab->used, 1);
    store_release(&central.slabs, slab); /* pairs with the acquire in g_for_each */
}

/* A list of up to n free Gs. */
static noinline struct g *refill(uint32_t n, uint32_t *count)
{
    struct g *list = NULL;
    *count = 0;
    lock_take(&central.lock);
    while (*count < n) {
        struct g *gp = central.free;
        if (gp) {
            central.free = gp->link;
        } else {
            struct slab *slab = load_relaxed(&central.slabs);
            if (!slab || load_relaxed(&slab->used) == SLAB_GS) {
                bool ok;
                if (*count > 0)
                    break;
                system_stack_call(slab_add, &ok);
                if (!ok) {
                    lock_release(&central.lock);
                    fatal("out of memory: cannot allocate another goroutine (%lld are alive)",
                          (long long)g_count());
                }
                continue;
            }
            gp = (struct g *)slab + load_relaxed(&slab->used);
            bump_owner(&slab->used, 1);
        }
        gp->link = list;
        list = gp;
        ++*count;
    }
    lock_release(&central.lock);
    return list;
}

struct g *g_alloc_slow(struct m *mp)
{
    struct p *pp = mp->p;
    uint32_t count;
    if (!pp)
        return refill(1, &count);
    struct g *gp = refill(BATCH, &count);
    pp->gfree = gp->link;
    pp->gfree_count = count - 1;
    return gp;
}

static void give_back(struct p *pp, uint32_t n)
{
    struct g *first = pp->gfree, *last = first;
    pp->gfree_count -= n;
    while (--n > 0)
        last = last->link;
    pp->gfree = last->link;
    lock_take(&central.lock);
    last->link = central.free;
    central.free = first;
    lock_release(&central.lock);
}

void g_give_back(struct p *pp)
{
    give_back(pp, G_GIVE_BACK);
}

void g_free_thread(struct g *gp)
{
    store_relaxed(&gp->status, G_DEAD);
    lock_take(&central.lock);
    gp->link = central.free;
    central.free = gp;
    lock_release(&central.lock);
}

void g_cache_flush(struct p *pp)
{
    if (pp->gfree_count > 0)
        give_back(pp, pp->gfree_count);
    while (pp->args_free) {
        void *record = pp->args_free;
        pp->args_free = *(void **)record;
        free(record);
    }
    pp->args_free_count = 0;
}

/* LeakSanitizer's, in a program that has it. It does not look into Gs, and a record may be known to a G only. */
void __lsan_ignore_object(void *p) __attribute__((weak));

void *args_get(struct m *mp, size_t size)
{
    struct p *pp = mp->p;
    if (pp && size <= ARGS_RECORD && pp->args_free) {
        void *record = pp->args_free;
        pp->args_free = *(void **)record;
        pp->args_free_count--;
        return record;
    }
    void *record = system_stack_realloc(NULL, size < ARGS_RECORD ? ARGS_RECORD : size);
    if (!record)
        fatal("out of memory: no room for %zu bytes of arguments", size);
    if (__lsan_ignore_object)
        system_stack_call(__lsan_ignore_object, record);
    return record;
}

void args_put(struct m *mp, void *args, size_t size)
{
    struct p *pp = mp->p;
    if (size <= ARGS_RECORD && pp->args_free_count < ARGS_P_MOST) {
        *(void **)args = pp->args_free;
        pp->args_free = args;
        pp->args_free_count++;
        return;
    }
    system_stack_call(free, args);
}

void g_for_each(void (*visit)(struct g *, void *), void *arg)
{
    if (load_relaxed(&main_g.run.on_cpu) || main_g.run.sp)
        visit(&main_g, arg);
    struct slab *slab = load_acquire(&central.slabs);
    for (; slab; slab = slab->next)
        for (uint32_t i = 1; i < load_relaxed(&slab->used); i++)
            visit((struct g *)slab + i, arg);
}

void g_count_foreign(int n)
{
    atomic_fetch_add_explicit(&central.foreign, n, memory_order_relaxed);
}

void g_count_system(int n)
{
    atomic_fetch_add_explicit(&central.system, n, memory_order_release); /* pairs with the acquire in g_count */
}

/*
 * Reads the ends first, then the library's own, and then the launches: a goroutine that is launched and ends in between may be
 * counted, but the result is never below 0. One of the library's own is taken from `system` before it counts as ended, and added to
 * it after it counts as launched.
 */
int64_t g_count(void)
{
    uint32_t count = load_acquire(&sched.p_count);
    int64_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n -= (int64_t)load_acquire(&load_acquire(&sched.ps[i])->ended);
    n -= load_acquire(&central.system);
    count = load_acquire(&sched.p_count); /* one that has ended may have been launched on a new P */
    for (uint32_t i = 0; i < count; i++)
        n += (int64_t)load_relaxed(&load_acquire(&sched.ps[i])->launched);
    return n + load_relaxed(&central.foreign);
}
