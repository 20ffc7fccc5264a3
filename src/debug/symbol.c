// SPDX-License-Identifier: MIT
// Where an address of code comes from: /proc/self/maps tells the file, the file's symbol table the function, its .debug_line
// the line.
//
// Rejected. dladdr knows only what is exported, and takes the dynamic linker's lock, which the thread that is being
// looked at may hold. elfutils' libdw knows all there is to know, inlined calls too, but allocates, opens files
// through stdio and would be a dependency for every user. A traceback is printed when something is broken, which may
// be the heap, so this must not need it. What is left out: lines in compressed
// sections (-gz) and split DWARF; functions that were inlined show as the one they are in, with the inlined line.
//
// Every file is read as if an enemy had written it: each access is checked against the end.
#include "debug/symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "os/linux/syscall.h"
#include "os/vm.h"

#define ARENA (256u << 20) /* address space only */
#define INNER "goroutine.." /* before names in the archive: tools/inner-names */

/* --- files --- */

static const char *map_file(const char *path, size_t *size)
{
    int fd = (int)SYSCALL4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    long length = SYSCALL3(SYS_lseek, fd, 0, SEEK_END);
    const char *image = NULL;
    if (length > (long)sizeof(Elf64_Ehdr))
        image = vm_map_file(fd, (size_t)length);
    __sanitizer_syscall_pre_impl_close(fd);
    SYSCALL1(SYS_close, fd);
    if (!image)
        return NULL;
    *size = (size_t)length;
    if (memcmp(image, ELFMAG, SELFMAG) != 0 || image[EI_CLASS] != ELFCLASS64) {
        vm_unmap((void *)(uintptr_t)image, *size);
        return NULL;
    }
    return image;
}

struct range {
    const char *start;
    size_t size;
};

static const Elf64_Shdr *section_table(const char *image, size_t size, unsigned *count)
{
    const Elf64_Ehdr *e = (const void *)image;
    if (e->e_shentsize != sizeof(Elf64_Shdr) || e->e_shoff > size ||
        (size - e->e_shoff) / sizeof(Elf64_Shdr) < e->e_shnum || e->e_shstrndx >= e->e_shnum)
        return NULL;
    *count = e->e_shnum;
    return (const void *)(image + e->e_shoff);
}

static struct range section_range(const char *image, size_t size, const Elf64_Shdr *h)
{
    struct range r = { 0 };
    if (h->sh_type == SHT_NOBITS || (h->sh_flags & SHF_COMPRESSED) || h->sh_offset > size ||
        h->sh_size > size - h->sh_offset)
        return r;
    r.start = image + h->sh_offset;
    r.size = h->sh_size;
    return r;
}

static const Elf64_Shdr *section_find(const char *image, size_t size, const char *name)
{
    unsigned count;
    const Elf64_Shdr *h = image ? section_table(image, size, &count) : NULL;
    if (!h)
        return NULL;
    struct range names = section_range(image, size, &h[((const Elf64_Ehdr *)(const void *)image)->e_shstrndx]);
    size_t length = strlen(name) + 1;
    for (unsigned i = 0; i < count; i++)
        if (h[i].sh_name < names.size && names.size - h[i].sh_name >= length &&
            !memcmp(names.start + h[i].sh_name, name, length))
            return &h[i];
    return NULL;
}

static struct range section(const char *image, size_t size, const char *name)
{
    const Elf64_Shdr *h = section_find(image, size, name);
    return h ? section_range(image, size, h) : (struct range){ 0 };
}

/* Distributions keep symbols apart, by build id. */
static void open_debug(struct module *m)
{
    struct range note = section(m->image, m->image_size, ".note.gnu.build-id");
    if (note.size < 20)
        return;
    uint32_t name_size, id_size;
    memcpy(&name_size, note.start, 4);
    memcpy(&id_size, note.start + 4, 4);
    if (name_size != 4 || id_size < 2 || id_size > 32 || note.size < 16 + id_size)
        return;
    char path[128] = "/usr/lib/debug/.build-id/";
    size_t n = strlen(path);
    for (uint32_t i = 0; i < id_size; i++) {
        unsigned char c = (unsigned char)note.start[16 + i];
        path[n++] = "0123456789abcdef"[c >> 4];
        path[n++] = "0123456789abcdef"[c & 15];
        if (i == 0)
            path[n++] = '/';
    }
    memcpy(path + n, ".debug", 7);
    m->debug = map_file(path, &m->debug_size);
}

static void module_open(struct module *m)
{
    if (m->opened)
        return;
    m->opened = true;
    if (m->path[0] != '/')
        return;
    m->image = map_file(m->path, &m->image_size);
    if (!m->image && m->is_program) /* it may have been replaced since */
        m->image = map_file("/proc/self/exe", &m->image_size);
    if (m->image && !section_find(m->image, m->image_size, ".debug_line"))
        open_debug(m);
}

/* --- what is mapped --- */

static struct module *module_named(struct symbols *s, const char *path, size_t length)
{
    for (int i = s->module_count; i-- > 0;)
        if (strlen(s->modules[i].path) == length && !memcmp(s->modules[i].path, path, length))
            return &s->modules[i];
    if (s->module_count == MODULES_MOST)
        return NULL;
    char *copy = arena_get(&s->arena, length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, path, length);
    struct module *m = &s->modules[s->module_count++];
    *m = (struct module){ .path = copy };
    return m;
}

static uintptr_t hex(const char **at)
{
    uintptr_t n = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            n = n * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return n;
    }
}

/* start-end perms offset device inode   path */
static void maps_line(struct symbols *s, const char *line, const char *end)
{
    struct region r;
    r.start = hex(&line);
    line++;
    r.end = hex(&line);
    bool executable = line[3] == 'x';
    line += 6;
    r.offset = hex(&line);
    for (int i = 0; i < 2; i++) { /* device and inode */
        while (line < end && *line == ' ')
            line++;
        while (line < end && *line != ' ')
            line++;
    }
    while (line < end && *line == ' ')
        line++;
    if (line == end || !executable)
        return;
    r.module = module_named(s, line, (size_t)(end - line));
    struct region *to = r.module ? arena_get(&s->arena, sizeof r) : NULL;
    if (!to)
        return;
    *to = r;
    s->region_count++;
}

/* Reads it as a whole first, for the regions must lie side by side in the arena. */
static bool read_maps(struct symbols *s)
{
    struct arena text;
    if (!arena_open(&text, 64u << 20))
        return false;
    int fd = (int)SYSCALL4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    size_t size = 0;
    while (fd >= 0 && size < text.size - 4096) {
        long n = SYSCALL3(SYS_read, fd, text.base + size, text.size - 1 - size);
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    if (fd >= 0)
        SYSCALL1(SYS_close, fd);
    /* Paths first, so that afterwards the regions are allocated one after another. */
    for (int pass = 0; pass < 2; pass++) {
        size_t used = s->arena.used;
        s->region_count = 0;
        if (pass == 1)
            s->regions = (void *)(s->arena.base + used);
        for (char *line = text.base; size > 0 && line < text.base + size;) {
            char *end = memchr(line, '\n', (size_t)(text.base + size - line));
            if (!end)
                break;
            if (end - line > 40)
                maps_line(s, line, end);
            line = end + 1;
        }
    }
    arena_close(&text);
    return s->region_count > 0;
}

static struct region *region_of(struct symbols *s, uintptr_t pc)
{
    for (int i = 0; i < s->region_count; i++)
        if (pc >= s->regions[i].start && pc < s->regions[i].end)
            return &s->regions[i];
    return NULL;
}

bool symbols_open(struct symbols *s)
{
    memset(s, 0, sizeof *s);
    if (!arena_open(&s->arena, ARENA))
        return false;
    s->table = arena_get(&s->arena, 2 * SYMBOLS_MOST * sizeof *s->table);
    if (!s->table || !read_maps(s)) {
        s->region_count = 0;
        return s->table != NULL;
    }
    struct region *r = region_of(s, (uintptr_t)symbols_open);
    s->library = r ? r->module : NULL;
    char exe[512];
    long n = SYSCALL4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, sizeof exe - 1);
    for (int i = 0; n > 0 && i < s->module_count; i++)
        if (strlen(s->modules[i].path) == (size_t)n && !memcmp(s->modules[i].path, exe, (size_t)n))
            s->modules[i].is_program = true;
    return true;
}

void symbols_close(struct symbols *s)
{
    for (int i = 0; i < s->module_count; i++) {
        struct module *m = &s->modules[i];
        if (m->image)
            vm_unmap((void *)(uintptr_t)m->image, m->image_size);
        if (m->debug)
            vm_unmap((void *)(uintptr_t)m->debug, m->debug_size);
    }
    arena_close(&s->arena);
}

/* --- functions --- */

/* The address in the file's own counting. */
static bool in_module(const struct region *r, uintptr_t pc, uintptr_t *address)
{
    const struct module *m = r->module;
    if (!m->image)
        return false;
    const Elf64_Ehdr *e = (const void *)m->image;
    if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phoff > m->image_size ||
        (m->image_size - e->e_phoff) / sizeof(Elf64_Phdr) < e->e_phnum)
        return false;
    const Elf64_Phdr *h = (const void *)(m->image + e->e_phoff);
    uintptr_t offset = pc - r->start + r->offset;
    for (unsigned i = 0; i < e->e_phnum; i++)
        if (h[i].p_type == PT_LOAD && offset >= h[i].p_offset &&
            offset - h[i].p_offset < h[i].p_filesz) {
            *address = offset - h[i].p_offset + h[i].p_vaddr;
            return true;
        }
    return false;
}

/* Goes once through a table for all questions about this file. */
static void look_up_functions(struct symbols *s, struct module *m, const char *image, size_t size,
                              const char *table, const char *strings)
{
    struct range symbols = section(image, size, table), names = section(image, size, strings);
    size_t n = symbols.size / sizeof(Elf64_Sym);
    const Elf64_Sym *sym = (const void *)symbols.start;
    if (names.size == 0 || names.start[names.size - 1] != 0)
        return;
    struct symbol *asked[64];
    int from = 0;
    while (from < 2 * SYMBOLS_MOST) {
        int count = 0;
        for (; from < 2 * SYMBOLS_MOST && count < 64; from++) {
            struct symbol *q = s->table[from];
            if (q && q->module == m && !q->function && q->in_module)
                asked[count++] = q;
        }
        for (size_t i = 0; count > 0 && i < n; i++) {
            unsigned type = ELF64_ST_TYPE(sym[i].st_info);
            if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym[i].st_shndx == SHN_UNDEF ||
                sym[i].st_name >= names.size)
                continue;
            for (int j = 0; j < count; j++) {
                struct symbol *q = asked[j];
                uintptr_t at = q->in_module;
                if (at < sym[i].st_value || at - sym[i].st_value >= sym[i].st_size)
                    continue;
                const char *name = names.start + sym[i].st_name;
                /* Of several names the public one, which does not begin with an underscore. */
                if (q->function && name[0] == '_')
                    continue;
                if (!strncmp(name, INNER, sizeof INNER - 1))
                    name += sizeof INNER - 1;
                q->function = name;
                q->function_length = (uint32_t)strcspn(name, ".@"); /* worker.constprop.0 */
                if (q->function_length == 0)
                    q->function_length = (uint32_t)strlen(name);
                q->start = q->pc - (at - sym[i].st_value);
            }
        }
    }
}

/* --- lines --- */

struct reader {
    const char *at, *end;
    bool bad;
};

static uint64_t get(struct reader *r, size_t size)
{
    uint64_t n = 0;
    if ((size_t)(r->end - r->at) < size) {
        r->bad = true;
        r->at = r->end;
        return 0;
    }
    memcpy(&n, r->at, size); /* little-endian, as both processors are */
    r->at += size;
    return n;
}

static uint64_t get_uleb(struct reader *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = get(r, 1);
        if (shift < 64)
            n |= (byte & 0x7f) << shift;
        if (!(byte & 0x80) || r->bad)
            return n;
    }
}

static int64_t get_sleb(struct reader *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0;;) {
        uint64_t byte = get(r, 1);
        if (shift < 64)
            n |= (byte & 0x7f) << shift;
        shift += 7;
        if (!(byte & 0x80) || r->bad) {
            if ((byte & 0x40) && shift < 64)
                n |= ~(uint64_t)0 << shift;
            return (int64_t)n;
        }
    }
}

static const char *get_string(struct reader *r)
{
    const char *text = r->at;
    const char *end = memchr(text, 0, (size_t)(r->end - r->at));
    if (!end) {
        r->bad = true;
        r->at = r->end;
        return "";
    }
    r->at = end + 1;
    return text;
}

struct line_unit {
    struct range strings, line_strings; /* .debug_str, .debug_line_str */
    int version;
    size_t offset_size;
    struct reader directories, files;   /* at the tables */
};

static const char *string_at(struct range strings, uint64_t at)
{
    if (at >= strings.size || !memchr(strings.start + at, 0, strings.size - at))
        return "";
    return strings.start + at;
}

/* One field of a table entry of version 5. */
static uint64_t get_form(struct reader *r, const struct line_unit *u, uint64_t form, const char **text)
{
    switch (form) {
    case 0x08: /* string */
        *text = get_string(r);
        return 0;
    case 0x1f: /* line_strp */
        *text = string_at(u->line_strings, get(r, u->offset_size));
        return 0;
    case 0x0e: /* strp */
        *text = string_at(u->strings, get(r, u->offset_size));
        return 0;
    case 0x0f: /* udata */
        return get_uleb(r);
    case 0x0b: /* data1 */
        return get(r, 1);
    case 0x05:
        return get(r, 2);
    case 0x06:
        return get(r, 4);
    case 0x07:
        return get(r, 8);
    case 0x1e: /* data16: a checksum */
        get(r, 8);
        get(r, 8);
        return 0;
    default:
        r->bad = true;
        return 0;
    }
}

/* Entry `index` of a table of version 5 (all of it is read if there is none, which leaves r behind it). */
static const char *table_entry(struct reader *r, const struct line_unit *u, uint64_t index,
                               uint64_t *directory)
{
    struct {
        uint64_t content, form;
    } format[8];
    uint64_t n = get(r, 1);
    const char *found = NULL;
    if (n > array_length(format))
        r->bad = true;
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        format[i].content = get_uleb(r);
        format[i].form = get_uleb(r);
    }
    uint64_t count = get_uleb(r);
    if (n == 0 && count > 0)
        r->bad = true; /* entries of nothing could be any number */
    for (uint64_t i = 0; i < count && !r->bad && !found; i++) {
        const char *name = "";
        for (uint64_t j = 0; j < n && !r->bad; j++) {
            const char *text = NULL;
            uint64_t value = get_form(r, u, format[j].form, &text);
            if (format[j].content == 1 && text)
                name = text;
            else if (format[j].content == 2 && i == index)
                *directory = value;
        }
        if (i == index)
            found = name;
    }
    return found;
}

/* The same for versions before 5, whose entries count from 1. */
static const char *old_file(struct reader *r, uint64_t index, uint64_t *directory)
{
    for (uint64_t i = 1; !r->bad; i++) {
        const char *name = get_string(r);
        if (!name[0])
            break;
        uint64_t dir = get_uleb(r);
        get_uleb(r);
        get_uleb(r);
        if (i == index) {
            *directory = dir;
            return name;
        }
    }
    return NULL;
}

static const char *old_directory(struct reader *r, uint64_t index)
{
    for (uint64_t i = 1; !r->bad; i++) {
        const char *name = get_string(r);
        if (!name[0])
            break;
        if (i == index)
            return name;
    }
    return NULL;
}

/* The file's name as the compiler was given it, where that can be said: without the directory it ran in. */
static char *file_name(struct symbols *s, const struct line_unit *u, uint64_t index)
{
    struct reader files = u->files, directories = u->directories;
    uint64_t dir = 0;
    const char *name, *dir_name = NULL;
    if (u->version >= 5)
        name = table_entry(&files, u, index, &dir);
    else
        name = old_file(&files, index, &dir);
    if (!name || !name[0])
        return NULL;
    if (dir > 0 && name[0] != '/') {
        uint64_t unused;
        dir_name = u->version >= 5 ? table_entry(&directories, u, dir, &unused)
                                   : old_directory(&directories, dir);
    }
    if (dir_name && !dir_name[0])
        dir_name = NULL;
    size_t dir_length = dir_name ? strlen(dir_name) + 1 : 0;
    char *text = arena_get(&s->arena, dir_length + strlen(name) + 1);
    if (!text)
        return NULL;
    if (dir_name) {
        memcpy(text, dir_name, dir_length - 1);
        text[dir_length - 1] = '/';
    }
    memcpy(text + dir_length, name, strlen(name) + 1);
    return text;
}

struct asked {
    struct symbol **list; /* by rising in_module */
    int count;
};

/* The program says: from `from` to below `to` it is this line. */
static void row(struct symbols *s, const struct asked *asked, const struct line_unit *u, uint64_t from,
                uint64_t to, uint64_t file, uint32_t line)
{
    int low = 0, high = asked->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (asked->list[middle]->in_module < from)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < asked->count && asked->list[low]->in_module < to; low++) {
        struct symbol *q = asked->list[low];
        if (q->file || line == 0)
            continue;
        q->line = line;
        q->file = file_name(s, u, file);
    }
}

/* One unit of .debug_line; r is at its program, the header has been read. */
static void run_line_program(struct symbols *s, struct reader *r, const struct line_unit *u,
                             const struct asked *asked, unsigned min_length, int line_base,
                             unsigned line_range, unsigned opcode_base, const uint8_t *lengths)
{
    uint64_t address = 0, file = 1, from = 0, from_file = 0;
    uint32_t line = 1, from_line = 0;
    bool open = false; /* there is a row before in this sequence */
    bool dead = true;  /* a function that the linker has thrown away */
    while (r->at < r->end && !r->bad) {
        unsigned op = (unsigned)get(r, 1);
        bool emit = false, end = false;
        if (op >= opcode_base) {
            unsigned n = op - opcode_base;
            address += (uint64_t)(n / line_range) * min_length;
            line += (uint32_t)(line_base + (int)(n % line_range));
            emit = true;
        } else if (op == 0) {
            uint64_t length = get_uleb(r);
            if (length == 0 || length > (size_t)(r->end - r->at))
                return;
            const char *next = r->at + length;
            unsigned extended = (unsigned)get(r, 1);
            if (extended == 1) {
                emit = end = true;
            } else if (extended == 2 && length <= 9) {
                address = get(r, length - 1);
                dead = address == 0;
            }
            r->at = next;
        } else {
            switch (op) {
            case 1:
                emit = true;
                break;
            case 2:
                address += get_uleb(r) * min_length;
                break;
            case 3:
                line += (uint32_t)get_sleb(r);
                break;
            case 4:
                file = get_uleb(r);
                break;
            case 8:
                address += (uint64_t)((255 - opcode_base) / line_range) * min_length;
                break;
            case 9:
                address += get(r, 2);
                break;
            default:
                for (unsigned i = 0; i < lengths[op - 1]; i++)
                    get_uleb(r);
            }
        }
        if (!emit)
            continue;
        if (open && !dead && address > from)
            row(s, asked, u, from, address, from_file, from_line);
        open = true;
        from = address;
        from_file = file;
        from_line = line;
        if (end) {
            open = false;
            dead = true;
            address = 0;
            file = line = 1;
        }
    }
}

static void line_unit(struct symbols *s, struct reader *r, struct line_unit *u, const struct asked *asked)
{
    u->version = (int)get(r, 2);
    if (u->version < 2 || u->version > 5)
        return;
    if (u->version >= 5)
        get(r, 2); /* sizes of addresses and segment selectors */
    uint64_t header = get(r, u->offset_size);
    if (r->bad || header > (size_t)(r->end - r->at))
        return;
    struct reader program = { r->at + header, r->end, false };
    unsigned min_length = (unsigned)get(r, 1);
    if (u->version >= 4)
        get(r, 1); /* operations per instruction: 1 but for VLIW machines */
    get(r, 1);     /* default_is_stmt: we take every row */
    int line_base = (int8_t)get(r, 1);
    unsigned line_range = (unsigned)get(r, 1), opcode_base = (unsigned)get(r, 1);
    if (line_range == 0 || opcode_base == 0 || (size_t)(r->end - r->at) < opcode_base)
        return;
    const uint8_t *lengths = (const uint8_t *)r->at;
    r->at += opcode_base - 1;
    if (program.at < r->at)
        return;
    r->end = program.at;
    u->directories = *r;
    if (u->version >= 5) {
        uint64_t unused;
        table_entry(r, u, UINT64_MAX, &unused);
    } else {
        old_directory(r, UINT64_MAX);
    }
    u->files = *r;
    run_line_program(s, &program, u, asked, min_length, line_base, line_range, opcode_base, lengths);
}

static void look_up_lines(struct symbols *s, const char *image, size_t size, const struct asked *asked)
{
    struct range lines = section(image, size, ".debug_line");
    if (lines.size == 0)
        return;
    struct line_unit u = { .strings = section(image, size, ".debug_str"),
                           .line_strings = section(image, size, ".debug_line_str") };
    struct reader r = { lines.start, lines.start + lines.size, false };
    while (r.at < r.end && !r.bad) {
        uint64_t length = get(&r, 4);
        u.offset_size = 4;
        if (length == 0xffffffff) {
            length = get(&r, 8);
            u.offset_size = 8;
        }
        if (r.bad || length > (size_t)(r.end - r.at))
            return;
        struct reader unit = { r.at, r.at + length, false };
        line_unit(s, &unit, &u, asked);
        r.at += length;
    }
}

/* --- asking and answering --- */

struct symbol *symbols_add(struct symbols *s, uintptr_t pc)
{
    size_t at = (pc * 0x9e3779b97f4a7c15u) >> 49; /* 15 bits */
    _Static_assert(2 * SYMBOLS_MOST == 1 << 15, "the hash");
    for (; s->table[at]; at = (at + 1) % (2 * SYMBOLS_MOST))
        if (s->table[at]->pc == pc)
            return s->table[at];
    if (s->symbol_count == SYMBOLS_MOST)
        return NULL;
    struct symbol *q = arena_get(&s->arena, sizeof *q);
    if (!q)
        return NULL;
    q->pc = pc;
    s->table[at] = q;
    s->symbol_count++;
    struct region *r = region_of(s, pc);
    if (r) {
        q->module = r->module;
        module_open(r->module);
        in_module(r, pc, &q->in_module);
    }
    return q;
}

static void sort(struct symbol **list, int n)
{
    for (int gap = n / 2; gap > 0; gap /= 2)
        for (int i = gap; i < n; i++) {
            struct symbol *q = list[i];
            int j = i;
            for (; j >= gap && list[j - gap]->in_module > q->in_module; j -= gap)
                list[j] = list[j - gap];
            list[j] = q;
        }
}

void symbols_resolve(struct symbols *s)
{
    struct symbol **list = arena_get(&s->arena, SYMBOLS_MOST * sizeof *list);
    if (!list)
        return;
    for (int i = 0; i < s->module_count; i++) {
        struct module *m = &s->modules[i];
        struct asked asked = { list, 0 };
        for (int j = 0; j < 2 * SYMBOLS_MOST; j++) {
            struct symbol *q = s->table[j];
            if (q && q->module == m && q->in_module && !q->function)
                list[asked.count++] = q;
        }
        if (asked.count == 0 || !m->image)
            continue;
        sort(list, asked.count);
        look_up_functions(s, m, m->image, m->image_size, ".symtab", ".strtab");
        if (m->debug)
            look_up_functions(s, m, m->debug, m->debug_size, ".symtab", ".strtab");
        look_up_functions(s, m, m->image, m->image_size, ".dynsym", ".dynstr");
        look_up_lines(s, m->image, m->image_size, &asked);
        if (m->debug)
            look_up_lines(s, m->debug, m->debug_size, &asked);
    }
}
