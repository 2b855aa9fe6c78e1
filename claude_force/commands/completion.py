"""`completion`: a script that teaches a shell the commands, options and names, made from the parser itself.

What is fixed in such a script lies in `data/shell`. Here are the facts that the parser knows, in each shell's words. A
name is asked for when it is needed: the script calls `completion --names`, and trusts no character of the answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import models
from ..frozen import dataclass
from ..library import lookup, sources
from ..records import Result
from ..reports.table import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Action, ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Iterator

    from ..library.lookup import Kind
    from ..project.workspace import Workspace


@dataclass(frozen=True)
class Argument:
    """An option, or an operand, which has no flags.

    `takes` is empty if nothing follows, one of `NAMES`, `files`, `directories`, `text`, or `choice`; `many` values may
    follow one another.
    """

    flags: tuple[str, ...]
    summary: str
    takes: str
    choices: tuple[str, ...]
    many: bool
    repeatable: bool


@dataclass(frozen=True)
class Command:
    """Words on the command line, none for the program itself, and what may follow them."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    below: tuple[Command, ...]

    @property
    def options(self) -> list[Argument]:
        """The arguments that have flags."""
        return [argument for argument in self.arguments if argument.flags]

    @property
    def operands(self) -> list[Argument]:
        """The arguments that are known by their place."""
        return [argument for argument in self.arguments if not argument.flags]


def completion_options(parser: ArgumentParser) -> None:
    """Add the options of `completion`; the names are for the scripts, not for people."""
    parser.epilog = 'for example in ~/.bashrc: eval "$(claude-force completion bash)"'
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("shell", metavar="|".join(_SCRIPTS), nargs="?", choices=tuple(_SCRIPTS), help="the shell")
    wanted.add_argument("--names", choices=tuple(NAMES), help=argparse.SUPPRESS)


def completion(args: Namespace, workspace: Workspace) -> Result:
    """Print the script for a shell, or the names of a kind, a line each."""
    if args.names:
        names = sorted({name for name in NAMES[args.names](workspace) if _is_safe(name)})
        return Result({"schema_version": 1, "names": names}, "\n".join(names))
    tree = _command("", "", args.build(None))
    script = (_FIXED / f"completion.{args.shell}").read_text("utf-8") + _SCRIPTS[args.shell](tree)
    return Result({"schema_version": 1, "shell": args.shell, "script": script}, script)


def _is_safe(name: str) -> bool:
    """Tell whether `name` is one line, and is not taken for an option: a project may not slip one in."""
    return name.isprintable() and not name.startswith("-")


def _agents(workspace: Workspace) -> Iterator[str]:
    yield from _files("agent", workspace)
    yield from (name for name, entry in workspace.settings.agents.items() if "path" in entry)


def _skills(workspace: Workspace) -> Iterator[str]:
    return _files("skill", workspace)


def _workflows(workspace: Workspace) -> Iterator[str]:
    yield from (path.stem for place in workspace.shelves for path in sources.workflow_files(place.workflows))
    yield from workspace.settings.workflows


def _models(workspace: Workspace) -> Iterator[str]:
    for row in models.price_rows(prices=workspace.settings.prices):
        if row["lifecycle"] != "retired":
            yield from (*row["aliases"], row["id"])


def _library(workspace: Workspace) -> Iterator[str]:
    for names in (_agents, _skills, _workflows):
        yield from names(workspace)


def _files(kind: Kind, workspace: Workspace) -> Iterator[str]:
    return (name for place in workspace.shelves for name, _, _ in lookup.scan(kind, place))


NAMES: dict[str, Callable[[Workspace], Iterable[str]]] = {
    "agents": _agents,
    "skills": _skills,
    "workflows": _workflows,
    "models": _models,
    "library": _library,
}
"""What a script can ask the names of."""


def _command(name: str, summary: str, parser: ArgumentParser) -> Command:
    arguments: list[Argument] = []
    below: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below += [_command(f"{name} {w}".strip(), summaries.get(w, ""), p) for w, p in action.choices.items()]
        elif action.help != argparse.SUPPRESS:
            arguments.append(_argument(name, action))
    return Command(name, summary, tuple(arguments), tuple(below))


def _argument(command: str, action: Action) -> Argument:
    repeatable = isinstance(action, argparse._AppendAction | argparse._CountAction)
    choices = tuple(map(str, action.choices or ()))
    takes = "" if action.nargs == 0 else "choice" if choices else _taken(command, action)
    return Argument(
        tuple(action.option_strings), action.help or "", takes, choices, action.nargs in {"*", "+"}, repeatable
    )


def _taken(command: str, action: Action) -> str:
    """Return what an argument takes, by its metavar or its name; NAME is of what the command's last word says."""
    metavar = str(action.metavar or "").lower().partition(".")[0]
    words = (command.rpartition(" ")[2] if metavar == "name" else metavar, action.dest)
    return next((_TAKEN[word] for word in words if word in _TAKEN), "text")


_TAKEN = {
    "file": "files",
    "dir": "directories",
    "agent": "agents",
    "skill": "skills",
    "workflow": "workflows",
    "model": "models",
    "name_or_path": "library",
}


def _all(command: Command) -> Iterator[Command]:
    yield command
    for inner in command.below:
        yield from _all(inner)


def _last(command: Command) -> str:
    return command.name.rpartition(" ")[2]


def _bash(tree: Command) -> str:
    words, expected = [], []
    for command in _all(tree):
        flags = " ".join(flag for option in command.options for flag in option.flags)
        below = " ".join(map(_last, command.below))
        words.append(f"        {quoted(command.name)}) commands=({below}) options=({flags}) ;;\n")
        expected += [line for place, a in _places(command) if (line := _bash_case(command.name, place, a))]
    return (
        f"_claude_force_words() {{ # COMMAND, or return 1\n    case $1 in\n{''.join(words)}        *) return 1 ;;\n"
        "    esac\n}\n\n_claude_force_expect() { # COMMAND, and OPTION or the number of an operand\n"
        f'    case "$1 $2" in\n{"".join(expected)}        *) expected= ;;\n    esac\n}}\n'
    )


def _places(command: Command) -> Iterator[tuple[tuple[str, ...], Argument]]:
    for option in command.options:
        yield option.flags, option
    for number, operand in enumerate(command.operands):
        yield (str(number),), operand


def _bash_case(command: str, places: Iterable[str], argument: Argument) -> str:
    if not argument.takes:
        return ""
    patterns = [quoted(f"{command} {place}") for place in places]
    if argument.many and not argument.flags:
        patterns = [f"{quoted(f'{command} ')}[0-9]*"]
    value = f"={' '.join(argument.choices)}" if argument.choices else argument.takes
    more = "+" if argument.many else ""
    return f"        {' | '.join(patterns)}) expected={quoted(value + more)} ;;\n"


def _zsh(tree: Command) -> str:
    functions = [_zsh_function(command) for command in _all(tree)]
    start = (
        'if [[ $funcstack[1] == _claude_force ]]; then\n    _claude_force "$@"\n'
        "else\n    compdef _claude_force claude-force\nfi\n"
    )
    return "\n".join([*functions, start])


def _zsh_function(command: Command) -> str:
    name = "_".join(["_claude_force", *command.name.split()])
    specifications = [quoted(text) for argument in command.arguments for text in _zsh_specifications(argument)]
    if not command.below:
        return f"{name}() {{\n    _arguments -S \\\n        " + " \\\n        ".join(specifications) + "\n}\n"
    below = [quoted(f"{_escaped(_last(c), ':')}:{_escaped(c.summary, ':')}") for c in command.below]
    lines = ["    local -a claude_force_below=(", *(f"        {entry}" for entry in below), "    )"]
    if not command.name:
        lines.append("    local -a claude_force_at")
    lines.append(f"    _claude_force_step {name} \\\n        " + " \\\n        ".join(specifications))
    return "\n".join([f"{name}() {{", *lines, "}\n"])


def _zsh_specifications(argument: Argument) -> Iterator[str]:
    value = ""
    if argument.takes:
        what = _escaped(argument.takes if argument.flags else argument.summary or argument.takes, ":")
        value = f":{what}:{_zsh_action(argument)}"
    if not argument.flags:
        yield f"*{value}" if argument.many else value
    for flag in argument.flags:
        more = ":*-*" if argument.many else ""
        before = "*" if argument.repeatable else f"({' '.join(argument.flags)})"
        joined = "=" if argument.takes and not argument.many and flag.startswith("--") else ""
        yield f"{before}{flag}{joined}[{_escaped(argument.summary, '[]:')}]{more}{value}"


def _zsh_action(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    # A blank tells of a text to type, and keeps options from being completed in its place: not for operands.
    fixed = {"files": "_files", "directories": "_files -/", "text": " " if argument.flags else "()"}
    return fixed.get(argument.takes, f" _claude_force_names {argument.takes}")


def _fish(tree: Command) -> str:
    valued = sorted({flag for c in _all(tree) for option in c.options if option.takes for flag in option.flags})
    names = [_fish_quoted(command.name) for command in _all(tree) if command.name]
    lines = [f"set -g __claude_force_commands {' '.join(names)}", f"set -g __claude_force_valued {' '.join(valued)}"]
    for command in _all(tree):
        for inner in command.below:
            summary = f"-a {_last(inner)} -d {_fish_quoted(inner.summary)}"
            lines.append(_fish_line(command, "", summary))
        for place, argument in _places(command):
            operand = "" if argument.flags or argument.many else place[0]
            flags = [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in argument.flags]
            described = f"-d {_fish_quoted(argument.summary)}" if flags else ""
            words = [*flags, _fish_values(argument), described]
            lines.append(_fish_line(command, operand, " ".join(word for word in words if word)))
    return "\n".join([*lines, ""])


def _fish_line(command: Command, operand: str, rest: str) -> str:
    condition = f"__claude_force_at {_fish_quoted(command.name)} {operand}".rstrip()
    return f"complete -c claude-force -n {_fish_quoted(condition)} {rest}".rstrip()


def _fish_values(argument: Argument) -> str:
    if not argument.takes:
        return ""
    required = "-r " if argument.flags else ""
    if argument.choices:
        return f"{required}-f -a {_fish_quoted(' '.join(argument.choices))}"
    fixed = {"files": "-F", "directories": "-f -a '(__fish_complete_directories)'", "text": "-f"}
    files = "-F" if argument.takes in {"workflows", "library"} else "-f"
    return required + fixed.get(argument.takes, f"{files} -a '(__claude_force_names {argument.takes})'")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _escaped(text: str, signs: str) -> str:
    """Put a backslash before each of `signs`, which mean something to zsh's `_arguments`, and before backslashes."""
    return "".join(f"\\{c}" if c in signs or c == "\\" else c for c in text)


_FIXED = Path(__file__).parent.parent / "data" / "shell"
_SCRIPTS: dict[str, Callable[[Command], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
