"""`cache stats`, `clear`, `prune` and `verify`: upkeep of the answers that are kept."""

from __future__ import annotations

from ..errors import ForceError
from ..records import Result
from ..reports.table import plural
from . import consent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..project.workspace import Workspace
    from ..stores.cache import ResponseCache


def stats(args: Namespace, workspace: Workspace) -> Result:
    """Show how often the cache had the answer, and how much it holds, over all processes."""
    cache = workspace.stores.cache
    nothing = {"hits": 0, "misses": 0, "hit_rate": 0.0, "evictions": 0, "size_mb": 0.0, "entries": 0}
    found = cache.stats() if cache else nothing
    lines = [
        f"enabled    {'yes' if cache else 'no'}",
        f"hits       {found['hits']:,} of {found['hits'] + found['misses']:,} ({found['hit_rate']:.1%})",
        f"entries    {found['entries']:,}",
        f"size       {found['size_mb']:,.1f} MB",
        f"evictions  {found['evictions']:,}",
    ]
    return Result({"schema_version": 1, "enabled": cache is not None, **found}, "\n".join(lines))


def clear_options(parser: ArgumentParser) -> None:
    """Add the options of `cache clear`."""
    consent.options(parser)


def clear(args: Namespace, workspace: Workspace) -> Result:
    """Remove all kept answers, if the user says yes."""
    cache = workspace.stores.cache
    count = cache.stats()["entries"] if cache else 0
    if count and not args.yes:
        consent.ask(f"{plural(int(count), 'kept answer')}", workspace)
    return _removed(cache.clear() if cache else 0, cache)


def prune(args: Namespace, workspace: Workspace) -> Result:
    """Remove answers that have expired, and those that another user's key signed."""
    cache = workspace.stores.cache
    return _removed(cache.prune() if cache else 0, cache)


def verify(args: Namespace, workspace: Workspace) -> Result:
    """Read all kept answers and check that they are whole and this user's; fails if some are not."""
    found = (
        workspace.stores.cache.verify()
        if workspace.stores.cache
        else {"valid": 0, "expired": 0, "foreign": 0, "damaged": 0}
    )
    text = f"{plural(found['valid'], 'valid answer')}, {found['expired']:,} expired, {found['foreign']:,} foreign"
    error = _fault(found)
    if workspace.stores.cache and workspace.stores.cache.failed:
        error = ForceError(
            f"the cache {workspace.stores.cache.path} could not be read", hint="see: claude-force doctor"
        )
    data = {"schema_version": 1, "success": error is None, **found, "error": error.facts() if error else None}
    return Result(data, text, error, error.exit_code if error else 0)


def _fault(found: dict[str, int]) -> ForceError | None:
    if found["damaged"]:
        return ForceError("the cache was damaged; a new one is begun", hint="claude-force cache clear removes the old")
    if found["foreign"]:
        entries = plural(found["foreign"], "kept answer")
        return ForceError(
            f"{entries} not written by this user: never used", hint="claude-force cache prune removes what is not yours"
        )
    return None


def _removed(count: int, cache: ResponseCache | None) -> Result:
    if cache and cache.failed:
        raise ForceError(
            f"the cache {cache.path} could not be changed", hint="see that it can be written, and try again"
        )
    return Result({"schema_version": 1, "success": True, "removed": count}, f"removed {plural(count, 'kept answer')}")
