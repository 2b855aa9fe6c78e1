"""The stores of a project and of its user, each opened on first use and closed together."""

from __future__ import annotations

from functools import cached_property

from ..records import Document
from ..running.spending import Spending, accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..running.spending import Account
    from ..settings.config import Settings
    from ..stores.cache import ResponseCache
    from ..stores.circuits import SharedRecords
    from ..stores.ledger import Ledger
    from ..stores.memory import AgentMemory


_REPEATED = 4
"""How many sessions are looked at for each that is recalled: the same answer, from the cache too, is sent once."""


class Storage:
    """What lies in `state`, the directory of a project's `.claude`, and in `home`, that of its user.

    `settings` are asked for when they are needed, `keys` are secrets that nothing may keep, `warn` is told what is
    wrong on the disk.
    """

    def __init__(
        self,
        state: Path,
        home: Path,
        *,
        settings: Callable[[], Settings],
        keys: Callable[[], Sequence[str]],
        warn: Callable[[str], None],
    ) -> None:
        self._state, self._home = state, home
        self._settings, self._keys, self._warn = settings, keys, warn
        self._opened: list[Callable[[], object]] = []

    def close(self) -> None:
        """Close every store that was opened, the last one first; one that is used again is opened anew."""
        while self._opened:
            self._opened.pop()()
        for name in ("cache", "memory", "ledger", "user_ledger", "health"):
            self.__dict__.pop(name, None)

    @cached_property
    def cache(self) -> ResponseCache | None:
        """The project's response cache, None if it is switched off."""
        settings = self._settings()
        if not settings.cache_enabled:
            return None
        from ..secret import user_secret
        from ..stores.cache import ResponseCache  # sqlite3 and shelve: 8 ms that other commands need not pay

        cache = ResponseCache(
            self._state / "cache" / "responses.db",
            secret=lambda: user_secret(self._home),
            ttl_hours=settings.cache_ttl_hours,
            max_size_mb=settings.cache_max_size_mb,
            warn=self._warn,
        )
        self._opened.append(cache.close)
        return cache

    @cached_property
    def memory(self) -> AgentMemory:
        """What agents did in this project before."""
        from ..stores.memory import AgentMemory  # sqlite3: 5 ms that other commands need not pay

        memory = AgentMemory(self._state / "agent_memory.db", known=self._keys(), warn=self._warn)
        self._opened.append(memory.close)
        return memory

    @cached_property
    def ledger(self) -> Ledger:
        """What the project spends."""
        return self._ledger(self._state)

    @cached_property
    def user_ledger(self) -> Ledger:
        """What the user spends in all projects; the project's own ledger if that is the home itself."""
        return self.ledger if self._state == self._home else self._ledger(self._home)

    @cached_property
    def health(self) -> SharedRecords:
        """What the project's processes know of the API's health."""
        from ..stores.circuits import SharedRecords  # sqlite3: 5 ms that other commands need not pay

        return SharedRecords(self.ledger.path, file=self.ledger.file)

    def accounts(self) -> tuple[Account, ...]:
        """Return the caps that hold in this project, each with the ledger that it counts in."""
        users = None if self._state == self._home else lambda: self.user_ledger
        return accounts(self._settings(), project=lambda: self.ledger, user=users)

    def spending(self, run_id: str, max_cost: float | None = None) -> Spending:
        """Return what the run `run_id` may spend, at most `max_cost` USD if given, and where that counts."""
        settings = self._settings()
        return Spending(
            self.accounts(),
            run_id=run_id,
            prices=settings.prices,
            own_prices=settings.user_prices,
            max_cost=max_cost,
            user_file=str(self._home / "claude.json"),
        )

    def recalled(self, agent: str, task: str, count: int) -> list[Document]:
        """Return the `count` past sessions of `agent` with a result that are most like `task`, as data to attach."""
        found = self.memory.search(task, agent=agent, limit=_REPEATED * count) if count else []
        told: dict[str, Document] = {}
        for s in (s for s in found if s.result.strip()):  # best first, and of equal ones the newest
            text = f"Task:\n{s.task}\n\nResult:\n{s.result}"
            told.setdefault(text, Document(f"past session of {s.timestamp}", text))
        return list(told.values())[:count]

    def _ledger(self, directory: Path) -> Ledger:
        from ..stores.ledger import Ledger  # sqlite3: 5 ms that other commands need not pay

        ledger = Ledger(directory / "state.db", warn=self._warn)
        self._opened.append(ledger.close)
        return ledger
