"""The embedder over sentence-transformers: a model on this machine that turns texts into vectors.

Nothing is fetched: a model is a directory, or a name that the hub's own tool has downloaded before.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # read at import: a bar for each load of a model has no place on our stderr

import sentence_transformers

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class SentenceEmbedder:
    """An embedder: called with texts, it returns a vector of length 1 for each, as lists of floats.

    `identity` tells the model from others, and from itself after a change: its path with the ages of its files.
    """

    def __init__(self, model: str) -> None:
        """Load `model`, a directory or a name; takes seconds. Raises UsageError if there is none."""
        for noisy in ("transformers", "sentence_transformers", "huggingface_hub"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        place = Path(model).expanduser()
        try:
            self._model = sentence_transformers.SentenceTransformer(
                str(place) if place.is_dir() else model, device="cpu", local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            hint = "name a directory that holds a model of sentence-transformers, or download the model first"
            raise UsageError(f"there is no usable model '{model}' on this machine", hint=hint) from error
        self.identity = _identity(place) if place.is_dir() else model

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts`, in their order."""
        encoded = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        vectors: list[list[float]] = encoded.tolist()
        return vectors


def _identity(place: Path) -> str:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    facts = [f"{path.relative_to(place)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return "\n".join([str(place.resolve()), *facts])
