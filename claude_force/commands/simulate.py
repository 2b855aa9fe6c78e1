"""`simulate` and `demo`: the stand-in for the API, and a run on it."""

from __future__ import annotations

import shutil
import tempfile
from argparse import Namespace
from pathlib import Path

from .. import run_ids
from ..errors import UsageError, reason
from ..frozen import replace
from ..project.workspace import Workspace
from ..records import Result
from ..simulator import FAULTS, Behaviour, Simulator, parse_latency, serve_forever
from . import given, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
"""A small Python package with the usual mistakes."""


def simulate_options(parser: ArgumentParser) -> None:
    """Add the options of `simulate`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8787, metavar="P", help="port to listen on, 0 for any (8787)")
    parser.add_argument("--latency", default="0s", metavar="T", help="2s, uniform:1s,3s or lognormal:2.5s,7.8s")
    parser.add_argument("--requests-per-minute", type=given.positive, metavar="N", help="limit that is enforced")
    parser.add_argument("--input-tokens-per-minute", type=given.positive, metavar="N", help="limit that is enforced")
    parser.add_argument("--output-tokens-per-minute", type=given.positive, metavar="N", help="limit that is enforced")
    faults = f"faults by rate, as in 529=0.1 reset=0.02: an error status, or {', '.join(FAULTS)}"
    parser.add_argument("--fault", action="extend", nargs="+", default=[], metavar="F=RATE", help=faults)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="makes latencies and faults repeatable")
    parser.add_argument("--key", metavar="KEY", help="accept this key alone; otherwise any")


def simulate(args: Namespace, workspace: Workspace) -> Result:
    """Serve a stand-in for the API until Ctrl-C."""
    behaviour = Behaviour(
        latency=parse_latency(args.latency),
        requests_per_minute=args.requests_per_minute,
        input_tokens_per_minute=args.input_tokens_per_minute,
        output_tokens_per_minute=args.output_tokens_per_minute,
        faults=dict(_rate(text) for text in args.fault),
        seed=args.seed,
        key=args.key,
    )

    def announce(url: str) -> None:
        workspace.screen.note(f"simulating the Messages API on {url}, Ctrl-C ends it; in another terminal:")
        if not workspace.screen.json:
            workspace.screen.write(f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={args.key or 'sk-simulated'}\n")

    try:
        serve_forever(behaviour, args.host, args.port, announce)
    except OSError as error:
        told = reason(error).partition(" (while")[0]  # Python adds the address once more
        message = f"cannot listen on {args.host}:{args.port}: {told}"
        raise UsageError(message, hint="choose another --port, or 0 for any") from None
    return Result({"schema_version": 1, "success": True}, streamed=True)


def demo_options(parser: ArgumentParser) -> None:
    """Add the options of `demo`."""
    parser.add_argument("--latency", default="uniform:0.8s,2s", metavar="T", help="how long an answer takes")


def demo(args: Namespace, workspace: Workspace) -> Result:
    """Run the bundled `code-quality-check` on a flawed sample, against the stand-in."""
    latency = parse_latency(args.latency)
    with tempfile.TemporaryDirectory(prefix="claude-force-demo-") as place:
        project = Path(place) / "project"
        shutil.copytree(SAMPLE, project / "src")
        (project / ".claude").mkdir()
        with Simulator(Behaviour(latency=latency, chunk_delay=latency.low / 50)) as simulator:
            return _shown(project, simulator, workspace)


def _shown(project: Path, simulator: Simulator, workspace: Workspace) -> Result:
    screen = workspace.screen
    screen.note(f"A simulated API answers on {simulator.url}: no model is asked, no key is needed, nothing is paid.")
    screen.note(f"The sample: {', '.join(sorted(p.name for p in (project / 'src').rglob('*.py')))}\n")
    environment = {
        "ANTHROPIC_BASE_URL": simulator.url,
        "ANTHROPIC_API_KEY": "sk-simulated",
        "CLAUDE_FORCE_HOME": str(project.parent / "home"),  # what the user has set does not count here
    }
    with Workspace(screen=screen, start=project, environment=environment) as inside:
        first = _run_once(inside)
        if first.error:
            return first
        screen.note("\nThe same once more: every answer is in the cache now.\n")
        again = _run_once(inside)
    return replace(first, data=first.data | {"again": again.data})


def _run_once(inside: Workspace) -> Result:
    plan = inside.plan(inside.workflow("code-quality-check"), "", given={"files": "src/**/*.py"})
    run_id = run_ids.new()
    outcomes, error = run.follow(plan, inside, run_id)
    return run.report(plan, outcomes, error, inside, run_id, None)


def _rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    try:
        return name, float(rate)
    except ValueError:
        raise UsageError(f"--fault {text}: expected F=RATE", hint="for example 529=0.1") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"expected a port from 0 to 65535, got '{text}'")
    return int(text)
