"""`run workflow`: what is refused before anything is sent, what is told, and where a run leads."""

import socket
from threading import Thread

import pytest

from tests.journalled import place, reply


@pytest.fixture
def far(project, capsys, monkeypatch):
    with place(project, capsys, monkeypatch) as opened:
        yield opened


def put(far, name, data):
    path = far.project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


EACH = {"id": "each", "foreach": "src/*", "files": ["{{item}}"], "task": "look"}


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"caf\xe9\n", "src/b.py: "),
        (b"\0\0", "src/b.py is binary"),
        (b"x" * (32 * 2**20 + 1), "src/b.py has more than 32 MiB"),
    ],
)
def test_an_item_that_cannot_be_attached_is_found_before_another_is_paid(far, data, said, words):
    put(far, "src/a.py", b"fine\n")
    put(far, "src/b.py", data)
    far.workflow(EACH)
    status, out, err = far.call("run", "workflow", "w", "--jobs", "1", *words)
    assert (status, out, far.asked(), far.ids) == (2, "", 0, [])
    assert f"error: step 'each': {said}" in err


@pytest.mark.parametrize(
    "last",
    [
        {"foreach": [{"n": 1}, {}], "task": "count {{item.n}}"},
        {"task": "{{input.empty}}"},
        {"files": ["big.txt"], "task": "sum up"},
    ],
)
def test_a_later_call_that_can_only_be_refused_is_found_before_the_first_is_paid(far, last):
    put(far, "big.txt", b"wo " * 3_000_000)
    far.workflow({"id": "a", "task": reply("paid")}, {"id": "b", **last}, inputs={"empty": ""})
    status, _, err = far.call("run", "workflow", "w", "--jobs", "1")
    assert (status, far.asked()) == (2, 0)
    assert err.count("step 'b': ") == 1


def test_a_step_without_a_task_is_not_begun_in_a_run_without_one(far):
    far.workflow({"id": "a", "task": reply("paid")}, {"id": "b"}, {"id": "c", "dependencies": ["a"]})
    status, _, err = far.call("run", "workflow", "w", "--sequential")
    assert (status, far.asked()) == (2, 0)
    assert "error: step 'b': the task is empty; say what to do: give the run a TASK, or the step its own task" in err
    assert far.run("w", "do it") == {"a": "ok", "b": "ok", "c": "ok"}


def test_what_a_condition_rules_out_is_not_looked_at(far):
    put(far, "src/a.py", b"fine\n")
    put(far, "src/b.png", b"\0\0")
    far.workflow(
        EACH | {"when": "{{item}} contains .py"},
        {"id": "b", "when": "{{task}}"},
        {"id": "c", "task": reply("c")},
    )
    assert far.run() == {"each": "ok", "b": "skipped", "c": "ok"}


def test_an_error_that_comes_after_something_was_sent_is_a_failure_and_names_its_step_once(far):
    steps = {"id": "a", "task": reply("no JSON")}, {"id": "b", "dependencies": ["a"], "foreach": "{{steps.a.output}}"}
    far.workflow(*steps)
    status, _, err = far.call("run", "workflow", "w")
    assert status == 1
    assert "error: step 'b': foreach: line 1 of {{steps.a.output}} is no JSON" in err
    assert "--resume" not in err


def test_what_can_only_be_refused_again_is_still_a_wrong_usage_if_nothing_was_sent(far):
    far.workflow({"id": "a", "task": reply("no JSON")})
    far.call("run", "workflow", "w")
    far.workflow(
        {"id": "a", "task": reply("no JSON")}, {"id": "b", "dependencies": ["a"], "foreach": "{{steps.a.output}}"}
    )
    assert far.call("run", "workflow", "w")[0] == 2
    assert far.asked() == 1


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_pattern_that_fits_no_file_is_told_once_if_files_are_meant_by_it(far, words):
    put(far, "src/a.py", b"fine\n")
    far.workflow(
        {"id": "a", "files": ["{{input.manifests}}", "**/*.lock", "src/*.py"], "task": "x"},
        {"id": "b", "files": ["src/*.py", "{{input.manifests}}", "{{input.notes}}"], "task": "y"},
        inputs={"manifests": "**/pyproject.toml", "notes": "**/*.md"},
    )
    told = far.call("run", "workflow", "w", *words)[2]
    assert told.count("no file fits") == 1
    assert "step 'a': no file fits **/pyproject.toml; name others by --input manifests=GLOB\n" in told
    told = far.call("run", "workflow", "w", *words, "--input", "notes=doc/*.md", "manifests=src/*.py")[2]
    assert told.count("no file fits") == 1
    assert "step 'b': no file fits doc/*.md; name others by --input notes=GLOB\n" in told


def test_a_pattern_that_is_meant_from_here_is_told_as_the_project_has_it(far, monkeypatch):
    put(far, "src/a.py", b"fine\n")
    monkeypatch.chdir(far.project / "src")
    far.workflow({"id": "a", "files": ["*.py", "**/*.py"], "task": "x"})
    assert (
        "step 'a': no file fits *.py; paths are relative to the project: write src/*.py\n"
        in far.call("run", "workflow", "w", "--dry-run")[2]
    )


def test_an_item_and_what_goes_with_it_are_told_of_alike(far):
    put(far, "src/a.py", b"fine\n")
    far.workflow(EACH | {"files": ["{{item}}", "{{input.notes}}"]}, inputs={"notes": "*.md"})
    assert "no file fits" not in far.call("run", "workflow", "w")[2]
    assert "step 'each': no file fits *.txt" in far.call("run", "workflow", "w", "--input", "notes=*.txt")[2]


def test_where_the_last_step_is_skipped_it_is_told_what_there_is_instead(far):
    last = {"dependencies": ["a"], "when": "{{steps.a.output}} contains BUG"}
    far.workflow({"id": "a", "task": reply("harmless")}, {"id": "fix", **last}, {"id": "log", **last})
    status, out, err = far.call("run", "workflow", "w", "-q")
    assert (status, out) == (0, "")
    (told,) = err.splitlines()
    assert told.startswith("claude-force: warning: there is nothing to print, since 'fix' and 'log' did not run; see: ")
    assert far.call(*told.partition("see: claude-force ")[2].split())[1] == "harmless\n"


def test_where_one_of_the_last_steps_answers_the_others_are_left_out_in_silence(far):
    last = {"dependencies": ["a"], "when": "{{steps.a.output}} contains BUG"}
    far.workflow({"id": "a", "task": reply("harmless")}, {"id": "fix", **last}, {"id": "b", "task": reply("b")})
    assert far.call("run", "workflow", "w", "-q") == (0, "b\n", "")


def test_a_step_to_begin_from_that_there_is_not_is_told_before_the_run_is(far):
    far.workflow({"id": "a", "task": "x"})
    status, _, err = far.call("run", "workflow", "w", "--from", "nope")
    assert (status, far.ids) == (2, [])
    assert [line for line in err.splitlines() if line.startswith("run ")] == []


@pytest.mark.parametrize(
    ("task", "offered"), [("[[simulate: status=500]]", True), ("[[simulate: reply=<<x>>]]", False)]
)
def test_to_go_on_is_offered_where_that_may_go_better(far, task, offered):
    step = {"id": "b", "foreach": "none/*", "task": "x"}
    far.workflow(*([{"id": "a", "task": task}] if offered else [step]))
    status, _, err = far.call("run", "workflow", "w")
    assert status == 1
    assert ("to go on with it" in err) is offered


@pytest.mark.parametrize(("second", "told"), [(reply("b"), True), ("[[simulate: status=400 latency=0.1s]]", False)])
def test_what_running_in_parallel_saved_is_told_of_runs_that_succeed(far, second, told):
    slow = "[[simulate: latency=0.3s]]"
    far.workflow({"id": "a", "task": slow}, {"id": "b", "task": f"{slow} 2"}, {"id": "c", "task": second})
    assert ("one after the other" in far.call("run", "workflow", "w", "--on-error", "continue")[2]) is told


@pytest.mark.parametrize(
    ("step", "words", "said"),
    [
        ({"task": "[[simulate: hang]]"}, ("--timeout", "0.3"), "allow the run more by --timeout or --deadline"),
        ({"task": "[[simulate: hang]]", "timeout_seconds": 0.3}, (), "raise timeout_seconds of the step"),
        (
            {"task": "[[simulate: hang]]", "timeout_seconds": 0.3},
            ("--timeout", "60"),
            "raise timeout_seconds of the step",
        ),
        ({"task": "[[simulate: status=400]]"}, (), "change what it names; --dry-run shows the whole request"),
        ({"task": "[[simulate: status=422]]"}, (), "change what it names; --dry-run shows the whole request"),
        ({"task": "[[simulate: status=500]]"}, (), "try again later"),
        ({"task": "[[simulate: cut]]"}, (), "try again"),
        ({"task": "[[simulate: stop=refusal]]"}, (), "word the task differently, attach less, or ask another model"),
        ({"task": "[[simulate: stop=tool_use]]"}, (), "try again, or word the task differently"),
        (
            {"task": "[[simulate: stop=max_tokens]]"},
            (),
            "give more with --max-tokens, or max_tokens in the step or agent",
        ),
        ({"task": reply("no"), "schema": {"type": "object"}}, (), "say in the task what is wanted, or set retries"),
    ],
)
def test_each_failure_says_what_to_do(far, step, words, said):
    far.workflow({"id": "a", **step})
    error = far.data("run", "workflow", "w", *words)["results"]["a"]["error"]
    assert said in error["hint"]


def test_an_answer_that_breaks_off_says_what_to_do(far, monkeypatch):
    def answer(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)

    far.workflow({"id": "a", "task": "x"})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        serving = Thread(target=answer, args=[listening])
        serving.start()
        error = far.data("run", "workflow", "w")["error"]
        serving.join()
    assert error["message"].endswith("was cut off")
    assert error["hint"] == "try again; claude-force doctor looks at the connection"


def test_a_dry_run_shows_what_is_asked_about_items_that_an_answer_will_list(far):
    each = {"id": "b", "dependencies": ["a"], "foreach": "{{steps.a.output}}"}
    for task in ("do {{item}}", "do {{item.at.line}} in {{item.file}}", "{{item.at}} {{item.at.line}} {{item.at}}"):
        far.workflow({"id": "a", "task": "list"}, {**each, "task": task})
        status, out, _ = far.call("run", "workflow", "w", "--dry-run")
        assert (status, out.count("# b [")) == (0, 1)
        assert "(an item of {{steps.a.output}})" in out
