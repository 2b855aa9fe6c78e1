"""A run's journal as the runner uses it: what it may recall from it, and where it keeps what has ended.

What is recalled was asked the same way: of an equal agent, with equal skills, task, inputs and outputs before it.
"""

from __future__ import annotations

from ..records import digest
from ..stores.transcript import Session, outcome, sums
from . import cassette
from .parts import fingerprint, output_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..records import Outcome
    from ..stores.journal import Journal
    from ..stores.transcript import Entry, Transcript
    from .parts import Parts
    from .plan import Plan

_REMEMBERED = 50_000
"""Characters of a text whose digest is remembered: prompts are met at every step, large files are mostly met once."""


class Tape:
    """Recalls from `past`, keeps in `journal`; without a journal nothing is kept.

    With `exact` off, as for a run that is played again as it was, a step is recalled whatever it would be asked.
    """

    def __init__(
        self,
        past: Transcript,
        *,
        journal: Journal | None = None,
        plan: Plan | None = None,
        exact: bool = True,
    ) -> None:
        self._was = {digest(past.texts[name]): name for name in past.redacted}
        self._marks: dict[str, str] = {}
        self._past = past
        self._journal = journal
        self._plan = plan
        self._options: dict[str, Any] = {}
        self._exact = exact
        self._known = self._recallable()
        self._steps: list[Entry] = []
        self._began = False

    def note(self, **options: Any) -> None:
        """Take note of how the run is made, for those who ask why a step ran."""
        self._options.update(options)

    def mark(self, text: str) -> str:
        """Return the digest of `text`, or of what it was before it was redacted for the journal."""
        if (known := self._marks.get(text)) is not None:
            return known
        mark = digest(text)
        mark = self._was.get(mark, mark)
        if len(text) <= _REMEMBERED:
            self._marks[text] = mark
        return mark

    def recall(self, step_id: str, parts: Parts) -> Outcome | None:
        """Return how the step ended when it was asked the same way before, if that was an answer."""
        entry = self._known.get((step_id, self._place(parts))) if self._known else None
        return outcome(entry, self._past) if entry else None

    def begin(self) -> None:
        """Write down what is about to be done, once."""
        if self._journal and self._plan and not self._began:
            self._began = True
            facts, texts = cassette.of_plan(self._plan)
            steps = self._plan.workflow.steps
            facts["options"] = self._options
            self._journal.begin(facts, texts, workflow=self._plan.workflow.name, steps=len(steps))

    def keep(self, ended: Outcome) -> None:
        """Write down how a step, or a member of one, ended."""
        if self._journal:
            self.begin()
            mark = fingerprint(ended.parts) if ended.parts else ""
            self._steps.append(self._journal.keep(ended, mark, output_digest(ended)))

    def end(self, *, complete: bool) -> None:
        """Write down that the run has ended, or that it was broken off, and let go of it."""
        if self._journal and self._plan:
            self.begin()
            same = self._past.run_id == self._journal.run_id
            planned = {"steps": [{"id": step.id} for step in self._plan.workflow.steps]}
            told = sums((*(self._past.sessions if same else ()), Session(planned, tuple(self._steps))))
            counts = told["counts"]
            status = "ok" if not counts["failed"] and (counts["ok"] or counts["cached"]) else "failed"
            self._journal.end({"status": status if complete else "interrupted", **told})
            self._journal.close()

    def _recallable(self) -> dict[tuple[str, str], Entry]:
        known: dict[tuple[str, str], Entry] = {}
        for entry in (e for session in self._past.sessions for e in session.steps if "fingerprint" in e):
            place = entry["step"], entry["fingerprint"] if self._exact else entry["parts"].get("item", "")
            if entry["status"] in {"ok", "cached"} and entry.get("output") in self._past.texts:
                known[place] = entry
            else:  # it was asked anew since, in vain
                known.pop(place, None)
        return known

    def _place(self, parts: Parts) -> str:
        if self._exact:
            return fingerprint(parts)
        return parts["item"][1] if "item" in parts else ""
