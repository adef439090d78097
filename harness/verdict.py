#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Read what the guests left behind and say what passed.

The results come over their own serial port; the consoles are searched for
splats that no test asked for.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/machine")
import tables  # pylint: disable=wrong-import-position

SPLAT = re.compile(
    r"WARNING:|BUG:|INFO: (task|rcu|possible|trying)|rcu:.*stall|Oops|Kernel panic|"
    r"No irq handler|kmemleak: (Cannot|.*disabled)|"
    r"pagealloc: (memory corruption|single bit error)|"
    r"unreferenced object|possible .*deadlock|general protection|double fault")
# Enough for lockdep's chains.
SPLAT_LINES = 120
# Of what depends on the speed of an emulated machine, and on user space, no comparison.
SLOW = re.compile(r"soft lockup|rcu:.*stall|INFO: rcu|blocked for more|traps: ")
OURS = re.compile(r"stack_policy: WARNING: (\S+)\[\d+\]")
# Of the kernel's other races, in a KCSAN kernel, it is not for us to speak.
RACE = re.compile(r"BUG: KCSAN: .* in (.*)")
WE = re.compile(r"kstack|stack_policy|overflow")
ASKED = re.compile(r"stack_policy: overflow (expected|allowed) in (\S+)")
BOOT_TABLE = "task=8/24 kthread=16/32"
FULL = "stack_policy: all stacks are fully populated: interrupts do not come through the APIC"
NO_RESERVE = "kstack: no reserve (-12), stacks stay fully populated"
EMPTY = r"stack_policy: CPU \d+'s reserve is empty: \d+ pages taken, \d+ refills failed"
BAD_BOOT_TABLE = 'stack_policy: boot parameter "task=99/100" is not valid, ignored'
# A line of a report: the bytes of a frame and its function.
FRAME = re.compile(r"stack_policy: ([* ] *\d+ .+)")
# Of crash: "#4 [ffffc900004fbe50] schedule at ffffffff81a0c0b1", and what it cannot read.
FRAME_OF_CRASH = re.compile(r" *#\d+ \[[0-9a-f]+\] (\S+) at ")
COMPLAINT = re.compile(r"^bt: |failed$|invalid .*address|cannot")
GUARD = "BUG: TASK stack guard page was hit"
# Boots with results in TAP, and the KUnit suites that have to be in them.
RESULTS = {"test": ("stack_policy", "stack_policy_dump", "stack_policy_record",
                    "stack_policy_report", "stack_policy_trim", "stack_policy_wake",
                    "stack_policy_x86"),
           "tool": (),
           "patch": ("stack_policy_trim",),
           "variant": ("stack_policy_trim", "stack_policy_x86"),
           "some": (),
           "sleep": (),
           "machine": (),
           "tight": (),
           "systemd": (),
           "debian": (),
           "debian_stock": (),
           "debian_conservative": (),
           "programs_stock": (),
           "programs": (),
           "stress": ("stack_policy_x86",),
           "host": ()}
# What the names of their other tests begin with. The tool's have its name before that.
GROUPS = {"test": ("table", "maps", "stack", "overflow", "trim", "wake", "recover",
                   "caller"),
          "tool": ("class", "thread", "memory", "trace", "nofeature"),
          "patch": ("trim", "ensure", "assign"),
          "variant": ("trim", "overflow"),
          "stress": (),
          "some": (),
          "sleep": ("sleep", "sleepers"),
          "machine": ("machine",),
          "tight": ("tight",),
          "systemd": (),
          "debian": (),
          "debian_stock": (),
          "debian_conservative": (),
          "programs_stock": (),
          "programs": (),
          "host": ("analyze", "observed")}
MAY_SKIP = re.compile(r"table\.kvm_run_")    # QEMU under KVM need not nest
CASE = re.compile(r"    (ok|not ok) \d+ (.*)")
SELF = re.compile(r"(ok|not ok) +\d+ (.*)")


class Verdict:
    """What passed, was skipped and failed so far."""

    def __init__(self, folder):
        self.folder = folder
        self.passed, self.skipped, self.failures, self.comments = 0, 0, [], []
        self.splats = {}

    def expect(self, name, found, otherwise):
        """One test: did the harness find what it looked for?"""
        if found:
            print("ok", name)
            self.passed += 1
        else:
            self.failures.append(f"{name}: {otherwise}")

    def read(self, boot, what):
        """The lines of a boot's console or results."""
        return self.read_file(f"{boot}.{what}")

    def read_file(self, name):
        """The lines of a file; none if it is not there."""
        try:
            with open(f"{self.folder}/{name}", errors="replace") as file:
                return file.read().replace("\r", "").splitlines()
        except FileNotFoundError:
            return []

    def results(self, boot):
        """Count the TAP results of a boot: KUnit's cases, then the selftests'."""
        lines = self.read(boot, "results")
        in_selftest, planned, cases, groups = False, 0, 0, set()
        for line in lines:
            in_selftest |= line == "# selftest"
            if match := re.fullmatch(r"(    )?1\.\.(\d+)", line):
                # KUnit's plans of a whole suite count suites, not cases.
                planned += int(match[2]) if match[1] or in_selftest else 0
            match = (SELF if in_selftest else CASE).match(line)
            if match is None:
                continue
            cases += 1
            name = f"{boot}: {match[2]}"
            print(match[1], name)
            if in_selftest:
                groups.add(re.sub(r"^stackpolicy\w*\.", "", match[2]).split(".")[0])
            if match[1] != "ok":
                self.failures.append(name)
            elif re.search(r"# ?SKIP", line):
                self.skipped += 1
                if not MAY_SKIP.match(match[2]):
                    self.failures.append("must not be skipped: " + name)
            else:
                self.passed += 1
        if "# end" not in lines:
            self.failures.append(f"{boot}: the run did not reach its end")
        if cases != planned:
            self.failures.append(f"{boot}: {cases} results of {planned} planned")
        for suite in RESULTS[boot]:
            if not any(re.fullmatch(rf"ok \d+ {suite}", line) for line in lines):
                self.failures.append(f"{boot}: KUnit suite {suite} did not end well")
        for group in sorted(set(GROUPS[boot]) - groups):
            self.failures.append(f"{boot}: no test of {group} has run")
        self.comments += [line for line in lines if line.lstrip().startswith("#")]

    def splat(self, boot, lines, nr):
        """Keep the first of a boot with what follows: the console may not outlive the run."""
        self.failures.append(f"{boot} console: {lines[nr]}")
        self.splats.setdefault(boot, lines[nr:nr + SPLAT_LINES])

    def console(self, boot, until=None):
        """
        Look for splats that no test asked for. A test names the threads it lets
        overflow, and says whether they must.
        """
        asked, expected, seen = set(), set(), set()
        lines = self.read(boot, "console")[:until]
        for nr, line in enumerate(lines):
            if match := ASKED.search(line):
                asked.add(match[2])
                if match[1] == "expected":
                    expected.add(match[2])
            elif match := OURS.search(line):
                seen.add(match[1])
                if match[1] not in asked and boot in RESULTS:
                    self.failures.append("an overflow nobody asked for: " + line)
            elif match := RACE.search(line):
                if WE.search(match[1]):
                    self.splat(boot, lines, nr)
            elif SPLAT.search(line):
                self.splat(boot, lines, nr)
        for name in sorted(expected - seen):
            self.failures.append(f"no report of the overflow in {name}")


def backtraces(lines, name):
    """Of each report about a thread of that name: all frames."""
    found, frames = [], None
    for line in lines:
        if match := OURS.search(line):
            frames = [] if match[1] == name else None
        elif frames is None:
            continue
        elif match := FRAME.search(line):
            frames.append(match[1])
        elif "end trace" in line:
            found.append("\n".join(frames))
            frames = None
    return found


def check_death(verdict):
    """The boot that dies of a stack that is really too deep, as LKDTM has it."""
    died = verdict.read("die", "console")
    starts = [n for n, line in enumerate(died) if "lkdtm: STACK_GUARD_PAGE" in line or
              "lkdtm: EXHAUST" in line] + [len(died)]
    parts = [died[a:b] for a, b in zip(starts, starts[1:])]
    for n, name in enumerate(("LEADING", "TRAILING")):
        verdict.expect(f"lkdtm_guard_page_{name.lower()}",
                       len(parts) > n + 1 and
                       any("BUG: unable to handle page fault" in line for line in parts[n]) and
                       not any("FAIL" in line for line in parts[n]),
                       f"LKDTM STACK_GUARD_PAGE_{name} did not fault and carry on")
    exhaust = parts[-1] if len(parts) == 3 else []
    guard = [n for n, line in enumerate(exhaust) if GUARD in line]
    verdict.expect("lkdtm_exhaust_stack", guard, "it did not hit the guard page")
    verdict.expect("grows_up_to_the_limit",
                   guard and any(re.search("grew from .* of 24576 bytes", line)
                                 for line in exhaust[:guard[0]]), "no report before")
    verdict.expect("death_says_why",
                   any("is past its limit of 24576 bytes" in line for line in exhaust),
                   "no message about the limit")
    verdict.expect("boot_parameter",
                   any(line.startswith(BOOT_TABLE) for line in verdict.read("die", "results")),
                   f"the table is not {BOOT_TABLE}")
    verdict.expect("bad_boot_parameter_is_reported",
                   any(BAD_BOOT_TABLE in line for line in died), "no message")
    verdict.console("die", starts[0])


def check_full(verdict, name, boot, message):
    """A boot in which stacks must be full, and the kernel say why."""
    verdict.expect(name, "mapped_kb: 32" in verdict.read(boot, "results") and
                   any(message in line for line in verdict.read(boot, "console")),
                   f'no 32 kB, or no message "{message}"')
    verdict.console(boot)


def check_stress(verdict):
    """make stress: enough overflows, and nothing lost in any round."""
    verdict.results("host")
    verdict.results("stress")
    verdict.console("stress")
    count = [int(line.split()[1]) for line in verdict.read("stress", "results")
             if line.startswith("overflows: ")]
    verdict.expect("hundred_thousand_overflows", count and count[0] >= 100000,
                   f"{count} overflows")
    dives = [int(line.split()[1]) for line in verdict.read("stress", "results")
             if line.startswith("dives: ")]
    verdict.expect("dives_find_their_frames", dives and min(dives) > 0, f"{dives} dives")
    print(f"{count[0] if count else 0} overflows, {sum(dives)} dives")


def check_some(verdict):
    """make test TEST=: what was asked for."""
    verdict.results("some")
    verdict.console("some")
    if not verdict.passed + verdict.skipped + len(verdict.failures):
        verdict.failures.append("there is no test of that name")


def check_debug(verdict):
    """make test DEBUG=1: the same, a machine that sleeps, one with two nodes, and kdb."""
    check_tests(verdict, "debug")
    verdict.results("machine")
    verdict.console("machine")
    check_kdb(verdict)
    verdict.results("sleep")
    verdict.console("sleep")
    console = "\n".join(verdict.read("sleep", "console"))
    verdict.expect("slept_in_ram", "PM: suspend entry (deep)" in console, "no suspend to RAM")
    verdict.expect("slept_on_disk", "PM: hibernation: hibernation exit" in console,
                   "no hibernation")


def check_kdb(verdict):
    """What kdb shows of threads that sleep, and that it leaves them as they are."""
    console = verdict.read("kdb", "console")
    threads, start = [], None
    for nr, line in enumerate(console):
        if line.startswith("Stack traceback for pid "):
            start = nr
        elif start is not None and "entry_SYSCALL_64_after_hwframe" in line:
            threads.append("\n".join(console[start:nr]))
            start = None
    whole = [text for text in threads if " threads" in text and "schedule+0x" in text]
    verdict.expect("kdb_shows_whole_stacks", len(whole) > 200, f"{len(whole)} threads' stacks")
    results = verdict.read("kdb", "results")
    trimmed = [int(line.split()[1]) for line in results if line.startswith("trimmed: ")]
    verdict.expect("kdb_leaves_stacks_trimmed", trimmed and trimmed[0] >= 150, f"{trimmed}")
    verdict.expect("kdb_goes_on", "went on" in results, "it did not")
    verdict.console("kdb")


def crash_threads(lines):
    """Of each thread in the output of "foreach bt": its frames, and what crash complains of."""
    threads = []
    for line in lines:
        if line.startswith("PID: "):
            threads.append(([], []))
        elif match := FRAME_OF_CRASH.match(line):
            threads[-1][0].append(match[1])
        elif COMPLAINT.search(line):
            threads[-1][1].append(line)
    return threads


def check_dump(verdict, name, filled):
    """A dump, read as crash does, and by crash. Only that of kdump is filled."""
    spans = re.search(r"spans: (\d+) whole, (\d+) of them with one page, (\d+) with holes",
                      "\n".join(verdict.read(name, "spans")))
    whole, one_page, holes = (int(number) for number in spans.groups()) if spans else (0, 0, 0)
    if filled:
        verdict.expect(f"dump_has_all_stacks: {name}", whole > 250 and not holes,
                       f"{whole} whole stacks, {holes} with holes")
        verdict.expect(f"dump_has_trimmed_stacks: {name}", one_page >= 150,
                       f"{one_page} stacks of one page, want 150")
    else:
        # If this is not so, the rest has shown nothing.
        verdict.expect(f"dump_has_holes: {name}", holes > 150, f"{holes} stacks with holes")
    if old := verdict.read_file("crash.too.old"):
        print(f"ok crash_reads_all_stacks: {name} # SKIP {old[0]} does not know this kernel")
        verdict.skipped += 1
        return
    planned = sum(1 for line in verdict.read(name, "ps") if re.match(r">? +\d+ +\d+ ", line))
    for what in ("before", "after"):
        threads = crash_threads(verdict.read(name, what))
        bad = sum(1 for frames, complaints in threads if complaints or not frames)
        if not filled and what == "before":
            verdict.expect(f"holes_stop_crash: {name}", bad > 150,
                           f"{bad} of {planned} stacks cannot be read without the extension")
            continue
        verdict.expect(f"crash_reads_all_stacks: {name} {what}",
                       planned > 250 and len(threads) == planned and not bad,
                       f"{bad} of {len(threads)} stacks cannot be read, {planned} threads")
        sleepers = sum(1 for frames, _ in threads
                       if "schedule" in frames and frames[-1].startswith("entry_SYSCALL_64"))
        verdict.expect(f"sleepers_have_their_frames: {name} {what}", sleepers > 200,
                       f"{sleepers} threads with frames from schedule() to the system call")
    trimmed = sum(1 for line in verdict.read(name, "kstack")
                  if re.match(r" *\d+ +[0-9a-f]+ +4 .* 12 +32  threads \(trimmed\)", line))
    verdict.expect(f"extension_shows_trimmed_stacks: {name}", trimmed >= 150,
                   f"{trimmed} trimmed stacks, want 150")
    if filled:
        verdict.expect("kdump_shows_who_crashed",
                       any("sysrq_handle_crash" in frames for frames, _ in
                           crash_threads(verdict.read(name, "before"))), "no such thread")


def check_dumps(verdict):
    """Two dumps of a guest with many stacks, by kdump and from outside."""
    console = verdict.read("kdump", "console")
    crashes = [n for n, line in enumerate(console) if "sysrq: Trigger a crash" in line]
    verdict.console("kdump", crashes[0] if crashes else None)
    verdict.console("dumped")
    saved = verdict.read("kdump", "results")
    verdict.expect("kdump_saves", "saved" in saved, "no dump was saved")
    verdict.expect("kdump_says_what_was_filled",
                   any(re.search(r"kstack: \d+ stacks whole: \d+ pages of zeroes, \d+ retained, "
                                 r"[1-9] new;", line) for line in saved),
                   "no such line in the log")
    verdict.expect("kdump_leaves_no_holes",
                   not any("keep holes" in line for line in saved), f"{saved}")
    check_dump(verdict, "kdump", True)
    check_dump(verdict, "dumped", False)


def check_systemd(verdict):
    """Debian 13 under systemd. Without a mirror of Debian there is none."""
    if reason := verdict.read_file("no_guest"):
        print(f"ok systemd # SKIP no Debian 13 guest: {reason[0]}")
        verdict.skipped += 1
        return
    verdict.results("systemd")
    verdict.console("systemd")


def check_conservative(verdict):
    """What a stock kernel gives from the start: loads, dives with stack_ensure(), cold threads."""
    results = verdict.read("conservative", "results")
    trimmed = [int(line.split()[-1]) for line in results if line.startswith("sleepers trimmed: ")]
    verdict.console("conservative")
    verdict.expect("conservative_is_a_profile", "conservative" in results, f"{results}")
    verdict.expect("conservative_trims_sleepers", trimmed and trimmed[0] > 100, f"{trimmed}")
    verdict.expect("conservative_runs_who_asks",
                   any(re.fullmatch(r"ok \d+ caller.nothing_overflows", line) for line in results),
                   f"{results}")
    verdict.expect("conservative_never_faults", "overflows: 0" in results, f"{results}")


def check_machine(verdict):
    """make machine: the boots of a distribution's kernel that were asked for."""
    boots = os.environ["MACHINE"].split()
    for boot in boots:
        if boot.startswith("crash_"):
            check_crash(verdict, boot)
        elif boot.startswith("suites"):
            verdict.expect(f"{boot}: ends", "# end" in verdict.read(boot, "results"),
                           "the run did not reach its end")
        else:
            verdict.results(boot)
            verdict.console(boot)
    if {"suites_stock", "suites"} <= set(boots):
        check_suites(verdict)
    if {"programs_stock", "programs"} <= set(boots):
        print(tables.of_programs(*(tables.samples(verdict.read(boot, "results"))
                                   for boot in ("programs_stock", "programs"))))


def check_crash(verdict, boot):
    """A machine that died, and what its crash says of the dump that its kdump saved."""
    parts = "\n".join(verdict.read(boot, "results")).split("\n## ")
    parts = {part.split("\n", 1)[0]: part.split("\n")[1:] for part in parts}
    planned = sum(1 for line in parts.get("ps", ()) if re.match(r">? +\d+ +\d+ ", line))
    threads = crash_threads(parts.get("before", ()))
    bad = sum(1 for frames, complaints in threads if complaints or not frames)
    verdict.expect(f"{boot}: crash_reads_all_stacks",
                   planned > 250 and len(threads) == planned and not bad,
                   f"{bad} of {len(threads)} stacks cannot be read, {planned} threads")
    last = {"crash_overflow": "is past its limit of 16384 bytes",
            "crash_sysrq": "sysrq: Trigger a crash"}[boot]
    verdict.expect(f"{boot}: log_says_why",
                   any(last in line for line in parts.get("log", ())), f'no line "{last}"')
    verdict.expect(f"{boot}: stacks_were_filled",
                   any(re.search(r"kstack: \d+ stacks whole", line)
                       for line in parts.get("log", ())), "no such line in the log")


def check_suites(verdict):
    """Other people's tests: what passes on stock passes here, and nothing else is complained of."""
    results = [verdict.read(boot, "results") for boot in ("suites_stock", "suites")]
    stock, ours = (tables.suites(lines) for lines in results)
    for name in stock:
        lost = tables.lost(stock[name], ours[name])
        verdict.expect(f"suites: {name}", not lost, "pass on stock: " + ", ".join(lost))
    complaints = [{tables.kind(line) for line in verdict.read(boot, "console")
                   if SPLAT.search(line) and not SLOW.search(line)}
                  for boot in ("suites_stock", "suites")]
    verdict.expect("suites_provoke_the_same", not complaints[1] - complaints[0],
                   f"only here: {complaints[1] - complaints[0]}")
    print(tables.of_suites(stock, ours))
    print(*(line for line in results[1] if line.startswith("# overflows")))


def check_tests(verdict, what="test"):
    """make test: all its boots, and what needs none."""
    verdict.results("host")
    verdict.console("chains")
    for boot in ("test", "tool", "patch", "variant"):
        verdict.results(boot)
        verdict.console(boot)
        if boot == "test":
            # Fifty threads in one recursion, at the ends of five pages each.
            deep = backtraces(verdict.read("test", "console"), "deep")
            verdict.expect("a_site_is_reported_once", len(deep) == 1,
                           f"{len(deep)} reports of deep, want 1")
            # Two functions that call each other, more often than frames are kept.
            ping = backtraces(verdict.read("test", "console"), "pingpong")
            verdict.expect("recursion_is_folded", len(ping) == 1 and
                           len(ping[0].splitlines()) < 20 and "(these 2 lines " in ping[0] and
                           " more frames)" in ping[0] and "kthread+0x" in ping[0] and
                           ping[0].endswith("184 (user registers)"),
                           f"{len(ping)} reports of pingpong: {ping}")
    verdict.expect("iret_to_16_bit_stacks", "sigreturn ok" in verdict.read("variant", "results"),
                   "the kernel's sigreturn test fails")
    verdict.expect("four_levels", "# four levels" in verdict.read("variant", "results"),
                   "levels of page tables")
    # The emulator has them, a processor need not.
    if "# five levels" not in verdict.read("test", "results") and \
            verdict.read_file("accelerator") == ["kvm"]:
        print("ok five_levels # SKIP not with this processor")
        verdict.skipped += 1
    else:
        verdict.expect("five_levels", "# five levels" in verdict.read("test", "results"),
                       "levels of page tables")
    variant = "\n".join(verdict.read("variant", "console"))
    verdict.expect("variant_has_pti", "page tables isolation: enabled" in variant,
                   "no page table isolation")

    # The debugging kernel's dumps would be read in the same way, and take longer. It has
    # no room in a small machine.
    if what == "test":
        check_dumps(verdict)
        check_systemd(verdict)
        verdict.results("tight")
        verdict.console("tight")
    check_conservative(verdict)

    check_full(verdict, "without_apic_stacks_are_full", "full", FULL)
    check_full(verdict, "without_reserve_stacks_are_full", "lowmem", NO_RESERVE)
    check_death(verdict)

    # With nothing left to grow from: the stock death, and why.
    exhausted = verdict.read("exhaust", "console")
    verdict.expect("empty_reserve_dies_and_says_why",
                   any(re.search(EMPTY, line) for line in exhausted) and
                   any(GUARD in line for line in exhausted) and
                   "ensured" in verdict.read("exhaust", "results") and
                   "survived" not in verdict.read("exhaust", "results"), "it did not")

    # On request the first overflow is the last.
    for name, message in (("panic", GUARD), ("warn", "Kernel panic - not syncing: "
                                             "stack_policy: panic_on_warn set")):
        verdict.expect(f"overflow_dies_on_request: {name}",
                       any(message in line for line in verdict.read(name, "console")) and
                       "survived" not in verdict.read(name, "results"), "it survived")
        verdict.expect(f"within_what_stock_has_nothing_dies: {name}",
                       all(line in verdict.read(name, "results") for line in
                           ("grows_fault: 1", "grows_fault_deep: 0", "warned: 0")),
                       "it died, or was warned of")


def main(folder, status, what="test"):
    verdict = Verdict(folder)
    if status != "0":
        verdict.failures.append(f"QEMU ended with status {status}")
    {"stress": check_stress, "some": check_some, "test": check_tests, "dumps": check_dumps,
     "systemd": check_systemd,
     "debug": check_debug, "kdb": check_kdb, "machine": check_machine}[what](verdict)
    # How close it was.
    for line in verdict.comments:
        if match := re.search(r"CPU \d+: \d+ pages( taken)?, at least .*|"
                              r"\d+ (threads|of \d+ waited), \d+ started late|sigreturn: .*", line):
            print("#", match[0])
    for failure in verdict.failures:
        print("FAILED:", failure)
    for boot, lines in verdict.splats.items():
        print(f"{boot} console:", *lines, sep="\n    ")
    if verdict.failures:
        print("\n".join(verdict.comments))
    print(f"{verdict.passed} passed, {len(verdict.failures)} failed, {verdict.skipped} skipped")
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
