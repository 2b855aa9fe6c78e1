"""Settings: layers, trust, words of the errors, and the files of older releases."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_force.errors import ConfigError
from claude_force.settings import config
from claude_force.settings.config import Settings

CONTRACT = {
    "version": 2,
    "default_model": "sonnet",
    "agents": {
        "NAME": {"path": "agents/x.md", "model": "haiku", "skills": ["s"], "max_tokens": 4096, "effort": "low"},
    },
    "workflows": {
        "NAME": {"description": "d", "steps": [{"id": "i", "agent": "a", "task": "t", "dependencies": []}]},
    },
    "cache": {"enabled": True, "ttl_hours": 24, "max_size_mb": 100, "exclude_agents": []},
    "performance": {"max_concurrent_agents": 10, "max_retries": 2, "request_timeout_seconds": 600},
    "budget": {"run_usd": None, "daily_usd": None, "monthly_usd": None},
    "memory": {"recall": 0, "retention_days": 365},
    "metrics": {"retention_days": 30},
    "routing": {"auto": False},
    "skills": {"preload": []},
    "alerts": {},
    "prices": {},
    "circuit_breaker": {"failure_threshold": 5, "timeout_seconds": 60},
    "features": {
        "cache_enabled": True,
        "parallel_workflows_enabled": True,
        "memory_enabled": True,
        "metrics_enabled": True,
    },
}
OLD = {
    "version": "1.0.0",
    "name": "A system",
    "governance": {"hooks_enabled": True},
    "agents": {
        "reviewer": {"file": "agents/reviewer.md", "contract": "contracts/reviewer.contract", "priority": 1},
        "writer": {"file": "agents/writer.md", "domains": ["docs"]},
    },
    "workflows": {"check": ["reviewer", "writer", "reviewer"]},
    "performance": {"async_enabled": True, "max_concurrent_agents": 3, "parallel_workflows": False},
    "memory": {"enabled": False, "retention_days": 90},
}


@pytest.fixture
def user(home):
    (home / ".claude").mkdir()
    return home / ".claude" / "claude.json"


@pytest.fixture
def file(project):
    return project / ".claude" / "claude.json"


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def load(project=None, user=None, environment=None):
    return config.load(user=user, project=project, environment=environment or {})


def quiet(project=None, **rest):
    found, warnings = load(project, **rest)
    assert warnings == []
    return found


def error(project=None, **rest):
    with pytest.raises(ConfigError) as caught:
        load(project, **rest)
    assert "\n" not in caught.value.message
    return caught.value


def paths(value, path=()):
    """Return the key path of every value in `value`."""
    inner = value.items() if isinstance(value, dict) else ()
    return [path, *(found for name, child in inner for found in paths(child, (*path, name)))]


def put(value, path, new):
    if not path:
        return new
    return {**value, path[0]: put(value[path[0]], path[1:], new)}


# layers


def test_without_any_file_everything_is_built_in(tmp_path):
    found = quiet(tmp_path / "none" / "claude.json", user=tmp_path / "claude.json")
    assert found == Settings()
    assert set(found.origins.values()) == {"built in"}


def test_the_example_of_the_contract_says_what_is_built_in(file):
    found = quiet(write(file, {**CONTRACT, "agents": {}, "workflows": {}}))
    assert found == Settings()


def test_the_nearer_layer_wins_and_is_named_as_the_origin(user, file):
    write(user, {"version": 2, "default_model": "u", "cache": {"ttl_hours": 1, "max_size_mb": 1}})
    write(file, {"version": 2, "default_model": "p", "cache": {"ttl_hours": 2}, "performance": {"max_retries": 3}})
    environment = {"CLAUDE_FORCE_MODEL": "e", "CLAUDE_FORCE_RETRIES": "4", "CLAUDE_FORCE_TIMEOUT": "0.5"}
    found = quiet(file, user=user, environment=environment)
    assert (found.default_model, found.cache_ttl_hours, found.cache_max_size_mb) == ("e", 2, 1)
    assert (found.performance_max_retries, found.performance_request_timeout_seconds) == (4, 0.5)
    named = ("default_model", "cache.ttl_hours", "cache.max_size_mb", "performance.max_retries", "routing.auto")
    assert [found.origins[name] for name in named] == [
        "CLAUDE_FORCE_MODEL",
        str(file),
        str(user),
        "CLAUDE_FORCE_RETRIES",
        "built in",
    ]


def test_an_agent_is_put_together_from_both_files(user, file):
    write(user, {"version": 2, "agents": {"a": {"path": "x.md", "model": "opus"}, "b": {"effort": "max"}}})
    write(file, {"version": 2, "agents": {"a": {"model": "haiku", "skills": ["s"]}}})
    found = quiet(file, user=user)
    assert found.agents["a"] == {"path": user.parent / "x.md", "model": "haiku", "skills": ("s",)}
    assert found.agents["b"] == {"effort": "max"}
    assert (found.origins["agents.a.path"], found.origins["agents.a.model"]) == (str(user), str(file))


def test_every_variable_sets_its_key(user):
    names = ("MODEL", "CLIENT", "JOBS", "TIMEOUT", "RETRIES")
    values = ("opus", "anthropic", "3", "7.5", "0")
    found = quiet(environment={f"CLAUDE_FORCE_{n}": v for n, v in zip(names, values, strict=True)})
    assert (found.default_model, found.client, found.performance_max_concurrent_agents) == ("opus", "anthropic", 3)
    assert (found.performance_request_timeout_seconds, found.performance_max_retries) == (7.5, 0)


def test_an_empty_variable_counts_as_unset():
    assert quiet(environment={"CLAUDE_FORCE_MODEL": "", "CLAUDE_FORCE_JOBS": "  "}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("JOBS", "many", 'expected a whole number, got "many"'),
        ("JOBS", "0", "expected a whole number from 1 to 1000, got 0"),
        ("JOBS", "2.5", "expected a whole number, got 2.5"),
        ("TIMEOUT", "nan", 'expected a number, got "nan"'),
        ("TIMEOUT", "NaN", "got NaN"),
        ("TIMEOUT", "1e999", "got Infinity"),
        ("RETRIES", "true", "got true"),
        ("RETRIES", "[" * 100_000, "expected a whole number"),
        ("CLIENT", "curl", 'expected http or anthropic, got "curl"'),
    ],
)
def test_a_bad_variable_is_named(variable, value, words):
    message = error(environment={f"CLAUDE_FORCE_{variable}": value}).message
    assert message.startswith(f"CLAUDE_FORCE_{variable}: ")
    assert words in message


def test_a_home_project_is_read_once_and_trusted(user):
    write(user, '{"version": 2, "client": "anthropic", "nmae": 1}')
    found, warnings = load(user.parent / ".." / ".claude" / "claude.json", user=user)
    assert found.client == "anthropic"
    assert len(warnings) == 1


def test_a_feature_that_is_off_wins_over_the_section(user, file):
    write(user, {"version": 2, "features": {"cache_enabled": False}})
    write(file, {"version": 2, "cache": {"enabled": True}})
    found = quiet(file, user=user)
    assert not found.cache_enabled
    assert found.origins["cache.enabled"] == str(user)


def test_show_has_a_row_for_every_key_of_the_contract(user):
    document = {**CONTRACT, "alerts": {"cost": 3}, "prices": {"m": {"input": 1, "output": 2}}, "api_key_file": "k"}
    rows = config.show(quiet(user=write(user, document)))
    shown = {name: (value, origin) for name, value, origin in rows}
    expected = {".".join(path) for path in paths(CONTRACT) if len(path) == 2 and path[0] not in ("agents", "workflows")}
    assert expected <= set(shown)
    assert shown["agents.NAME.path"] == (str(user.parent / "agents" / "x.md"), str(user))
    assert shown["prices.m"] == ({"input": 1, "output": 2}, str(user))
    assert (shown["alerts.cost"], shown["client"]) == ((3, str(user)), ("http", "built in"))
    assert shown["api_key_file"][0] == str(user.parent / "k")
    json.dumps(rows)


# trust


def test_a_project_cannot_set_address_client_or_key(user, file):
    write(file, {"version": 2, "base_url": "http://evil.example", "client": "curl", "api_key_file": "/etc/passwd"})
    found, warnings = load(file, user=user)
    assert (found.base_url, found.client, found.api_key_file) == (None, "http", None)
    assert [w.split(": ")[1] for w in warnings] == ["base_url", "client", "api_key_file"]
    assert all(w.startswith(str(file)) and w.endswith(f"it belongs in {user}") for w in warnings)


def test_the_user_may_set_address_client_and_key(user):
    write(user, {"version": 2, "base_url": "https://proxy.example/api", "client": "anthropic", "api_key_file": "~/k"})
    found = quiet(user=user)
    assert (found.base_url, found.client) == ("https://proxy.example/api", "anthropic")
    assert found.api_key_file == Path(os.environ["HOME"]) / "k"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../outside.md", "link/x.md", "agents/../../../x.md"])
def test_a_path_that_leaves_the_project_is_refused(file, tmp_path, path):
    (file.parent / "link").symlink_to(tmp_path)
    problem = error(write(file, {"version": 2, "agents": {"a": {"path": path}}}))
    assert problem.message == f'{file}: agents.a.path: "{path}" leads out of the project'
    assert problem.hint


@pytest.mark.parametrize("path", ["agents/x.md", "../docs/x.md", "./agents//x.md"])
def test_a_path_within_the_project_is_made_absolute(file, path):
    found = quiet(write(file, {"version": 2, "agents": {"a": {"path": path}}}))
    assert found.agents["a"]["path"] == Path(os.path.normpath(file.parent / path))


def test_a_file_outside_a_dot_claude_directory_bounds_its_paths_by_its_own_directory(project):
    own = write(project / "other.json", {"version": 2, "agents": {"a": {"path": "x.md"}}})
    assert quiet(own).agents["a"]["path"] == project / "x.md"
    write(own, {"version": 2, "agents": {"a": {"path": "../x.md"}}})
    assert "leads out" in error(own).message


def test_the_users_paths_may_lead_anywhere(user):
    write(user, {"version": 2, "agents": {"a": {"path": "/srv/a.md"}, "b": {"path": "../b.md"}}})
    agents = quiet(user=user).agents
    assert (agents["a"]["path"], agents["b"]["path"]) == (Path("/srv/a.md"), user.parent.parent / "b.md")


def test_caps_of_both_files_hold_and_the_tightest_is_shown(user, file):
    write(user, {"version": 2, "budget": {"run_usd": 1, "daily_usd": 5, "agents": {"a": 3, "b": 2}}})
    theirs = {"run_usd": None, "daily_usd": 9, "monthly_usd": 50, "agents": {"a": 0.5, "c": None, "b": 4}}
    write(file, {"version": 2, "budget": theirs})
    found = quiet(file, user=user)
    assert found.user_caps == {"run": 1, "daily": 5, "agent:a": 3, "agent:b": 2}
    assert found.project_caps == {"daily": 9, "monthly": 50, "agent:a": 0.5, "agent:b": 4}
    assert (found.budget_run_usd, found.budget_daily_usd, found.budget_monthly_usd) == (1, 5, 50)
    assert found.budget_agents == {"a": 0.5, "b": 2, "c": None}
    shown = {name: (value, origin) for name, value, origin in config.show(found) if name.startswith("budget.")}
    assert shown == {
        "budget.run_usd": (1, str(user)),
        "budget.daily_usd": (5, str(user)),
        "budget.monthly_usd": (50, str(file)),
        "budget.agents.a": (0.5, str(file)),
        "budget.agents.b": (2, str(user)),
        "budget.agents.c": (None, str(file)),
    }


def test_in_the_home_project_the_caps_are_the_users(user):
    write(user, {"version": 2, "budget": {"daily_usd": 5}})
    found = quiet(user, user=user)
    assert (found.user_caps, found.project_caps) == ({"daily": 5}, {})


CHEAPER = [
    ("claude-opus-5-5", {"input": 3.99, "output": 20}),
    ("opus", {"input": 4, "output": 19.99}),
    ("Claude Opus 5.5", {"input": 4000, "output": 0}),
    ("claude-opus-5-5", {"input": 4, "output": 20, "cache_write_5m": 4.99}),
    ("claude-opus-5-5", {"input": 4, "output": 20, "cache_write_1h": 0}),
    ("claude-opus-5-5", {"input": 4, "output": 20, "cache_read": 0.19}),
    ("claude-haiku-5-5", {"input": 0.1, "output": 0.5}),  # and what a long prompt costs is gone
    ("mine", {"input": 0, "output": 2}),
]


@pytest.mark.parametrize(("model", "row"), CHEAPER)
def test_a_project_cannot_lower_a_price(user, file, model, row):
    write(user, {"version": 2, "prices": {"mine": {"input": 1, "output": 2}}})
    write(file, {"version": 2, "prices": {model: row}})
    found, warnings = load(file, user=user)
    assert found.prices == found.user_prices == {"mine": {"input": 1, "output": 2}}
    name = f'"{model}"' if " " in model else model
    assert warnings == [f"{file}: prices.{name}: ignored, a project cannot lower a price; it belongs in {user}"]


def test_a_project_may_raise_a_price_and_name_one_that_nobody_knows(user, file):
    theirs = {"claude-opus-5-5": {"input": 4, "output": 21}, "new": {"input": 0, "output": 0}}
    write(user, {"version": 2, "prices": {"mine": {"input": 1, "output": 2}}})
    found = quiet(write(file, {"version": 2, "prices": theirs}), user=user)
    assert found.prices == {"mine": {"input": 1, "output": 2}, **theirs}
    assert found.user_prices == {"mine": {"input": 1, "output": 2}}


def test_the_user_may_lower_a_price(user):
    write(user, {"version": 2, "prices": {"opus": {"input": 1, "output": 2}}})
    assert quiet(user=user).prices == quiet(user=user).user_prices == {"opus": {"input": 1, "output": 2}}


# changes


def test_a_change_leaves_all_else_as_it_is(file):
    write(file, '{"zzz": 1, "budget": {"daily_usd": 3, "run_usd": null}, "version": 2, "größe": "ä"}')
    file.chmod(0o640)
    config.change(file, ("budget", "daily_usd"), 5)
    config.change(file, ("budget", "agents", "a"), 0.5)
    budget = {"daily_usd": 5, "run_usd": None, "agents": {"a": 0.5}}
    expected = {"zzz": 1, "budget": budget, "version": 2, "größe": "ä"}
    assert file.read_text(encoding="utf-8") == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(os.listdir(file.parent)) == ["claude.json", "claude.json.lock"]


def test_a_change_makes_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "new" / "claude.json"
    config.change(path, ("budget", "daily_usd"), 5)
    assert json.loads(path.read_text()) == {"version": 2, "budget": {"daily_usd": 5}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_older_file_stays_one_when_it_is_changed(file):
    config.change(write(file, OLD), ("budget", "daily_usd"), 5)
    assert json.loads(file.read_text()) == {**OLD, "budget": {"daily_usd": 5}}


@pytest.mark.parametrize("text", ["{", "[]", '{"budget": 1}', '{"version": 9}', '{"budget": {"agents": []}}'])
def test_a_wrong_file_is_not_changed(file, text):
    write(file, text)
    with pytest.raises(ConfigError, match=r"claude\.json"):
        config.change(file, ("budget", "agents", "a"), 5)
    assert file.read_text() == text


def test_a_link_is_not_followed_when_changing(file, tmp_path):
    target = write(tmp_path / "target.json", {"name": "x"})
    file.symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link") as caught:
        config.change(file, ("budget", "daily_usd"), 5)
    assert str(target) in caught.value.hint
    assert json.loads(target.read_text()) == {"name": "x"}


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "taken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be written"):
        config.change(tmp_path / "taken" / "claude.json", ("budget", "daily_usd"), 5)


# errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n "cache" 24\n}', ":2:10: not JSON: Expecting ':' delimiter"),
        ("", ":1:1: not JSON: "),
        ("[1]", ": expected an object, got [1]"),
        ("null", ": expected an object, got null"),
        ('{"cache": {"ttl_hours": "24"}}', ': cache.ttl_hours: expected a number, got "24"'),
        ('{"cache": {"ttl_hours": true}}', ": cache.ttl_hours: expected a number, got true"),
        ('{"cache": {"ttl_hours": null}}', ": cache.ttl_hours: expected a number, got null"),
        ('{"cache": {"ttl_hours": -1}}', ": cache.ttl_hours: expected a number from 0 to 876000, got -1"),
        ('{"cache": {"enabled": 1}}', ": cache.enabled: expected true or false, got 1"),
        ('{"cache": {"exclude_agents": "a"}}', ': cache.exclude_agents: expected a list of names, got "a"'),
        ('{"cache": []}', ": cache: expected an object, got []"),
        ('{"budget": {"run_usd": "1"}}', ': budget.run_usd: expected a number or null, got "1"'),
        ('{"budget": {"agents": {"a": "1"}}}', ': budget.agents.a: expected a number or null, got "1"'),
        ('{"budget": {"agents": 1}}', ": budget.agents: expected an object, got 1"),
        ('{"agents": {"a b": {"effort": "mad"}}}', ': agents."a b".effort: expected low or medium or'),
        ('{"agents": {"a": "x.md"}}', ': agents.a: expected an object, got "x.md"'),
        ('{"workflows": {"w": {"steps": {}}}}', ": workflows.w.steps: expected a list of objects, got {}"),
        ('{"prices": {"m": {"input": 1}}}', ": prices.m: expected input, output, "),
        ('{"prices": {"m": {"input": 1, "output": 2, "x": 3}}}', ": prices.m: expected input, output, "),
        ('{"default_model": " "}', ": default_model: expected a text of one line"),
        ('{"version": 3}', ": version: 3 is of a newer release"),
        ('{"version": true}', ": version: expected 2, got true"),
        ('{"version": "two"}', ': version: expected 2, got "two"'),
        ('{"version": 0}', ": version: expected 2, got 0"),
        ('{"alerts": {"a": NaN}}', ": holds a number that is not finite"),
        ('{"alerts": {"a": 1e999}}', ": holds a number that is not finite"),
        ('{"alerts": {"a": ' + "9" * 5000 + "}}", "thousands of digits"),
        ('{"alerts": {"a": "\\ud800"}}', ": not UTF-8 text: "),
        ('{"alerts":' * 150 + "1" + "}" * 150, ": nested more than 100 levels deep"),
        ("[" * 100_000, ": nested more than 100 levels deep"),
    ],
)
def test_an_error_names_file_place_and_value(file, text, words):
    message = error(write(file, text)).message
    assert message.startswith(str(file))
    assert words in message


def test_a_users_address_must_be_one(user):
    assert (
        "base_url: expected an address that begins with http://" in error(user=write(user, '{"base_url": "x"}')).message
    )


def test_a_newer_version_says_to_upgrade(file):
    assert "upgrade" in error(write(file, {"version": 99})).hint


def test_nesting_as_deep_as_allowed_is_read(file):
    text = '{"version": 2, "alerts": {"a":' + "[" * 97 + "]" * 97 + "}}"
    assert quiet(write(file, text)).alerts["a"]


def test_a_huge_file_is_refused(file):
    assert "larger than 4 MiB" in error(write(file, " " * (4 * 1024**2 + 1))).message


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b'{"default_model": "\xff"}')
    assert "not UTF-8" in error(file).message


def test_a_file_that_cannot_be_read_is_an_error(file):
    file.mkdir()
    assert error(file).message == f"{file}: cannot be read: not a regular file"


def test_a_byte_order_mark_is_no_error(file):
    file.write_bytes(b"\xef\xbb\xbf" + b'{"version": 2, "default_model": "opus"}')
    assert quiet(file).default_model == "opus"


def test_an_unknown_key_is_named_with_the_nearest_known_one(file):
    _, warnings = load(
        write(file, {"version": 2, "cache": {"tll_hours": 1}, "zzz": {}, "agents": {"a": {"modell": 1}}})
    )
    assert warnings == [
        f"{file}: cache.tll_hours: unknown key, ignored; did you mean ttl_hours?",
        f"{file}: zzz: unknown key, ignored",
        f"{file}: agents.a.modell: unknown key, ignored; did you mean model?",
    ]


def test_a_key_that_is_given_twice_is_warned_of_and_the_last_counts(file):
    found, warnings = load(write(file, '{"version": 2, "default_model": "a", "default_model": "b"}'))
    assert found.default_model == "b"
    assert warnings == [f'{file}: "default_model" is given more than once in one object; the last counts']


def test_names_from_a_file_cannot_break_the_line_or_fill_the_screen(file):
    _, warnings = load(write(file, {"version": 2, "a\n\x1b[31m": 1, "b" * 10_000: 1}))
    assert all(w.isprintable() and len(w) < 300 for w in warnings)
    assert len(warnings) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
full = {
    **CONTRACT,
    "budget": {"daily_usd": 1, "agents": {"a": 1}},
    "alerts": {"a": 1},
    "prices": {"m": {"input": 1, "output": 2}},
    "base_url": "https://x.example",
    "client": "http",
    "api_key_file": "k",
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(paths(full)), json_values, st.booleans())
def test_any_value_in_place_of_any_key_is_settings_or_a_config_error(tmp_path, path, value, trusted):
    own = write(tmp_path / "claude.json", put(full, path, value))
    try:
        found, said = load(**{"user" if trusted else "project": own})
        json.dumps(config.show(found))
    except ConfigError as problem:
        said = [problem.message]
    assert all(line.startswith(str(own)) and "\n" not in line for line in said)


# older files


def test_an_older_file_is_read_as_it_is(file):
    found, warnings = load(write(file, OLD))
    assert found.agents == {n: {"path": file.parent / "agents" / f"{n}.md"} for n in ("reviewer", "writer")}
    assert [(s["id"], s["agent"], s["dependencies"]) for s in found.workflows["check"]["steps"]] == [
        ("reviewer", "reviewer", []),
        ("writer", "writer", ["reviewer"]),
        ("reviewer-2", "reviewer", ["writer"]),
    ]
    assert found.workflows["check"]["description"] == ""
    assert found.performance_max_concurrent_agents == 3
    assert not found.features_parallel_workflows_enabled
    assert not found.features_memory_enabled
    assert len(warnings) == 1
    assert "governance, performance.async_enabled, agents.*.contract" in warnings[0]


@pytest.mark.parametrize("version", ["1.0.0", "1.0", 1, None])
def test_every_older_version_may_say_file_for_path(file, version):
    document = {"agents": {"a": {"file": "a.md"}}} | ({"version": version} if version else {})
    assert quiet(write(file, document)).agents["a"] == {"path": file.parent / "a.md"}


def test_an_older_files_paths_may_not_leave_the_project_either(file):
    assert "leads out" in error(write(file, {"agents": {"a": {"file": "/etc/passwd"}}})).message


def test_what_both_names_say_is_taken_from_the_present_name(file):
    document = {"performance": {"parallel_workflows": False}, "features": {"parallel_workflows_enabled": True}}
    assert quiet(write(file, document)).features_parallel_workflows_enabled


def test_steps_have_ids_of_their_own_whatever_the_agents_are_called(file):
    names = ["a", "a-2", "a", "a", "Ünï côde", "!", "x" * 99]
    steps = quiet(write(file, {"workflows": {"w": names}})).workflows["w"]["steps"]
    ids = [step["id"] for step in steps]
    assert len(set(ids)) == len(names)
    assert all(i.isascii() and 0 < len(i) <= 64 for i in ids)
    assert [step["agent"] for step in steps] == names


def test_migration_keeps_a_backup_and_the_meaning(file):
    before, _ = load(write(file, OLD))
    bytes_before = file.read_bytes()
    file.chmod(0o640)
    backup, changes = config.migrate(file)
    assert (backup.parent, backup.read_bytes()) == (file.parent, bytes_before)
    assert json.loads(file.read_text())["version"] == 2
    assert next(iter(json.loads(file.read_text()))) == "version"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert config.show(quiet(file)) == config.show(before)
    assert "agents.*.file: is agents.*.path now" in changes
    assert "governance: removed, it no longer means anything" in changes


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(paths(OLD)), json_values)
def test_an_older_file_with_any_value_means_the_same_after_migration_or_is_left_alone(file, path, value):
    text = write(file, put(OLD, path, value)).read_text()
    try:
        before, _ = load(file)
        backup, _ = config.migrate(file)
    except ConfigError:
        assert file.read_text() == text
    else:
        assert config.show(load(file)[0]) == config.show(before)
        if backup:
            assert backup.read_text() == text
            backup.unlink()


def test_migrating_again_changes_nothing(file):
    config.migrate(write(file, OLD))
    after = file.read_bytes()
    assert config.migrate(file) == (None, [])
    assert (file.read_bytes(), len(list(file.parent.iterdir()))) == (after, 2)


def test_an_earlier_backup_is_not_overwritten(file):
    backups = [config.migrate(write(file, {"default_model": model}))[0] for model in ("a", "b", "c")]
    assert [json.loads(path.read_text())["default_model"] for path in backups] == ["a", "b", "c"]


def test_keys_that_migration_does_not_know_stay(file):
    write(file, '{"mine": {"ä": 1}, "mine": {"ä": 2}}')
    _, changes = config.migrate(file)
    assert json.loads(file.read_text("utf-8")) == {"version": 2, "mine": {"ä": 2}}
    assert "more than once" in changes[0]


@pytest.mark.parametrize("text", ['{"cache": 1}', '{"cache"', "[]", '{"version": 7}'])
def test_a_wrong_file_is_not_migrated(file, text):
    with pytest.raises(ConfigError, match=r"claude\.json"):
        config.migrate(write(file, text))
    assert (file.read_text(), list(file.parent.iterdir())) == (text, [file])


def test_a_file_that_is_not_there_cannot_be_migrated(file):
    with pytest.raises(ConfigError, match="cannot be migrated: No such file"):
        config.migrate(file)


def test_a_link_is_not_followed_when_migrating(file, tmp_path):
    target = write(tmp_path / "victim.json", {"name": "x"})
    file.symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link") as caught:
        config.migrate(file)
    assert str(target) in caught.value.hint
    assert json.loads(target.read_text()) == {"name": "x"}


# start


def test_reading_good_files_loads_no_heavy_module(user, file):
    write(user, {"version": 2, "base_url": "https://x.example"})
    write(file, OLD)
    code = (
        "import sys, pathlib\n"
        "from claude_force.settings import config\n"
        "config.load(user=pathlib.Path(sys.argv[1]), project=pathlib.Path(sys.argv[2]), environment={})\n"
        "print(*sorted({'difflib', 'typing', 'tempfile', 'logging', 'urllib.request'} & set(sys.modules)))\n"
    )
    root = Path(config.__file__).parents[2]
    command = [sys.executable, "-S", "-c", code, str(user), str(file)]
    assert subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip() == ""
