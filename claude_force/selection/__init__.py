"""Which agents fit a task, and which skills it needs: by its words, or by the meaning of its sentences.

Nothing here reads the library or asks a model: agents, skills and what turns a text into a vector are given. How sure
an answer is comes from `calibration.json`, which `scripts/evaluate --calibrate` makes from labelled tasks.
"""

from __future__ import annotations

from ..frozen import dataclass


@dataclass(frozen=True)
class Choice:
    """An agent that fits, how likely it is the right one, from 0 to 1, and why it was chosen, in words."""

    agent: str
    confidence: float
    reason: str
