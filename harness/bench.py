#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench.py FOLDER REAL UPDATE: the figures of two kernels side by side, as text, JSON and
SVG. Fails where two runs of one kernel differ, where a hot path takes more than the stock kernel's,
and where the documentation has other figures for the same kernels and programs."""
import collections
import html
import json
import math
import os
import re
import sys

DOCUMENT = "../Documentation/admin-guide/stack-policy-benchmarks.rst"
README = "../README.md"
# Explained there: found by bisection in a table that has two entries more.
NOT_FREE = ("copy_that_faults",)

# What a figure is called, and what it is; the group is the benchmark that has it.
HOT = {
    "null_syscall": "system call getppid()",
    "pipe_byte": "write and read a byte, one thread",
    "pipe_round_trip_process": "the same, there and back, two processes",
    "pipe_round_trip_thread": "the same, two threads",
    "yield_round_trip": "sched_yield() there and back",
    "kthread_round_trip": "completion there and back, kthread",
    "fault_anonymous": "page fault, anonymous memory",
    "fault_write_protect": "page fault, first write to zeros",
    "fault_file": "page fault, 16 pages of a file",
    "copy_that_faults": "system call with a bad pointer",
    "signal": "signal to oneself, with handler",
    "timer_interrupt": "timer interrupt, user mode",
    "ipi": "IPI to oneself",
}
LIFE = {
    "thread_life": "thread: clone() to exit",
    "thread_life_crowd": "the same, 50 at once",
    "vfork_exit": "vfork() to exit",
    "fork_exit": "fork() to exit",
    "fork_exec": "fork(), exec of a static program, exit",
    "kthread_life": "kthread: create to stop",
    "kthread_life_crowd": "the same, 50 at once",
    "kthread_big_life": "kthread that goes deep (KTHREAD_BIG_STACK)",
    "kthread_big_life_crowd": "the same, 50 at once",
}
GROWTH = {
    "ensure_hit": "stack_ensure(): enough is there",
    "without_bpf": "write and read a byte",
    "ensure_bpf": "the same, vfs_write() asks by a BPF program",
    "ensure_one_page": "stack_ensure(): one page",
    "ensure_five_pages": "stack_ensure(): five pages",
    "ensure_one_page_allocator": "one page, the reserve being empty",
    "ensure_five_pages_allocator": "five pages, the reserve being empty",
    "net_one_page": "overflow: one page",
    "net_five_pages": "overflow: five pages",
    "deep_call": "system call that needs 20 kB",
    "deep_calls": "those, 1 ms apart: number",
    "deep_calls_trims": "of stacks trimmed after them",
    "deep_calls_flushes": "of flushes of all TLBs",
    "round_trip_after_15_s": "pipe there and back, other side cold",
    "killed_after_15_s": "process of 500 cold threads killed, each",
    "killed_late": "of them had to wait for pages: number",
}
KVM = {
    "kvm_run": "KVM_RUN until HLT",
    "kvm_run_first": "the first one of a thread",
}
GROUPS = (
    ("hot", "Hot paths, instructions", HOT),
    ("life", "Lives of threads, instructions", LIFE),
    ("growth", "Growth, instructions", GROWTH),
    ("kvm", "Virtual CPUs, instructions", KVM),
)
# Of so many threads, each.
THREADS = {
    "new_stack": "stack, bytes",
    "new_structs": "struct kstack, vmap areas, bytes",
    "new_page_tables": "page tables, bytes",
    "new_slab": "slab, bytes",
    "new_available": "less memory available, bytes",
    "cold_stack": "stack when cold, bytes",
    "cold_available": "less available when cold, bytes",
    "create": "create one, instructions",
    "one_more": "another, from creation to exit",
    "end": "wake one, until it is gone",
    "pipe_round_trip": "pipe there and back beside them",
    "watch_per_second": "to look for sleepers, a second",
    "late": "woken and had to wait for memory",
    "overflows": "overflows",
}
# Of 3,000 threads, each; of the machine, in a minute or a second.
MIX = {
    "stack": "stack, bytes",
    "all": "and reserve, pool, struct kstack, vmap areas",
    "busy": "instructions of all, a second",
    "trims": "threads made cold, a second",
    "late": "woken and had to wait, in a minute",
    "flushes": "flushes of all TLBs, in a minute",
    "overflows": "overflows",
}
MIXES = ("fleet",)
SETTINGS = {"10_s": "10 s", "1_s": "1 s", "300_ms": "300 ms", "100_ms": "100 ms",
            "conservative": "conservative, 100 ms"}
CPU_BENCHES = '"cpus_1 cpus_2 cpus_4 cpus_8"'
CPUS = {
    "thread_life": "thread's life, instructions",
    "thread_life_crowd": "the same, 10 at once",
    "deep_call": "system call that needs 20 kB",
    "thread_life_contended": "thread's life: waits for locks",
    "thread_life_crowd_contended": "10 at once: waits for locks",
    "deep_call_contended": "deep system call: waits for locks",
}
LOADS = {
    "xfs": "XFS on ext4, 12 MB cgroup", "ext4": "ext4 on XFS, 12 MB cgroup",
    "network": "TCP over loopback", "shell": "shell that forks", "untar": "tar -x on ext4",
    "hackbench": "hackbench, processes", "hackbench_threads": "hackbench, threads",
    "context": "stress-ng --context", "clone": "stress-ng --clone",
    "split": "XFS block map trees", "overlay": "overlay on overlay",
    "overlay_deep": "four overlays", "zram": "16 MB cgroup, zram",
}
# The short table: benchmark, figure, text.
SHORT = (
    ("hot", "null_syscall", "null system call"),
    ("hot", "fault_anonymous", "page fault, anonymous memory"),
    ("hot", "pipe_round_trip_process", "round trip through a pipe, two processes"),
    ("life", "thread_life", "a thread's life"),
    ("life", "fork_exec", "fork, exec, exit"),
    ("life", "kthread_life", "a kthread's life"),
    ("life", "kthread_big_life_crowd", "the same with KTHREAD_BIG_STACK, 50 at once"),
    ("growth", "round_trip_after_15_s", "round trip to a thread that has slept for 15 s"),
    ("threads", "threads_10000_new_stack", "stack of a waiting thread, bytes"),
    ("threads", "threads_10000_cold_stack", "the same, asleep for 100 ms"),
    ("threads", "threads_10000_new_available", "memory that it takes from `MemAvailable`, bytes"),
    ("threads", "threads_10000_cold_available", "the same, asleep for 100 ms"),
)
SHORT_HEAD = "| | stock | here | |\n|---|---|---|---|\n"
# Student's t for 95 %, two-sided, by degrees of freedom.
STUDENT = (0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def agree(name, values):
    """To the last digit; minutes of a machine that mostly sleeps do to half a per cent."""
    allowed = max(1, min(values) / 200) if name.startswith("mix_") else 0
    return max(values) - min(values) <= allowed


def read(path):
    """Name and number of each line."""
    with open(path) as file:
        return {name: int(value) for name, value in map(str.split, file)}


class Results:
    """runs[benchmark][kernel]: a dictionary for each run."""

    def __init__(self, folder):
        self.runs = collections.defaultdict(lambda: collections.defaultdict(list))
        for name in sorted(os.listdir(folder)):
            match = re.fullmatch(r"(\w+)\.(stock|ours)\.\d+", name)
            if match:
                self.runs[match[1]][match[2]].append(read(f"{folder}/{name}"))
        with open(f"{folder}/about") as file:
            self.about = dict(line.rstrip("\n").split(" ", 1) for line in file)

    def samples(self, bench, kernel, name):
        """That figure in each run that has it."""
        return [run[name] for run in self.runs.get(bench, {}).get(kernel, []) if name in run]

    def figure(self, bench, kernel, name):
        """Of all runs; None if this kernel has no such thing."""
        values = self.samples(bench, kernel, name)
        if values and bench == "mix":
            return sorted(values)[len(values) // 2]
        return sum(values) / len(values) if values else None

    def names(self):
        """All figures, with their benchmark."""
        return [(bench, name) for bench, kernels in self.runs.items()
                for name in {n: 0 for runs in kernels.values() for run in runs for n in run}]

    def differing(self):
        """Runs of one kernel that do not agree, or have nothing to say."""
        return [f"runs of the {kernel} kernel differ in {name}: {values}"
                for bench, name in self.names() for kernel in ("stock", "ours")
                for values in [self.samples(bench, kernel, name)]
                if values and (not agree(name, values) or
                               len(values) < len(self.runs[bench][kernel]))]


def number(value):
    """With commas; nothing for nothing."""
    return "" if value is None else f"{value:,.0f}"


def ratio(stock, ours):
    """Ours, if stock is 1."""
    return f"{ours / stock:.3f}" if stock and ours is not None else ""


def spread(values):
    """Half of the interval that has the mean with 95 % confidence."""
    count = len(values)
    if count < 2:
        return 0
    mean = sum(values) / count
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    return STUDENT[min(count, len(STUDENT)) - 1] * deviation / math.sqrt(count)


def table(columns, rows):
    """Text to the left, figures to the right."""
    rows = [columns] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
                     for row in rows) + "\n"


def pair_row(results, bench, name, text):
    """A figure of both kernels, difference and ratio."""
    stock, ours = (results.figure(bench, kernel, name) for kernel in ("stock", "ours"))
    difference = ours - stock if stock is not None and ours is not None else None
    return [text, number(stock), number(ours), number(difference), ratio(stock, ours)]


PAIR = ["", "stock", "ours", "difference", "ratio"]


def pair_table(results, bench, texts):
    """Those figures that one of the kernels has."""
    return table(PAIR, [pair_row(results, bench, name, text) for name, text in texts.items()
                        if any(results.samples(bench, k, name) for k in ("stock", "ours"))])


def group_tables(results):
    """One table for each benchmark of single operations."""
    for bench, title, texts in GROUPS:
        if bench in results.runs:
            yield bench, title, pair_table(results, bench, texts)
    if "life" in results.runs:
        yield "switches", "Context switches of a thousand lives", pair_table(
            results, "life", {f"{name}_switches": text for name, text in LIFE.items()})


def threads_table(results):
    """stock and ours for each number of threads."""
    counts = sorted({int(name.split("_")[1]) for bench, name in results.names()
                     if bench == "threads"})
    rows = []
    for name, text in THREADS.items():
        cells = [number(results.figure("threads", kernel, f"threads_{count}_{name}"))
                 for count in counts for kernel in ("stock", "ours")]
        if any(cells):
            rows.append([text] + cells)
    return table([""] + [f"{kernel} {count:,}" if kernel == "stock" else kernel
                         for count in counts for kernel in ("stock", "ours")], rows)


def cpus_table(results):
    """stock and ours for each number of CPUs."""
    counts = sorted(int(bench[5:]) for bench in results.runs if bench.startswith("cpus_"))
    rows = []
    for name, text in CPUS.items():
        rows.append([text] + [
            number(results.figure(f"cpus_{count}", kernel, f"cpus_{count}_{name}"))
            for count in counts for kernel in ("stock", "ours")])
    return table([""] + [f"stock {count}" if kernel == "stock" else kernel
                         for count in counts for kernel in ("stock", "ours")], rows)


def waits_table(results):
    """Which functions waited for a lock, on so many CPUs."""
    counts = sorted(int(bench[5:]) for bench in results.runs if bench.startswith("cpus_"))
    names = sorted({match[1] for _, name in results.names()
                    for match in [re.match(r"cpus_\d+_(\w+_waits_\w+)", name)] if match})
    rows = []
    for name in names:
        what, function = name.split("_waits_")
        rows.append([f"{CPUS[what + '_contended'].split(':')[0]}: {function}()"] + [
            number(results.figure(f"cpus_{count}", kernel, f"cpus_{count}_{name}") or 0)
            for count in counts for kernel in ("stock", "ours")])
    return table([""] + [f"stock {count}" if kernel == "stock" else kernel
                         for count in counts for kernel in ("stock", "ours")], rows)


def mix_tables(results):
    """stock, and ours by how long a thread has to sleep until it is cold."""
    for mix in MIXES:
        def figure(setting, name, mix=mix):
            kernel = "stock" if setting == "stock" else "ours"
            return results.figure("mix", kernel, f"mix_{mix}_{setting}_{name}")
        rows = [[text] + [number(figure(setting, name)) for setting in ("stock", *SETTINGS)]
                for name, text in MIX.items()]
        saved = [f"{100 - 100 * figure(setting, 'all') / figure('stock', 'all'):.1f} %"
                 for setting in SETTINGS]
        yield f"mix_{mix}", f"A mix of threads: {mix}", table(
            ["", "stock", *SETTINGS.values()], rows + [["saved of all", "", *saved]])


def load_tables(results):
    """Instructions, stacks and depths of the whole loads."""
    loads = [load for load in LOADS if load in results.runs]
    if not loads:
        return
    yield "loads", "Whole loads, instructions", table(PAIR, [
        pair_row(results, load, f"load_{load}_ticks", LOADS[load]) for load in loads])
    yield "load_switches", "Whole loads, context switches", table(PAIR, [
        pair_row(results, load, f"load_{load}_switches", LOADS[load]) for load in loads])
    if "split" in loads:
        yield "workers", "Splits of block map trees by a worker", pair_table(
            results, "split", {"load_split_workers": "runs of xfs_btree_split_worker()"})
    yield "stacks", "Whole loads, bytes of stack for each thread when there was most", table(
        PAIR, [pair_row(results, load, f"load_{load}_stack", LOADS[load]) for load in loads])
    yield "stacks_added", "The same, of what came on top of the machine at rest", table(
        PAIR, [pair_row(results, load, f"load_{load}_stack_added", LOADS[load])
               for load in loads if results.samples(load, "ours", f"load_{load}_stack_added")])
    columns = ("threads", "grows_ensure", "grows_fault", "trims_excess", "trims_cold",
               "reclaimed")
    yield "growths", "Whole loads, growths, trims, and pages reclaimed from the cgroup", table(
        ["", "threads", "asked for", "overflows", "excess", "cold", "cgroup pages"],
        [[LOADS[load]] + [number(results.figure(load, "ours", f"load_{load}_{column}") or 0)
                          for column in columns] for load in loads])
    for what, title in (("depth", "depth at switch-out, in the walk with most threads"),
                        ("high_water", "deepest use of living threads, in that walk"),
                        ("exit_depth", "deepest use of threads that have ended")):
        bins = [n for n in range(1, 33) if any(
            results.figure(load, "ours", f"load_{load}_{what}_{n}_kb") for load in loads)]
        rows = [[results.figure(load, "ours", f"load_{load}_{what}_{n}_kb") or 0
                 for n in bins] for load in loads]
        yield what, f"Whole loads, threads by {title}: up to so many kB", table(
            [""] + [str(n) for n in bins],
            [[LOADS[load]] + [number(value) for value in row]
             for load, row in zip(loads, rows) if any(row)])


def tables(results):
    """Name, title and text of all there is."""
    yield from group_tables(results)
    if "threads" in results.runs:
        yield "threads", "So many idle threads, for each of them", threads_table(results)
    if "mix" in results.runs:
        yield from mix_tables(results)
    if any(bench.startswith("cpus_") for bench in results.runs):
        yield "cpus", "So many CPUs, all busy", cpus_table(results)
        yield "waits", "Those waits for locks, by function", waits_table(results)
    yield from load_tables(results)


def real_table(results):
    """Means in nanoseconds, with the intervals that contain them."""
    rows = []
    for bench, name in results.names():
        cells = []
        for kernel in ("stock", "ours"):
            values = results.samples(bench, kernel, name)
            cells += [f"{sum(values) / len(values):,.0f} ± {spread(values):,.0f}"
                      if values else ""]
        rows.append([name] + cells + [ratio(*(results.figure(bench, kernel, name)
                                              for kernel in ("stock", "ours")))])
    return table(["", "stock", "ours", "ratio"], rows)


def plot(results):
    """Ours as a part of stock: a bar for each operation and load."""
    rows = []
    for bench, _, texts in GROUPS:
        rows += [(text, results.figure(bench, "stock", name), results.figure(bench, "ours", name))
                 for name, text in texts.items() if bench != "growth"]
    rows += [(text, results.figure(load, "stock", f"load_{load}_ticks"),
              results.figure(load, "ours", f"load_{load}_ticks")) for load, text in LOADS.items()]
    rows = [(text, ours / stock) for text, stock, ours in rows if stock and ours is not None]
    scale, left, step = 300, 300, 18
    height = step * len(rows) + 50
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 2 * scale + 80}" '
           f'height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="18">Instructions, the stock kernel being 1</text>']
    for i, (text, value) in enumerate(rows):
        y = 30 + step * i
        width = min(value, 2) * scale
        out += [f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(text)}</text>',
                f'<rect x="{left}" y="{y + 2}" width="{width:.1f}" height="{step - 5}" '
                f'fill="{"#4878a8" if value <= 1 else "#c86428"}"/>',
                f'<text x="{left + width + 5:.1f}" y="{y + 12}">{value:.3f}</text>']
    out += [f'<line x1="{left + scale}" y1="26" x2="{left + scale}" y2="{height - 20}" '
            'stroke="black" stroke-dasharray="3"/>', "</svg>"]
    return "\n".join(out) + "\n"


def block(name, text):
    """A table as the document has it."""
    command = {"hot": "hot", "life": "life", "growth": "growth", "kvm": "kvm",
               "threads": "threads", "switches": "life", "cpus": CPU_BENCHES, "waits": CPU_BENCHES,
               "workers": "split", "mix_fleet": "mix"}
    command = command.get(name, f'"{" ".join(LOADS)}"')
    body = "".join(f"  {line}\n" if line else "\n" for line in text.splitlines())
    return f".. bench: {name}\n\n``make bench BENCH={command}``::\n\n{body}"


def about_block(about):
    """What the figures are of."""
    return ".. bench: about\n\n::\n\n" + "".join(f"  {k} {v}\n" for k, v in about.items())


def in_document(document, name):
    """The block of that name, and what is before and after it; or None."""
    # The literal text ends with the first line that is not indented.
    match = re.search(rf"^\.\. bench: {name}\n(?:\n.*::\n\n(?:(?:  .*)?\n)*)?", document, re.M)
    if not match:
        return None
    end = match.start() + len(match[0].rstrip("\n")) + 1
    return document[:match.start()], document[match.start():end], document[end:]


def short_row(results, bench, name, text):
    """A line of the short table."""
    stock, ours = (results.figure(bench, kernel, name) for kernel in ("stock", "ours"))
    change = f"{100 * (ours / stock - 1):+.1f} %"
    if float(change[:-1]) == 0:
        change = ""
    return f"| {text} | {number(stock)} | {number(ours)} | {change} |"


def check_readme(results, update):
    """Errors; or the README with these figures."""
    with open(README) as file:
        before, rest = file.read().split(SHORT_HEAD)
    old, after = rest.split("\n\n", 1)
    lines = [line if bench not in results.runs else short_row(results, bench, name, text)
             for (bench, name, text), line in zip(SHORT, old.split("\n"), strict=True)]
    if update:
        with open(README, "w") as file:
            file.write(before + SHORT_HEAD + "\n".join(lines) + "\n\n" + after)
        return []
    return [f"the README has other figures: {line}"
            for line in lines if line not in old.split("\n")]


def check_document(results, update):
    """Errors; or the document and the README with these figures."""
    with open(DOCUMENT) as file:
        document = file.read()
    # Tables of several benchmarks, if all of them were run.
    cpus = {f"cpus_{count}" for count in (1, 2, 4, 8)}
    whole = {"cpus": cpus, "waits": cpus, "switches": {"life"}, "workers": {"split"},
             "mix_fleet": {"mix"}}
    blocks = [(name, block(name, text)) for name, _, text in tables(results)
              if whole.get(name, {name} if name in results.runs else set(LOADS))
              <= set(results.runs)]
    about = about_block(results.about)
    other = [line.strip() for line in in_document(document, "about")[1].splitlines()
             if line not in about]
    # The images are what it should follow from, for who looks for a difference.
    if not update and any(not line.startswith("images ") for line in other):
        print("note: the documentation has figures of others:", "; ".join(other))
        return []
    errors = check_readme(results, update)
    for name, text in blocks + [("about", about)]:
        found = in_document(document, name)
        if not found:
            print(f"note: the documentation does not have '{name}'")
            continue
        before, old, after = found
        if old != text and not update:
            errors.append(f"the documentation has other figures for '{name}': "
                          "make bench UPDATE=1")
        document = before + text + after
    if update:
        with open(DOCUMENT, "w") as file:
            file.write(document)
    return errors


def main(folder, real, update):
    results = Results(folder)
    if real == "1":
        text = real_table(results)
        print(text)
        with open(f"{folder}/table.txt", "w") as file:
            file.write(text)
        return 0
    text = "".join(f"{title}\n\n{body}\n" for _, title, body in tables(results))
    print("\n" + text, end="")
    with open(f"{folder}/table.txt", "w") as file:
        file.write(text)
    with open(f"{folder}/bench.svg", "w") as file:
        file.write(plot(results))
    with open(f"{folder}/bench.json", "w") as file:
        json.dump({"about": results.about, "figures": {
            name: {kernel: value for kernel in ("stock", "ours")
                   for value in [results.figure(bench, kernel, name)] if value is not None}
            for bench, name in results.names()}}, file, indent=1)
    errors = results.differing()
    errors += [f"{name} takes more than on the stock kernel" for name in HOT
               if "hot" in results.runs and name not in NOT_FREE and
               results.figure("hot", "stock", name) < results.figure("hot", "ours", name)]
    errors += [f"{name}: {results.figure(bench, 'ours', name):.0f} overflows"
               for bench, name in results.names()
               if name.endswith(("_grows_fault", "_overflows")) and
               results.figure(bench, "ours", name)]
    errors += [f"{load}: nothing was reclaimed under memory pressure"
               for load in ("xfs", "ext4", "zram") for kernel in ("stock", "ours")
               if load in results.runs and
               not all(results.samples(load, kernel, f"load_{load}_reclaimed") or [0])]
    errors += [f"split, {kernel}: workers have split {results.samples('split', kernel, name)} times"
               for name in ("load_split_workers",) if "split" in results.runs
               for kernel, good in (("stock", lambda n: n > 0), ("ours", lambda n: n == 0))
               if not results.samples("split", kernel, name) or
               not all(map(good, results.samples("split", kernel, name)))]
    errors += check_document(results, update == "1")
    for error in errors:
        print("error:", error)
    print(f"table, figures and plot: {folder}/table.txt, bench.json, bench.svg")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
