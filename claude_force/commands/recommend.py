"""`recommend`: which agents fit a task, how surely, and why."""

from __future__ import annotations

from ..errors import UsageError
from ..records import Result
from ..reports.table import table
from ..selection import lexical
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from ..project.workspace import Workspace
    from ..selection import Choice


def recommend_options(parser: ArgumentParser) -> None:
    """Add the options of `recommend`."""
    given.task_options(parser)
    parser.add_argument("--top", type=given.positive, default=3, metavar="N", help="how many agents at most (3)")
    parser.add_argument(
        "--method", choices=("lexical", "semantic"), default="lexical", help="by words, or by meaning with a model"
    )
    parser.add_argument("--model", metavar="M", help="the model of --method semantic, a directory or a name")


def recommend(args: Namespace, workspace: Workspace) -> Result:
    """List the agents that fit a task, best first; status 1 if none does, as `grep` has it."""
    found = _found(_task(args), args, workspace)
    data = [dict(vars(choice)) for choice in found]
    if not found:
        workspace.screen.note("no agent fits this task; claude-force list agents shows what there is")
        return Result(data, exit_code=1)
    rows = [(choice.agent, f"{choice.confidence:.0%}", choice.reason) for choice in found]
    headings, width = ("AGENT", "CONFIDENCE", "REASON"), workspace.screen.page
    return Result(data, table(headings, rows, width=width, numbers=("CONFIDENCE",), texts=("AGENT", "REASON")))


def _found(task: str, args: Namespace, workspace: Workspace) -> Sequence[Choice]:
    if args.method == "lexical":
        if args.model:
            raise UsageError("--model has no meaning for --method lexical", hint="add --method semantic")
        return lexical.recommend(task, workspace.agents(), top=args.top)
    from ..api.choosing import SemanticSelector  # 3 ms, besides the seconds that its model takes

    with SemanticSelector(args.model, workspace=workspace) as selector:
        return selector.select(task, top=args.top)


def _task(args: Namespace) -> str:
    text = given.task(args)
    return given.present(given.piped() if text is None else text, 'recommend "Find out why …"')
