"""The public Python API of choices: which agent fits a task by its meaning, and which skills it needs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from .. import extras
from ..library import lookup
from ..models import estimate_tokens, find
from ..project.workspace import Workspace
from ..secret import user_secret
from ..selection import semantic
from ..selection import skills as needs
from ..terminal.output import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from ..records import Skill
    from ..selection import Choice
    from ..selection.semantic import Profiles
    from ..selection.skills import Need
    from ..stores.embeddings import Embeddings

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The model whose scores `calibration.json` was made for."""


class SemanticSelector:
    """Tells which agents fit a task by its meaning; usable again and again, for one thread at a time.

    Close it, or use it in a `with`. Needs the extra `semantic`. What agents say of themselves is read anew for each
    task, and the model reads only what has changed.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        directory: str | Path | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        """Open nothing yet. `model` is a directory or a name; the setting `embedding_model` if it is None."""
        self._workspace = workspace or _workspace(directory)
        self._owns = workspace is None
        self._model = model
        self._opened: tuple[Any, Embeddings] | None = None
        self._profiles: Profiles | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept vectors; what is used again is opened anew."""
        if self._opened:
            self._opened[1].close()
            self._opened = None
        if self._owns:
            self._workspace.close()

    def select(self, task: str, *, top: int = 3) -> list[Choice]:
        """Return at most `top` agents that fit `task`, best first; an empty list if none does.

        The first call loads the model, which takes seconds. Raises MissingExtra, and UsageError without a model.
        """
        embed, known = self._ready()
        return semantic.recommend(task, known, embed, top=top)

    def scores(self, task: str) -> list[float]:
        """Return the score of each agent, in the order of their names, from which confidence is made."""
        embed, known = self._ready()
        return semantic.scores(task, known, embed)

    def _ready(self) -> tuple[Any, Profiles]:
        """Return the model, and what the agents say of themselves now."""
        embed, vectors = self._parts()
        agents = self._workspace.agents()
        if self._profiles is None or self._profiles.agents != agents:
            self._profiles = semantic.profiles(agents, vectors)
        return embed, self._profiles

    def _parts(self) -> tuple[Any, Embeddings]:
        if self._opened is None:
            from ..stores.embeddings import Embeddings  # sqlite3: 5 ms that the lexical method need not pay

            workspace = self._workspace
            embed = extras.load("embedder", "sentence-transformers")(self._model or _model_in(workspace))
            known = Embeddings(
                workspace.state / "cache" / "embeddings.db",
                embed,
                model=embed.identity,
                secret=lambda: user_secret(workspace.home),
                warn=workspace.screen.warn,
            )
            self._opened = embed, known
        return self._opened


class ProgressiveSkillsManager:
    """Tells which of the project's skills a task needs, so that only these are sent whole."""

    def __init__(self, directory: str | Path | None = None) -> None:
        with _workspace(directory) as workspace:
            self._skills = lookup.list_skills(workspace.shelves, warn=workspace.screen.warn)
            self._preload = workspace.settings.skills_preload
            model, _ = find(workspace.settings.default_model, prices=workspace.settings.prices)
            self._estimate = partial(estimate_tokens, model_id=model.id)

    def catalogue(self) -> str:
        """Return a line for each skill: its name and what it is."""
        return needs.catalogue(self._skills)

    def needed(self, task: str, *, always: Sequence[str] = ()) -> list[Need]:
        """Return the skills that `task` needs, each with the reason; those in `always` and `skills.preload` first."""
        return needs.needed(task, self._skills, always=(*self._preload, *always))

    def load(self, task: str, *, always: Sequence[str] = ()) -> list[Skill]:
        """Return the skills that `task` needs, with their bodies."""
        return [need.skill for need in self.needed(task, always=always)]

    def saving(self, task: str, *, always: Sequence[str] = ()) -> dict[str, int | float]:
        """Return `all_tokens` of all skills, `sent_tokens` of the catalogue and what `task` needs, and `saved`.

        Tokens are estimates for the default model; `saved` is a share from 0 to 1, below 0 where nothing is saved.
        """
        return needs.saving(self._skills, self.load(task, always=always), self._estimate)


def _workspace(directory: str | Path | None) -> Workspace:
    screen = Screen(stdout=sys.stderr)
    screen.quiet = True
    return Workspace(screen=screen, start=Path(directory).absolute() if directory else None)


def _model_in(workspace: Workspace) -> str:
    return workspace.settings.embedding_model or DEFAULT_MODEL
