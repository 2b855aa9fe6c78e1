"""What a task is made of: the words of the wish, what was pasted after them, and what the pasted text looks like.

A diff, a stack trace or a log says by its shape what it is, and little by its words: those are of its program, not of
the person who asks. The shapes stand for concepts of `concepts.json`. Nothing here knows agents or scores.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PASTED = 0.4
"""What a word of pasted text counts, against one of the wish."""

_SHAPES = (
    (
        "a diff",
        "merge",
        "\n",
        r"^(?:@@ |diff --git|[-+]{3} [ab]/)|(?:^ ?[-+] *[^-+\s>].*\n(?:^ .*\n)?){2}|"
        r"^[-+](?:\t| {2,})",
    ),
    (
        "a stack trace",
        "crash",
        "\n",
        r"^Traceback|^ {0,40}File \"[^\"\n]+\", line \d|^[ \t]{1,40}at [\w.$<>/ ]{1,200}\(|^goroutine \d|^#\d+ +\S+|"
        r"panicked at",
    ),
    ("an exception", "crash", "Error: |Exception: ", r"^[^\w\n]{0,40}[\w.]{0,200}(?:Error|Exception): "),
    (
        "a type checker's output",
        "type",
        "error|TS|CS8|report",
        r"error: .*\[[a-z]+(?:-[a-z]+)*\]|\bTS\d{4}\b|\bCS86\d\d\b|\breport(?:Optional|"
        r"Attribute)\w+",
    ),
    (
        "a linter's output",
        "lint",
        ":|no-",
        r"^\S+:\d+:\d+:? [A-Z]{1,4}\d{3,4}\b|\bSC\d{4}\b|\b(?:F401|E501|F841|W0611)\b|"
        r"no-unused-vars",
    ),
    (
        "a query plan",
        "query plan",
        "cost=|actual time|Scan|type: ALL|filesort",
        r"\(cost=|actual time=|\b(?:Seq|Index|Heap) Scan\b|type: ALL\b|Using filesort",
    ),
    (
        "SQL",
        "sql",
        "elect |ELECT |nsert |NSERT |pdate |PDATE |elete |ELETE ",
        r"(?i:\bselect\b[^.?!]{1,400}\bfrom\b|\binsert into\b|\bupdate \w+ set\b|\bdelete from\b)",
    ),
    (
        "table definitions",
        "schema",
        "reate |REATE |lter |LTER ",
        r"(?i:\bcreate (?:unique )?(?:table|index)\b|\balter table\b)",
    ),
    ("a Dockerfile", "container", "FROM |RUN |ENTRYPOINT ", r"^FROM \S+|^RUN |^ENTRYPOINT "),
    (
        "a Kubernetes manifest",
        "container",
        "kind: |apiVersion|Probe|containers:|Exit Code",
        r"^[ \t]{0,40}(?:kind|apiVersion|livenessProbe|readinessProbe|containers): ?|Exit Code: +\d",
    ),
    (
        "a CI workflow",
        "pipeline",
        "on: |uses:|stages:|script:|needs:",
        r"^[ \t]{0,40}-? {0,40}(?:runs-on|uses|stages|before_script|needs|script):|^on: ",
    ),
    ("a cloud policy", "cloud", 'Effect|arn:aws|resource "', r"\"Effect\": *\"Allow\"|\barn:aws:|^resource \"\w+\""),
    ("markup", "component", "<", r"</?(?:div|button|form|input|span|img|table|ul|li|label|a|section|nav|select)\b"),
    (
        "style rules",
        "styling",
        "{|display: |position: ",
        r"^[ \t]{0,40}[.#@]?[\w-]{1,80} {0,40}\{[^}]{0,200}[\w-]: {0,40}[^;}]{1,200};|\b(?:display|position): \w+;",
    ),
    ("two colours", "accessible", "#", r"#[0-9a-fA-F]{3,6}\b[^\n]{1,12}#[0-9a-fA-F]{3,6}\b"),
    (
        "Python",
        "python",
        "\n",
        r"^[ \t]{0,40}(?:def \w+\(.*:|import \w+$|from \w[\w.]* import |@\w+(?:\.\w+)*(?:\(.*\))?$|"
        r"class \w+.*:$|for \w+ in .+:$|with open)",
    ),
    (
        "log lines",
        "log",
        "\n",
        r"(?:^\[?(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d(?::\d\d)?.*\n?){2}|\b(?:ERROR|"
        r"WARN|FATAL|INFO) ",
    ),
    (
        "a list of commits",
        "commits",
        "\n",
        r"(?:^[-* ]*[0-9a-f]{7,10} .*\n?){2}|(?:^[-* ]*(?:feat|fix|chore|docs|refactor)(?:\(\w+\))?!?: .*\n?){2}",
    ),
    (
        "a conversation",
        "conversation",
        "\n",
        r"(?:^(?:\[?\d\d?:\d\d\]?\s+)?[<\[@]?[A-Z]?[a-z][\w.-]{1,14}[>\]]?(?:: | \(?\d).*\n+){3}",
    ),
    (
        "a shell script",
        "shell",
        "#!|set -|$(|grep|awk|sed|gzip|sort",
        r"^#!/(?:usr/)?bin/|\bset -[eux]|\$\(\w+ |\| *(?:grep|awk|sed|gzip|sort)\b",
    ),
    (
        "HTTP requests",
        "api",
        "GET |POST |PUT |PATCH |DELETE |openapi:",
        r"\b(?:GET|POST|PUT|PATCH|DELETE) /\w+|^openapi:",
    ),
    (
        "versions of packages",
        "dependency",
        '=|~|^|"|CVE-|GHSA-|<|>',
        r"\b[\w.-]+ ?[=~^<>]=\s?\d|\"\^?\d+\.\d+\.\d+\"|\bCVE-\d{4}-\d+|\bGHSA-",
    ),
    ("a time since when", "outage", ":|.", r"\b(?:since|seit|at|depuis) \d{1,2}[:.]\d\d\b"),
    ("so many lines", "mess", "line|LINE", r"(?i)\b(?:\d{3,5}|\d+[.,]\d{3}|\d+k)[ -]lines?\b"),
    (
        "how long it takes",
        "slow",
        "0|1|2|3|4|5|6|7|8|9",
        r"(?i)\b(?:takes?|took|runs|needs|dauert|under|from|to) (?:about |over |up to |"
        r"~|around |some )?\d+(?:[.,]\d+)? ?(?:ms|s|secs?|seconds?|sekunden|mins?|"
        r"minutes?|minuten|hours?|h|stunden)\b|\bp9[59]\b|\bfps\b",
    ),
    (
        "so much memory",
        "memory",
        "ram|RAM|mem|heap|to ",
        r"(?i)\b\d+(?:[.,]\d+)? ?(?:gb|gib|gi|mb|gigs) (?:of )?(?:ram|memory|heap)\b|"
        r"\bfrom \d+ ?mb to",
    ),
)
"""What a part of a task looks like, the concept that it stands for, texts of which it has one, parted by bars, and how
it is told. The texts spare most tasks most patterns, whose first use costs half a millisecond each."""

SHAPES = frozenset(name.lower() for name, *_ in _SHAPES)
"""What `shapes` calls what a task looks like, in lower case."""

_MATERIAL = re.compile(r"^(?:\s{2,}|\t|[-+@#$<>|{}()*\[\]/]|\d\d:\d\d|\d{4}-\d\d)")
_SYMBOLS = re.compile(r"[^\w\s.,?!'\"()/:-]|\w[._]\w|::|\(\)")
_SEEN = 20_000
"""Characters of a task that are looked at: what it is shows early."""
_CROWDED = 0.06
"""Symbols for each character that prose has at most."""


def parts(task: str) -> list[tuple[str, float]]:
    """Return the text of the wish and the pasted text of `task`, each with what its words count."""
    lines = task.splitlines()
    if len(lines) < 2:
        return [(task, 1.0)]
    pasted = list(_pasted(lines))
    if all(pasted):
        return [(task, 1.0)]
    wish = "\n".join(line for line, is_pasted in zip(lines, pasted, strict=True) if not is_pasted)
    rest = "\n".join(line for line, is_pasted in zip(lines, pasted, strict=True) if is_pasted)
    return [(wish, 1.0), (rest, PASTED)] if rest else [(wish, 1.0)]


def shapes(task: str) -> list[tuple[str, str]]:
    """Return what parts of `task` look like, in words, and the concept that each stands for."""
    start = task[:_SEEN]
    return [
        (name, concept)
        for name, concept, signs, pattern in _SHAPES
        if any(sign in start for sign in signs.split("|")) and re.search(pattern, start, re.MULTILINE)
    ]


def _pasted(lines: list[str]) -> Iterator[bool]:
    fenced = False
    for place, line in enumerate(lines):
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced ^= fence
        yield fence or fenced or bool(place and line and (_MATERIAL.match(line) or _crowded(line)))


def _crowded(line: str) -> bool:
    return len(_SYMBOLS.findall(line)) > _CROWDED * len(line)
