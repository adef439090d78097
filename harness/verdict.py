#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Read what the guests left behind and say what passed.

The results come over their own serial port; the consoles are searched for
splats that no test asked for.
"""
import re
import sys

SPLAT = re.compile(
    r"WARNING:|BUG:|INFO: (task|rcu|possible)|rcu:.*stall|Oops|Kernel panic|"
    r"unreferenced object|possible .*deadlock|general protection|double fault")
OURS = "stack_policy: WARNING: "
ASKED = "stack_policy: test asks for an overflow"
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
    in_selftest = False
    for line in lines:
        in_selftest |= line == "# selftest"
        match = (SELF if in_selftest else CASE).match(line)
        if match is None:
            continue
        print(line.strip())
        if match[1] != "ok":
            failures.append(match[2])
        elif re.search(r"# ?SKIP", line):
            skipped += 1
        else:
            passed += 1
    if "# end" not in lines:
        failures.append("no verdict: the test run did not reach its end")
    if status != "0":
        failures.append(f"QEMU ended with status {status}")
    if passed == 0:
        failures.append("no test ran")

    asked = reported = 0
    for line in read(f"{folder}/test.console"):
        if ASKED in line:
            asked += 1
        elif OURS in line:
            reported += 1
            if reported > asked:
                failures.append("an overflow nobody asked for: " + line)
        elif SPLAT.search(line):
            failures.append("console: " + line)

    # Past the limit a stack dies as on a stock kernel, and says so.
    died = read(f"{folder}/die.console")
    if any("BUG: TASK stack guard page was hit" in line for line in died):
        print("ok guard_page_past_the_limit")
        passed += 1
    else:
        failures.append("LKDTM EXHAUST_STACK did not hit the guard page")

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
