# SPDX-License-Identifier: GPL-2.0
"""What "make machine" has found on the stock kernel and on ours, side by side."""
import collections
import re

RESULT = re.compile(r"([a-z0-9-]+):(\S.*) (passed|failed|skipped)")
SAMPLE = re.compile(r"sample (\S+) (\d+) (\d+)")
# Numbers and addresses are another each time.
NUMBER = re.compile(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b")
WHEN = {"boot": "systemd, a minute after boot", "started": "started, nobody connected",
        "load": "200 connections each at work", "later": "200 connections to PostgreSQL, five minutes later"}


def suites(lines):
    """Of the results of a boot: {suite: {test: word}}. Two tests may have the same name."""
    found = collections.defaultdict(dict)
    for line in lines:
        if match := RESULT.fullmatch(line):
            tests, name, times = found[match[1]], match[2], 1
            while name in tests:
                times += 1
                name = f"{match[2]} ({times})"
            tests[name] = match[3]
    return found


def lost(stock, ours):
    """Tests of a suite that pass on stock and not here, with what they do here."""
    return [f"{test} {ours.get(test, 'is missing')}" for test, word in sorted(stock.items())
            if word == "passed" and ours.get(test) != "passed"]


def kind(line):
    """A line of the kernel's log without what is another each time."""
    return NUMBER.sub("N", re.sub(r"^\[ *[\d.]+\] (\[ *\w+\] )?", "", line))


def table(rows):
    """Rows of text as a table of reStructuredText; the first is its head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def of_suites(stock, ours):
    """Suite, passed, failed and skipped on both."""
    rows = [("suite", "tests", "passed on stock", "passed here", "failed or skipped on both")]
    for name in sorted(stock):
        good = [list(side[name].values()).count("passed") for side in (stock, ours)]
        both = sum(1 for test, word in stock[name].items()
                   if word != "passed" and ours[name].get(test) != "passed")
        rows.append((name, str(len(stock[name])), str(good[0]), str(good[1]), str(both)))
    return table(rows)


def samples(lines):
    """Threads and kB of stacks by the time they were read; of a load the most."""
    found = {}
    for line in lines:
        if match := SAMPLE.fullmatch(line):
            when = match[1].rstrip("0123456789")
            found[when] = max(found.get(when, (0, 0)), (int(match[2]), int(match[3])),
                              key=lambda sample: sample[1])
    return found


def of_programs(stock, ours):
    """Threads and KernelStack on both."""
    rows = [("when", "threads, stock and here", "KernelStack, stock", "KernelStack here", "less")]
    for when, text in WHEN.items():
        if when in stock and when in ours:
            (nr, kb), (our_nr, our_kb) = stock[when], ours[when]
            rows.append((text, f"{nr}, {our_nr}", f"{kb:,} kB", f"{our_kb:,} kB",
                         f"{100 - 100 * our_kb / kb:.0f} %"))
    return table(rows)
