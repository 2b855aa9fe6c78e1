"""`doctor`: what this machine, the stores, the settings and the network say, and what to do about it.

Every check ends in one sentence and none of them stops the others. A key is looked at and sent, never shown.
"""

from __future__ import annotations

import time

from .. import models
from ..client.endpoint import KEY_VARIABLES, far_end
from ..errors import AuthenticationFailed, ForceError, NotFound, UsageError, reason
from ..frozen import replace
from ..records import Result
from ..reports.table import plural, quoted
from ..settings.config import Settings
from .health import health
from .machine import Check, clock, machine, without_key
from .troubles import troubles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from ..client.endpoint import Endpoint
    from ..project.workspace import Workspace

PATIENCE_SECONDS = 5.0
"""How long a connection, and then the answer, may take."""


def doctor_options(parser: ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--cron", action="store_true", help="check too whether things would run from cron")
    parser.add_argument("--offline", action="store_true", help="do not touch the network")


def doctor(args: Namespace, workspace: Workspace) -> Result:
    """Check this machine, the stores, the settings, the key and the address; exit 1 if something is a problem."""
    settings, wrong = _settings(workspace)
    checks = [*machine(workspace), *health(workspace), wrong or _settings_files(workspace)]
    if not wrong:
        checks += [*_extras(settings.client), *_models(workspace), *_limits(workspace)]
    checks += _network(workspace, settings, offline=args.offline)
    if args.cron:
        from .cron import checks as cron_checks  # what other checks need not load

        checks += cron_checks(workspace)
    bad = any(check.status == "problem" for check in checks)
    data = {"schema_version": 1, "success": not bad, "checks": [vars(check) for check in checks]}
    return Result(data, _text(checks), exit_code=1 if bad else 0)


def _limits(workspace: Workspace) -> Iterator[Check]:
    try:
        found = troubles(workspace)
    except OSError as error:
        found_out = f"what is known of the API's health cannot be read: {reason(error)}"
        yield Check("limits", "warning", found_out, "mend state.db, as is said above")
        return
    for trouble in found:
        remedy = "wait: calls are let through again by themselves"
        yield Check("limits", "warning", f"{trouble.name}: {trouble.state}: {trouble.found}", remedy)


def _network(workspace: Workspace, settings: Settings, *, offline: bool) -> Iterator[Check]:
    """Yield what there is to say of the key, the proxy, the address, the clock and the API."""
    try:
        environment = workspace.environment
        far = far_end(settings, environment)
    except AuthenticationFailed as error:
        yield Check("key", "problem", error.message, error.hint)
        return
    except UsageError as error:
        yield Check("address", "problem", error.message, error.hint)
        return
    variables = [name for name in KEY_VARIABLES if environment.get(name, "").strip()]
    yield from _key(far, settings, None if variables else settings.api_key_file, variables)
    yield Check("proxy", "ok", f"{far.proxy.host}:{far.proxy.port}" if far.proxy else "none")
    if offline:
        yield Check("address", "ok", f"{far.url}; not tried, as --offline asks")
    else:
        yield from _reached(far, settings)


def _settings(workspace: Workspace) -> tuple[Settings, Check | None]:
    """Return the settings, or those that are built in and what is wrong with the user's."""
    try:
        return workspace.settings, None
    except UsageError as error:
        return Settings(), Check("settings", "problem", error.message, error.hint or "see: claude-force validate")


def _settings_files(workspace: Workspace) -> Check:
    files = set(workspace.settings.origins.values()) - {"built in"}
    return Check("settings", "ok", f"from {', '.join(sorted(files))}" if files else "all built in: no claude.json")


def _extras(client: str) -> Iterator[Check]:
    from importlib.util import find_spec

    from ..extras import PARTS

    for kind, parts in PARTS.items():
        for name, (_, _, package, extra) in parts.items():
            if not package:
                continue
            remedy = f"pip install 'claude-force[{extra}]'"
            if find_spec(package):
                yield Check(f"extra {extra}", "ok", f"{package} {_version(package)}")
            elif kind == "transport" and name == client:
                yield Check(f"extra {extra}", "problem", f"the client '{name}' needs {package}", remedy)
            else:
                yield Check(f"extra {extra}", "ok", f"not installed, and not needed; to have it: {remedy}")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # 30 ms, but importing the package can take a second

    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"


def _models(workspace: Workspace) -> Iterator[Check]:
    wanted = {workspace.settings.default_model: "the default model"}
    try:
        for agent in workspace.agents():
            if agent.model:
                wanted.setdefault(agent.model, f"agent '{agent.name}'")
    except ForceError as error:
        yield Check("agents", "problem", error.message, error.hint)
    found = [_model(name, user, workspace.settings.prices) for name, user in wanted.items()]
    yield from (check for check in found if check.status != "ok")
    if all(check.status == "ok" for check in found):
        yield Check("models", "ok", ", ".join(check.found for check in found))


def _model(name: str, user: str, prices: Any) -> Check:
    try:
        model, warning = models.find(name, prices=prices)
    except NotFound as error:
        return Check("models", "problem", f"{user}: {error.message}", error.hint)
    if warning:
        return Check("models", "warning", f"{user}: {warning}", "see: claude-force list models")
    return Check("models", "ok", model.id)


def _key(far: Endpoint, settings: Settings, file: Path | None, variables: list[str]) -> Iterator[Check]:
    if file and file.stat().st_mode & 0o077:
        yield Check("key file", "warning", f"others may read {file}", f"chmod 600 {quoted(file)}")
    if key := far.api_key or far.auth_token:
        yield _shape(key, far, str(file) if file else variables[0])
    elif far.authenticated:
        yield Check("key", "ok", "from ANTHROPIC_CUSTOM_HEADERS")
    elif told := without_key("key", settings.client, file):
        yield told
    else:
        remedy = "set ANTHROPIC_API_KEY; without a key there is: claude-force demo"
        yield Check("key", "problem", "there is none", remedy)
    if len(variables) > 1:
        yield Check("key", "warning", f"{' and '.join(variables)} are both set: the first counts", "unset one of them")


def _shape(key: str, far: Endpoint, source: str) -> Check:
    if far.host.endswith("anthropic.com") and not key.startswith("sk-ant-"):
        found = f"from {source}, but it does not begin with sk-ant-"
        return Check("key", "warning", found, "compare it with the one in the Claude Console")
    return Check("key", "ok", f"from {source}")


def _reached(far: Endpoint, settings: Settings) -> Iterator[Check]:
    patient = replace(far, connect_timeout=PATIENCE_SECONDS, idle_timeout=PATIENCE_SECONDS)
    started = time.monotonic()
    try:
        date = _date(patient)
    except ForceError as error:
        hint = "" if "doctor" in error.hint else error.hint
        yield Check("address", "problem", error.message, hint or "check the network, DNS and the proxy (HTTPS_PROXY)")
        return
    yield Check("address", "ok", f"{far.url} answers in {(time.monotonic() - started) * 1000:.0f} ms")
    if (told := clock(date, time.time())) is not None:
        yield told
    if far.authenticated:
        yield from _api(patient, settings)


def _date(far: Endpoint) -> str | None:
    """Return the Date header of an answer that needs no key."""
    from ..client.connection import Pool  # http.client and ssl: 25 ms that --offline need not pay

    target = f"{far.url}/" if far.proxy and far.scheme == "http" else f"{far.prefix}/"
    head = f"HEAD {target} HTTP/1.1\r\nhost: {far.authority}\r\n"
    if far.proxy and far.proxy.authorization and far.scheme == "http":
        head += f"proxy-authorization: {far.proxy.authorization}\r\n"
    pool = Pool(far)
    connection = pool.take(time.monotonic() + 2 * PATIENCE_SECONDS)
    try:
        return connection.exchange(f"{head}\r\n".encode("ascii"), b"").headers.get("date")
    finally:
        connection.close()


def _api(far: Endpoint, settings: Settings) -> Iterator[Check]:
    from ..client.http import HttpTransport

    transport = HttpTransport(far)
    try:
        page = transport.get_json("/v1/models?limit=1000", deadline=time.monotonic() + 2 * PATIENCE_SECONDS)
    except AuthenticationFailed as error:
        yield Check("api", "problem", error.message, error.hint or "the key is not accepted: make a new one")
    except ForceError as error:
        yield Check("api", "problem", error.message, error.hint or "try again later")
    else:
        served = {entry.get("id") for entry in page.get("data", []) if isinstance(entry, dict)}
        yield Check("api", "ok", f"accepts the key and serves {plural(len(served), 'model')}")
        yield from _served(served, settings)
    finally:
        transport.close()


def _served(served: set[Any], settings: Settings) -> Iterator[Check]:
    check = _model(settings.default_model, "the default model", settings.prices)
    if served and check.status == "ok" and check.found not in served:
        found = f"the default model {check.found} is not among those that this key may use"
        yield Check("models", "warning", found, "choose another default_model, or ask who gave you the key")


def _text(checks: Iterable[Check]) -> str:
    lines = []
    for check in checks:
        lines.append(f"{check.status:8} {check.name}: {check.found}")
        if check.remedy:
            lines.append(f"{'':8} → {check.remedy}")
    return "\n".join(lines)
