"""`why`, `runs list`, `show`, `diff` and `replay`: what they say of runs that took place on the simulator."""

import json
import shutil

import pytest

from claude_force.reports.why import LONGEST_DIFF
from tests.journalled import place, reply


@pytest.fixture
def far(project, capsys, monkeypatch):
    with place(project, capsys, monkeypatch) as opened:
        yield opened


@pytest.fixture
def chain(far):
    """Two steps, one of them its own agent's, the second fed by the first."""
    far.agent("first", "You begin.")
    far.workflow(
        {"id": "a", "agent": "first", "task": "begin with {{task}}"},
        {"id": "b", "task": "then", "dependencies": ["a"]},
    )
    return far


def why(far, step, run="last"):
    return far.data("why", run, step)


def test_runs_are_listed_the_newest_first_with_what_they_came_to(chain):
    chain.workflow({"id": "x", "task": "[[simulate: status=400]]"}, name="bad")
    for words in (("w", "one"), ("bad",), ("w", "two")):
        chain.call("run", "workflow", *words)
    found = chain.data("runs", "list")
    assert [(r["run_id"], r["workflow"], r["status"]) for r in found] == [
        (chain.ids[2], "w", "ok"),
        (chain.ids[1], "bad", "failed"),
        (chain.ids[0], "w", "ok"),
    ]
    assert found[0]["census"] == {"planned": 2, "ok": 2, "cached": 0, "failed": 0, "skipped": 0}
    assert found[0]["estimated_cost"] > 0
    assert len(chain.data("runs", "list", "--workflow", "w")) == 2
    assert len(chain.data("runs", "list", "--limit", "1")) == 1
    text = chain.call("runs", "list")[1]
    assert text.splitlines()[0].split() == ["RUN", "BEGAN", "WORKFLOW", "STATUS", "STEPS", "COST", "TIME"]
    assert "2 ok of 2" in text
    assert "1 failed of 1" in text


def test_where_no_run_was_made_the_list_says_so(far):
    assert far.call("runs", "list") == (0, "", "there is no run yet\n")


@pytest.mark.parametrize("run", ["last", "2026"])
@pytest.mark.parametrize(
    "words",
    ["runs show {}", "show run {}", "why {} a", "runs replay {}", "runs diff {} {}", "run workflow --resume {}"],
)
def test_where_no_run_was_made_each_command_that_wants_one_says_so(far, words, run):
    status, out, err = far.call(*words.format(run, run).split())
    assert (status, out, err) == (2, "", "claude-force: error: there is no run yet\n")


@pytest.mark.parametrize("words", [("runs", "show"), ("show", "run")])
def test_a_run_is_shown_with_its_course_its_costs_and_its_critical_path(chain, words):
    run = chain.data("run", "workflow", "w", "it")
    status, text, _ = chain.call(*words, "last")
    assert status == 0
    assert f"run {run['run_id']}: w, ok, began 2" in text
    assert "critical path: a → b" in text
    assert "2 steps: 2 ok" in text
    shown = chain.data(*words, run["run_id"])
    assert {i: r["output"] for i, r in shown["results"].items()} == {i: r["output"] for i, r in run["results"].items()}
    assert shown["estimated_cost"] == pytest.approx(run["estimated_cost"])
    assert (shown["critical_path"], shown["status"], shown["success"]) == (["a", "b"], "ok", True)


def test_of_a_step_its_output_is_shown(chain):
    run = chain.data("run", "workflow", "w", "it")
    assert chain.call("runs", "show", "last", "--step", "a")[1].rstrip() == run["results"]["a"]["output"]
    assert chain.data("runs", "show", "last", "--step", "a")["status"] == "ok"
    status, _, err = chain.call("runs", "show", "last", "--step", "aa")
    assert (status, "did you mean a?" in err) == (2, True)


@pytest.mark.parametrize("words", [("runs", "show"), ("show", "run")])
def test_a_step_without_an_answer_says_why_there_is_none_and_ends_with_1(far, words):
    far.workflow(
        {"id": "a", "task": "[[simulate: status=400]]"},
        {"id": "b", "task": "x", "dependencies": ["a"]},
        {"id": "c", "task": "x", "when": "{{task}} contains BUG"},
        {"id": "d", "task": reply("half"), "schema": {"type": "object"}},
    )
    far.run("w", "it", "--on-error", "continue")
    status, out, err = far.call(*words, "last", "--step", "a")
    assert (status, out.strip()) == (1, "")
    assert err.startswith(f"claude-force: error: step 'a' of run {far.ids[0]} failed: ")
    assert "needs 'a', which failed" in far.call(*words, "last", "--step", "b")[2]
    status, _, err = far.call(*words, "last", "--step", "c")
    told = f"claude-force: error: step 'c' of run {far.ids[0]} was skipped: its condition does not hold\n"
    assert (status, err) == (1, told)
    assert far.data(*words, "last", "--step", "c")["note"] == "its condition does not hold"
    status, out, err = far.call(*words, "last", "--step", "d")
    assert (status, out, "step 'd' of run" in err) == (1, "half\n", True)


def test_a_step_whose_success_is_empty_says_so_beside_stdout(far):
    far.workflow(
        {"id": "list", "task": reply(" [] ")},
        {"id": "each", "foreach": "{{steps.list.output}}", "dependencies": ["list"]},
    )
    far.run()
    status, out, err = far.call("runs", "show", "last", "--step", "each")
    assert (status, out.strip(), bool(err.strip())) == (0, "", True)


def test_a_failed_and_a_damaged_run_are_shown_as_what_they_are(far):
    far.workflow(
        {"id": "a", "task": "[[simulate: status=400 times=1]]"}, {"id": "b", "task": "x", "dependencies": ["a"]}
    )
    far.run()
    shown = far.data("runs", "show", "last")
    assert (shown["success"], shown["results"]["a"]["error"]["type"]) == (False, "api_error")
    assert shown["results"]["b"]["note"] == "not started: 'a' failed"
    far.resume()
    assert "resumed 1 time; pauses are left out" in far.call("runs", "show", "last")[1]
    far.journal.write_bytes(far.journal.read_bytes()[:-30])
    text = far.call("runs", "show", "last")[1]
    assert "interrupted" in text
    assert "1 line of its journal were cut short" in text
    assert far.data("runs", "show", "last")["error"]["type"] == "interrupted"


def test_steps_that_were_not_come_to_are_shown_as_not_run(chain):
    chain.run("w", "it")
    lines = chain.journal.read_text().splitlines()
    last = next(n for n, line in enumerate(lines) if line.startswith('{"step": "b"'))
    chain.journal.write_text("\n".join(lines[:last]) + "\n")
    assert "not run" in chain.call("runs", "show", "last")[1]
    status, _, err = chain.call("why", "last", "b")
    assert (status, "ended before 'b' began" in err) == (2, True)


def test_the_first_execution_has_nothing_before_it(chain):
    chain.run("w", "it")
    found = why(chain, "a")
    assert (found["origin"], found["reason"], found["changes"]) == ("model", "no execution before it is known", [])
    assert found["compared_with"] is None


def test_an_edited_agent_is_named_with_the_difference_and_what_it_led_to(chain):
    chain.run("w", "it")
    chain.agent("first", "You begin, politely.")
    chain.run("w", "it")
    found = why(chain, "a")
    assert found["reason"] == "agent first changed"
    assert found["compared_with"] == f"run {chain.ids[0]}"
    (change,) = found["changes"]
    assert (change["part"], change["change"]) == ("agent first", "changed")
    assert "+You begin, politely." in change["diff"]
    after = why(chain, "b")
    assert after["reason"] == "output of a changed"
    text = chain.call("why", "last", "a")[1]
    assert text.startswith("a: was run: agent first changed\n")
    assert "-You begin." in text.splitlines()


def test_several_changes_are_all_named(chain):
    chain.run("w", "it")
    chain.agent("first", "You begin, politely.", model="sonnet")
    chain.run("w", "that")
    assert why(chain, "a")["reason"] == "agent first, task of the run and model changed"


def test_a_part_that_came_or_went_is_told_as_such(far):
    far.workflow({"id": "a", "task": "x"})
    far.run()
    far.skill("s", "Be kind.")
    far.workflow({"id": "a", "task": "x", "skills": ["s"]})
    far.run()
    added = [("skill (catalogue)", "added"), ("skill s", "added")]
    assert [(c["part"], c["change"]) for c in why(far, "a")["changes"]] == added
    far.workflow({"id": "a", "task": "x"})
    far.run()
    assert [(c["part"], c["change"]) for c in why(far, "a")["changes"]] == [("skill s", "removed")]


def test_on_a_resume_it_is_compared_with_the_same_run(chain):
    chain.run("w", "it")
    chain.agent("first", "You begin, politely.")
    chain.resume()
    found = why(chain, "a")
    assert found["reason"] == "agent first changed"
    assert found["compared_with"].startswith("this run's execution of 20")


def test_executions_of_other_workflows_and_sessions_that_did_not_come_to_the_step_are_passed_over(chain):
    chain.run("w", "it")
    chain.workflow({"id": "a", "task": "begin"}, name="other")
    chain.run("other")
    chain.workflow({"id": "a", "agent": "first", "task": "[[simulate: status=400]]"}, {"id": "new", "task": "x"})
    chain.run("w", "it", "--sequential")
    assert why(chain, "a")["compared_with"] == f"run {chain.ids[0]}"
    assert why(chain, "new")["compared_with"] is None
    lines = [line for line in chain.journal.read_text().splitlines() if not line.startswith('{"end"')]
    session = next(line for line in lines if line.startswith('{"session"'))
    chain.journal.write_text("\n".join([*lines, session]) + "\n")
    assert "it failed" in why(chain, "a")["reason"]


def test_an_execution_in_a_foreign_journal_is_compared_with_nothing(chain):
    chain.run("w", "it")
    (first,) = chain.ids
    forged = chain.journal.read_text().replace(first, "20000101-000000000-abcdef")
    chain.write("runs/20000101-000000000-abcdef/journal.jsonl", forged.replace('"workflow": "w"', '"workflow": NaN'))
    chain.write("runs/20000102-000000000-abcdef/journal.jsonl", forged)
    assert why(chain, "a")["compared_with"] is None
    status, out, err = chain.call("--json", "why", "20000101", "a")
    assert (status, "NaN" in out, "is damaged" in err + out) == (2, False, True)


def test_what_was_spared_names_where_it_came_from(chain):
    chain.call("run", "workflow", "w", "it")
    chain.call("run", "workflow", "w", "it")
    cached = why(chain, "a")
    assert (cached["status"], cached["origin"]) == ("cached", "cache")
    chain.resume()
    recalled = why(chain, "a")
    assert (recalled["origin"], recalled["reason"]) == ("journal", "nothing that decides its answer has changed")
    assert chain.call("why", "last", "a")[1].startswith("a: from the journal: nothing")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--no-cache",), "nothing changed, and the cache was off"),
        (("--refresh",), "nothing changed, and --refresh asked for a new answer"),
        (("--from", "a"), "--from a asked for it"),
    ],
)
def test_a_step_that_ran_again_unchanged_says_what_made_it(chain, words, reason):
    chain.call("run", "workflow", "w", "it")
    chain.call("run", "workflow", "w", "it", *words)
    assert why(chain, "a")["reason"] == reason


def test_a_step_that_may_not_be_cached_or_whose_answer_is_gone_says_so(far):
    far.workflow({"id": "a", "task": "x", "cache": False}, {"id": "b", "task": "y"})
    far.call("run", "workflow", "w")
    far.call("cache", "clear", "--yes")
    far.call("run", "workflow", "w")
    assert why(far, "a")["reason"].endswith("the workflow does not let its answer be cached")
    assert why(far, "b")["reason"].endswith("its answer was not in the cache any more, or never was")


def test_what_failed_before_runs_again_for_that_and_a_failure_says_how(far):
    far.workflow({"id": "a", "task": "[[simulate: status=400 times=1]]"})
    far.run()
    failed = why(far, "a")
    assert (failed["status"], failed["origin"]) == ("failed", None)
    assert "; it failed: " in failed["reason"]
    far.resume()
    assert why(far, "a")["reason"].startswith("it had failed: ")


def test_a_skipped_step_and_one_that_could_not_be_asked_say_why(far):
    far.workflow(
        {"id": "a", "task": reply("fine")},
        {"id": "b", "task": "x", "dependencies": ["a"], "when": "{{steps.a.output}} contains BUG"},
        {"id": "c", "task": "x", "dependencies": ["a"], "foreach": "{{steps.a.output}}"},
    )
    far.run("w", "--on-error", "continue")
    assert (why(far, "b")["status"], why(far, "b")["reason"]) == ("skipped", "its condition does not hold")
    assert why(far, "c")["reason"].startswith("it could not be asked; it failed: ")


def test_of_many_items_each_has_its_own_reason(far):
    (far.project / "x.txt").write_text("old")
    (far.project / "y.txt").write_text("old")
    far.workflow({"id": "each", "foreach": "*.txt", "files": ["{{item}}"], "task": "read"})
    far.run()
    (far.project / "x.txt").write_text("new")
    far.resume()
    found = why(far, "each")
    assert found["reason"] == "1 of 2 items run, the others taken from what was there"
    assert [(m["item"], m["origin"], m["reason"]) for m in found["members"]] == [
        ("x.txt", "model", "file x.txt changed"),
        ("y.txt", "journal", "nothing that decides its answer has changed"),
    ]
    text = far.call("why", "last", "each")[1]
    assert "each[x.txt]: was run: file x.txt changed" in text
    assert "== file x.txt [x.txt] (changed)" in text


def test_one_item_is_asked_about_by_the_name_that_it_has_everywhere(far):
    long = "y" * 80
    far.workflow({"id": "each", "foreach": ["src/app/f2.py", "a[0]", long], "task": "read {{item}}"})
    far.run()
    status, text, _ = far.call("why", "last", "each[src/app/f2.py]")
    assert (status, text) == (0, "each[src/app/f2.py]: was run: no execution before it is known\n")
    found = why(far, "each[a[0]]")
    assert (found["step"], found["item"], found["origin"]) == ("each", "a[0]", "model")
    assert "members" not in found
    assert why(far, f"each[{'y' * 59}…]")["item"] == long
    status, _, err = far.call("why", "last", "each[src/app/f3.py]")
    assert (status, "step 'each': no item named 'src/app/f3.py'; did you mean src/app/f2.py?" in err) == (2, True)
    assert "no step named 'aech'" in far.call("why", "last", "aech[a[0]]")[2]


def test_a_step_that_is_of_no_items_has_none_to_ask_about(chain):
    chain.run("w", "it")
    status, _, err = chain.call("why", "last", "a[x]")
    assert (status, "step 'a': no item named 'x'" in err) == (2, True)


def test_items_that_went_alike_are_told_of_together(far):
    for content in ("old", "new"):
        far.agent("echo", f"You are {content}.")
        for number in range(6):
            (far.project / f"f{number}.txt").write_text(content if number == 1 else "same")
        far.workflow({"id": "each", "foreach": "*.txt", "files": ["{{item}}"], "task": "read"})
        far.run()
    lines = far.call("why", "last", "each")[1].splitlines()
    assert lines[:3] == [
        "each: 6 of 6 items run",
        "5 items: was run: agent echo changed",
        "each[f1.txt]: was run: agent echo and file f1.txt changed",
    ]
    assert [line for line in lines if line.startswith("==")] == [
        "== agent echo, 6 items (changed)",
        "== file f1.txt [f1.txt] (changed)",
    ]
    assert len(why(far, "each")["members"]) == 6


def test_long_differences_are_cut_and_say_by_how_much(far):
    far.agent("echo", "You echo.\n" + "\n".join(f"old {n}" for n in range(200)))
    far.workflow({"id": "a", "task": "x"})
    far.run()
    far.agent("echo", "You echo.\n" + "\n".join(f"new {n}" for n in range(200)))
    far.run()
    (change,) = why(far, "a")["changes"]
    assert len(change["diff"]) == LONGEST_DIFF
    assert change["diff_lines_left_out"] > 300
    assert f"… {change['diff_lines_left_out']} more lines" in far.call("why", "last", "a")[1]
    far.agent("echo", "\n".join(["line"] * 5000))
    far.run()
    assert "too many to compare" in why(far, "a")["changes"][0]["diff"][0]


def test_a_difference_in_a_secret_is_told_without_it(far):
    far.workflow({"id": "a", "task": "{{task}}"})
    far.run("w", "log in with password=hunter2horse")
    far.run("w", "log in with password=stable4horse")
    out = far.call("why", "last", "a")[1]
    assert "they differ only in what was redacted" in out
    assert "horse" not in out


def test_a_step_that_is_none_is_refused_with_close_names(chain):
    chain.run("w", "it")
    status, _, err = chain.call("why", "last", "aa")
    assert (status, "no step named 'aa'; did you mean a?" in err) == (2, True)


LOOKS = [("runs", "show", "{}"), ("show", "run", "{}"), ("why", "{}", "a"), ("runs", "diff", "last", "{}")]


@pytest.mark.parametrize("workflows", [0, 3])
@pytest.mark.parametrize("words", LOOKS)
def test_a_run_of_one_agent_is_told_from_runs_of_workflows(chain, words, workflows):
    for _ in range(workflows):
        chain.run("w", "it")
    run_id = chain.data("run", "agent", "echo", "hello")["run_id"]
    (session, *_) = chain.data("memory", "recent")
    if workflows or "last" not in words:
        status, _, err = chain.call(*(word.format(run_id) for word in words))
        told = f"run {run_id} was one of the agent echo alone; see: claude-force memory show {session['id']}"
        assert (status, err) == (2, f"claude-force: error: {told}\n")


@pytest.mark.parametrize("words", LOOKS)
def test_an_id_of_no_run_that_is_known_names_where_runs_of_single_agents_are(chain, words):
    chain.run("w", "it")
    chain.run("w", "that")
    unknown = f"{chain.ids[0][:-6]}ffffff"
    status, _, err = chain.call(*(word.format(unknown) for word in words))
    told = f"no run named '{unknown}'; runs of single agents are in 'claude-force memory recent'"
    assert (status, err) == (2, f"claude-force: error: {told}\n")


def test_a_step_of_a_run_that_was_removed_is_no_run_of_one_agent(chain):
    chain.run("w", "it")
    gone = chain.ids[0]
    shutil.rmtree(chain.directory)
    chain.run("w", "it")
    assert f"no run named '{gone}'" in chain.call("runs", "show", gone)[2]


def test_two_runs_differ_in_steps_outputs_and_costs(chain):
    chain.run("w", "it")
    chain.agent("first", "You begin, politely.")
    chain.workflow(
        {"id": "a", "agent": "first", "task": "begin with {{task}}"},
        {"id": "b", "task": "then", "dependencies": ["a"]},
        {"id": "c", "task": "more"},
    )
    chain.run("w", "it")
    found = {s["step"]: s for s in chain.data("runs", "diff", *chain.ids)["steps"]}
    assert [c["part"] for c in found["a"]["changes"]] == ["agent first"]
    assert [c["part"] for c in found["b"]["changes"]] == ["output of a"]
    assert (found["c"]["a"], found["c"]["b"]["status"]) == (None, "ok")
    assert any(line.startswith("+") and "politely" in line for line in found["a"]["output_diff"])
    text = chain.call("runs", "diff", *chain.ids)[1]
    assert f"A: run {chain.ids[0]}, w, ok" in text
    assert "== output of a" in text


def test_a_run_compared_with_itself_is_said_to_be_the_same(chain):
    chain.run()
    chain.run()
    (_, newest), last = chain.ids, chain.ids[-1]
    status, out, _ = chain.call("runs", "diff", "last", newest)
    assert (status, out) == (0, f"A and B are the same run, {last}: nothing differs\n")


def test_a_run_can_be_named_by_how_many_came_after_it(chain):
    for _ in range(3):
        chain.run()
    named = [chain.data("runs", "show", name)["run_id"] for name in ("last", "last~0", "last~1", "last~2")]
    assert named == [chain.ids[2], chain.ids[2], chain.ids[1], chain.ids[0]]
    found = chain.data("runs", "diff", "last~1", "last")
    assert (found["a"]["run_id"], found["b"]["run_id"]) == (chain.ids[1], chain.ids[2])
    assert chain.run("--resume", "last~2") == {"a": "cached", "b": "cached"}


def test_a_run_before_the_first_one_is_refused_with_those_there_are(chain):
    chain.run()
    status, _, err = chain.call("runs", "show", "last~1")
    assert (status, err) == (2, "claude-force: error: there is no 'last~1': too few runs are kept; there is 'last'\n")
    chain.run()
    _, _, err = chain.call("run", "workflow", "w", "--resume", "last~5")
    assert "there is no 'last~5': too few runs of w are kept; there is 'last' to 'last~1'" in err


@pytest.mark.parametrize("name", ["last-1", "last~", "last~x", "last^", "~1"])
def test_a_name_that_is_like_those_of_the_last_ones_is_answered_with_those(chain, name):
    chain.run()
    chain.run()
    status, _, err = chain.call("runs", "show", name)
    assert status == 2
    assert "last~1" in err


def test_runs_of_items_differ_by_item(far):
    for items in (["x", "y"], ["y", "z"]):
        far.workflow({"id": "each", "foreach": items, "task": "do {{item}}"})
        far.run()
    (step,) = far.data("runs", "diff", *far.ids)["steps"]
    assert step["items_changed"] == ["x", "z"]


def test_equal_runs_have_no_difference(chain):
    chain.run("w", "it")
    steps = chain.data("runs", "diff", "last", chain.ids[0])["steps"]
    assert [s["step"] for s in steps] == ["a", "b"]
    assert all(s["same_output"] and not s["changes"] for s in steps)


def everything(project):
    """Return the content of each file below the project's state but the journals."""
    files = (p for p in (project / ".claude").rglob("*") if p.is_file() and "runs" not in p.parts)
    return {p: p.read_bytes() for p in files}


@pytest.fixture
def offline(monkeypatch):
    def go():
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

    return go


def test_a_run_is_played_again_without_key_network_library_or_files(far, offline, project):
    (project / "x.txt").write_text("text")
    far.workflow(
        {"id": "a", "task": reply("password=hunter2horse")},
        {"id": "each", "foreach": "*.txt", "files": ["{{item}}"], "task": "read", "dependencies": ["a"]},
        {"id": "end", "task": "sum of {{task}}", "dependencies": ["each"]},
    )
    run = far.data("run", "workflow", "w", "token=abc123def456ghi", "--no-cache")
    for name in ("agents", "workflows"):
        shutil.rmtree(project / ".claude" / name)
    (project / "x.txt").unlink()
    offline()
    before = everything(project)
    status, out, _ = far.call("--json", "runs", "replay", "last")
    again = json.loads(out)
    assert status == 0
    assert {i: r["status"] for i, r in again["results"].items()} == {"a": "cached", "each": "cached", "end": "cached"}
    assert again["results"]["end"]["output"] == run["results"]["end"]["output"]
    assert again["run_id"] == run["run_id"]
    assert everything(project) == before
    assert len(far.ids) == 1


def test_what_is_not_on_the_cassette_fails_and_is_told(far, offline, project):
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": "[[simulate: status=400]]"})
    far.run("w", "--on-error", "continue")
    offline()
    before = everything(project)
    status, _, err = far.call("runs", "replay", "last")
    assert status == 3
    assert f"the journal of run {far.ids[0]} has no answer to it" in err
    assert everything(project) == before


def test_a_swapped_model_is_asked_for_real_as_a_run_of_its_own(chain):
    chain.run("w", "it")
    chain.asked()
    again = chain.data("runs", "replay", "last", "--swap", "model.b=sonnet")
    assert {i: r["status"] for i, r in again["results"].items()} == {"a": "cached", "b": "ok"}
    assert chain.asked() == 1
    assert chain.ids == [chain.ids[0], again["run_id"]]
    assert why(chain, "b")["reason"] == "model changed"
    assert chain.data("runs", "show", "last")["results"]["a"]["output"]
    status, _, err = chain.call("run", "workflow", "--resume", "last")
    assert (status, f"replays run {chain.ids[0]}" in err) == (2, True)


def test_a_model_swapped_for_all_steps_runs_them_all(chain):
    chain.run("w", "it")
    again = chain.data("runs", "replay", "last", "--swap", "model=sonnet")
    assert {r["model"] for r in again["results"].values()} == {"claude-sonnet-5-5"}
    assert {r["status"] for r in again["results"].values()} == {"ok"}


def test_a_replay_from_a_step_asks_it_and_what_follows(chain):
    chain.run("w", "it")
    chain.asked()
    again = chain.data("runs", "replay", "last", "--from", "b")
    assert {i: r["status"] for i, r in again["results"].items()} == {"a": "cached", "b": "ok"}
    assert chain.asked() == 1


def test_a_replay_can_be_looked_at_before_it_is_sent(chain):
    chain.run("w", "it")
    chain.asked()
    shown = chain.data("runs", "replay", "last", "--swap", "model=sonnet", "--dry-run")
    assert {r["request"]["model"] for r in shown["requests"]} == {"claude-sonnet-5-5"}
    assert chain.asked() == 0


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        ("agent=x", "expected model=M or model.STEP=M"),
        ("model=", "expected model=M"),
        ("model=hiku", "did you mean haiku?"),
        ("model.c=haiku", "no step named 'c'"),
    ],
)
def test_a_swap_that_makes_no_sense_is_refused(chain, swap, said):
    chain.run("w", "it")
    status, _, err = chain.call("runs", "replay", "last", "--swap", swap)
    assert (status, said in err) == (2, True)


def test_a_swap_to_a_model_of_unknown_price_is_warned_of(chain):
    chain.run("w", "it")
    assert "price unknown" in chain.call("runs", "replay", "last", "--swap", "model=claude-haiku-9-9", "--dry-run")[2]
