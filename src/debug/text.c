// SPDX-License-Identifier: MIT
#include "debug/text.h"

#include <goroutine/go.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "io/op.h"
#include "os/linux/syscall.h"
#include "os/vm.h"

void out_open(struct out *o, int fd)
{
    o->fd = fd;
    o->error = 0;
    o->used = 0;
}

void out_flush(struct out *o)
{
    size_t done = 0;
    while (done < o->used && !o->error) {
        struct sigpipe_guard guard;
        sigpipe_hold(&guard);
        long n = SYSCALL3(SYS_write, o->fd, o->buffer + done, o->used - done);
        sigpipe_release(&guard, n == -EPIPE);
        if (n >= 0) {
            done += (size_t)n;
        } else if (n == -EAGAIN) {
            /* Somebody made it non-blocking. A report that waits is better than half of one. */
            struct pollfd room = { .fd = o->fd, .events = POLLOUT };
            struct timespec second = { .tv_sec = 1 };
            SYSCALL6(SYS_ppoll, &room, 1, &second, 0, 8, 0);
        } else if (n != -EINTR) {
            o->error = (int)n;
        }
    }
    o->used = 0;
}

void out_bytes(struct out *o, const char *text, size_t size)
{
    while (size > 0) {
        size_t n = sizeof o->buffer - o->used;
        if (n > size)
            n = size;
        memcpy(o->buffer + o->used, text, n);
        o->used += n;
        text += n;
        size -= n;
        if (o->used == sizeof o->buffer)
            out_flush(o);
    }
}

void out_str(struct out *o, const char *text)
{
    if (text)
        out_bytes(o, text, strlen(text));
}

static void out_base(struct out *o, uint64_t n, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[n % base];
    while ((n /= base) > 0);
    out_bytes(o, digits + at, sizeof digits - at);
}

void out_u64(struct out *o, uint64_t n)
{
    out_base(o, n, 10);
}

void out_hex(struct out *o, uint64_t n)
{
    out_str(o, "0x");
    out_base(o, n, 16);
}

void out_f(struct out *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            size_t n = strcspn(at, "%");
            out_bytes(o, at, n);
            at += n - 1;
            continue;
        }
        switch (*++at) {
        case 's':
            out_str(o, va_arg(args, const char *));
            break;
        case 'd': {
            int n = va_arg(args, int);
            if (n < 0)
                out_str(o, "-");
            out_u64(o, n < 0 ? (uint64_t) - (int64_t)n : (uint64_t)n);
            break;
        }
        case 'u':
            out_u64(o, va_arg(args, unsigned));
            break;
        case 'l':
            if (*++at == 'x')
                out_hex(o, va_arg(args, uint64_t));
            else
                out_u64(o, va_arg(args, uint64_t));
            break;
        default:
            out_bytes(o, at, 1);
        }
    }
    va_end(args);
}

void name_copy(char to[NAME_MOST], const char *name)
{
    size_t n = name ? strnlen(name, NAME_MOST) : 0;
    if (n == NAME_MOST)
        do
            n--;
        while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80);
    memset(to, 0, NAME_MOST);
    if (n > 0)
        memcpy(to, name, n);
}

/* Bytes of the character of UTF-8 at text; 0: there is none. */
static size_t character(const unsigned char *text)
{
    unsigned char c = text[0];
    size_t size = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* Neither too long for what they say, nor surrogates, nor beyond the last. */
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] >= 0xa0) || (c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] >= 0x90))
        return 0;
    return size;
}

void out_escaped(struct out *o, const char *text)
{
    size_t size;
    for (; text && *text; text += size ? size : 1) {
        unsigned char c = (unsigned char)*text;
        size = character((const unsigned char *)text);
        if (size == 0) {
            out_str(o, "\\ufffd");
        } else if (c == '"' || c == '\\') {
            char pair[2] = { '\\', (char)c };
            out_bytes(o, pair, 2);
        } else if (c < ' ') {
            char code[6] = { '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4],
                             "0123456789abcdef"[c & 15] };
            out_bytes(o, code, 6);
        } else {
            out_bytes(o, text, size);
        }
    }
}

void out_site(struct out *o, const struct go_site *site, void (*text)(struct out *, const char *))
{
    text(o, site->function);
    if (site->line) {
        out_str(o, " at ");
        text(o, site->file);
        out_f(o, ":%u", site->line);
    }
}

bool arena_open(struct arena *a, size_t reserve)
{
    *a = (struct arena){ .base = vm_map(reserve, 0), .size = reserve };
    return a->base != NULL;
}

void *arena_get(struct arena *a, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!a->base || size > a->size - a->used)
        return NULL;
    void *p = a->base + a->used;
    a->used += size;
    return p;
}

void arena_close(struct arena *a)
{
    if (a->base)
        vm_unmap(a->base, a->size);
    *a = (struct arena){ 0 };
}
