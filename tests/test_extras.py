"""The table of optional parts, and what only the part over the SDK has to do."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from claude_force import extras
from claude_force.client.endpoint import endpoint
from claude_force.client.http import HttpTransport
from claude_force.errors import AuthenticationFailed, MissingExtra, NotFound, UsageError
from claude_force.extras import PARTS, load
from claude_force.records import Block, Request

from .test_client_http import STREAM, Scripted, answer, chunked, head

REQUEST = Request("claude-haiku-5-5", 100, (), (Block("hello"),))


def test_the_built_in_part_is_loaded_like_any_other():
    assert load("transport", "http") is HttpTransport


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(NotFound, match="no transport named 'htp'") as caught:
        load("transport", "htp")
    assert "http" in caught.value.hint


def test_a_missing_package_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)  # what Python itself takes for "not installed"
    monkeypatch.delitem(sys.modules, "claude_force.extras.anthropic_sdk", raising=False)
    with pytest.raises(MissingExtra, match="'anthropic'") as caught:
        load("transport", "anthropic")
    assert caught.value.hint == "pip install 'claude-force[anthropic]'"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "error"),
    [("import nowhere_to_be_found", "nowhere_to_be_found"), ("from claude_force.files import nothing", "nothing")],
)
def test_an_import_error_of_our_own_is_not_hidden(monkeypatch, tmp_path, source, error):
    (tmp_path / "broken_part.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("anthropic", ""):
        monkeypatch.setitem(PARTS["transport"], "broken", ("broken_part", "Part", package, "anthropic"))
        with pytest.raises(ImportError, match=error):
            load("transport", "broken")


def test_a_package_that_is_too_old_is_told_like_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "old_package.py").write_text("")
    (tmp_path / "part_of_it.py").write_text("from old_package import news")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PARTS["transport"], "part", ("part_of_it", "Part", "old_package", "old"))
    with pytest.raises(MissingExtra, match="too old"):
        load("transport", "part")


def test_every_part_of_the_table_names_a_module_that_is_there():
    for parts in PARTS.values():
        for module, _, package, extra in parts.values():
            assert find_spec(module)
            assert bool(package) == bool(extra)


def test_neither_the_table_nor_the_seam_loads_network_code():
    check = (
        "import claude_force.extras, claude_force.client, sys; assert not {'ssl', 'http', 'typing'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-c", check], check=True, cwd=extras.__file__.rsplit("claude_force", 1)[0])


# --- the SDK


@pytest.fixture
def sdk():
    """Makes SDK transports and closes them."""
    pytest.importorskip("anthropic")
    made = []

    def make(**environment):
        made.append(load("transport", "anthropic")(endpoint(environment)))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A profile of the SDK, signed in with a token."""
    directory = tmp_path / "anthropic"
    (directory / "configs").mkdir(parents=True)
    (directory / "credentials").mkdir()
    config = '{"version": "1.0", "organization_id": "o", "authentication": {"type": "user_oauth"}, "base_url": "%s"}'
    token = (
        '{"version": "1.0", "type": "oauth_token", "access_token": "sk-ant-oat01-profile", "expires_at": 9999999999}'
    )
    credentials = directory / "credentials" / "default.json"
    credentials.write_text(token)
    credentials.chmod(0o600)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(directory))
    return lambda url: (directory / "configs" / "default.json").write_text(config % url)


def test_without_a_key_the_sdk_signs_in_with_its_profile(sdk, profile):
    with Scripted(chunked(STREAM)) as server:
        profile(server.url)
        assert sdk()(REQUEST).text == "hi"
    headers = head(server.requests[0])
    assert headers["authorization"] == "Bearer sk-ant-oat01-profile"
    assert "oauth-2025-04-20" in headers["anthropic-beta"]


def test_a_key_wins_over_a_profile(sdk, profile):
    with Scripted(chunked(STREAM)) as server:
        profile("http://127.0.0.1:9")
        assert sdk(ANTHROPIC_API_KEY="k-1", ANTHROPIC_BASE_URL=server.url)(REQUEST).text == "hi"
    assert head(server.requests[0])["authorization"] == "Bearer k-1"


def test_credentials_that_cannot_be_used_are_a_matter_of_signing_in(sdk, profile, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_PROFILE", "../../etc/passwd")
    with pytest.raises(AuthenticationFailed):
        sdk()


def test_credentials_that_fail_when_they_are_needed_are_too(sdk, profile, tmp_path):
    with Scripted(answer()) as server:
        profile(server.url)
        (tmp_path / "anthropic" / "credentials" / "default.json").write_text("{")
        with pytest.raises(AuthenticationFailed):
            sdk()(REQUEST)
        assert server.connections == 0


def test_text_that_no_encoding_takes_is_refused_before_it_is_sent(sdk):
    with Scripted(answer()) as server, pytest.raises(UsageError, match="not Unicode"):
        sdk(ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=server.url)(Request("m", 10, (), (Block("\ud83d"),)))
    assert server.requests == []
