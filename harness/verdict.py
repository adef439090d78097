#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Read what the guests left behind and say what passed.

The results come over their own serial port; the consoles are searched for
splats that no test asked for.
"""
import re
import sys

SPLAT = re.compile(
    r"WARNING:|BUG:|INFO: (task|rcu|possible|trying)|rcu:.*stall|Oops|Kernel panic|"
    r"No irq handler|kmemleak: (Cannot|.*disabled)|"
    r"unreferenced object|possible .*deadlock|general protection|double fault")
OURS = re.compile(r"stack_policy: WARNING: (\S+)\[\d+\]")
ASKED = re.compile(r"stack_policy: overflow (expected|allowed) in (\S+)")
BOOT_TABLE = "task=8/24 kthread=16/32"
FULL = "stack_policy: all stacks are fully populated: interrupts do not come through the APIC"
BAD_BOOT_TABLE = 'stack_policy: boot parameter "task=99/100" is not valid, ignored'
GUARD = "BUG: TASK stack guard page was hit"
SUITES = ("stack_policy", "stack_policy_x86")
MAY_SKIP = re.compile(r"table\.kvm_run_")    # QEMU under KVM need not nest
CASE = re.compile(r"    (ok|not ok) \d+ (.*)")
SELF = re.compile(r"(ok|not ok) +\d+ (.*)")


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().replace("\r", "").splitlines()
    except FileNotFoundError:
        return []


def main(folder, status):
    passed, skipped, failures = 0, 0, []

    lines = read(f"{folder}/test.results")
    in_selftest, planned, cases = False, 0, 0
    for line in lines:
        in_selftest |= line == "# selftest"
        if match := re.fullmatch(r"(    )?1\.\.(\d+)", line):
            # KUnit's plans of a whole suite count suites, not cases.
            planned += int(match[2]) if match[1] or in_selftest else 0
        match = (SELF if in_selftest else CASE).match(line)
        if match is None:
            continue
        cases += 1
        print(line.strip())
        if match[1] != "ok":
            failures.append(match[2])
        elif re.search(r"# ?SKIP", line):
            skipped += 1
            if not MAY_SKIP.match(match[2]):
                failures.append("must not be skipped: " + match[2])
        else:
            passed += 1
    if "# end" not in lines:
        failures.append("no verdict: the test run did not reach its end")
    if status != "0":
        failures.append(f"QEMU ended with status {status}")
    if cases != planned:
        failures.append(f"{cases} results of {planned} planned")
    for suite in SUITES:
        if not any(re.fullmatch(rf"ok \d+ {suite}", line) for line in lines):
            failures.append(f"KUnit suite {suite} did not end well")

    # A test names the threads it lets overflow, and says whether they must.
    asked, expected, seen = set(), set(), set()
    for line in read(f"{folder}/test.console"):
        if match := ASKED.search(line):
            asked.add(match[2])
            if match[1] == "expected":
                expected.add(match[2])
        elif match := OURS.search(line):
            seen.add(match[1])
            if match[1] not in asked:
                failures.append("an overflow nobody asked for: " + line)
        elif SPLAT.search(line):
            failures.append("console: " + line)
    for name in sorted(expected - seen):
        failures.append(f"no report of the overflow in {name}")

    def expect(name, found, otherwise):
        nonlocal passed
        if found:
            print("ok", name)
            passed += 1
        else:
            failures.append(f"{name}: {otherwise}")

    # Where an interrupt could be lost, stacks are full, and the kernel says why.
    full = read(f"{folder}/full.results")
    expect("without_apic_stacks_are_full",
           "mapped_kb: 32" in full and any(FULL in line for line in
                                           read(f"{folder}/full.console")),
           f"no 32 kB, or no message \"{FULL}\"")
    failures += ["full console: " + line for line in read(f"{folder}/full.console")
                 if SPLAT.search(line)]

    # Past the limit a stack dies as on a stock kernel, and says so.
    died = read(f"{folder}/die.console")
    guard = [n for n, line in enumerate(died) if GUARD in line]
    expect("guard_page_past_the_limit", guard,
           "LKDTM EXHAUST_STACK did not hit the guard page")
    expect("grows_up_to_the_limit",
           guard and any(re.search("grew from .* of 24576 bytes", line)
                         for line in died[:guard[0]]), "no report before")
    failures += ["die console: " + line for line in died[:guard[0] if guard else None]
                 if SPLAT.search(line) and not OURS.search(line)]

    # On request the first overflow is the last.
    for name, message in (("panic", GUARD), ("warn", "Kernel panic - not syncing: "
                                             "stack_policy: panic_on_warn set")):
        expect(f"overflow_dies_on_request: {name}",
               any(message in line for line in read(f"{folder}/{name}.console")) and
               "survived" not in read(f"{folder}/{name}.results"), "it survived")

    expect("boot_parameter",
           any(line.startswith(BOOT_TABLE) for line in read(f"{folder}/die.results")),
           f"the table is not {BOOT_TABLE}")
    expect("bad_boot_parameter_is_reported",
           any(BAD_BOOT_TABLE in line for line in died), "no message")

    for failure in failures:
        print("FAILED:", failure)
    if failures:
        for line in lines:
            if line.startswith("#"):
                print(line)
    print(f"{passed} passed, {len(failures)} failed, {skipped} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
