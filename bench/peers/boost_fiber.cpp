// SPDX-License-Identifier: MIT
//
// Boost.Fiber: its round-robin scheduler on one thread, or shared_work on GOMAXPROCS threads.
#include <boost/fiber/all.hpp>

#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

extern "C" {
#include "bench.h"
}

namespace bf = boost::fibers;

static long number(int argc, char **argv, int i, long otherwise)
{
    return bench_arg(argc, argv, i, otherwise);
}

/* A count that fibers wait for, as a waitgroup. */
class latch {
    bf::mutex mutex;
    bf::condition_variable changed;
    long count = 0;

  public:
    void add(long n)
    {
        std::lock_guard<bf::mutex> hold(mutex);
        count += n;
    }
    void done()
    {
        std::lock_guard<bf::mutex> hold(mutex);
        if (--count == 0)
            changed.notify_all();
    }
    void wait()
    {
        std::unique_lock<bf::mutex> hold(mutex);
        changed.wait(hold, [this] { return count == 0; });
    }
};

static void launch(int argc, char **argv)
{
    long batch = number(argc, argv, 2, 1000);
    long total = number(argc, argv, 3, 100000) / batch * batch;
    latch done;
    auto rounds = [&](long n, auto &&stacks) {
        for (long i = 0; i < n; i += batch) {
            done.add(batch);
            for (long j = 0; j < batch; j++)
                bf::fiber(std::allocator_arg, stacks, [&] { done.done(); }).detach();
            done.wait();
        }
    };
    auto run = [&](auto &&stacks) {
        rounds(total / 10, stacks);
        bench_watch w = bench_start();
        rounds(total, stacks);
        bench_per(w, double(total));
    };
    /* The pool is much faster, but for one thread only. */
    const char *procs = getenv("GOMAXPROCS");
    if (procs && atoi(procs) > 1)
        run(bf::fixedsize_stack());
    else
        run(bf::pooled_fixedsize_stack());
}

static void yield(int argc, char **argv)
{
    long fibers = number(argc, argv, 2, 100);
    long each = number(argc, argv, 3, 2000000) / fibers;
    latch end;
    end.add(fibers);
    bench_watch w = bench_start();
    for (long i = 0; i < fibers; i++)
        bf::fiber([&] {
            for (long j = 0; j < each; j++)
                boost::this_fiber::yield();
            end.done();
        }).detach();
    end.wait();
    bench_per(w, double(fibers * each));
}

static void pingpong(int argc, char **argv)
{
    long n = number(argc, argv, 2, 500000);
    bf::unbuffered_channel<long> ping, pong;
    bf::fiber answers([&] {
        for (long v : ping)
            pong.push(v + 1);
    });
    bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        ping.push(i);
        bench_expect(pong.value_pop() == i + 1);
    }
    bench_per(w, double(n));
    ping.close();
    answers.join();
}

static void buffered(int argc, char **argv)
{
    long sides = number(argc, argv, 2, 1);
    long each = number(argc, argv, 3, 2000000) / sides;
    bf::buffered_channel<long> c(128);
    std::vector<bf::fiber> producers, consumers;
    std::vector<long> sums(size_t(sides), 0);
    bench_watch w = bench_start();
    for (long i = 0; i < sides; i++) {
        producers.emplace_back([&] {
            for (long v = 0; v < each; v++)
                c.push(v);
        });
        consumers.emplace_back([&, i] {
            for (long v : c)
                sums[size_t(i)] += v;
        });
    }
    for (auto &f : producers)
        f.join();
    c.close();
    long sum = 0;
    for (auto &f : consumers)
        f.join();
    for (long part : sums)
        sum += part;
    bench_per(w, double(sides * each));
    bench_expect(sum == sides * (each * (each - 1) / 2));
}

using channel = bf::unbuffered_channel<long>;

static void node(channel &result, long first, long size)
{
    if (size == 1) {
        result.push(first);
        return;
    }
    channel below;
    for (long i = 0; i < 10; i++)
        bf::fiber(bf::launch::dispatch, std::allocator_arg, bf::fixedsize_stack(16384),
                  [&below, first, size, i] { node(below, first + i * (size / 10), size / 10); })
            .detach();
    long sum = 0;
    for (int i = 0; i < 10; i++)
        sum += below.value_pop();
    result.push(sum);
}

static void skynet(int argc, char **argv)
{
    long n = number(argc, argv, 2, 1000000);
    bench_watch w = bench_start();
    channel result;
    bf::fiber([&] { node(result, 0, n); }).detach();
    long sum = result.value_pop();
    bench_whole(w);
    bench_put_peak();
    bench_expect(sum == n * (n - 1) / 2);
}

static void sieve(int argc, char **argv)
{
    long n = number(argc, argv, 2, 3000);
    bench_watch w = bench_start();
    auto c = std::make_shared<channel>();
    long prime = 0;
    bf::fiber([c] {
        for (long i = 2; c->push(i) == bf::channel_op_status::success; i++)
            ;
    }).detach();
    for (long i = 0; i < n; i++) {
        prime = c->value_pop();
        auto next = std::make_shared<channel>();
        bf::fiber([in = c, out = next, prime] {
            for (;;) {
                long v = in->value_pop();
                if (v % prime != 0)
                    out->push(v);
            }
        }).detach();
        c = next;
    }
    bench_whole(w);
    bench_expect(n != 3000 || prime == 27449);
}

static void mutexes(int argc, char **argv)
{
    long fibers = number(argc, argv, 2, 1);
    long each = number(argc, argv, 3, 10000000) / fibers;
    bf::mutex mutex;
    long count = 0;
    latch end;
    end.add(fibers);
    bench_watch w = bench_start();
    for (long i = 0; i < fibers; i++)
        bf::fiber([&] {
            for (long j = 0; j < each; j++) {
                std::lock_guard<bf::mutex> hold(mutex);
                count++;
            }
            end.done();
        }).detach();
    end.wait();
    bench_per(w, double(fibers * each));
    bench_expect(count == fibers * each);
}

static void blocked(int argc, char **argv)
{
    long n = number(argc, argv, 2, 10000);
    latch ready, gate, end;
    double resident = bench_resident(), tables = bench_page_tables();
    bench_watch w = bench_start();
    ready.add(n);
    gate.add(1);
    end.add(n);
    for (long i = 0; i < n; i++)
        bf::fiber(std::allocator_arg, bf::fixedsize_stack(16384), [&] {
            ready.done();
            gate.wait();
            end.done();
        }).detach();
    ready.wait();
    bench_per(w, double(n));
    bench_put("resident", (bench_resident() - resident) / double(n), "B");
    bench_put("tables", (bench_page_tables() - tables) / double(n), "B");
    w = bench_start();
    gate.done();
    end.wait();
    bench_put("release", double(bench_since(w).wall) / double(n), "ns");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int, char **);
    } works[] = {
        { "launch", launch }, { "yield", yield }, { "pingpong", pingpong }, { "buffered", buffered },
        { "skynet", skynet }, { "sieve", sieve }, { "mutex", mutexes },     { "blocked", blocked },
    };
    const char *procs = getenv("GOMAXPROCS");
    int threads = procs ? atoi(procs) : 1;
    const char *name = argc > 1 ? argv[1] : "";

    for (auto &work : works)
        if (strcmp(work.name, name) == 0) {
            if (threads > 1) {
                for (int i = 1; i < threads; i++)
                    std::thread([] {
                        bf::use_scheduling_algorithm<bf::algo::shared_work>(true);
                        bf::mutex m;
                        bf::condition_variable never;
                        std::unique_lock<bf::mutex> hold(m);
                        never.wait(hold, [] { return false; });
                    }).detach();
                bf::use_scheduling_algorithm<bf::algo::shared_work>(true);
            }
            work.run(argc, argv);
            fflush(stdout);
            _Exit(0); /* with fibers still waiting */
        }
    return 2;
}
