// SPDX-License-Identifier: MIT
// Debugging tables that are wrong: whatever they say, looking something up comes to an end. And more addresses than one report looks up.
// test: procs=1
#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "debug/traceback.h"

#define NAMES "\0.debug_line"
#define LINES_OF_NOTHING \
    "\x1b\0\0\0\5\0\x08\0"                 /* a unit of 27 bytes, DWARF 5 */ \
    "\x13\0\0\0\1\1\1\0\1\1"               /* its header, of 19 bytes */ \
    "\0"                                   /* a directory has no fields, */ \
    "\xff\xff\xff\xff\xff\xff\xff\xff\x7f" /* but there are 2^63 of them */ \
    "\0\0\0"
#define LINES_OF_A \
    "\x2b\0\0\0\4\0"                       /* a unit of 43 bytes, DWARF 4 */ \
    "\x12\0\0\0\1\1\1\0\1\4\0\1\1\0a.c\0\0\0\0\0" \
    "\0\x09\2\0\x10\0\0\0\0\0\0"           /* what begins at 0x1000 */ \
    "\3\6\1"                               /* is six lines below the first */ \
    "\2\x40\0\1\1"                         /* and has 64 bytes */

/* An executable file, as far as that matters here. */
static const struct file {
    Elf64_Ehdr head;
    Elf64_Phdr segment;
    Elf64_Shdr sections[3];
    char names[sizeof NAMES];
    char lines[sizeof LINES_OF_NOTHING LINES_OF_A];
} file = {
    .head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 },
              .e_phoff = offsetof(struct file, segment),
              .e_phentsize = sizeof(Elf64_Phdr),
              .e_phnum = 1,
              .e_shoff = offsetof(struct file, sections),
              .e_shentsize = sizeof(Elf64_Shdr),
              .e_shnum = 3,
              .e_shstrndx = 1 },
    .segment = { .p_type = PT_LOAD, .p_vaddr = 0x1000, .p_filesz = sizeof(struct file) },
    .sections = { [1] = { .sh_type = SHT_STRTAB, .sh_offset = offsetof(struct file, names), .sh_size = sizeof NAMES },
                  [2] = { .sh_type = SHT_PROGBITS,
                          .sh_name = 1,
                          .sh_offset = offsetof(struct file, lines),
                          .sh_size = sizeof LINES_OF_NOTHING LINES_OF_A - 1 } },
    .names = NAMES,
    .lines = LINES_OF_NOTHING LINES_OF_A,
};

TEST(directories_without_end)
{
    static struct symbols s;
    char name[] = "/tmp/goroutine-symbols-XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, &file, sizeof file) == sizeof file);
    char *code = mmap(NULL, sizeof file, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    close(fd);
    if (code == MAP_FAILED) {
        unlink(name);
        SKIP("nothing in /tmp can be executed");
    }
    REQUIRE(symbols_open(&s));
    struct symbol *q = symbols_add(&s, (uintptr_t)code + 8);
    unlink(name);
    REQUIRE(q && q->module);
    symbols_resolve(&s);
    CHECK_STR(q->file, "a.c"); /* the next unit is read all the same */
    CHECK_EQ(q->line, 7);
    symbols_close(&s);
    munmap(code, sizeof file);
}

/* What is not looked up is shown as it is, and not taken for the library's. */
TEST(more_addresses_than_there_is_room_for)
{
    static struct symbols s;
    static struct listing l;
    static struct out o;
    static uintptr_t pc[2][2] = { { 0x1001, 0x3001 }, { 0x2001, 0x3001 } };
    struct group groups[2] = { { .next = &groups[1], .count = 1, .ids = { 7 }, .frame_count = 2, .pc = pc[0] },
                               { .count = 1, .ids = { 8 }, .frame_count = 2, .pc = pc[1] } };
    REQUIRE(symbols_open(&s));
    for (uintptr_t i = 0; i < SYMBOLS_MOST; i++)
        REQUIRE(symbols_add(&s, 0x10000 + i));
    CHECK(!symbols_add(&s, 0x1000));
    l.groups = &groups[0];
    l.last = &groups[1].next;
    listing_finish(&l, &s);
    CHECK_EQ(groups[0].count, 1);
    CHECK(l.groups == &groups[0] && groups[0].next == &groups[1]);
    out_open(&o, -1);
    group_frames(&o, &s, &groups[1], 0);
    CHECK_EQ(o.used, strlen("?()\n\t0x2000\n?()\n\t0x3000\n"));
    CHECK_CONTAINS(o.buffer, "?()\n\t0x2000\n?()\n\t0x3000\n");
    symbols_close(&s);
}
