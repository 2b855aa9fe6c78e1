"""Markdown with front matter: the format of agents and skills.

The front matter is YAML by name and free text by habit, so it is read line by line rather than by a YAML
loader: what strict YAML accepts means the same here, and what it rejects still yields its fields, with a
problem that says where. All values stay text: nothing becomes a number, a date or a truth value unasked,
and nothing is executed or expanded. Time and memory grow linearly with the text.

It knows neither which fields an agent needs nor where files are.
"""

from __future__ import annotations

import re
from functools import cache

from ..frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNCLOSED = "the front matter that opens here is never closed by a line '---'"

# A line at the margin opens a field for certain only if it has one of these names: examples in a broken description
# stand there too, and their "user:" is text. Names that are words in such examples (agent, context, shell) are left
# out; where nothing is unsound any name opens a field.
_NAMES = """
name description tools disallowedTools model permissionMode maxTurns skills mcpServers hooks memory background effort
isolation color initialPrompt max_tokens max-tokens emoji vibe author services version category tags allowedTools
run_mode allowed-tools allowed_tools disallowed-tools license compatibility metadata when_to_use argument-hint
disable-model-invocation user-invocable
"""
_KNOWN = frozenset(_NAMES.split())
_PROSE = frozenset({"description", "when_to_use"})
_NULLS = frozenset({"~", "null", "Null", "NULL"})
_RESERVED = frozenset("]},#&*!|>'\"%@`[{")

# Patterns stay text until a value needs them: compiling them all takes as long as reading fifty plain files.
# Their quantifiers are possessive (`*+`): with no way back, a quote or bracket that never closes costs one pass.
_DOUBLE = r'"(?>(?:[^"\\]++|\\[\s\S])*)"'
_SINGLE = r"'(?>(?:[^']++|'')*)'"
_ENTRY = rf"{_DOUBLE}|{_SINGLE}|[^ \t\n\"'\[\]{{}},:](?>(?:[^\[\]{{}},:]|:(?![ \t\n]))*)"
_END = r"[ \t]*+(?:(?<=[ \t])#[^\n]*+)?\n"
_BLOCK = rf"[ \t]*+[|>](?:[-+]?[1-9]?|[1-9][-+]){_END}"
# The look-behind keeps a long run of blanks from being tried again from each of its blanks.
_BREAK = r"(?<![ \t])[ \t]*+\n[ \t\n]*+"
_HEX = r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}"
_ESCAPE = rf"\\(\n[ \t]*+|{_HEX}|[\s\S])|{_BREAK}"
_ESCAPES = dict(zip('0abt\tnvfre "/\\N_LP', '\0\a\b\t\t\n\v\f\r\x1b "/\\\x85\xa0\u2028\u2029', strict=True))


@dataclass(frozen=True)
class Document:
    """A text taken apart: its fields, the line of each, the body and its first line, and what is not sound.

    A field is a string or a list of them; a nested mapping is its own text. Lines count from 1, problems have theirs.
    """

    fields: Mapping[str, str | list[str]]
    body: str
    lines: Mapping[str, int]
    body_line: int
    problems: tuple[tuple[int, str], ...] = ()


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises UnicodeDecodeError, a ValueError that says at which byte offset, its `start`, there is no text.
    """
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    return data.decode(encoding).removeprefix("\ufeff")


def parse(text: str) -> Document:
    """Take `text` apart into front matter and body; any text has a result.

    Without front matter everything is body. If the front matter is never closed, everything is front
    matter, and the first problem is `UNCLOSED`. Line ends come out as newlines.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, last = _fences(lines)
    block = _dedent(lines[first + 1 : last])
    if first == last or not _has_fields(block):
        return Document({}, "\n".join(lines), {}, 1)
    fields: dict[str, str | list[str]] = {}
    places: dict[str, int] = {}
    problems = [(first + 1, UNCLOSED)] if last == len(lines) else []
    for line, name, value, faults in _fields("\n".join(block) + "\n", first + 2):
        if name in fields:
            problems.append((line, f"'{name}' is given twice; the one on line {places[name]} is not used"))
        fields[name], places[name] = value, line
        problems += faults
    return Document(fields, "\n".join(lines[last + 1 :]), places, last + 2, tuple(problems))


def as_list(value: str | list[str]) -> list[str]:
    """Return the entries of a list, or of a string with commas outside parentheses between them."""
    if isinstance(value, list):
        return [entry for entry in value if entry]
    if "(" not in value and ")" not in value:
        return [entry for part in value.split(",") if (entry := part.strip())]
    depth, cuts = 0, [-1]
    for place, sign in enumerate(value):
        if sign in "()":
            depth = max(0, depth + (1 if sign == "(" else -1))
        elif depth == 0 and sign == ",":
            cuts.append(place)
    pairs = zip(cuts, [*cuts[1:], len(value)], strict=True)
    return [entry for start, end in pairs if (entry := value[start + 1 : end].strip())]


def as_int(value: str | list[str]) -> int:
    """Return the whole number that `value` is in decimal digits; ValueError if it is none."""
    if not isinstance(value, str) or not re.fullmatch(r"[-+]?[0-9]{1,18}", value.strip()):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _fences(lines: list[str]) -> tuple[int, int]:
    """Return the indices of the opening and the closing fence; the same twice if the text opens with none."""
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    if lines[first].strip() != "---":
        return first, first
    closing = (at for at in range(first + 1, len(lines)) if lines[at].strip() in {"---", "..."})
    return first, next((at for at in closing if _indent(lines[at]) <= _indent(lines[first])), len(lines))


def _has_fields(lines: list[str]) -> bool:
    """Tell front matter from text between two rules: it is empty, begins with a field, or has one of ours."""
    keys = [_key(line) for line in lines if line.lstrip(" \t")[:1] not in {"", "#"}]
    return not keys or keys[0] != "" or "name" in keys or "description" in keys


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _dedent(lines: list[str]) -> list[str]:
    indent = min((_indent(line) for line in lines if line.strip(" \t")), default=0)
    return [line[indent:] for line in lines]


def _key(line: str) -> str:
    """Return the name of the field that opens at the margin of `line`, or nothing."""
    name, colon, value = line.partition(":")
    if not colon or value[:1] not in {"", " ", "\t"}:
        return ""
    if len(name := name.rstrip(" \t")) > 2 and name[0] == name[-1] and name[0] in "\"'":
        return name[1:-1]
    return name if name.replace("-", "_").replace(".", "_").isidentifier() else ""


def _fields(block: str, line: int) -> Iterator[tuple[int, str, str | list[str], list[tuple[int, str]]]]:
    """Yield line, name, value and problems of each field of `block`, whose first line has the number `line`."""
    counted, entries = 0, list(_entries(block, any_key=True))
    if any(fault >= 0 and (name in _PROSE or name not in _KNOWN) for name, *_, fault in entries):
        entries = list(_entries(block, any_key=False))
    for name, style, start, value, end, fault in entries:
        line, counted = line + block.count("\n", counted, start), start
        raw = block[value:end]
        faults = [(line, words) for words in _defects(name, style, raw)]
        if fault >= value:
            place = line + block.count("\n", start, fault)
            faults.append((place, _explain(block[fault : block.index("\n", fault)], at_key=fault == value)))
        yield line, name, _value(name, style, raw, sound=fault < 0), faults


def _entries(block: str, *, any_key: bool) -> Iterator[tuple[str, str, int, int, int, int]]:
    """Yield name, style, start, start of value, end, and the first unsound place or -1, of each field."""
    name, style, start, value, fault, position = "", "nested", 0, 0, -1, 0
    while position < len(block):
        end = block.index("\n", position)
        line = block[position:end]
        key = _key(line)
        if key and (any_key or name not in _PROSE or key in _KNOWN):
            if name:
                yield name, style, start, value, position, fault
            name, start, value = key, position, position + line.index(":") + 1
            style, position = _style(block, value, end)
            fault = value if style == "broken" else -1
        else:
            if fault < 0 and not _follows(style, line):
                fault = position
            position = end + 1
    if name:
        yield name, style, start, value, position, fault


def _style(block: str, value: int, end: int) -> tuple[str, int]:
    """Return how the value is written that begins on the line `block[value:end]`, and where the next line starts."""
    text = block[value:end].strip(" \t")
    if text[:1] in {"", "#"}:
        return "nested", end + 1
    if _is_plainly_quoted(text):
        return "closed", end + 1
    if text[0] in "\"'[{":
        closed = re.compile(_closed_pattern()).match(block, value)
        return ("closed", closed.end()) if closed else ("broken", end + 1)
    if text[0] in "|>":
        return "block" if re.match(_BLOCK, block[value : end + 1]) else "broken", end + 1
    reserved = text[0] in _RESERVED or (text[0] in "-?:" and text[1:2] in {"", " ", "\t"})
    return "broken" if reserved or _has_colon(text) else "plain", end + 1


def _is_plainly_quoted(text: str) -> bool:
    """Whether `text` is a string in double quotes without escapes: most are, and compile no pattern, 1 ms."""
    return len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2 and not set("\\\n") & set(text)


def _follows(style: str, line: str) -> bool:
    """Tell whether strict YAML lets a value of this style go on with `line`, which opens no field."""
    if style == "nested" and re.match(r"-[ \t\n]", line + "\n"):
        return True
    indented = line[:1] in {" ", "\t"} and style != "closed"
    return line.lstrip(" \t")[:1] in {"", "#"} or (indented and (style != "plain" or not _has_colon(line)))


def _has_colon(text: str) -> bool:
    text = text.replace("\t", " ").partition(" #")[0].rstrip(" ")
    return ": " in text or text.endswith(":")


@cache
def _closed_pattern() -> str:
    """Return the pattern of a value that says itself where it ends, and may run over lines: quoted, or a flow."""
    flow = _ENTRY
    for _ in range(4):  # brackets deeper than this are read as plain text
        flow = rf"[\[{{](?>(?:{_ENTRY}|[ \t\n,:]++|{flow})*)[\]}}]"
    return rf"[ \t]*+(?P<token>{_DOUBLE}|{_SINGLE}|{flow}){_END}"


def _defects(name: str, style: str, raw: str) -> Iterator[str]:
    """Yield what other tools make of a value that can be read: they lose a part of it, or reject it."""
    if style == "plain" and name in _PROSE and re.search(r"[ \t]#", raw):
        yield "' #' begins a comment in YAML, so other tools drop the rest of the line"
    if style == "closed" and raw.lstrip(" \t").startswith('"') and "\\" in raw:
        codes = (match[1] for match in re.finditer(_ESCAPE, raw) if match[1])
        yield from (f"'\\{code}' is no escape in YAML" for code in codes if len(code) == 1 and code not in _ESCAPES)


def _explain(text: str, *, at_key: bool) -> str:
    """Return why strict YAML rejects `text`, the rest of the line after a key or a line below it."""
    sign = text.strip(" \t")[:1]
    if not at_key:
        return "text at the margin belongs to no field" if sign == text[:1] else "': ' in a value without quotes"
    if sign in {'"', "'", "[", "{"}:
        return f"the {sign} that opens here is not closed at the end of the value"
    if sign in _RESERVED or not _has_colon(text):
        return f"a value without quotes begins with '{sign}'"
    return "': ' in a value without quotes"


def _value(name: str, style: str, raw: str, *, sound: bool) -> str | list[str]:
    if style == "block":
        return _block(raw, sound=sound)
    if style == "closed":
        return _closed(raw, sound=sound or name not in _PROSE)
    if sound and "#" in raw:
        raw = re.sub(r"(?m)^[ \t]*+#.*$", "", raw)
    elif style != "nested" and name not in _PROSE:  # only prose goes on at the margin
        raw = re.split(r"\n(?=[^ \t\n])", raw, maxsplit=1)[0]
    decode = _nested if style == "nested" else _scalar
    return decode(raw, comments=sound and name not in _PROSE)


def _scalar(raw: str, *, comments: bool = False) -> str:
    """Decode a value that has no structure, quoted or plain, without the comment that may follow it."""
    text = raw.strip(" \t\n")
    if text[:1] in {'"', "'"} and (quoted := re.fullmatch(rf"({_DOUBLE}|{_SINGLE}){_END}", text + "\n")):
        return _quoted(quoted[1])
    if comments and "#" in text:
        text = re.sub(r"(?m)(?:^|[ \t])#.*$", "", text).rstrip(" \t\n")
    if "\n" in text:
        text = _folded([line.strip(" \t") for line in text.split("\n")])
    return "" if text in _NULLS else text


def _quoted(text: str) -> str:
    if text[0] == "'":
        return re.sub(_BREAK, _fold, text[1:-1]).replace("''", "'")
    # JSON writes some characters as halves of a UTF-16 pair; a half alone could never be sent as UTF-8.
    return re.sub(_ESCAPE, _unescape, text[1:-1]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fold(match: re.Match[str]) -> str:
    return "\n" * (match[0].count("\n") - 1) or " "


def _unescape(match: re.Match[str]) -> str:
    if not (code := match[1]) or code[0] == "\n":
        return "" if code else _fold(match)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, match[0])


def _closed(raw: str, *, sound: bool) -> str | list[str]:
    """Decode a quoted scalar, or a flow list; a flow mapping, or a list that holds one, is its own text."""
    if _is_plainly_quoted(text := raw.strip(" \t\n")):
        return text[1:-1]
    match = next(re.finditer(_closed_pattern(), raw))
    token, rest = match["token"], "" if sound else raw[match.end() :].strip(" \t\n")
    if rest:
        return f"{_scalar(token)} {_scalar(rest)}"
    if token[0] == "[" and not set("[{:") & set(re.sub(_ENTRY, "", token[1:])):
        return [_scalar(entry[0]) for entry in re.finditer(_ENTRY, token[1:-1])]
    return token if token[0] in "[{" else _scalar(token)


def _nested(raw: str, *, comments: bool) -> str | list[str]:
    """Decode what stands below its key: a list of scalars, a scalar, or else a structure, which is its own text."""
    text = "\n".join(_dedent(raw.strip("\n").split("\n"))).strip(" \t\n")
    if text[:1] in {"[", "{"} and re.fullmatch(_closed_pattern(), text + "\n"):
        return _closed(text + "\n", sound=True)
    if _key(text.partition("\n")[0]):
        return text
    if not re.match(r"-[ \t\n]", text + "\n"):
        return _scalar(text, comments=comments)
    entries = [entry.strip(" \t\n") for entry in re.split(r"(?m)^-(?=[ \t\n]|\Z)", text)[1:]]
    structured = any(_key(entry.partition("\n")[0]) or re.match(r"[\[{|>]|-[ \t]", entry) for entry in entries)
    return text if structured else [_scalar(entry, comments=comments) for entry in entries]


def _block(raw: str, *, sound: bool) -> str:
    """Decode a literal (`|`) or folded (`>`) block scalar with its marks for indentation and final newlines."""
    head, *lines = raw.removesuffix("\n").split("\n")
    mark = head.split("#")[0].strip(" \t")
    lines = [line for line in lines if not (sound and line.startswith("#"))]
    digit = mark.strip("|>+-")
    lines = [line[int(digit) :] for line in lines] if digit else _dedent(lines)
    end = len(lines)
    while end and not lines[end - 1].strip(" \t"):
        end -= 1
    text = _folded(lines[:end]) if mark[0] == ">" else "\n".join(lines[:end])
    if "+" in mark:
        return text + "\n" * (len(lines) - end + (end > 0))
    return text if "-" in mark or not end else text + "\n"


def _folded(lines: list[str]) -> str:
    """Join lines with spaces, a blank line being a line break; lines that are indented further stay apart."""
    parts: list[str] = []
    breaks, flush = 0, False
    for line in lines:
        breaks += not line
        if not line:
            continue
        both, flush = flush and line[0] not in " \t", line[0] not in " \t"
        parts += ["\n" * breaks or " " if both else "\n" * (breaks + bool(parts)), line]
        breaks = 0
    return "".join(parts)
