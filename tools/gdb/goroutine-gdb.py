# SPDX-License-Identifier: MIT
"""Goroutines in gdb, for live processes and core files.

    info goroutines          all of them: number, state, place, name, where they were launched
    goroutine N COMMAND      COMMAND (bt, bt full, ...) as if goroutine N were the selected thread
    goroutine all COMMAND    the same for each

gdb loads this by itself with the shared library, where its auto-load safe-path allows it; for a program linked statically:

    (gdb) source /usr/share/libgoroutine/goroutine-gdb.py

Nothing of the library's layout is copied here. Structures come from its debugging information, and a parked goroutine is
unwound by telling gdb that the present frame was called by arch_unwind_from, whose unwinding rules (in
src/arch/*/switch.S) say where a saved context keeps its registers.
"""
import re

import gdb
import gdb.unwinder

# Where arch_unwind_from keeps the pointer to the context.
CONTEXT_REGISTER = {"i386:x86-64": ("rbx", "rip", "rsp"), "aarch64": ("x19", "pc", "sp")}


class Library:
    """The library's names, found in the files they are in: the program may have others of the same name. Looked up once a command."""

    def __init__(self):
        self.names = self.file_of("g_for_each")
        self.sched = self.file_of("go_yield")["sched"].value()
        self.main_g = self.file_of("thread_make_known")["main_g"].value()
        self.slabs = self.names["central"].value()["slabs"]
        self.g_type = self.names["struct g"].type
        self.slab_type = self.names["struct slab"].type
        self.statuses = {field.enumval: field.name for field in self.names["enum g_status"].type.fields()}
        self.hidden = int(gdb.parse_and_eval("G_SYSTEM")) | int(gdb.parse_and_eval("G_THREAD"))
        self.texts = {}

    @staticmethod
    def file_of(function):
        """What the file of a function of the library has, by name: variables, and types under `struct` or `enum` and their tag."""
        inside = gdb.lookup_global_symbol(function)
        if inside is None:
            raise gdb.GdbError("no %s: is the library there, and with its debugging information?" % function)
        blocks = inside.symtab.global_block(), inside.symtab.static_block()
        names = {}
        for one in (one for block in blocks for one in block):
            if one.is_variable:
                names[one.name] = one
            elif one.type is not None and one.type.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_ENUM) and one.type.tag:
                names["%s %s" % ("struct" if one.type.code == gdb.TYPE_CODE_STRUCT else "enum", one.type.tag)] = one
        return names

    def reason(self, n):
        if n not in self.texts:
            try:
                self.texts[n] = gdb.parse_and_eval("wait_reason_text::texts[%d]" % n).string()
            except gdb.error:
                self.texts[n] = "waiting"
        return self.texts[n]


def plain(value):
    """Without _Atomic, which gdb shows but does not take off."""
    return int(value)


def escaped(text):
    """In quotes, as the library's reports show it."""
    return '"%s"' % re.sub('[\\x00-\\x1f"\\\\\ufffd]', lambda c: "\\" + c[0] if c[0] in '"\\' else "\\u%04x" % ord(c[0]), text)


class Goroutine:
    """One struct g."""

    statuses = {
        "G_NEW": "runnable",
        "G_RUNNABLE": "runnable",
        "G_RUNNING": "running",
        "G_WAITING": "waiting",
    }

    def __init__(self, library, g):
        self.lib = library
        self.g = g
        self.id = int(g["id"])
        self.status = library.statuses[plain(g["status"])]
        self.parked = self.status in ("G_WAITING", "G_RUNNABLE") and plain(g["run"]["on_cpu"]) == 0

    def state(self):
        if self.status != "G_WAITING":
            return self.statuses[self.status]
        return self.lib.reason(int(self.g["wait_reason"]))

    def origin(self):
        site = self.g["site"]
        if not int(site):
            return ""
        at = " at %s:%d" % (site["file"].string(), int(site["line"])) if int(site["line"]) else ""
        return "created by %s%s" % (site["function"].string(), at)

    def name(self):
        name = self.g["name"]
        return " " + escaped(name.string("utf-8", "replace")) if int(name) else ""

    def thread(self):
        """The gdb thread that runs it, or None."""
        m = self.lib.sched["all_ms"]
        while int(m):
            if int(m["cur"]) == int(self.g.address):
                tid = int(m["tid"])
                for thread in gdb.selected_inferior().threads():
                    if thread.ptid[1] == tid:
                        return thread
            m = m["all"]
        return None


def goroutines():
    library = Library()
    found = []

    def look(g):
        if library.statuses.get(plain(g["status"])) != "G_DEAD" and int(g["id"]) and not plain(g["flags"]) & library.hidden:
            found.append(Goroutine(library, g))

    main = library.main_g
    if plain(main["run"]["on_cpu"]) or int(main["run"]["sp"]):
        look(main)
    slab_type = library.slab_type.pointer()
    slab = library.slabs.cast(slab_type)
    while int(slab):
        first = slab.cast(library.g_type.pointer())
        # The first place of a slab is its header.
        for i in range(1, plain(slab["used"])):
            look((first + i).dereference())
        slab = slab["next"].cast(slab_type)
    found.sort(key=lambda one: one.id)
    return found


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class ParkedUnwinder(gdb.unwinder.Unwinder):
    """While `context` is set: the innermost frame was called from there."""

    def __init__(self):
        super().__init__("goroutine")
        self.context = None
        self.pc = 0

    def __call__(self, pending):
        if self.context is None:
            return None
        context, pc, sp = CONTEXT_REGISTER[pending.architecture().name()]
        # Not by level: functions inlined in the innermost frame count as levels.
        if int(pending.read_register(pc)) != self.pc:
            return None
        pointer = gdb.lookup_type("unsigned long")
        info = pending.create_unwind_info(
            FrameId(gdb.Value(self.context).cast(pointer), pending.read_register(pc)))
        at = gdb.parse_and_eval("(unsigned long)&arch_unwind_at")
        info.add_saved_register(pc, at.cast(pointer))
        info.add_saved_register(context, gdb.Value(self.context).cast(pointer))
        info.add_saved_register(sp, gdb.Value(self.context).cast(pointer))
        return info


unwinder = ParkedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, True)


# Commands that take a count or a level of frames.
COUNTS = re.compile(r"(?:ba(?:c(?:k(?:t(?:r(?:a(?:ce?)?)?)?)?)?)?|bt|where)\b(?:\s+\S+)*?\s+(?P<n>\d+)\s*$")
LEVELS = re.compile(r"(?:f|fr|fra|fram|frame)(?:\s+level)?\s+(?P<n>\d+)\s*$")


def behind(command, before):
    """The command with the frames that come before the goroutine's added to its number of frames."""
    number = COUNTS.match(command) or LEVELS.match(command)
    if not number:
        return command
    return "%s%d%s" % (command[:number.start("n")], int(number.group("n")) + before, command[number.end("n"):])


def in_parked(g, command):
    """Runs command with the frames of a parked goroutine; its output, with frames counted from 0."""
    at = int(gdb.parse_and_eval("(unsigned long)&arch_unwind_at"))
    unwinder.pc = gdb.newest_frame().pc()
    unwinder.context = int(g["run"]["sp"])
    past_main = gdb.parameter("backtrace past-main")
    # Where the thread itself is in main, the goroutine's frames come after that.
    gdb.execute("set backtrace past-main on", to_string=True)
    gdb.invalidate_cached_frames()
    try:
        # The thread's own frame and arch_unwind_from come first.
        frame = gdb.newest_frame()
        while frame is not None and frame.pc() != at:
            frame = frame.older()
        if frame is None or frame.older() is None:
            raise gdb.GdbError("cannot unwind it")
        frame = frame.older()
        before = frame.level()
        frame.select()
        output = gdb.execute(behind(command, before), to_string=True)
    finally:
        unwinder.context = None
        gdb.execute("set backtrace past-main " + ("on" if past_main else "off"), to_string=True)
        gdb.invalidate_cached_frames()
        gdb.newest_frame().select()
    lines, keep = [], True
    for line in output.splitlines():
        number = re.match(r"#(\d+)( +)(.*)", line)
        if number:
            n = int(number.group(1)) - before
            keep = n >= 0
            if keep:
                line = "%-4s%s" % ("#%d" % n, number.group(3))
        if keep:
            lines.append(line)
    return "\n".join(lines) + "\n"


class InfoGoroutines(gdb.Command):
    """List all goroutines: number, state, name and where they were launched."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        for one in goroutines():
            mark = " "
            if one.status == "G_RUNNING":
                thread = one.thread()
                mark = "*" if thread is not None and thread == gdb.selected_thread() else " "
            print("%s %d [%s]%s %s" % (mark, one.id, one.state(), one.name(), one.origin()))


class GoroutineCommand(gdb.Command):
    """goroutine N COMMAND: COMMAND in the context of goroutine N, or of all of them.

For instance: goroutine 7 bt, goroutine all bt 5."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        words = arg.split(None, 1)
        if len(words) != 2 or not (words[0] == "all" or words[0].isdigit()):
            raise gdb.GdbError("usage: goroutine N COMMAND, or goroutine all COMMAND")
        everyone = goroutines()
        chosen = everyone if words[0] == "all" else [one for one in everyone if one.id == int(words[0])]
        if not chosen:
            raise gdb.GdbError("there is no goroutine " + words[0])
        for one in chosen:
            if words[0] == "all":
                print("goroutine %d [%s]%s:" % (one.id, one.state(), one.name()))
            self.run(one, words[1])
            if words[0] == "all":
                print(one.origin() + "\n" if one.origin() else "")

    @staticmethod
    def run(one, command):
        if one.parked:
            print(in_parked(one.g, command), end="")
            return
        if one.status == "G_NEW":
            print("it has not run yet; it will begin with " + str(one.g["start"]["fn"]))
            return
        thread = one.thread()
        if thread is None:
            print("it is being switched")
            return
        before = gdb.selected_thread()
        thread.switch()
        try:
            gdb.execute(command)
        finally:
            if before is not None:
                before.switch()


InfoGoroutines()
GoroutineCommand()
