"""The table of optional parts: what each is for, where it is, and what to install for it.

Nothing is imported until it is named.
"""

from __future__ import annotations

from importlib import import_module

from ..errors import MissingExtra, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# kind → name → module, attribute, the third-party package that it needs, the extra that installs it
PARTS: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "transport": {
        "http": ("claude_force.client.http", "HttpTransport", "", ""),
        "anthropic": ("claude_force.extras.anthropic_sdk", "SdkTransport", "anthropic", "anthropic"),
    },
    "embedder": {
        "sentence-transformers": (
            "claude_force.extras.sentence_transformers",
            "SentenceEmbedder",
            "sentence_transformers",
            "semantic",
        ),
    },
}


def load(kind: str, name: str) -> Any:
    """Return the part of this `kind` called `name`: a class or function, to be called as its seam says.

    Raises NotFound for a name that is not in the table and MissingExtra if its package is missing or too old.
    Any other ImportError is a mistake of ours and passes through.
    """
    parts = PARTS[kind]
    if name not in parts:
        raise NotFound(kind, name, parts)
    module, attribute, package, extra = parts[name]
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        if not package or (error.name or "").partition(".")[0] != package:
            raise
        message = f"the {kind} '{name}' needs the package '{package}', which is missing or too old"
        raise MissingExtra(message, hint=f"pip install 'claude-force[{extra}]'") from error
