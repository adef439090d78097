#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Do the program, its manual pages and its completion say the same?

sync.py TOOL [SOURCE]: TAP, one test for each thing that has to agree. TOOL is the
program, SOURCE its folder in a kernel tree (default: that of this file). Needs no
kernel with the policy. What differs is named in comments; the exit status tells
only whether the tests could run.
"""
import os
import re
import subprocess
import sys
import tempfile

# Files whose JSON a page documents, if it is not OBJECT.c alone.
SOURCES = {"": ["main.c"], "trace": ["trace.c", "report.c"],
           "ensure": ["ensure.c", "suggest.c"], "class": ["class.c", "assign.c"]}
# A name of a field that is no string there, and what finds the strings that it can be.
INDIRECT = {
    ("class.c", "fields[i].name"): r"(?<!define )\b(?:ONE|ALL)\((\w+)\)",
    ("memory.c", "name"): r'histogram_json\("(\w+)"',
    ("feature.c", "name"): r'\breport(?:_sysctl)?\("(\w+)"',
    ("analyze.c", "how_names[how]"): r"how_names\[\w+\] = \{([^}]*)\}",
    ("analyze.c", "name"): r'print_surprises\("(\w+)"',
}
# What bash is asked: the words of a command line, the last one to be completed.
COMPLETE = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_stackpolicy
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Tap:
    """Numbers and prints the tests."""

    def __init__(self):
        self.number = 0

    def result(self, name, complaints):
        """A test that is passed if there is nothing to complain about."""
        self.number += 1
        print(f"{'not ok' if complaints else 'ok'} {self.number} sync.{name}")
        for line in complaints:
            print("#", line)

    def same(self, name, **sets):
        """All of @sets, by where they come from, are equal and not empty."""
        (first, want), *others = sets.items()
        complaints = [] if want else [f"nothing found in {first}"]
        for other, have in others:
            complaints += [f"{x}: in {first}, not in {other}" for x in sorted(want - have)]
            complaints += [f"{x}: in {other}, not in {first}" for x in sorted(have - want)]
        self.result(name, complaints)


class Page:
    """A manual page as it is written."""

    def __init__(self, folder, name):
        self.path = f"{folder}/{name}.rst"
        with open(self.path, encoding="utf-8") as file:
            self.text = re.sub(r"^\.\. include:: (\S+)$",
                               lambda m: read(f"{folder}/{m.group(1)}"), file.read(), flags=re.M)

    def section(self, title):
        """The text below @title, empty if there is no such section."""
        found = re.search(rf"^{title}\n=+\n(.*?)(?=^\S[^\n]*\n====+\n|\Z)", self.text, re.M | re.S)
        return found.group(1) if found else ""

    def terms(self, title, tail=""):
        """Names in bold that head a paragraph of a section, with @tail behind them."""
        lines = re.findall(rf"^\*\*\w+\*\*(?:, \*\*\w+\*\*)*{tail}$", self.section(title), re.M)
        return {name for line in lines for name in re.findall(r"\*\*(\w+)\*\*", line)}

    def json(self):
        """Fields that are documented with their type."""
        return self.terms("JSON", r" \([a-z0-9 ]+\)")

    def choices(self, what):
        """{ **one** | **two** } behind *what* :="""
        found = re.search(rf"^\|? ?\*{what}\* := \{{(.*?)\}}$", self.text, re.M | re.S)
        return set(re.findall(r"\*\*([\w-]+)\*\*", found.group(1))) if found else set()

    def options(self):
        """Long options that have a paragraph."""
        return set(re.findall(r"^(?:-\w, )?--([\w-]+)", self.section("OPTIONS"), re.M))

    def usage(self):
        """Commands with arguments and options, as usage() has them."""
        lines = re.sub(r"\n\|  +", " ", self.section("COMMANDS"))
        return {arguments(line) for line in re.findall(r"^\| (\*\*stackpolicy.*)$", lines, re.M)}


def read(path):
    """A whole file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def arguments(line):
    """A line of usage without markup, and without brackets: what may be left out."""
    return " ".join(re.sub(r"\\ |[*\\\[\]]", "", line).split())


def usage(text):
    """The same of a help text."""
    lines = re.findall(r"^(?:Usage:|      ) (stackpolicy .*)$", text, re.M)
    return {arguments(line) for line in lines}


def options_in(line):
    """Long options in a line of usage."""
    return set(re.findall(r"--([\w-]+)", line))


def run(*command):
    """What @command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def complete(script, *words):
    """What the completion offers for the last of @words."""
    return set(run("bash", "-c", COMPLETE, "bash", script, "stackpolicy", *words).split())


def fields(path):
    """Names of the fields that a C file writes as JSON, and names nobody knows."""
    text, file = read(path), os.path.basename(path)
    names, unknown = set(), []
    calls = re.findall(r"\bjsonw_(?:name|\w+_field)\(json,\s*([^,()]+?)\s*[,)]", text)
    for name in calls:
        if name.startswith('"'):
            names.add(name.strip('"'))
        elif (file, name) in INDIRECT:
            found = re.findall(INDIRECT[file, name], text, re.S)
            names |= {n for part in found for n in re.findall(r"\w+", part)}
        else:
            unknown.append(f"{file}: which names are in '{name}'? See INDIRECT of this test")
    return names, unknown


def struct_fields(header, name):
    """Names of the fields of a C structure."""
    body = re.search(rf"struct {name} \{{(.*?)^\}};", header, re.M | re.S).group(1)
    return set(re.findall(r"__u\d+\s+(\w+)", body))


def check_object(tap, tool, name, page, script):
    """Commands and options of one object."""
    text = run(tool, name, "help")
    help_lines = usage(text)
    tap.same(f"{name}.usage", help=help_lines, page=page.usage())
    # "stackpolicy OPTIONS class set NAME ..."; analyze has only one, without a name.
    single = name == "analyze"
    commands = {"help" if single else line.split()[line.split().index(name) + 1]
                for line in help_lines}
    if not single:
        tap.same(f"{name}.commands", help=commands, page=page.choices("COMMANDS"),
                 completion=complete(script, name, ""))
    common = set(re.findall(r"--([\w-]+)", text[text.index("OPTIONS := "):]))
    of_commands = set()
    for line in sorted(help_lines):
        if line == f"stackpolicy {name} help":
            continue
        own = options_in(line)
        of_commands |= own
        words = (name, "vmlinux") if single else (name, line.split()[3])
        offered = {o.lstrip("-") for o in complete(script, *words, "--")}
        tap.same(".".join(words[:1] if single else words) + ".completion", help=own | common,
                 completion=offered)
    tap.same(f"{name}.options", help=of_commands | common, page=page.options())
    return of_commands


def check_json(tap, source, pages):
    """Fields of JSON and paragraphs about them."""
    known = set()
    for name, page in pages.items():
        names, unknown = set(), []
        for file in SOURCES.get(name, [f"{name}.c"]):
            known.add(file)
            more, problems = fields(f"{source}/{file}")
            names |= more
            unknown += problems
        if not name:
            names.add("error")      # it is written with a format of its own
        tap.result(f"{name or 'stackpolicy'}.json_names_are_known", unknown)
        if names:
            tap.same(f"{name or 'stackpolicy'}.json", program=names, page=page.json())
    tap.result("json_of_all_files", [
        f"{file} writes JSON: which page is it on? See SOURCES of this test"
        for file in sorted(os.listdir(source)) if file.endswith(".c") and file not in known and
        re.search(r"\bjsonw_\w+\(", read(f"{source}/{file}"))])


def check_class(tap, source, page):
    """What the kernel says about classes."""
    kernel = f"{source}/../.."
    header = read(f"{kernel}/include/uapi/linux/stack_policy.h")
    want = struct_fields(header, "stack_policy_entry") | struct_fields(header, "stack_policy_stats")
    have = fields(f"{source}/class.c")[0] - {"class", "stats"}
    tap.same("class.fields_of_the_uapi", uapi=want, program=have,
             page=page.json() - {"class", "stats"} - fields(f"{source}/assign.c")[0])
    text = read(f"{kernel}/kernel/stack_policy.c")
    array = re.search(r"class_names\[\] = \{(.*?)\};", text, re.S).group(1)
    names = set(re.findall(r'"([\w-]+)"', array))
    described = set(re.findall(r"^\*\*([a-z-]+)\*\*$", page.section("DESCRIPTION"), re.M))
    tap.same("class.names", kernel=names, page=page.choices("NAME"), description=described)


def check_metrics(tap, source, page):
    """Names, types and labels of metrics."""
    text = read(f"{source}/metrics.c")
    rows = re.findall(r'METRIC\("(\w+)", "(\w+)", ("\w+"|NULL), ("\w+"|NULL),', text)
    want = {f"{name} {kind}" + (" " + label.strip('"') if label != "NULL" else "")
            for name, kind, label, _ in rows}
    want |= {f"{name} {kind}" for name, kind in re.findall(r'head\(out, "(\w+)", "(\w+)"', text)}
    want |= {f"{name} histogram"
             for name in re.findall(r'print_histogram\(r\.file, &s, "(\w+)"', text)}
    have = {f"{name} {kind}" + (" " + label if label else "") for name, label, kind in re.findall(
        r"^\*\*stack_policy_(\w+)\*\* (?:\{(\w+)\} )?\((\w+)\)$", page.section("OUTPUT"), re.M)}
    tap.same("metrics.names", program=want, page=have)
    missing = []
    for name, _, _, value in rows:
        about = re.search(rf"^\*\*stack_policy_{name}\*\*.*?(?=^\S|\Z)", page.text, re.M | re.S)
        value = value.strip('"')
        if value != "NULL" and about and f"**{value}**" not in about.group(0):
            missing.append(f"{name}: {value}")
    tap.result("metrics.labels", missing)


def check_pages(tap, pages):
    """The pages can be made, and nothing in them is odd."""
    for name, page in pages.items():
        with tempfile.NamedTemporaryFile() as out:
            done = subprocess.run(["rst2man", "--report=info", "--halt=none", page.path, out.name],
                                  capture_output=True, text=True, check=False)
            complaints = done.stderr.splitlines()
            if done.returncode or not os.path.getsize(out.name):
                complaints.append(f"status {done.returncode}, or nothing came out")
        tap.result(f"{name or 'stackpolicy'}.page_builds", complaints)


def main(tool, source=os.path.dirname(os.path.dirname(os.path.abspath(__file__)))):
    """All tests."""
    tap = Tap()
    documentation, script = f"{source}/Documentation", f"{source}/bash-completion/stackpolicy"
    text = run(tool, "help")
    objects = set(re.findall(r"^ {7}(\w+) +\S", text, re.M)) - {"OPTIONS"}
    found = {file[12:-4] for file in os.listdir(documentation)
             if file.startswith("stackpolicy-") and file.endswith(".rst")}
    pages = {name: Page(documentation, f"stackpolicy-{name}") for name in sorted(objects & found)}
    pages[""] = Page(documentation, "stackpolicy")

    tap.same("objects", help=objects, pages=found, page=pages[""].choices("OBJECT"),
             paragraphs=pages[""].terms("OBJECTS"), completion=complete(script, "") - {"help"})
    main_c = read(f"{source}/main.c")
    tap.same("common_options", program=set(re.findall(r'\{ "(\w+)",\s+no_argument', main_c)),
             help=options_in(text[text.index("OPTIONS := "):]), page=pages[""].options())
    taken = set()
    for name in pages:
        if name:
            taken |= check_object(tap, tool, name, pages[name], script)
    table = set(re.findall(r'\[OPT_\w+\]\s*= \{ "([\w-]+)"', main_c))
    documented = set().union(*(page.options() for page in pages.values()))
    tap.same("options_of_the_table", table=table, commands=taken,
             pages=documented - pages[""].options())
    check_json(tap, source, pages)
    if "class" in pages:
        check_class(tap, source, pages["class"])
    if "metrics" in pages:
        check_metrics(tap, source, pages["metrics"])
    check_pages(tap, pages)
    print(f"1..{tap.number}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
