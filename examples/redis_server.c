// SPDX-License-Identifier: MIT
//
// A small server that speaks Redis's protocol: strings, counters, lists, sets, hashes and sorted sets, enough for redis-cli and
// the default set of redis-benchmark. All in memory.
//
//     redis_server [ADDRESS]       the default is 127.0.0.1:6380
//     redis-benchmark -p 6380 -q
//
// A goroutine for each connection reads commands, as many as have come, runs them under one mutex, and answers them in one
// write. The data are one dictionary of values, each of which may again be one.
#include <goroutine.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- growing buffers --- */

struct buffer {
    char *data;
    size_t size, capacity;
};

static void reserve(struct buffer *b, size_t more)
{
    if (b->size + more <= b->capacity)
        return;
    while (b->size + more > b->capacity)
        b->capacity = b->capacity ? b->capacity * 2 : 4096;
    b->data = realloc(b->data, b->capacity);
    if (!b->data)
        go_fatal("out of memory");
}

static void put(struct buffer *b, const char *data, size_t size)
{
    reserve(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_text(struct buffer *b, const char *text)
{
    put(b, text, strlen(text));
}

static void put_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put_format(struct buffer *b, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_text(b, text);
}

/* --- the data --- */

struct string {
    char *data;
    size_t size;
};

enum type { STRING, LIST, SET, HASH, ZSET };

struct entry {
    struct entry *next;
    uint64_t hash;
    struct string key;
    struct value *value; /* NULL in sets */
    double score;        /* in sorted sets */
};

struct dict {
    struct entry **table;
    size_t slots, count; /* slots: 0 or a power of two */
};

struct value {
    enum type type;
    struct string string;
    struct string *items; /* of a list: a ring of `room` places, the first at `first` */
    size_t first, count, room;
    struct dict dict;        /* of a set, hash or sorted set */
    struct entry **order;    /* of a sorted set: by score, then by member */
    size_t order_room;
};

static struct string copy(struct string s)
{
    struct string c = { malloc(s.size ? s.size : 1), s.size };
    if (!c.data)
        go_fatal("out of memory");
    memcpy(c.data, s.data, s.size);
    return c;
}

static uint64_t hash_of(struct string s)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */
    for (size_t i = 0; i < s.size; i++)
        h = (h ^ (unsigned char)s.data[i]) * 1099511628211ull;
    return h ^ h >> 32;
}

static struct entry **dict_at(struct dict *d, struct string key, uint64_t hash)
{
    struct entry **at = &d->table[hash & (d->slots - 1)];
    while (*at && ((*at)->hash != hash || (*at)->key.size != key.size || memcmp((*at)->key.data, key.data, key.size)))
        at = &(*at)->next;
    return at;
}

static struct entry *dict_find(struct dict *d, struct string key)
{
    return d->slots ? *dict_at(d, key, hash_of(key)) : NULL;
}

static void dict_grow(struct dict *d)
{
    struct dict larger = { .slots = d->slots ? d->slots * 2 : 16, .count = d->count };
    larger.table = calloc(larger.slots, sizeof *larger.table);
    if (!larger.table)
        go_fatal("out of memory");
    for (size_t i = 0; i < d->slots; i++)
        for (struct entry *e = d->table[i], *next; e; e = next) {
            next = e->next;
            e->next = larger.table[e->hash & (larger.slots - 1)];
            larger.table[e->hash & (larger.slots - 1)] = e;
        }
    free(d->table);
    *d = larger;
}

/* The entry of the key, made if need be. */
static struct entry *dict_put(struct dict *d, struct string key, bool *fresh)
{
    if (d->count >= d->slots)
        dict_grow(d);
    uint64_t hash = hash_of(key);
    struct entry **at = dict_at(d, key, hash);
    *fresh = !*at;
    if (!*at) {
        struct entry *e = calloc(1, sizeof *e);
        if (!e)
            go_fatal("out of memory");
        e->hash = hash;
        e->key = copy(key);
        *at = e;
        d->count++;
    }
    return *at;
}

static void value_free(struct value *v);

static void entry_free(struct entry *e)
{
    free(e->key.data);
    value_free(e->value);
    free(e);
}

static bool dict_remove(struct dict *d, struct string key)
{
    struct entry **at = d->slots ? dict_at(d, key, hash_of(key)) : NULL, *e;
    if (!at || !(e = *at))
        return false;
    *at = e->next;
    d->count--;
    entry_free(e);
    return true;
}

static void dict_clear(struct dict *d)
{
    for (size_t i = 0; i < d->slots; i++)
        for (struct entry *e = d->table[i], *next; e; e = next) {
            next = e->next;
            entry_free(e);
        }
    free(d->table);
    *d = (struct dict){ 0 };
}

/* Any one, as SPOP has it: from a place that moves on. */
static struct entry *dict_any(struct dict *d)
{
    static size_t hand;
    if (d->count == 0)
        return NULL;
    while (!d->table[hand & (d->slots - 1)])
        hand++;
    return d->table[hand & (d->slots - 1)];
}

static struct string *list_item(struct value *v, size_t i)
{
    return &v->items[(v->first + i) % v->room];
}

static void value_free(struct value *v)
{
    if (!v)
        return;
    free(v->string.data);
    for (size_t i = 0; i < v->count; i++)
        free(list_item(v, i)->data);
    free(v->items);
    dict_clear(&v->dict);
    free(v->order);
    free(v);
}

static void list_push(struct value *v, struct string s, bool left)
{
    if (v->count == v->room) {
        size_t room = v->room ? v->room * 2 : 8;
        struct string *items = malloc(room * sizeof *items);
        if (!items)
            go_fatal("out of memory");
        for (size_t i = 0; i < v->count; i++)
            items[i] = *list_item(v, i);
        free(v->items);
        v->items = items;
        v->first = 0;
        v->room = room;
    }
    if (left)
        v->first = (v->first + v->room - 1) % v->room;
    v->count++;
    *list_item(v, left ? 0 : v->count - 1) = copy(s);
}

static struct string list_pop(struct value *v, bool left)
{
    struct string s = *list_item(v, left ? 0 : v->count - 1);
    if (left)
        v->first = (v->first + 1) % v->room;
    v->count--;
    return s;
}

static int order_of(const struct entry *a, const struct entry *b)
{
    if (a->score != b->score)
        return a->score < b->score ? -1 : 1;
    size_t least = a->key.size < b->key.size ? a->key.size : b->key.size;
    int r = memcmp(a->key.data, b->key.data, least);
    return r ? r : (a->key.size > b->key.size) - (a->key.size < b->key.size);
}

/* Where e is, or belongs, among the first n. */
static size_t order_place(struct value *v, size_t n, const struct entry *e)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (order_of(v->order[middle], e) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void order_remove(struct value *v, size_t n, size_t at)
{
    memmove(v->order + at, v->order + at + 1, (n - at - 1) * sizeof *v->order);
}

static void order_insert(struct value *v, size_t n, struct entry *e)
{
    if (n == v->order_room) {
        v->order_room = n ? n * 2 : 8;
        v->order = realloc(v->order, v->order_room * sizeof *v->order);
        if (!v->order)
            go_fatal("out of memory");
    }
    size_t at = order_place(v, n, e);
    memmove(v->order + at + 1, v->order + at, (n - at) * sizeof *v->order);
    v->order[at] = e;
}

static struct {
    go_mutex mutex;
    struct dict keys; /* under mutex, with all that is in it */
} db;

/* --- commands --- */

struct command {
    int n;
    struct string *arg; /* arg[0] is the name */
    struct buffer *out;
};

static void reply_error(struct command *c, const char *text)
{
    put_format(c->out, "-%s\r\n", text);
}

static void reply_number(struct command *c, long long n)
{
    put_format(c->out, ":%lld\r\n", n);
}

static void reply_array(struct command *c, size_t n)
{
    put_format(c->out, "*%zu\r\n", n);
}

static void reply_string(struct command *c, struct string s)
{
    put_format(c->out, "$%zu\r\n", s.size);
    put(c->out, s.data, s.size);
    put(c->out, "\r\n", 2);
}

static void reply_nothing(struct command *c)
{
    put_text(c->out, "$-1\r\n");
}

static void reply_ok(struct command *c)
{
    put_text(c->out, "+OK\r\n");
}

/* The value of a key; NULL if there is none or, after an error reply, if it is of another type. */
static struct value *find(struct command *c, struct string key, enum type type, bool *wrong)
{
    struct entry *e = dict_find(&db.keys, key);
    *wrong = e && e->value->type != type;
    if (*wrong)
        reply_error(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return e && !*wrong ? e->value : NULL;
}

static struct value *find_or_make(struct command *c, struct string key, enum type type)
{
    bool wrong, fresh;
    struct value *v = find(c, key, type, &wrong);
    if (v || wrong)
        return v;
    v = calloc(1, sizeof *v);
    if (!v)
        go_fatal("out of memory");
    v->type = type;
    dict_put(&db.keys, key, &fresh)->value = v;
    return v;
}

/* What has become empty is no key any more. */
static void drop_if_empty(struct string key, struct value *v)
{
    if (v->count == 0 && v->dict.count == 0)
        dict_remove(&db.keys, key);
}

static bool to_number(struct string s, long long *n)
{
    char text[32], *end;
    if (s.size == 0 || s.size >= sizeof text)
        return false;
    memcpy(text, s.data, s.size);
    text[s.size] = 0;
    errno = 0;
    *n = strtoll(text, &end, 10);
    return *end == 0 && errno == 0;
}

static void set_string(struct command *c, struct string key, struct string s)
{
    bool fresh;
    (void)c;
    struct entry *e = dict_put(&db.keys, key, &fresh);
    if (fresh || e->value->type != STRING) {
        value_free(e->value);
        e->value = calloc(1, sizeof *e->value);
        if (!e->value)
            go_fatal("out of memory");
    }
    if (e->value->string.data && e->value->string.size == s.size) {
        memcpy(e->value->string.data, s.data, s.size);
        return;
    }
    free(e->value->string.data);
    e->value->string = copy(s);
}

static void add(struct command *c, long long by)
{
    bool wrong;
    char text[32];
    long long n = 0;
    struct value *v = find(c, c->arg[1], STRING, &wrong);
    if (wrong)
        return;
    if ((v && !to_number(v->string, &n)) || __builtin_add_overflow(n, by, &n)) {
        reply_error(c, "ERR value is not an integer or out of range");
        return;
    }
    int size = snprintf(text, sizeof text, "%lld", n);
    set_string(c, c->arg[1], (struct string){ text, (size_t)size });
    reply_number(c, n);
}

static void do_ping(struct command *c)
{
    if (c->n > 1)
        reply_string(c, c->arg[1]);
    else
        put_text(c->out, "+PONG\r\n");
}

static void do_echo(struct command *c)
{
    reply_string(c, c->arg[1]);
}

static void do_set(struct command *c)
{
    set_string(c, c->arg[1], c->arg[2]);
    reply_ok(c);
}

static void do_get(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], STRING, &wrong);
    if (v)
        reply_string(c, v->string);
    else if (!wrong)
        reply_nothing(c);
}

static void do_mset(struct command *c)
{
    if (c->n % 2 == 0) {
        reply_error(c, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    for (int i = 1; i < c->n; i += 2)
        set_string(c, c->arg[i], c->arg[i + 1]);
    reply_ok(c);
}

static void do_mget(struct command *c)
{
    reply_array(c, (size_t)c->n - 1);
    for (int i = 1; i < c->n; i++) {
        struct entry *e = dict_find(&db.keys, c->arg[i]);
        if (e && e->value->type == STRING)
            reply_string(c, e->value->string);
        else
            reply_nothing(c);
    }
}

static void do_del(struct command *c)
{
    int n = 0;
    for (int i = 1; i < c->n; i++)
        n += dict_remove(&db.keys, c->arg[i]);
    reply_number(c, n);
}

static void do_exists(struct command *c)
{
    int n = 0;
    for (int i = 1; i < c->n; i++)
        n += dict_find(&db.keys, c->arg[i]) != NULL;
    reply_number(c, n);
}

static void do_incr(struct command *c)
{
    add(c, 1);
}

static void do_decr(struct command *c)
{
    add(c, -1);
}

static void do_incrby(struct command *c)
{
    long long by;
    if (to_number(c->arg[2], &by))
        add(c, by);
    else
        reply_error(c, "ERR value is not an integer or out of range");
}

static void push(struct command *c, bool left)
{
    struct value *v = find_or_make(c, c->arg[1], LIST);
    if (!v)
        return;
    for (int i = 2; i < c->n; i++)
        list_push(v, c->arg[i], left);
    reply_number(c, (long long)v->count);
}

static void do_lpush(struct command *c)
{
    push(c, true);
}

static void do_rpush(struct command *c)
{
    push(c, false);
}

static void pop(struct command *c, bool left)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], LIST, &wrong);
    if (wrong)
        return;
    if (!v) {
        reply_nothing(c);
        return;
    }
    struct string s = list_pop(v, left);
    reply_string(c, s);
    free(s.data);
    drop_if_empty(c->arg[1], v);
}

static void do_lpop(struct command *c)
{
    pop(c, true);
}

static void do_rpop(struct command *c)
{
    pop(c, false);
}

static void do_llen(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], LIST, &wrong);
    if (!wrong)
        reply_number(c, v ? (long long)v->count : 0);
}

static void do_lrange(struct command *c)
{
    bool wrong;
    long long from, to;
    if (!to_number(c->arg[2], &from) || !to_number(c->arg[3], &to)) {
        reply_error(c, "ERR value is not an integer or out of range");
        return;
    }
    struct value *v = find(c, c->arg[1], LIST, &wrong);
    if (wrong)
        return;
    long long n = v ? (long long)v->count : 0;
    from = from < 0 ? from + n : from;
    to = to < 0 ? to + n : to;
    from = from < 0 ? 0 : from;
    to = to >= n ? n - 1 : to;
    reply_array(c, from <= to ? (size_t)(to - from + 1) : 0);
    for (long long i = from; i <= to; i++)
        reply_string(c, *list_item(v, (size_t)i));
}

static void do_sadd(struct command *c)
{
    struct value *v = find_or_make(c, c->arg[1], SET);
    int n = 0;
    bool fresh;
    if (!v)
        return;
    for (int i = 2; i < c->n; i++) {
        dict_put(&v->dict, c->arg[i], &fresh);
        n += fresh;
    }
    reply_number(c, n);
}

static void do_spop(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], SET, &wrong);
    if (wrong)
        return;
    struct entry *e = v ? dict_any(&v->dict) : NULL;
    if (!e) {
        reply_nothing(c);
        return;
    }
    reply_string(c, e->key);
    dict_remove(&v->dict, e->key);
    drop_if_empty(c->arg[1], v);
}

static void do_scard(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], SET, &wrong);
    if (!wrong)
        reply_number(c, v ? (long long)v->dict.count : 0);
}

static void do_hset(struct command *c)
{
    int n = 0;
    bool fresh;
    if (c->n % 2) {
        reply_error(c, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    struct value *v = find_or_make(c, c->arg[1], HASH);
    if (!v)
        return;
    for (int i = 2; i < c->n; i += 2) {
        struct entry *e = dict_put(&v->dict, c->arg[i], &fresh);
        if (fresh && !(e->value = calloc(1, sizeof *e->value)))
            go_fatal("out of memory");
        free(e->value->string.data);
        e->value->string = copy(c->arg[i + 1]);
        n += fresh;
    }
    reply_number(c, n);
}

static void do_hget(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], HASH, &wrong);
    if (wrong)
        return;
    struct entry *e = v ? dict_find(&v->dict, c->arg[2]) : NULL;
    if (e)
        reply_string(c, e->value->string);
    else
        reply_nothing(c);
}

static void do_zadd(struct command *c)
{
    int n = 0;
    if (c->n % 2) {
        reply_error(c, "ERR syntax error");
        return;
    }
    struct value *v = find_or_make(c, c->arg[1], ZSET);
    if (!v)
        return;
    for (int i = 2; i < c->n; i += 2) {
        char text[64];
        bool fresh;
        snprintf(text, sizeof text, "%.*s", (int)c->arg[i].size, c->arg[i].data);
        struct entry *e = dict_put(&v->dict, c->arg[i + 1], &fresh);
        if (!fresh)
            order_remove(v, v->dict.count, order_place(v, v->dict.count, e));
        e->score = strtod(text, NULL);
        order_insert(v, v->dict.count - 1, e);
        n += fresh;
    }
    reply_number(c, n);
}

static void do_zpopmin(struct command *c)
{
    bool wrong;
    struct value *v = find(c, c->arg[1], ZSET, &wrong);
    if (wrong)
        return;
    if (!v) {
        reply_array(c, 0);
        return;
    }
    struct entry *e = v->order[0];
    char text[64];
    int size = snprintf(text, sizeof text, "%.17g", e->score);
    reply_array(c, 2);
    reply_string(c, e->key);
    reply_string(c, (struct string){ text, (size_t)size });
    order_remove(v, v->dict.count, 0);
    dict_remove(&v->dict, e->key);
    drop_if_empty(c->arg[1], v);
}

static void do_dbsize(struct command *c)
{
    reply_number(c, (long long)db.keys.count);
}

static void do_flush(struct command *c)
{
    dict_clear(&db.keys);
    reply_ok(c);
}

static void do_empty(struct command *c)
{
    reply_array(c, 0);
}

static void do_ok(struct command *c)
{
    reply_ok(c);
}

static void do_type(struct command *c)
{
    static const char *const names[] = { "string", "list", "set", "hash", "zset" };
    struct entry *e = dict_find(&db.keys, c->arg[1]);
    put_format(c->out, "+%s\r\n", e ? names[e->value->type] : "none");
}

static const struct {
    const char *name;
    int least; /* arguments with the name; negative: exactly so many */
    void (*run)(struct command *);
} commands[] = {
    { "get", -2, do_get },         { "set", 3, do_set },        { "incr", -2, do_incr },
    { "ping", 1, do_ping },        { "lpush", 3, do_lpush },    { "rpush", 3, do_rpush },
    { "lpop", -2, do_lpop },       { "rpop", -2, do_rpop },     { "sadd", 3, do_sadd },
    { "hset", 4, do_hset },        { "spop", -2, do_spop },     { "zadd", 4, do_zadd },
    { "zpopmin", -2, do_zpopmin }, { "lrange", -4, do_lrange }, { "mset", 3, do_mset },
    { "mget", 2, do_mget },        { "del", 2, do_del },        { "exists", 2, do_exists },
    { "decr", -2, do_decr },       { "incrby", -3, do_incrby }, { "llen", -2, do_llen },
    { "scard", -2, do_scard },     { "hget", -3, do_hget },     { "echo", -2, do_echo },
    { "dbsize", -1, do_dbsize },   { "flushall", 1, do_flush }, { "flushdb", 1, do_flush },
    { "config", 2, do_empty },     { "command", 1, do_empty },  { "select", -2, do_ok },
    { "client", 2, do_ok },        { "type", -2, do_type },
};

/* Under the mutex. */
static void run(struct command *c)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const char *name = commands[i].name;
        if (c->arg[0].size != strlen(name) || strncasecmp(c->arg[0].data, name, c->arg[0].size) != 0)
            continue;
        if (commands[i].least < 0 ? c->n != -commands[i].least : c->n < commands[i].least)
            put_format(c->out, "-ERR wrong number of arguments for '%s' command\r\n", name);
        else
            commands[i].run(c);
        return;
    }
    put_format(c->out, "-ERR unknown command '%.*s'\r\n", c->arg[0].size < 64 ? (int)c->arg[0].size : 64,
               c->arg[0].data);
}

/* --- the protocol --- */

#define ARGUMENTS_MOST 1024
#define STRING_MOST (512 << 20)

/* The number after at[0], up to \r\n: 1 and *next behind it; 0 not all there; -1 nonsense. */
static int line_number(const char *at, const char *end, long *n, const char **next)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if (!line_end)
        return end - at > 64 ? -1 : 0;
    char *stop;
    *n = strtol(at + 1, &stop, 10);
    *next = line_end + 1;
    return (*stop == '\r' || *stop == '\n') && stop > at + 1 ? 1 : -1;
}

/* One command from the text: its length, 0 if it is not all there, -1 if it makes no sense. */
static long parse(const char *text, size_t size, struct command *c)
{
    const char *at = text, *end = text + size;
    long n, length;
    c->n = 0;
    if (*at != '*') {
        /* Inline: words up to the end of the line. */
        const char *line_end = memchr(at, '\n', size);
        if (!line_end)
            return size > 4096 ? -1 : 0;
        while (at < line_end && c->n < ARGUMENTS_MOST) {
            while (at < line_end && (*at == ' ' || *at == '\r'))
                at++;
            const char *word = at;
            while (at < line_end && *at != ' ' && *at != '\r')
                at++;
            if (at > word)
                c->arg[c->n++] = (struct string){ (char *)word, (size_t)(at - word) };
        }
        return line_end + 1 - text;
    }
    int r = line_number(at, end, &n, &at);
    if (r <= 0)
        return r;
    if (n > ARGUMENTS_MOST || n < 0)
        return -1;
    for (long i = 0; i < n; i++) {
        if (at == end)
            return 0;
        if (*at != '$')
            return -1;
        if ((r = line_number(at, end, &length, &at)) <= 0)
            return r;
        if (length < 0 || length > STRING_MOST)
            return -1;
        if (end - at < length + 2)
            return 0;
        c->arg[c->n++] = (struct string){ (char *)at, (size_t)length };
        at += length + 2;
    }
    return at - text;
}

static void talk(int fd)
{
    struct buffer in = { 0 }, out = { 0 };
    struct string args[ARGUMENTS_MOST];
    bool open = true;
    while (open) {
        reserve(&in, 4096);
        ssize_t n = go_read(fd, in.data + in.size, in.capacity - in.size);
        if (n <= 0)
            break;
        in.size += (size_t)n;
        size_t used = 0;
        long length = 0;
        go_mutex_lock(&db.mutex);
        while (used < in.size) {
            struct command c = { .arg = args, .out = &out };
            length = parse(in.data + used, in.size - used, &c);
            if (length <= 0)
                break;
            used += (size_t)length;
            if (c.n == 0)
                continue;
            if (args[0].size == 4 && strncasecmp(args[0].data, "quit", 4) == 0) {
                put_text(&out, "+OK\r\n");
                open = false;
                break;
            }
            run(&c);
        }
        go_mutex_unlock(&db.mutex);
        if (length < 0) {
            put_text(&out, "-ERR Protocol error\r\n");
            open = false;
        }
        in.size -= used;
        memmove(in.data, in.data + used, in.size);
        if (out.size > 0 && go_write(fd, out.data, out.size) < 0)
            break;
        out.size = 0;
    }
    free(in.data);
    free(out.data);
    go_close(fd);
}

static void serve(int listener)
{
    for (;;) {
        int fd = go_accept(listener, NULL, NULL);
        if (fd >= 0) {
            go(talk, fd);
        } else if (go_cancelled()) {
            return;
        } else {
            go_logf("accept: %s", strerror(-fd));
            go_sleep(10 * GO_MILLISECOND);
        }
    }
}

int main(int argc, char **argv)
{
    char address[128];
    int listener = go_listen("tcp", argc > 1 ? argv[1] : "127.0.0.1:6380");
    if (listener < 0) {
        fprintf(stderr, "redis_server: %s\n", strerror(-listener));
        return 1;
    }
    chan(int) stop = chan_make(int, 1);
    go_signal_notify(stop, SIGTERM, SIGINT, 0);

    go_scope *connections = go_scope_open();
    go_scope_go(connections, serve, listener);
    go_local_address(listener, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);

    chan_recv(stop, NULL);
    go_scope_cancel(connections);
    go_scope_close(connections);
    go_close(listener);
    dict_clear(&db.keys);
    printf("bye\n");
    chan_unref(stop);
    return 0;
}
