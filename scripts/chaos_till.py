"""The far end of `scripts/chaos`: a simulator in a process of its own, and what it billed.

An answer is billed in full from the moment at which it begins to be sent, whoever still listens then. The prices are
no model's, so that who reckons with others is found out; an answer is known by the words `call NAME` in its task.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from stage import fork

from claude_force.simulator import Behaviour, serve_forever
from claude_force.simulator.answer import steering_text
from claude_force.simulator.endpoints import Endpoints

PRICES = {"input": 1.7, "output": 7.3, "cache_write_5m": 2.9, "cache_write_1h": 3.1, "cache_read": 0.3}
"""USD per million tokens."""
_COUNTS = {"input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_input_tokens"}
_WRITTEN = {"cache_write_5m": "ephemeral_5m_input_tokens", "cache_write_1h": "ephemeral_1h_input_tokens"}
_NAME = re.compile(r"\bcall (\S+)")


@dataclass(frozen=True)
class Bill:
    """One paid answer: its `cost` in nanodollars, `whole` unless it was cut off; times on the monotonic clock."""

    call: str
    asked: float
    """When its request arrived."""
    at: float
    """When it began to be sent."""
    cost: int
    whole: bool


class Till:
    """A simulator of this `behaviour`, from its making to `close`; what it answers stands in a file at `path`."""

    def __init__(self, path, **behaviour):
        self._path = Path(f"{path}.out")
        self._pid = fork(path, serve, Behaviour(remember=1, **behaviour))
        while not (lines := self._lines()):
            time.sleep(0.001)
        self.url = lines[0]

    def close(self):
        """End the simulator; what it billed can still be read."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def size(self):
        """A number that grows with each answer."""
        return self._path.stat().st_size

    def bills(self):
        """Return what was paid, in the order in which it was answered."""
        answers = [json.loads(line) for line in self._lines()[1:]]
        return [Bill(a["call"], a["asked"], a["at"], cost(a["usage"]), a["whole"]) for a in answers if a["usage"]]

    def statuses(self):
        """Return the statuses of all answers, in their order."""
        return [json.loads(line)["status"] for line in self._lines()[1:]]

    def _lines(self):
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()


def cost(usage):
    """Return what the API's `usage` costs at `PRICES`, in nanodollars."""
    tokens = {kind: usage.get(name, 0) for kind, name in _COUNTS.items()}
    tokens |= {kind: usage.get("cache_creation", {}).get(name, 0) for kind, name in _WRITTEN.items()}
    return sum(count * round(PRICES[kind] * 1000) for kind, count in tokens.items())


def serve(behaviour):
    """Answer until this process is killed, telling stdout the address, and then of each answer as it begins."""
    plain = Endpoints.answer

    def answer(endpoints, request, request_id):
        asked = time.monotonic()
        delivery = plain(endpoints, request, request_id)

        def begun():
            delivery.begun()
            line = {"asked": asked, "at": time.monotonic(), **facts(request, delivery)}
            os.write(1, json.dumps(line).encode() + b"\n")

        return replace(delivery, begun=begun)

    Endpoints.answer = answer
    serve_forever(behaviour, "127.0.0.1", 0, lambda url: os.write(1, f"{url}\n".encode()))


def facts(request, delivery):
    """Return what an answer is to, and what is billed for it: nothing where it is an error."""
    name = _NAME.search(steering_text(json.loads(request.body)))
    events = [json.loads(line) for line in re.findall(rb"^data: (.*)$", b"".join(delivery.pieces), re.MULTILINE)]
    usage = {}
    for event in events:
        usage |= event.get("usage") or event.get("message", {}).get("usage") or {}
    ended = any(event["type"] == "message_stop" for event in events)
    return {
        "call": name[1] if name else "",
        "status": delivery.status,
        "usage": usage,
        "whole": ended and delivery.ending == "whole",
    }
