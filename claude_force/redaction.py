"""Secrets in text: keys, tokens and passwords are replaced by marks before anything is kept.

Some secrets are known by their shape, others by what stands before them, such as `password=`. Where a text comes from
and where it goes is not known here. Prose and code that only speak of secrets stay readable.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST_KNOWN = 8
"""Characters that a known secret must have: a shorter one would be found in ordinary words."""


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return `text` with each secret in it replaced by a mark that names its kind, such as `[redacted:github-token]`.

    `known` are secrets to be replaced wherever they stand, whatever they look like; those shorter than
    SHORTEST_KNOWN characters are not. The time is linear in the length of the text, and redacting twice changes
    nothing more.
    """
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= SHORTEST_KNOWN and secret not in _mark("known-secret"):
            text = text.replace(secret, _mark("known-secret"))
    return _without_labelled(_without_shapes(text))


def _mark(kind: str) -> str:
    return f"[redacted:{kind}]"


# A hint is what `in` finds ten times faster than a regular expression, which most texts then need not meet, nor a
# process compile. A search that fails must not look at the same text again from the next place, or hostile text
# takes quadratic time: a run of characters is taken whole, or begins only where none of its kind stands before it.
# Shapes of the latter sort come last, when a secret before them is a mark already.
# Atomic groups, and no possessive repeats of groups: Python 3.11 before 3.11.5 goes wrong with these (gh-106052).
_SHAPES = (
    (
        ("://",),
        r"""(?<=://)(?>(?:\[redacted:[a-z-]+\]|[^\s/:@"'<>\[\]])*):(?!\[redacted:)(?P<password>[^\s/"'<>]+)(?=@)""",
    ),
    (("sk-ant-",), r"(?P<anthropic_key>sk-ant-[\w-]{16,})"),
    (("AKIA", "ASIA"), r"(?P<aws_key>A[KS]IA[A-Z0-9]{16,})"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?P<github_token>gh[opsru]_\w{30,})"),
    (("github_pat_",), r"(?P<github_token>github_pat_\w{20,})"),
    (("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-"), r"(?P<gitlab_token>gl(?:pat|dt|rt|cbt|ptt)-[\w-]{16,})"),
    (("xox", "xapp-"), r"(?P<slack_token>(?:xox[a-z]|xapp)-[\w-]{10,})"),
    (("hooks.slack.com",), r"hooks\.slack\.com/services/(?P<slack_webhook>[\w/]{20,})"),
    (("npm_",), r"(?P<npm_token>npm_[A-Za-z0-9]{30,})"),
    (("hf_",), r"(?P<huggingface_token>hf_[A-Za-z0-9]{30,})"),
    (("pypi-",), r"(?P<pypi_token>pypi-[\w-]{50,})"),
    (("AIza", "GOCSPX-", "ya29."), r"(?P<google_key>(?:AIza|GOCSPX-|ya29\.)[\w-]{20,})"),
    (("k_live_", "k_test_", "whsec_"), r"(?P<stripe_key>(?:[rs]k_(?:live|test)|whsec)_[\w+/=]{16,})"),
    (
        ("PRIVATE KEY",),
        r"(?P<private_key>-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?=\s|\\[nr])(?:"
        r"(?>(?:[^-]|-(?!----))*)-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?>(?:(?>(?:\s|\\[nr])*)[A-Za-z0-9+/=]{16,})*)))",
    ),
    (("earer ",), r"[Bb]earer (?P<bearer_token>[\w.~+/=-]{20,})"),
    (("asic ",), r"[Bb]asic (?P<basic_credentials>(?=[A-Za-z+/]*+[\d=])[\w+/]{12,}={0,2})"),
    (
        ("sk-",),
        r"(?P<openai_key>sk-(?<![A-Za-z0-9]sk-)(?:(?:proj|svcacct|admin)-[\w-]{16,}|[A-Za-z0-9]{32,}[\w-]*))",
    ),
    (("eyJ",), r"(?P<jwt>eyJ(?<![\w-]eyJ)[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*)"),
)
"""What occurs in each secret of a shape, and the shape, the secret being its one group."""
_HINTED = tuple((hint, shape) for hints, shape in _SHAPES for hint in hints)


def _without_shapes(text: str) -> str:
    for hint, shape in _HINTED:
        if hint in text:
            text = re.sub(shape, _marked, text)
    return text


def _marked(match: re.Match[str]) -> str:
    """Return what was matched with its group, the secret, replaced; what leads up to it stays."""
    kind = match.lastgroup or ""
    return match.string[match.start() : match.start(kind)] + _mark(kind.replace("_", "-"))


_NAME = (
    r"passw(?:or)?d|passphrase|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|token|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|authorization"
)
# Strings: `re` compiles them when the first label is met, and most processes meet none.
_OPTION = r"--(?:[a-z]{1,20}-){0,3}"
_HINTS = ("pass", "pwd", "secret", "token", "key", "authorization")
"""Each name holds one of these."""
_LABEL = rf"(?:{_OPTION})?(?:{_NAME})"
_BEFORE = len("--") + 3 * 21 + len("private-")
_AFTER = len("secret_access_key")
"""How far a label reaches to both sides of where its hint begins."""
_ANNOTATION = r":\s?[a-z_][\w.]{0,40}(?:\[[\w.,\ ]{0,40}\])?(?:\s?\|\s?[a-z_]\w{0,40}){0,3}\s=\s"
_LABELLED = rf"""(?x)
(?: {_OPTION}(?:{_NAME})(?:\s{{1,4}}|=)
  | (?:{_NAME})(?:\\?["'])?\s{{0,4}}(?:{_ANNOTATION}|=>|:=|=(?!=)|:)\s{{0,4}}
)
(?P<quote>\\?["'])?
(?P<scheme>(?:bearer|basic|token)\s{{1,4}})?
(?P<value>(?(quote)(?>(?:(?!(?P=quote))[^\r\n]){{4,}})|[^\s"'`,;(){{}}<>\[\]\\&|]{{4,}}+))
"""
_PLACEHOLDER = (
    r"[\s,;)\]}]|\[redacted:|\$[A-Z_]+\b|\$[{(]|[<{%*]|\.\.\.|…|~/|x{4,}|(?i:your)[ _-]|[.~]{0,2}/[\w.-]+(?:/[\w.-]*)+$"
)
_CODE = rf"(?i)(?:.*[_.])?(?:{_NAME}|key)s?|[a-z_]+(?:\.[a-z_]+)+"
_WORDS = """
true false null none undefined string text bool bytes required optional option options flag flags argument
parameter value values field with from that this must will should into when then where what which here
input change reset bearer basic
"""
_NO_SECRETS = frozenset(_WORDS.split())
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _without_labelled(text: str) -> str:
    """Return `text` without the values of what is called a password, a secret, a token or a key."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter that grew: places would no longer be those of `text`
        lower = text.translate(_LOWER)
    parts: list[str] = []
    copied = place = 0
    hints = _hints(lower)
    while match := _labelled(lower, place, hints):
        start, end = match.span("value")
        if _is_secret(match, text[start:end], text[end : end + 1]):
            parts += text[copied:start], _mark("password" if "pass" in match[0][: start - match.start()] else "secret")
            copied = place = end
        else:  # a sentence in quotes may hold another label, a path or a name does not
            place = start if match["quote"] else end
    return "".join(parts) + text[copied:]


def _hints(lower: str) -> list[int]:
    """Return where the hints begin, the last one first."""
    return sorted(
        (match.start() for hint in _HINTS if hint in lower for match in re.finditer(hint, lower)), reverse=True
    )


def _labelled(lower: str, place: int, hints: list[int]) -> re.Match[str] | None:
    """Return the first label with its value from `place` on; takes away the `hints` that led to none.

    Only what lies around a hint is searched: an eighth of the time that the whole of a common text takes.
    """
    while hints:
        start = max(place, hints[-1] - _BEFORE)
        while hints[-1] >= place and (label := re.compile(_LABEL).search(lower, start, hints[-1] + _AFTER)):
            if match := re.compile(_LABELLED).match(lower, label.start()):
                return match
            start = label.start() + 1
        hints.pop()
    return None


def _is_secret(match: re.Match[str], value: str, after: str) -> bool:
    """Whether `value` is likely a secret rather than a placeholder, a name in code or a word of a sentence."""
    label = match[0][: -len(value)]
    if re.match(_PLACEHOLDER, value) or value.lower().rstrip(".:!?") in _NO_SECRETS:
        return False
    if match["scheme"] or label.startswith("--"):
        return True
    if match["quote"]:
        return "pass" in label or not any(map(str.isspace, value))
    if re.fullmatch(_CODE, value) or after in {"(", "["}:
        return False
    return not label[-1].isspace() or (len(value) >= 6 and any(map(str.isdecimal, value)) and not value.isdecimal())
