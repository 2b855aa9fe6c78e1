"""What a project's `claude.json` may not say: it may come from anybody, and its limits may only tighten the user's.

It knows keys and prices. It does not read files, nor how layers of settings become one.
"""

from __future__ import annotations

from .rules import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from ..records import Usage

    Layer = dict[tuple[str, ...], Any]

_USER_ONLY = ("base_url", "client", "api_key_file", "embedding_model")


def without_user_only(document: dict[str, Any], file: Path, place: str, warnings: list[str]) -> dict[str, Any]:
    """Return the project's `document` without the keys that only the user may set, which belong in `place`."""
    ignored = [name for name in _USER_ONLY if name in document]
    warnings += [f"{file}: {name}: ignored, a project cannot set it; it belongs in {place}" for name in ignored]
    return {name: value for name, value in document.items() if name not in ignored}


def without_lower_prices(layer: Layer, known: Mapping[str, Any], file: Path, place: str, warnings: list[str]) -> Layer:
    """Return the project's `layer` without prices below those of the table or of `known`: they would loosen a cap."""
    lower = [path for path in layer if path[0] == "prices" and _is_lower(path[1], layer[path], known)]
    warnings += [f"{file}: {dotted(p)}: ignored, a project cannot lower a price; it belongs in {place}" for p in lower]
    return {path: value for path, value in layer.items() if path not in lower}


def _is_lower(model: str, row: Mapping[str, float], known: Mapping[str, Any]) -> bool:
    from ..models import cost  # with its table 2 ms, for the few projects that have prices

    for usage in _probes():
        before, after = cost(usage, model, prices=known), cost(usage, model, prices={model: row})
        if before is not None and after is not None and after < before:
            return True
    return False


def _probes() -> Iterator[Usage]:
    """Yield usages that tell each price apart, below and above the size from which some models cost more."""
    from ..records import Usage

    for size in (1_000, 1_000_000):
        yield Usage(input_tokens=size)
        yield Usage(cache_creation_input_tokens=size)
        yield Usage(cache_creation_input_tokens=size, cache_creation_1h_input_tokens=size)
        yield Usage(cache_read_input_tokens=size)
        yield Usage(input_tokens=size, output_tokens=10**12)  # so many that no dearer prompt makes up for them
