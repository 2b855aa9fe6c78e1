"""Models, what they can do and what they cost, read from the dated table in `models.json`.

Knows neither the network nor the settings: prices of one's own are an argument. Money is whole nanodollars,
so that sums are exact (1 USD per million tokens is 1,000 nanodollars per token); an unknown price is None, never 0.
"""

from __future__ import annotations

import json
import re
import time
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

from .errors import NotFound
from .frozen import dataclass, field
from .records import EFFORTS, PRICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .records import Usage

    Prices = Mapping[str, Mapping[str, Any]]
    """Model name to USD per million tokens: `input` and `output`, and optionally the rest of `records.PRICES`."""

_NO_PRICES: Prices = MappingProxyType({})
_OF_ONE_USD = 1_000_000_000
_WEB_SEARCH = 10_000_000  # nanodollars: 10 USD per 1,000 searches
_FOR_PEOPLE = ("kept_until", "unverified")
"""Fields of the table that only those read who keep it up to date."""
_NEWER_MODEL = r"claude-(?:haiku|sonnet|opus|fable|mythos)-\d{1,2}(?:-\d{1,2})?(?:-\d{8})?"


@dataclass(frozen=True)
class Model:
    """What the table says of a model; dates are ISO 8601 days, `known` is False for an id with no row and no price."""

    id: str
    line: str = ""
    """haiku, sonnet, opus, fable or mythos; empty for a name that belongs to none."""
    context_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    min_cacheable_tokens: int = 1_024
    """A shorter prefix is not cached, and the API does not say so."""
    efforts: tuple[str, ...] = EFFORTS
    newer_tokenizer: bool = True
    """Counts about a third more tokens for the same text than the models up to 4.6 do."""
    aliases: tuple[str, ...] = ()
    released: str | None = None
    deprecated: str | None = None
    retired: str | None = None
    """The day from which requests fail; may lie ahead."""
    successor: str | None = None
    known: bool = True
    prices: tuple[dict[str, Any], ...] = field(default=(), repr=False, compare=False)
    """Rows as in the file, the oldest first."""


@cache
def all_models() -> tuple[Model, ...]:
    """Return every model of the table, retired ones too, the newest of a line before the older ones."""
    return tuple(_model(row) for row in _table()["models"])


def price_version() -> str:
    """Return the day on which the table of prices was last brought up to date."""
    return str(_table()["price_version"])


def find(spelling: str, *, prices: Prices = _NO_PRICES, on: str | None = None) -> tuple[Model, str | None]:
    """Return the model that `spelling` means and a warning, if there is something to warn of.

    Short names, dateless names, titles (`Claude Sonnet 4.5`) and the spellings of Bedrock, Vertex and Claude Code are
    understood; the model's `id` is always the one that Anthropic's API takes. A model that is retired on the day `on`
    (default today) is replaced by its successor. A name in `prices` is taken as it is; it, and an id newer than
    the table, gets the widest limits there are, so that nothing is refused here that the API may accept.
    Raises NotFound.
    """
    name = _canonical(spelling)
    if listed := _index().get(name):
        return _in_service(listed, on or _today())
    own = next((key for key in prices if _canonical(key) == name), None)
    if own is not None:
        return Model(own, _line(name)), None
    if re.fullmatch(_NEWER_MODEL, name):
        return Model(name, _line(name), known=False), f"{name} is not in the table of {price_version()}: price unknown"
    raise NotFound("model", spelling, [*_table()["short_names"], *(m.id for m in all_models() if not m.retired)])


def lifecycle(model: Model, *, on: str | None = None) -> str:
    """Return `active`, `deprecated` or `retired`: how the model stands on the day `on`, by default today."""
    today = on or _today()
    if model.retired and model.retired <= today:
        return "retired"
    return "deprecated" if model.deprecated and model.deprecated <= today else "active"


def cost(usage: Usage, model_id: str, *, on: str | None = None, prices: Prices = _NO_PRICES) -> int | None:
    """Return what `usage` costs in nanodollars, or None if the price is unknown.

    `on` is the day whose prices hold, by default the newest. A long prompt or fast mode changes the price of every
    token of the request; a batch halves it and inference in the US adds a tenth, not to searches, rounded up.
    A row in `prices` replaces the table's, long and fast prices included. A refusal before any output is reported with
    its tokens but not billed: only the caller can know.
    Formula: platform.claude.com, pages Pricing, Prompt caching and Data residency.
    """
    rates = _rates(model_id, usage.prompt_tokens, fast=usage.speed == "fast", on=on, prices=prices)
    if rates is None:
        return None
    tokens = (
        usage.input_tokens * rates["input"]
        + usage.output_tokens * rates["output"]
        + (usage.cache_creation_input_tokens - usage.cache_creation_1h_input_tokens) * rates["cache_write_5m"]
        + usage.cache_creation_1h_input_tokens * rates["cache_write_1h"]
        + usage.cache_read_input_tokens * rates["cache_read"]
    )
    tenths = 11 if usage.inference_geo == "us" else 10
    divisor = 20 if usage.service_tier == "batch" else 10
    return _divided(tokens * tenths, divisor) + usage.web_searches * _WEB_SEARCH


def estimate_tokens(text: str, model_id: str) -> int:
    """Return how many tokens `text` usually has at most: 4 for 9 bytes of UTF-8, or 3 for 5 if the model is newer.

    Published counts are 500 / 118 characters a token for English prose, 500 / 161 for Python, 500 / 217 for HTML and
    500 / 312 for Korean, whose characters are 3 bytes each; this covers the densest. Models from 4.7 on count up to
    35 % more. So prose is overestimated by more than half; text of random digits or emoji can still have more.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    model = _index().get(_canonical(model_id))
    return _divided(size * 3, 5) if model is None or model.newer_tokenizer else _divided(size * 4, 9)


def total(amounts: Iterable[int | None]) -> int | None:
    """Return the sum in nanodollars, None if one of them is unknown."""
    listed = list(amounts)
    return None if None in listed else sum(amount or 0 for amount in listed)


def usd(nanodollars: int | None) -> float | None:
    """Return the amount in USD; the quotient of two integers is the nearest float, so it prints with nine decimals."""
    return None if nanodollars is None else nanodollars / _OF_ONE_USD


def nanodollars(amount: float) -> int:
    """Return an amount in USD as whole nanodollars, the nearest; `usd` of it is the same amount up to a million USD."""
    return round(amount * _OF_ONE_USD)


def price_rows(*, prices: Prices = _NO_PRICES, on: str | None = None) -> list[dict[str, Any]]:
    """Return one row per model for a listing: its names, prices in USD per million tokens, limits and lifecycle.

    Names that only `prices` holds come first. The prices are those of the day `on`, by default the newest.
    """
    own = [Model(key, _line(_canonical(key))) for key in prices if _canonical(key) not in _index()]
    return [_price_row(model, prices, on) for model in (*own, *all_models())]


def _price_row(model: Model, prices: Prices, on: str | None) -> dict[str, Any]:
    rates = _rates(model.id, 0, on=on, prices=prices) or {}
    per_million = {name: rates[name] / 1000 if name in rates else None for name in PRICES}
    names = [short for short, name in _table()["short_names"].items() if name == model.id]
    return {
        "id": model.id,
        "line": model.line,
        "aliases": [*names, *model.aliases],
        "usd_per_million_tokens": per_million,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "lifecycle": lifecycle(model, on=on),
        "released": model.released,
        "retired": model.retired,
        "successor": model.successor,
    }


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))
    return table


def _model(row: dict[str, Any]) -> Model:
    facts = {name: value for name, value in row.items() if name not in _FOR_PEOPLE}
    lists = {name: tuple(row.get(name, ())) for name in ("aliases", "prices")}
    return Model(**{**facts, **lists, "efforts": tuple(row["efforts"].split())})


@cache
def _index() -> dict[str, Model]:
    return {model.id: model for model in all_models()}


@cache
def _exact_ids() -> dict[str, str]:
    """Return the id for every name of the table as it is spelled there."""
    named = {name: model.id for model in all_models() for name in (model.id, *model.aliases)}
    return {**_table()["short_names"], **named}


@cache
def _ids() -> dict[str, str]:
    """Return the id for every name of the table, the names spelled as `_plain` spells them."""
    return {_plain(name): model for name, model in _exact_ids().items()}


@lru_cache(maxsize=256)
def _canonical(spelling: str) -> str:
    if exact := _exact_ids().get(spelling):  # as nearly all are: the others take patterns, 1 ms
        return exact
    plain = _plain(spelling)
    return _ids().get(plain, plain)


def _plain(spelling: str) -> str:
    """Return the spelling as an id would have it: no case, blanks, provider, region, release or context mark."""
    name = re.sub(r"\s*(?:\([^()]*\)|\[1m\])$", "", spelling.strip().lower())
    name = re.sub(r"^(?:[a-z-]+\.)?anthropic[./]", "", name)
    name = re.sub(r"[\s.@_]+", "-", name.removesuffix("@default"))
    return re.sub(r"-v\d+(?::\d+)?(?=-\d{8}$|$)", "", name)


def _line(name: str) -> str:
    return next((part for part in name.split("-") if part in ("haiku", "sonnet", "opus", "fable", "mythos")), "")


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _in_service(model: Model, today: str) -> tuple[Model, str | None]:
    current = model
    while current.successor and lifecycle(current, on=today) == "retired":
        current = _index()[current.successor]
    if current is not model:
        return current, f"{model.id} was retired on {model.retired}; using {current.id}"
    if lifecycle(model, on=today) == "deprecated":
        end = f" and will be retired on {model.retired}" if model.retired else f" since {model.deprecated}"
        return model, f"{model.id} is deprecated{end}; use {model.successor}"
    return model, None


def _rates(
    model_id: str, prompt_tokens: int, *, fast: bool = False, on: str | None = None, prices: Prices
) -> dict[str, int] | None:
    name = _canonical(model_id)
    own = next((row for key, row in prices.items() if _canonical(key) == name), None)
    if own is not None:
        return _per_token(own)
    model = _index().get(name)
    row = _row_on(model.prices, on) if model else None
    band = _band(row, prompt_tokens, fast=fast) if row else None
    return _per_token(band) if band else None


def _row_on(rows: tuple[dict[str, Any], ...], on: str | None) -> dict[str, Any] | None:
    """Return the row of that day; the first also holds before its date, since some launch days are uncertain."""
    begun = [row for row in rows if on is None or row["from"] <= on]
    if begun:
        return begun[-1]
    return rows[0] if rows else None


def _band(row: dict[str, Any], prompt_tokens: int, *, fast: bool) -> dict[str, Any] | None:
    if fast:
        return row.get("fast")
    long: dict[str, Any] | None = row.get("long")
    return long if long and prompt_tokens > long["above"] else row


def _per_token(row: Mapping[str, Any]) -> dict[str, int]:
    """Return nanodollars per token; a cache price that is not given is the usual multiple of the input price."""
    fresh = _nanodollars(row["input"])
    usual = {"cache_write_5m": _divided(fresh * 5, 4), "cache_write_1h": fresh * 2, "cache_read": _divided(fresh, 10)}
    given = {name: _nanodollars(row[name]) for name in PRICES[1:] if name in row}
    return {"input": fresh, **usual, **given}


def _nanodollars(usd_per_million: float) -> int:
    return round(usd_per_million * 1000)


def _divided(number: int, divisor: int) -> int:
    """Divide, rounding up: money that is owed and room that is needed are not understated."""
    return -(-number // divisor)
