"""What passes between the parts: frozen data, and the few facts that follow from it.

Nothing here reads a file, opens a socket or knows a price.
"""

from __future__ import annotations

from functools import lru_cache
from json import JSONEncoder, loads
from json.encoder import encode_basestring_ascii
from time import gmtime, strftime

from .frozen import dataclass, field, fields

TYPE_CHECKING = False  # so that `typing`, 4 ms of every start, is never imported
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any, Literal, TypeVar

    from .errors import ForceError

    T = TypeVar("T")

    Status = Literal["ok", "cached", "failed", "skipped"]
    Record = dict[str, Any]
    """What is known of the API's health under a name, as a JSON object: who keeps it does not know what it says."""
    Change = Callable[[Record | None], tuple[Record | None, T]]
    """A function of the old record that returns the new one, or None to leave it as it is, and a result."""


STATUSES: tuple[Status, ...] = ("ok", "cached", "failed", "skipped")
"""How a step can end, in the order in which they are told."""
EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""How hard a model can be asked to think, as the API names it."""
PRICES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
"""What tokens are paid for as, by the names in the table of models and in `claude.json`."""


_canonical = JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_CONTENT_DEPTH = 6
"""In how many objects and lists the texts of a payload lie at most."""
_REMEMBERED = 50_000
"""Characters of a text that is remembered: large files are mostly met once."""


@dataclass(frozen=True)
class Agent:
    """A system prompt with a name; `ignored` names the fields that only Claude Code gives a meaning."""

    name: str
    description: str
    prompt: str
    model: str | None = None
    effort: str | None = None
    max_tokens: int | None = None
    skills: tuple[str, ...] = ()
    source: str = "project"
    path: Path | None = None
    ignored: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    """What it is for, in a few words each."""


@dataclass(frozen=True)
class Skill:
    """Instructions that an agent is given on top of its own."""

    name: str
    description: str
    body: str
    source: str = "project"
    path: Path | None = None


@dataclass(frozen=True)
class Step:
    """One call of one agent, or one per item of `foreach`, in a workflow."""

    id: str
    agent: str
    task: str = "{{task}}"
    dependencies: tuple[str, ...] = ()
    model: str | None = None
    skills: tuple[str, ...] = ()
    max_tokens: int | None = None
    files: tuple[str, ...] = ()
    foreach: str | tuple[Any, ...] | None = None
    when: str | None = None
    retries: int = 0
    timeout_seconds: float | None = None
    schema: str | None = None
    """Canonical JSON of a JSON Schema."""
    cache: bool = True
    effort: str | None = None


@dataclass(frozen=True)
class Input:
    """A value that a workflow's tasks name as `{{input.NAME}}`; no default means that it must be given."""

    name: str
    default: str | None = None
    description: str = ""


@dataclass(frozen=True)
class Workflow:
    """Steps that wait for each other."""

    name: str
    steps: tuple[Step, ...]
    description: str = ""
    inputs: tuple[Input, ...] = ()
    source: str = "project"
    path: Path | None = None
    task: str = ""
    """What its task has to be, for people; empty if it can do without one."""


@dataclass(frozen=True)
class Document:
    """Untrusted text: an attached file, or the output of an earlier step."""

    name: str
    text: str


@dataclass(frozen=True)
class Block:
    """A text block of a request; `cache` ends a prefix that the API is asked to cache."""

    text: str
    cache: bool = False


@dataclass(frozen=True)
class Request:
    """All that decides an answer. Equal requests have equal keys, in every process and on every machine."""

    model: str
    max_tokens: int
    system: tuple[Block, ...]
    user: tuple[Block, ...]
    effort: str | None = None
    schema: str | None = None
    """Canonical JSON of a JSON Schema that the answer must fit."""
    sample: int = 0
    """Asks for an nth distinct answer: part of the key, never sent."""


def payload(request: Request, *, marks: bool = True) -> dict[str, Any]:
    """Return the JSON body of `POST /v1/messages`, without `stream`, which is the transport's business.

    `marks` are those of prefixes to be cached, which have no say in the answer.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [{"role": "user", "content": [_wire(block, marks) for block in request.user]}],
    }
    if request.system:
        body["system"] = [_wire(block, marks) for block in request.system]
    output: dict[str, Any] = {}
    if request.effort:
        output["effort"] = request.effort
    if request.schema:
        output["format"] = {"type": "json_schema", "schema": loads(request.schema)}
    if output:
        body["output_config"] = output
    return body


def _written(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return _quoted(value) if len(value) <= _REMEMBERED else encode_basestring_ascii(value)
    if type(value) is int:
        return str(value)
    if depth and isinstance(value, dict):
        return f"{{{','.join(f'{_quoted(name)}:{_written(value[name], depth - 1)}' for name in sorted(value))}}}"
    if depth and isinstance(value, list):
        return f"[{','.join(_written(item, depth - 1) for item in value)}]"
    return _canonical(value)


_quoted = lru_cache(64)(encode_basestring_ascii)


def _wire(block: Block, marks: bool) -> dict[str, Any]:
    wire: dict[str, Any] = {"type": "text", "text": block.text}
    if block.cache and marks:
        wire["cache_control"] = {"type": "ephemeral"}
    return wire


def key(request: Request) -> str:
    """Return the SHA-256, in hex, of the canonical form of the whole request without its marks for the prompt cache."""
    from hashlib import sha256  # loads OpenSSL: 5 ms that commands which send nothing need not pay

    return sha256(written({"request": payload(request, marks=False), "sample": request.sample}).encode()).hexdigest()


def task_hash(task: str) -> str:
    """Return the first 8 hex digits of the MD5 of `task`, by which metrics and memory know it again."""
    from hashlib import md5  # loads OpenSSL: 5 ms

    return md5(task.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:8]


def digest(text: str) -> str:
    """Return the SHA-256 of `text` in hex."""
    from hashlib import sha256  # loads OpenSSL: 5 ms

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def iso(seconds: float) -> str:
    """Return a time in seconds since the epoch as ISO 8601 in UTC with milliseconds: 2026-11-22T04:00:00.000Z."""
    milliseconds = int(seconds * 1000)
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03}Z"


def iso_seconds(seconds: float) -> str:
    """Return a time as `iso` does, but in whole seconds: 2026-11-22T04:00:00Z."""
    return f"{iso(seconds)[:19]}Z"


def canonical(value: Any) -> str:
    """Return `value` as JSON that is the same for equal values: sorted keys, ASCII, no white space."""
    return _canonical(value)


def written(payload: Mapping[str, Any]) -> str:
    """Return what `canonical` does; texts are remembered, since those of agents and skills are met in every request."""
    return _written(payload, _CONTENT_DEPTH)


def finite(literal: str) -> float:
    """Return the number that a JSON decoder met; raises ValueError for NaN and infinities, which are no JSON."""
    number = float(literal)
    if not abs(number) < float("inf"):  # NaN neither
        raise ValueError(f"{literal} is no JSON number")
    return number


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer as the API counts them; `input_tokens` are those after the last cache mark."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    """The part of `cache_creation_input_tokens` that was written to live an hour."""
    thinking_tokens: int = 0
    """The part of `output_tokens` that was thinking."""
    web_searches: int = 0
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: fresh, written to the prompt cache and read from it."""
        return self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens

    def __add__(self, other: Usage) -> Usage:
        """Return the sum of the counts; the tier, region and speed of sums mean nothing and are left out."""
        return Usage(*(getattr(self, name) + getattr(other, name) for name in _COUNTS))


_COUNTS = [f.name for f in fields(Usage) if f.type == "int"]


@dataclass(frozen=True)
class Reply:
    """What the API said to one request."""

    text: str
    model: str
    stop_reason: str | None
    usage: Usage = Usage()
    message_id: str | None = None
    request_id: str | None = None
    refusal: str | None = None
    """The category that the API gave with a refusal."""
    attempts: int = 1


@dataclass(frozen=True)
class Outcome:
    """How one step ended. Times are seconds since the run began; money is in nanodollars, None if unpriced."""

    step: str
    agent: str
    status: Status
    output: str = ""
    model: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()
    cost: int | None = 0
    saved: int | None = 0
    started: float = 0.0
    finished: float = 0.0
    attempts: int = 0
    key: str | None = None
    """That of the request, None if there was none."""
    task: str = ""
    """What was asked, with the outputs that it quotes."""
    error: ForceError | None = None
    note: str = ""
    """Why a step was skipped, or what an empty success means."""
    member: int | None = None
    item: str | None = None
    """Which item of `foreach` this is the outcome of, and its label."""
    members: tuple[Outcome, ...] = ()
    """One for each item of `foreach`, in their order: this is the outcome of the whole step."""
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What decided the answer, where a journal is kept: by name the text and its digest."""
    digest: str = ""
    """Of the output as it was when it came, if what stands here was redacted for a journal since."""
    recalled: bool = False
    """Whether it was taken from the journal of the run."""
    task_kind: str = ""
    """What the task asks for, where its model was chosen by routing."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.finished - self.started

    @staticmethod
    def listing(members: Iterable[Outcome]) -> str:
        """Return the outputs of a step's members, each under the label of its item."""
        return "\n\n".join(f"### {m.item}\n\n{m.output}" for m in members if m.output)


@dataclass(frozen=True)
class Result:
    """What a command found: `data` for programs, `text` for people, and how it ended."""

    data: Any
    text: str = ""
    error: ForceError | None = None
    exit_code: int = 0
    streamed: bool = False
    """Whether the text was shown already while it came."""
