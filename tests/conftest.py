"""Every test has a home, a project and an environment of its own, and speaks to a real local server."""

import os
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from claude_force.simulator import Behaviour, Simulator

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty home, no key, no proxy: what the machine has set does not reach a test."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "CLAUDE_FORCE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("NO_COLOR", "1")
    return directory


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, which is the working directory."""
    directory = tmp_path / "project"
    (directory / ".claude").mkdir(parents=True)
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def simulator(monkeypatch):
    """A far end, to which every call of this test goes, with a key and without retries."""
    with Simulator(Behaviour()) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
        monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "0")
        yield simulator


@pytest.fixture
def stdin(monkeypatch):
    """A terminal on which a person types what they were given to type."""
    with ExitStack() as opened:

        def types(text):
            person, terminal = os.openpty()
            opened.callback(os.close, person)
            monkeypatch.setattr("sys.stdin", opened.enter_context(open(terminal, encoding="utf-8")))
            os.write(person, text.encode())

        yield types
