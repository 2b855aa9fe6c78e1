"""Everything that can go wrong on purpose, each with its exit status and a hint.

ForceError                     1    failed
├── UsageError                 2    the command line, a file or a setting is wrong
│   ├── ConfigError            2    claude.json
│   ├── ValidationError        2    an agent, a skill or a workflow
│   ├── NotFound               2    no such agent, skill, workflow, model; close names suggested
│   └── MissingExtra           2    an optional package is not installed
├── BudgetExceeded             4    a call that could break a spend limit was not sent
├── AnswerError                1    the API answered, but not with an answer
│   ├── Truncated              1    cut at max_tokens or at the context window
│   ├── Refused                1    the model declined
│   ├── EmptyAnswer            1    no text
│   └── SchemaMismatch         5    the output does not fit its schema
├── ApiError                   1    the API said no: status, type, request id
│   ├── AuthenticationFailed  77    401, 403, or no key at all
│   └── TryLater              75    429, 503, 529: rate limited or overloaded
├── ConnectionFailed           1    no connection, TLS failure, cut or garbled answer
├── Busy                      75    another process holds the lock, or the circuit is open
├── TimedOut                 124    a time limit passed
├── Interrupted              130    Ctrl-C
└── PartlyFailed               3    some steps failed, the others are there
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


class ForceError(Exception):
    """The root: a message in one line, a hint that says what to do, and whether trying again could help."""

    exit_code = 1
    retryable = False
    attempts = 0
    """How many requests it took to fail; none if it was refused before one was sent."""
    sent = True
    """Whether the last of them may have left this machine: what never did costs nothing."""
    began = False
    """Whether an answer had begun: the API may bill it, whatever it said then."""

    def __init__(self, message: str, *, hint: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(hint)  # for the traceback of a Python program
        if retryable is not None:
            self.retryable = retryable

    @property
    def type(self) -> str:
        """The name of the kind of error in JSON results and metrics: snake case of the class."""
        name = type(self).__name__
        return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")

    def within(self, where: str) -> Self:
        """Return this error with `where` before its message; making one anew would need to know its constructor."""
        told = type(self).__new__(type(self), f"{where}: {self.message}")
        told.__dict__.update(vars(self), message=f"{where}: {self.message}")
        return told

    def facts(self) -> dict[str, str | bool]:
        """Return the error as it stands in JSON results."""
        return {"type": self.type, "message": self.message, "retryable": self.retryable, "hint": self.hint}


class UsageError(ForceError):
    """The command line, a file or a setting is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """`claude.json` is wrong; the message names the file and the key path."""


class ValidationError(UsageError):
    """An agent, skill or workflow is wrong; the message names the file and line, or the step."""

    def __init__(self, message: str, *, hint: str = "", step: str | None = None) -> None:
        """Name in `step` the id of the workflow's step that it is about, if it is about one."""
        super().__init__(message, hint=hint)
        self.step = step


class NotFound(UsageError):
    """Nothing has this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), *, where: str = "") -> None:
        """Say that no `kind` is called `name`, suggesting the closest of the `known` names."""
        from difflib import get_close_matches  # 4 ms, needed only on the way out

        names = {n: n.lower().lstrip("-") for n in sorted(known)}  # all options begin alike
        close = get_close_matches(name.lower().lstrip("-"), names.values(), n=3, cutoff=0.6)
        near = sorted((n for n in names if names[n] in close), key=lambda n: close.index(names[n]))
        hint = f"did you mean {' or '.join(near)}?" if near else _known(list(names))
        self.kind, self.name = kind, name
        super().__init__(f"{where}no {kind} named '{name}'", hint=hint)


def _known(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"known: {shown}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}" if names else ""


_SHOWN = 20
"""Names that a hint lists: a line of them can be read, a page of them cannot."""


class MissingExtra(UsageError):
    """An optional part was asked for whose package is not installed."""


class BudgetExceeded(ForceError):
    """A call that could break a spend limit was not sent."""

    exit_code = 4


class AnswerError(ForceError):
    """The API answered, but what it said is not the answer; the text that came is still the output of the outcome."""


class Truncated(AnswerError):
    """The answer was cut at `max_tokens` or at the model's context window."""


class Refused(AnswerError):
    """The model declined to answer."""


class EmptyAnswer(AnswerError):
    """The answer holds no text."""


class SchemaMismatch(AnswerError):
    """The output does not fit the schema that was asked for."""

    exit_code = 5


class ApiError(ForceError):
    """The API refused the request."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str = "",
        retryable: bool | None = None,
    ) -> None:
        """Keep what the API said: HTTP `status`, error `kind`, and seconds to wait if it named them."""
        super().__init__(message, hint=hint, retryable=retryable)
        self.status = status
        self.kind = kind
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationFailed(ApiError):
    """The key is missing, wrong or not allowed to do this."""

    exit_code = 77


class TryLater(ApiError):
    """Rate limited or overloaded, and still so after the retries."""

    exit_code = 75
    retryable = True


class ConnectionFailed(ForceError):
    """No connection, a TLS failure, or an answer that was cut or garbled."""

    retryable = True


class Busy(ForceError):
    """Another process holds what is needed, or the circuit is open."""

    exit_code = 75
    retryable = True


class TimedOut(ForceError):
    """A time limit passed before the answer was complete."""

    exit_code = 124
    retryable = True


class Interrupted(ForceError):
    """The user or the system ended the run."""

    exit_code = 130


class PartlyFailed(ForceError):
    """Some steps failed and the others are there."""

    exit_code = 3


def reason(error: Exception) -> str:
    """Return in lower case what the system says went wrong, without the number and path that `str` adds."""
    told: str | None = getattr(error, "strerror", None)
    return told.lower() if told else str(error)
