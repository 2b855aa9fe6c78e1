"""Where a model was named that there is none of: a file and a key, a variable, or a step."""

from __future__ import annotations

from .. import models
from ..errors import NotFound
from ..settings.config import ENVIRONMENT
from ..settings.rules import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..models import Model
    from ..records import Agent, Workflow
    from ..settings.config import Settings


def default_model(settings: Settings) -> Model:
    """Return the model that holds where nothing names another; raises NotFound, saying who named it."""
    try:
        return models.find(settings.default_model, prices=settings.prices)[0]
    except NotFound as error:
        raise error.within(_default(settings)) from None


def located(error: NotFound, source: Workflow, settings: Settings, find_agent: Callable[[str], Agent]) -> NotFound:
    """Return `error`, which planning `source` raised, with the place of the model that it is about, if it is one.

    The model of an agent that is run by itself was named by the user a moment ago: that needs no place.
    """
    if error.kind != "model":
        return error
    for step in source.steps:
        if step.model == error.name:
            place = f"{source.path or source.source}: workflow '{source.name}': step '{step.id}': model"
            return error if source.source == "agent" else error.within(place)
        if step.model is None and (agent := find_agent(step.agent)).model == error.name:
            origin = settings.origins.get(dotted(("agents", agent.name, "model")), agent.path)
            return error.within(f"{origin}: agent '{agent.name}': model")
    return error.within(_default(settings)) if error.name == settings.default_model else error


def _default(settings: Settings) -> str:
    origin = settings.origins["default_model"]
    return origin if origin in ENVIRONMENT else f"{origin}: default_model"
