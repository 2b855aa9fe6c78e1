"""From the words of the command line to its arguments: a parser made from the table of commands, and close names.

A command's options lie beside its body, in a module that need not be loaded for any other command.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import suppress
from importlib import import_module

from . import __version__
from .errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


COMMANDS = {
    "run agent": ("run", "agent", "run one agent on a task"),
    "run workflow": ("run", "workflow", "run a workflow, its steps in parallel where they can be"),
    "list agents": ("library", "list_agents", "the agents that can be run, and where each comes from"),
    "list skills": ("library", "list_skills", "the skills that agents can be given"),
    "list workflows": ("library", "list_workflows", "the workflows that can be run"),
    "list models": ("library", "list_models", "models with their short names, prices and limits"),
    "show agent": ("library", "show_agent", "an agent's settings and prompt"),
    "show skill": ("library", "show_skill", "a skill's text"),
    "show workflow": ("library", "show_workflow", "a workflow's inputs and steps"),
    "show run": ("runs", "show", "the course of a past run, its costs and its critical path"),
    "graph": ("library", "graph", "which step of a workflow waits for which"),
    "route": ("route", "route", "which model a task would be given, why, and what it would cost"),
    "recommend": ("recommend", "recommend", "which agents fit a task, how surely, and why"),
    "validate": ("validate", "validate", "check agents, skills, workflows and settings"),
    "lock": ("lock", "lock", "write down what agents, skills, workflows and models are in use, for --frozen"),
    "status": ("status", "status", "when each workflow last succeeded and failed, and whether one is overdue"),
    "init": ("setup", "init", "start a project: an example agent, skill and workflow"),
    "doctor": ("doctor", "doctor", "check this machine, the key and the address"),
    "why": ("why", "why", "why a step of a run was made or reused: what changed, with the difference"),
    "runs list": ("runs", "list_runs", "past runs of workflows, the newest first"),
    "runs show": ("runs", "show", "the course of a past run, its costs and its critical path"),
    "runs diff": ("runs", "diff", "which steps of two runs differ, and in what"),
    "runs replay": ("replay", "replay", "play a past run again from its journal, without a key"),
    "runs prune": ("runs", "prune", "remove what is kept of old runs"),
    "analytics summary": ("analytics", "summary", "success, time, cost, tokens and savings at a glance"),
    "analytics by-agent": ("analytics", "by_agent", "the same for each agent"),
    "analytics costs": ("analytics", "costs", "what was spent, by agent, model or workflow"),
    "analytics trends": ("analytics", "trends", "the course of executions and costs by hour or day"),
    "analytics export": ("analytics", "export", "every execution, as CSV or JSON"),
    "metrics rollup": ("metrics", "rollup", "turn old executions into daily sums, for cron"),
    "metrics verify": ("metrics", "verify", "add everything up again and compare"),
    "memory search": ("memory", "search", "the past sessions that are most like a text"),
    "memory recent": ("memory", "recent", "the last sessions"),
    "memory show": ("memory", "show", "the task and the result of one session"),
    "memory stats": ("memory", "stats", "how often each agent succeeded, and repeated tasks"),
    "memory prune": ("memory", "prune", "forget old sessions"),
    "memory export": ("memory", "export", "every session, as JSON"),
    "cache stats": ("cache", "stats", "how often the cache answered, and how large it is"),
    "cache clear": ("cache", "clear", "forget all cached answers"),
    "cache prune": ("cache", "prune", "forget the cached answers that have expired"),
    "cache verify": ("cache", "verify", "read every cached answer and check its signature"),
    "budget show": ("budget", "show", "what may be spent, and what was"),
    "budget set": ("budget", "set_cap", "cap what a run, a day, a month or an agent may spend"),
    "budget settle": ("budget", "settle", "put in what calls did cost that ended without a known cost"),
    "config show": ("setup", "config_show", "every setting, its value and where it comes from"),
    "config migrate": ("setup", "config_migrate", "rewrite an older claude.json, keeping a backup"),
    "simulate": ("simulate", "simulate", "serve a local stand-in for the API, for trying things without a key"),
    "demo": ("simulate", "demo", "see a workflow run in parallel on the stand-in, without a key"),
    "bench": ("bench", "bench", "measure claude-force on this machine"),
    "completion": ("completion", "completion", "print a completion script for a shell"),
}
"""Words on the command line → module below `commands`, function in it, summary. The parser is made from this."""

GROUPS = {
    "run": "run an agent or a workflow",
    "list": "list agents, skills, workflows or models",
    "show": "show one agent, skill, workflow or run",
    "runs": "past runs of workflows",
    "analytics": "executions, times and costs",
    "metrics": "upkeep of the record of executions",
    "memory": "what agents did before",
    "cache": "the answers that were paid for once",
    "budget": "what may be spent, and what was",
    "config": "show or migrate settings",
}


# All words here are English: to look for translations of those of argparse alone takes 1 ms and finds none.
argparse._ = lambda text: text  # type: ignore[attr-defined]


def function_of(command: str, suffix: str = "") -> Any:
    """Return the function of `command`, or with `_options` the one that adds its options, None if it takes none."""
    module, function, _ = COMMANDS[command]
    return getattr(import_module(f".commands.{module}", __package__), function + suffix, None)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; raises UsageError, with close names, for what does not fit."""
    command = _command_in(words)
    parser = build(command)
    args: argparse.Namespace
    args, extra = parser.parse_known_args(words)
    if any(word[:1] != "-" or word in {"-", "--"} for word in extra):  # perhaps an option stands between two arguments
        parser = build(command, mixed=True)
        args, extra = parser.parse_known_args(words)
    if extra:
        raise _unknown_words(parser, args, extra)
    if not getattr(args, "command", None):
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return args


def build(command: str | None = None, *, mixed: bool = False) -> Parser:
    """Return the parser: for the command `command` alone, else for all, with their options if it is None.

    A parser costs 0.25 ms, and a `mixed` one, which takes options between arguments, twice that.
    """
    parser = Parser(prog="claude-force", description="Run Claude agents, skills and workflows.")
    parser.add_argument("--version", action="version", version=f"claude-force {__version__}")
    _common(parser, defaults=True)
    tops = parser.add_subparsers(metavar="COMMAND", title="commands")
    groups: dict[str, Any] = {}
    for name in [command] if command in COMMANDS else COMMANDS:
        summary = COMMANDS[name][2]
        first, _, second = name.partition(" ")
        if second and first not in groups:
            group = tops.add_parser(first, help=GROUPS[first], description=_sentence(GROUPS[first]))
            _common(group, defaults=False)
            groups[first] = group.add_subparsers(metavar="WHAT", title=first, required=True)
        own = (groups[first] if second else tops).add_parser(
            second or first, help=summary, description=_sentence(summary)
        )
        own.mixed = mixed
        if command in {None, name}:
            _complete(own, name)
    return parser


def _complete(parser: argparse.ArgumentParser, name: str) -> None:
    if add_options := function_of(name, "_options"):
        add_options(parser)
    _common(parser, defaults=False)
    parser.set_defaults(command=name, build=build)  # `completion` is about all commands, and imports only go down


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """Add the options that stand before or after the command; after it they must not reset what stood before."""

    def default(value: Any) -> Any:
        return value if defaults else argparse.SUPPRESS

    parser.add_argument("-C", dest="directory", metavar="DIR", default=default(None), help="run as if started in DIR")
    parser.add_argument(
        "--config", metavar="FILE", default=default(None), help="use FILE in place of the project's claude.json"
    )
    parser.add_argument("--json", action="store_true", default=default(False), help="print one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", default=default(False), help="no progress on stderr")
    parser.add_argument("-v", "--verbose", action="count", default=default(0), help="say more; twice: tracebacks")
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default=default("auto"), help="colour on stderr"
    )


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one line, exit status 2, no usage text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _formatter, **settings})
        self.mixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and if `mixed` take options between arguments too."""
        if self.mixed:
            self.mixed = False  # what follows comes back here
            with suppress(TypeError):  # a choice between an argument and an option cannot be mixed
                return self.parse_known_intermixed_args(args, namespace)
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse passes over what cannot be written

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        below = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        hint = f"see {self.prog} -h"
        if below and message.endswith(f"required: {below[0].metavar}"):
            hint = f"one of {', '.join(below[0].choices)}"
        elif "(choose from " in message:
            hint = ""
        elif message.endswith("expected one argument"):
            hint += "; a value that begins with - is joined to its option by ="
        raise UsageError(message, hint=hint)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return a help formatter as wide as the terminal.

    The parser makes one for each option that it is given, and left to itself it would load `shutil`, 3 ms.
    """
    return argparse.HelpFormatter(prog, width=_columns() - 2)


def _columns() -> int:
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


_TAKES_VALUE = re.compile(r"-[qv]*C|--config|--color")


def _command_in(words: Sequence[str]) -> str:
    """Return the name of the command in `words`, '' if there is none; raises NotFound for one that does not exist."""
    rest = iter(words)
    found: list[str] = []
    for word in rest:
        if _TAKES_VALUE.fullmatch(word):
            next(rest, None)
        elif not word.startswith("-"):
            found.append(word)
            if word not in GROUPS or len(found) == 2:
                break
    if not found:
        return ""
    name = " ".join(found)
    if name in COMMANDS or name in GROUPS:
        return name
    raise _no_command(words, found)


def _no_command(words: Sequence[str], found: Sequence[str]) -> NotFound:
    """Return what is wrong with `words`, whose `found` are no command: these, or an option whose value they hold."""
    options = _options_of(build(""), "")
    for word in words[: words.index(found[-1])]:
        if word.startswith("--") and (name := word.split("=")[0]) not in options:
            return NotFound("option", name, options)
    group = found[0] if len(found) == 2 else ""
    known = [c.removeprefix(f"{group} ") for c in COMMANDS if c.startswith(f"{group} ")] if group else _top_level()
    error = NotFound(f"{group} command" if group else "command", found[-1], known)
    if not group and found[0] in _OPTIONS:
        error.hint = f"write claude-force {_OPTIONS[found[0]]}"
    elif "agent" in known and error.hint.startswith("known"):
        others = [kind for kind in known if kind != "agent"]
        error.hint = f"say what it is, as in: claude-force {group} agent {found[-1]} (or {', '.join(others)})"
    return error


_OPTIONS = {"help": "-h", "version": "--version"}
"""What other programs have as commands."""


def _top_level() -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS))


def _unknown_words(parser: Parser, args: argparse.Namespace, extra: list[str]) -> UsageError:
    word = extra[0].split("=")[0]
    if not word.startswith("-"):
        return UsageError(f"unexpected argument '{word}'", hint=_what_it_takes(_own(parser, args.command)))
    return NotFound("option", word, _options_of(parser, getattr(args, "command", "")))


def _what_it_takes(parser: argparse.ArgumentParser) -> str:
    operands = [action for action in parser._actions if not action.option_strings]
    if any(action.dest == "task" for action in operands):
        return "put a task of several words in quotes"
    return f"see {parser.prog} -h" if operands else f"{parser.prog} takes no argument"


def _own(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    """Return the parser of `command`, which lies in `parser`."""
    for word in command.split():
        action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = action.choices[word]
    return parser


def _options_of(parser: argparse.ArgumentParser, command: str) -> list[str]:
    actions = _own(parser, command)._actions
    return [o for action in actions for o in action.option_strings if action.help != argparse.SUPPRESS]
