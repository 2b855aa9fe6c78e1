"""`runs replay`: a past run played again from its journal, as it was or with other models."""

from __future__ import annotations

from .. import models, run_ids
from ..errors import ForceError, UsageError
from ..project import recording
from ..records import Result
from ..running import cassette
from ..running.tape import Tape
from ..stores.runs import find_run
from ..stores.transcript import FILE, read
from . import given, run
from .dry_run import dry_run
from .runs import RUN_HELP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from ..models import Model
    from ..project.workspace import Workspace
    from ..records import Outcome
    from ..running.plan import Plan
    from ..stores.transcript import Transcript


def replay_options(parser: ArgumentParser) -> None:
    """Add the options of `runs replay`."""
    parser.add_argument("run", metavar="RUN_ID", help=RUN_HELP)
    parser.add_argument("--from", dest="from_step", metavar="STEP", help="ask STEP, and what depends on it, anew")
    parser.add_argument(
        "--swap",
        action="extend",
        nargs="+",
        default=[],
        metavar="model[.STEP]=M",
        help="ask another model, for all steps or one",
    )
    given.run_options(parser)


def replay(args: Namespace, workspace: Workspace) -> Result:
    """Play a past run again from its journal, without a key; what --swap or --from changes is sent, as a new run."""
    secret = recording.secret(workspace)
    found = find_run(workspace.state / "runs", args.run, secret=secret)
    past = read(found / FILE, secret)
    plan = cassette.swapped(cassette.plan_of(past), _swaps(args.swap, workspace))
    if args.dry_run:
        return dry_run(plan, workspace.settings)
    workspace.wait = args.wait
    if args.swap or args.from_step:
        run_id, options = run_ids.new(), {"from_step": args.from_step, **given.context_options(args)}
        options["tape"] = _live(past, plan, run_id, workspace)
    else:
        run_id, options = found.name, _offline(past, found.name)
    outcomes, error = run.follow(plan, workspace, run_id, stop=False, **options)
    return run.report(plan, outcomes, error, workspace, run_id, None)


def _swaps(pairs: Sequence[str], workspace: Workspace) -> dict[str, Model]:
    """Return the models by step, '' standing for all; raises UsageError, or NotFound for an unknown model."""
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        what, _, step_id = name.partition(".")
        if what != "model" or not value:
            raise UsageError(f"--swap {pair}: expected model=M or model.STEP=M", hint="for example model=haiku")
        found[step_id], warning = models.find(value, prices=workspace.settings.prices)
        if warning:
            workspace.screen.warn(warning)
    return found


def _live(past: Transcript, plan: Plan, run_id: str, workspace: Workspace) -> Tape:
    """Return what recalls from the old run and keeps the journal of the new one."""
    tape = Tape(past, journal=recording.journal(workspace, run_id), plan=plan)
    tape.note(replay_of=past.run_id)
    return tape


def _offline(past: Transcript, run_id: str) -> dict[str, Any]:
    """Return the context's fields for a run that sends and keeps nothing."""

    def refuse() -> NoReturn:
        raise ForceError(f"the journal of run {run_id} has no answer to it", hint="--from STEP asks for it")

    def ignore(_: Outcome) -> None:
        """Keep nothing of what was kept when it was made."""

    return {"tape": Tape(past, exact=False), "use_cache": False, "connect": refuse, "record": ignore}
