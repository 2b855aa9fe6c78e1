"""What of an agent a task is compared with: its own words, without those that point to another agent.

A description often says what the agent is not for: "for tests use tester", "not for types (type-checker)". Such words
would draw just the tasks that it wants to pass on, so they count for the agent that is named.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..records import Agent
    from .bm25 import Field

WEIGHTS = {"name": 1.5, "domains": 3.0, "description": 1.0, "clauses": 2.0, "descriptions of others": 0.3}
"""The fields of an agent's profile and what a word in each counts; `clauses` are those of the description of an agent
that names no domains."""

_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def profiles(agents: Sequence[Agent]) -> list[dict[str, Field]]:
    """Return the text of each field of `WEIGHTS` for each agent."""
    own, pointed = _descriptions(agents)
    return [
        {
            "name": agent.name,
            "domains": agent.domains,
            "description": " ".join(own[agent.name]),
            "clauses": () if agent.domains else tuple(_own_clauses(own[agent.name])),
            "descriptions of others": ", ".join(pointed[agent.name]),
        }
        for agent in agents
    ]


def phrases(agents: Sequence[Agent]) -> list[list[str]]:
    """Return what each agent says it is for, in phrases short enough to have one meaning; never none."""
    own, _ = _descriptions(agents)
    return [[*agent.domains, *_own_clauses(own[agent.name])] or [agent.name] for agent in agents]


def headings(text: str) -> str:
    """Return the headings of a Markdown `text`, a line each, without what looks like one in its code."""
    return "\n".join(_HEADING.findall(_CODE.sub("", text) if "\n```" in text or "\n~~~" in text else text))


def _own_clauses(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        for clause in re.split(r"[,:;] | or ", sentence):
            if len(clause) > 3:
                yield clause.strip(" .")


def _descriptions(agents: Sequence[Agent]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return by name the sentences that are about the agent, and what others say that it is for."""
    own: dict[str, list[str]] = {agent.name: [] for agent in agents}
    pointed: dict[str, list[str]] = {agent.name: [] for agent in agents}
    named = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, own))})(?![\w-])")
    for agent in agents:
        for sentence in _SENTENCE.split(agent.description):
            start = 0
            for match in named.finditer(sentence):
                if match[1] != agent.name:
                    pointed[match[1]].append(sentence[start : match.start()])
                    start = match.end()
            if not start:
                own[agent.name].append(sentence)
    return own, pointed
