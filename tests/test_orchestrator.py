"""The public Python API against a real server: what it returns, what it raises, from one thread and from many."""

import asyncio
import contextvars
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import claude_force
from claude_force import AgentOrchestrator, AgentResult, ForceError
from claude_force.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    EmptyAnswer,
    NotFound,
    Refused,
    SchemaMismatch,
    TimedOut,
    Truncated,
    TryLater,
    UsageError,
)

from .journalled import write


@pytest.fixture
def agents(project):
    """A project whose agents can be run, but for `odd`, which names a model that there is not."""
    write(project, "agents/echo.md", "---\nname: echo\ndescription: says\nmodel: haiku\n---\nYou echo.\n")
    write(project, "agents/odd.md", "---\nname: odd\ndescription: cannot\nmodel: none-such\n---\nYou do not run.\n")
    return project


@pytest.fixture
def orchestrator(agents, simulator):
    with AgentOrchestrator() as orchestrator:
        yield orchestrator


def steps(project, *tables):
    """Write the workflow `w` of these steps, all of the agent `echo`."""
    data = {"description": "w", "steps": [{"agent": "echo", **table} for table in tables]}
    write(project, "workflows/w.json", json.dumps(data))


def reply(text):
    return f"[[simulate: reply=<<{text}>>]]"


def prompt(received):
    return "".join(block["text"] for block in received.body["messages"][0]["content"])


def test_an_agent_answers_with_its_text(orchestrator):
    assert orchestrator.execute_agent("echo", reply("hello")) == "hello"


def test_the_whole_result_tells_what_an_answer_took(orchestrator, simulator):
    result = orchestrator.run_agent("echo", reply("hello"))
    assert isinstance(result, AgentResult)
    assert (result.agent, result.text, result.model) == ("echo", "hello", "claude-haiku-5-5")
    assert (result.stop_reason, result.cached) == ("end_turn", False)
    usage = result.usage
    assert usage.input_tokens > 0
    assert result.cost == pytest.approx((usage.input_tokens * 100 + usage.output_tokens * 500) / 1e9)
    assert result.execution_time_ms >= 0
    assert result.run_id


def test_run_ids_sort_by_the_start_of_their_runs(orchestrator):
    ids = [orchestrator.run_agent("echo", f"{n}").run_id for n in range(3)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("task", ["{{task}}", "{{input.x}} and {{steps.a.output}}", r"\{{task}}", "{{", "{{{{x}}}}"])
def test_braces_in_a_task_are_sent_as_they_are(orchestrator, simulator, task):
    orchestrator.execute_agent("echo", task)
    orchestrator.execute_multiple([("echo", f"{task} again")])
    first, second = map(prompt, simulator.requests)
    assert first.endswith(task)
    assert second.endswith(f"{task} again")


def test_options_reach_the_request(orchestrator, simulator, agents):
    (agents / "notes.txt").write_text("what is attached")
    write(agents, "skills/brief/SKILL.md", "---\nname: brief\ndescription: d\n---\nBe very brief.\n")
    orchestrator.run_agent("echo", "x", model="sonnet", max_tokens=777, skills=["brief"], files=["notes.txt"])
    body = simulator.requests[0].body
    assert (body["model"], body["max_tokens"]) == ("claude-sonnet-5-5", 777)
    assert "Be very brief." in json.dumps(body["system"])
    assert "what is attached" in prompt(simulator.requests[0])


def test_a_schema_is_sent_and_held(orchestrator, simulator):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert orchestrator.execute_agent("echo", reply('{"n": 1}'), schema=schema) == '{"n": 1}'
    assert simulator.requests[0].body["output_config"]["format"]["schema"]["required"] == ["n"]
    with pytest.raises(SchemaMismatch):
        orchestrator.execute_agent("echo", reply('{"n": "one"}'), schema=schema)


def test_an_option_that_does_not_exist_is_a_type_error(orchestrator, simulator):
    with pytest.raises(TypeError, match="temprature"):
        orchestrator.execute_agent("echo", "x", temprature=1)
    with pytest.raises(TypeError, match="temprature"):
        orchestrator.execute_multiple([("echo", "x")], temprature=1)
    assert not simulator.requests


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("stop=max_tokens", Truncated),
        ("stop=refusal", Refused),
        ("empty", EmptyAnswer),
        ("status=401", AuthenticationFailed),
        ("status=529", TryLater),
        ("hang", TimedOut),
    ],
)
def test_what_is_no_answer_is_raised(orchestrator, marker, kind):
    with pytest.raises(kind):
        orchestrator.execute_agent("echo", f"[[simulate: {marker}]]", timeout=0.2 if marker == "hang" else 20)


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [("ecko", "x", "did you mean echo?"), ("odd", "x", "did you mean|known"), ("echo", " ", "say what to do")],
)
def test_what_cannot_be_sent_is_raised_before(orchestrator, simulator, name, task, said):
    with pytest.raises(UsageError) as caught:
        orchestrator.execute_agent(name, task)
    assert any(part in caught.value.hint for part in said.split("|"))
    assert not simulator.requests


def test_many_tasks_are_answered_in_their_order(orchestrator):
    tasks = [("echo", f"[[simulate: latency={0.1 - n / 100}s reply=<<{n}>>]]") for n in range(10)]
    assert orchestrator.execute_multiple(tasks) == [str(n) for n in range(10)]


def test_many_tasks_are_asked_side_by_side(orchestrator, simulator):
    tasks = [("echo", f"{n} [[simulate: hang]]") for n in range(10)]
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(orchestrator.execute_multiple, tasks)
        simulator.wait_for(10, 20)
        simulator.close()
        assert {type(found) for found in going.result()} == {ConnectionFailed}


def test_a_failure_stands_in_its_place_and_costs_none_of_the_others(orchestrator):
    found = orchestrator.execute_multiple(
        [
            ("echo", reply("first")),
            ("ecko", "nobody"),
            ("echo", "[[simulate: stop=max_tokens]]"),
            ("odd", "no model"),
            ("echo", ""),
            ("echo", "[[simulate: status=400]]"),
            ("echo", reply("last")),
        ]
    )
    assert [found[0], found[6]] == ["first", "last"]
    assert [type(f) for f in found[1:5]] == [NotFound, Truncated, NotFound, UsageError]
    assert isinstance(found[5], ForceError)


def test_no_tasks_bring_no_answers(orchestrator, simulator):
    assert orchestrator.execute_multiple([]) == []
    assert not simulator.requests


def test_equal_tasks_are_each_answered(orchestrator):
    assert orchestrator.execute_multiple([("echo", reply("same"))] * 3) == ["same"] * 3


def test_a_workflow_returns_what_its_json_says(orchestrator, agents, simulator):
    steps(agents, {"id": "a", "task": "{{task}} {{input.x}}"}, {"id": "b", "task": reply("end"), "dependencies": ["a"]})
    run = orchestrator.execute_workflow("w", "go", inputs={"x": "2"})
    assert {"results", "execution_order", "total_time_seconds", "workflow_name"} <= set(run)
    assert (run["workflow_name"], run["workflow"], run["success"], run["error"]) == ("w", "w", True, None)
    assert run["execution_order"] == ["a", "b"]
    assert run["results"]["b"]["output"] == "end"
    assert run["census"] == {"planned": 2, "ok": 2, "cached": 0, "failed": 0, "skipped": 0}
    assert 0 < run["critical_path_seconds"] <= run["total_time_seconds"]
    assert run["estimated_cost"] > 0
    assert prompt(simulator.requests[0]) == "go 2"
    json.dumps(run)


def test_a_workflow_with_foreach_has_one_result_for_the_step(orchestrator, agents):
    steps(agents, {"id": "each", "foreach": ["x", "y"], "task": "{{item}} " + reply("ok")})
    run = orchestrator.execute_workflow("w")
    assert run["execution_order"] == ["each"]
    assert [m["item"] for m in run["results"]["each"]["members"]] == ["x", "y"]


def test_a_failed_step_is_told_in_the_result(orchestrator, agents):
    steps(
        agents,
        {"id": "bad", "task": "[[simulate: status=400]]"},
        {"id": "needs", "task": "x", "dependencies": ["bad"]},
        {"id": "good", "task": reply("fine")},
    )
    run = orchestrator.execute_workflow("w", jobs=1, on_error="continue")
    assert {i: r["status"] for i, r in run["results"].items()} == {"bad": "failed", "needs": "skipped", "good": "ok"}
    assert run["success"] is False
    assert run["error"]["type"] == "partly_failed"
    stopped = orchestrator.execute_workflow("w", jobs=1)
    assert stopped["results"]["good"]["status"] == "skipped"


def test_a_workflow_that_cannot_begin_raises(orchestrator, agents, simulator):
    steps(agents, {"id": "a", "agent": "ecko"})
    for name, said in (("w", "echo"), ("v", "w")):
        with pytest.raises(NotFound) as caught:
            orchestrator.execute_workflow(name)
        assert said in caught.value.hint
    with pytest.raises(UsageError, match="contineu"):
        orchestrator.execute_workflow("code-quality-check", on_error="contineu")
    assert not simulator.requests


def test_a_workflow_ends_at_its_time_limit(orchestrator, agents):
    steps(agents, {"id": "a", "task": "[[simulate: hang]]"})
    assert orchestrator.execute_workflow("w", timeout=0.2)["error"]["type"] == "timed_out"


def test_async_methods_return_what_the_others_do(orchestrator, agents):
    steps(agents, {"id": "a", "task": reply("from a")})

    async def all_three():
        return await asyncio.gather(
            orchestrator.execute_agent_async("echo", reply("one"), max_tokens=50),
            orchestrator.execute_multiple_async([("echo", reply("two")), ("ecko", "x")]),
            orchestrator.execute_workflow_async("w", "task", on_error="continue"),
        )

    text, texts, run = asyncio.run(all_three())
    assert (text, texts[0], run["results"]["a"]["output"]) == ("one", "two", "from a")
    assert isinstance(texts[1], NotFound)


def test_async_methods_raise_what_the_others_do(orchestrator):
    with pytest.raises(Truncated):
        asyncio.run(orchestrator.execute_agent_async("echo", "[[simulate: stop=max_tokens]]"))


def test_async_calls_run_side_by_side_and_leave_the_loop_free(orchestrator, simulator):
    async def ten():
        calls = [orchestrator.execute_agent_async("echo", f"{n} [[simulate: hang]]") for n in range(10)]
        going = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.to_thread(simulator.wait_for, 10, 20)
        simulator.close()
        return await going

    assert {type(found) for found in asyncio.run(ten())} == {ConnectionFailed}


def test_many_async_calls_of_many_tasks_come_to_an_end(orchestrator):
    """Callers and their calls in one pool would wait for each other."""

    async def many():
        pairs = [("echo", reply("a")), ("echo", reply("b"))]
        return await asyncio.gather(*(orchestrator.execute_multiple_async(pairs) for _ in range(15)))

    assert asyncio.run(asyncio.wait_for(many(), 60)) == [["a", "b"]] * 15


def test_an_async_call_sees_the_context_of_its_caller(orchestrator):
    variable = contextvars.ContextVar("variable", default="")
    seen = []

    def files():
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))
        yield from ()

    async def call():
        variable.set("of the caller")
        await orchestrator.execute_agent_async("echo", "x", files=files())

    asyncio.run(call())
    assert seen == [("of the caller", False)]


def test_one_orchestrator_serves_many_threads_at_once(orchestrator, agents, simulator):
    steps(agents, {"id": "a", "task": "{{task}}"}, {"id": "b", "task": "{{steps.a.output}}", "dependencies": ["a"]})
    start = threading.Barrier(12)

    def work(n):
        start.wait(timeout=20)
        text = orchestrator.execute_agent("echo", reply(f"one {n}"))
        texts = orchestrator.execute_multiple([("echo", reply(f"{n} {m}")) for m in range(4)])
        run = orchestrator.execute_workflow("w", reply(f"flow {n}"))
        return text, texts, run["results"]["a"]["output"]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(work, range(12)))
    assert found == [(f"one {n}", [f"{n} {m}" for m in range(4)], f"flow {n}") for n in range(12)]
    assert len(simulator.requests) == 12 * 7


class Relay:
    """Passes what arrives on a port on to the simulator, and counts the connections."""

    def __init__(self, far):
        self.far = far
        self.count = 0
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            self.count += 1
            far = socket.create_connection(self.far)
            self.sockets += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        for each in (self.listener, *self.sockets):
            each.close()


@pytest.fixture
def relay(simulator, monkeypatch):
    host, port = simulator.url.removeprefix("http://").split(":")
    relay = Relay((host, int(port)))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", relay.url)
    yield relay
    relay.close()


def test_connections_are_kept_from_call_to_call(relay, agents, simulator):
    with AgentOrchestrator() as orchestrator:
        for n in range(5):
            orchestrator.execute_agent("echo", f"call {n}")
        assert relay.count == 1
        for n in range(3):
            orchestrator.execute_multiple([("echo", f"[[simulate: latency=0.1s]] {n} {m}") for m in range(4)])
        assert relay.count <= 4
    assert len(simulator.requests) == 17


def test_what_was_closed_is_opened_anew(orchestrator, agents):
    pairs = [("echo", reply("a")), ("echo", reply("b"))]
    asyncio.run(orchestrator.execute_multiple_async(pairs))
    for _ in range(2):
        orchestrator.close()
        assert orchestrator.execute_agent("echo", reply("again")) == "again"
        assert asyncio.run(orchestrator.execute_multiple_async(pairs)) == ["a", "b"]
    orchestrator.close()
    orchestrator.close()


def test_closing_ends_its_threads(agents, simulator):
    with AgentOrchestrator() as orchestrator:
        orchestrator.execute_multiple([("echo", f"{n}") for n in range(5)])
        asyncio.run(orchestrator.execute_agent_async("echo", "x"))
        workers = [t for t in threading.enumerate() if t.name.startswith("claude-force")]
    assert workers
    for worker in workers:
        worker.join(timeout=20)
        assert not worker.is_alive()


def test_the_key_given_in_code_wins_over_the_environment(agents, simulator):
    with AgentOrchestrator(api_key="key-of-the-code") as orchestrator:
        orchestrator.execute_agent("echo", "x")
    assert simulator.requests[0].headers["x-api-key"] == "key-of-the-code"


def test_the_key_of_the_environment_is_used_where_none_is_given(orchestrator, simulator):
    orchestrator.execute_agent("echo", "x")
    assert simulator.requests[0].headers["x-api-key"] == "test-key"


def test_without_any_key_it_says_what_to_do(agents, simulator, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with AgentOrchestrator() as orchestrator, pytest.raises(AuthenticationFailed) as caught:
        orchestrator.execute_agent("echo", "x")
    assert "ANTHROPIC_API_KEY" in caught.value.hint


def test_a_config_file_can_be_named(agents, simulator, tmp_path):
    file = tmp_path / "other.json"
    file.write_text('{"agents": {"echo": {"model": "opus"}}}')
    with AgentOrchestrator(config_path=file) as orchestrator:
        orchestrator.execute_agent("echo", "x")
    assert simulator.requests[0].body["model"].startswith("claude-opus")


@pytest.mark.parametrize(("text", "kind"), [(None, UsageError), ("{", ConfigError)])
def test_a_config_file_that_is_wrong_is_raised_with_its_name(agents, simulator, tmp_path, text, kind):
    file = tmp_path / "other.json"
    if text:
        file.write_text(text)
    with AgentOrchestrator(config_path=str(file)) as orchestrator, pytest.raises(kind, match=r"other\.json"):
        orchestrator.execute_agent("echo", "x")


def test_the_project_is_that_of_the_directory_given(agents, simulator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inner = agents / "deep" / "down"
    inner.mkdir(parents=True)
    with AgentOrchestrator(directory=inner) as orchestrator:
        assert orchestrator.execute_agent("echo", reply("found")) == "found"
    with AgentOrchestrator() as orchestrator, pytest.raises(NotFound):
        orchestrator.execute_agent("echo", "x")


def test_progress_is_silent_and_a_warning_is_told_once(agents, simulator, capsys):
    write(agents, "claude.json", '{"colour": "blue"}')
    with AgentOrchestrator() as orchestrator:
        for n in range(3):
            orchestrator.execute_agent("echo", f"{n}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "colour" in captured.err


def test_importing_the_package_loads_nothing_that_costs_time():
    script = "import sys; before = set(sys.modules); import claude_force; print(*(set(sys.modules) - before))"
    assert set(python(script).split()) == {"claude_force"}


def test_naming_the_orchestrator_loads_no_network_code():
    script = "import sys; from claude_force import AgentOrchestrator as A; A(); print(*sys.modules)"
    heavy = {"argparse", "http.client", "ssl", "sqlite3", "asyncio", "logging", "typing", "concurrent.futures"}
    assert heavy & set(python(script).split()) == set()


def python(script):
    """Return what a new interpreter prints; it is not measured, because a measurement loads modules of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment).stdout


def test_every_public_name_is_there_and_no_other():
    assert [name for name in claude_force.__all__ if not hasattr(claude_force, name)] == []
    with pytest.raises(AttributeError, match="AgentOrchestra"):
        _ = claude_force.AgentOrchestra


FORKS = """
import os, sys
from claude_force import AgentOrchestrator
force = AgentOrchestrator()
for number in range(2):
    force.execute_multiple([("echo", f"{number} {n}") for n in range(4)])
child = os.fork()
if not child:
    answers = force.execute_multiple([("echo", f"child {n}") for n in range(4)])
    os._exit(0 if len(answers) == 4 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_makes_its_calls_in_threads_of_its_own(agents, simulator):
    # from Python 3.12 on, a fork beside threads warns
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
