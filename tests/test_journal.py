"""The journal on disk, and going on with a run after a kill, Ctrl-C, a failure or an edit."""

import json
import os
import resource
import shutil
import signal
import stat
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force import AgentOrchestrator
from claude_force.errors import Busy, NotFound, UsageError
from claude_force.frozen import replace
from claude_force.project.recording import is_resumable
from claude_force.project.workspace import Workspace
from claude_force.records import Outcome, Usage, digest
from claude_force.stores.journal import Journal
from claude_force.stores.runs import find_run, run_ids, summaries, summary
from claude_force.stores.seal import sealed
from claude_force.stores.transcript import outcome, outcomes, parse, read, sums
from claude_force.terminal.output import Screen
from tests.journalled import KEY, own_line, place, reply, secret, start

RUN = "20261122-093000123-0a1b2c"
PLAN = {"workflow": {"name": "w"}, "task": "", "inputs": {}, "given": [], "steps": [{"id": "a"}, {"id": "b"}]}
DONE = Outcome("a", "echo", "ok", output="the answer", usage=Usage(3, 4), cost=7, parts={"task": ("do", digest("do"))})


@pytest.fixture
def far(project, capsys, monkeypatch):
    with place(project, capsys, monkeypatch) as opened:
        yield opened


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def journal(tmp_path, warnings):
    made = Journal(
        tmp_path / "runs" / RUN, known=[KEY], secret=secret, warn=warnings.append, clock=lambda: 1_795_320_000.5
    )
    made.open()
    yield made
    made.close()


def begin(journal, **facts):
    journal.begin({**PLAN, **facts}, {digest(""): ""}, workflow="w", steps=2)


def keep(journal, done=DONE):
    return journal.keep(done, "f" * 8, digest(done.output))


def path(journal):
    return journal.directory / "journal.jsonl"


def three(far, last="three", **settings):
    """A chain a → b → c, with d beside it."""
    far.workflow(
        {"id": "a", "task": f"one {reply('A')}"},
        {"id": "b", "task": f"two {reply('B')}", "dependencies": ["a"]},
        {"id": "c", "task": last, "dependencies": ["b"], **settings},
        {"id": "d", "task": f"beside {reply('D')}"},
    )


def test_what_was_kept_is_read_back(journal):
    begin(journal)
    keep(journal)
    journal.end({"status": "ok"})
    found = read(path(journal), secret)
    assert (found.run_id, found.damaged, len(found.sessions)) == (RUN, 0, 1)
    assert found.sessions[0].end["status"] == "ok"
    assert found.sessions[0].plan["session"] == "2026-11-22T04:00:00.500Z"
    again = outcome(found.sessions[0].steps[0], found)
    assert (again.output, again.usage, again.cost, again.parts) == (DONE.output, DONE.usage, 7, DONE.parts)


def test_a_text_stands_in_a_journal_once(journal):
    begin(journal)
    for _ in range(3):
        keep(journal)
    assert path(journal).read_text().count("the answer") == 1


def test_nobody_else_can_read_it(journal):
    begin(journal)
    assert stat.S_IMODE(journal.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in journal.directory.iterdir()} == {0o600}


def test_a_line_that_was_cut_short_is_counted_and_the_next_one_starts_on_its_own(journal, warnings):
    begin(journal)
    keep(journal)
    journal.close()
    path(journal).write_bytes(path(journal).read_bytes()[:-40])
    again = Journal(journal.directory, secret=secret, warn=warnings.append)
    past = again.open()
    assert (past.damaged, past.sessions[0].steps) == (1, ())
    keep(again)
    again.close()
    found = read(path(journal), secret)
    assert (found.damaged, len(found.sessions[0].steps)) == (1, 1)
    assert warnings == []


def recorded(directory):
    made = Journal(directory / RUN, secret=unchanging, warn=print)
    made.open()
    begin(made)
    keep(made)
    keep(made, Outcome("b", "echo", "skipped", note="its condition does not hold"))
    made.end({"status": "ok"})
    made.close()
    return path(made).read_bytes()


def unchanging():
    """A secret of a journal that outlives a test's home."""
    return b"k" * 32


KEPT = {"secret": unchanging, "warn": str}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("runs"))


@given(st.data())
def test_a_journal_cut_at_any_byte_holds_all_lines_before_the_cut(whole, data):
    cut = data.draw(st.integers(0, len(whole)))
    found = parse(whole[:cut], RUN, unchanging())
    lines = [json.loads(line) for line in whole[:cut].splitlines() if is_json(line)]
    assert found.damaged <= 1
    assert [s["step"] for session in found.sessions for s in session.steps] == [x["step"] for x in lines if "step" in x]
    assert found.texts == {x["text"]: x["is"] for x in lines if "text" in x}


def is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b'{"step": 1}', b'{"text": [], "is": 2}', b"[1]"]))))
def test_whatever_else_a_file_holds_no_line_of_it_is_taken_for_a_step(lines):
    own = [sealed(line.decode("latin-1"), RUN, b"k") for line in lines]
    for data in (lines, own):
        found = parse(b"\n".join(data), RUN, b"k")
        assert found.sessions == ()
        assert found.texts == {}


def test_a_journal_of_a_later_version_is_refused():
    with pytest.raises(UsageError, match="version 9"):
        parse(own_line({"run": RUN, "journal": 9}, RUN), RUN, secret())


def test_no_secret_reaches_the_disk_and_the_digest_is_that_of_the_whole_text(journal):
    begin(journal)
    text = f"the key is {KEY} and password=hunter2horse"
    entry = keep(journal, Outcome("a", "echo", "failed", output=text, note=f"note {KEY}", parts={"task": (text, "x")}))
    assert KEY not in path(journal).read_text()
    assert "hunter2" not in path(journal).read_text()
    assert entry["output"] == digest(text)
    found = read(path(journal), secret)
    again = outcome(found.sessions[0].steps[0], found)
    assert (again.digest, again.output[:10]) == (digest(text), "the key is")


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(st.lists(st.integers(0, 700), max_size=6))
def test_whatever_the_disk_takes_of_a_write_nothing_is_lost_or_told_twice(rooms):
    with TemporaryDirectory() as directory, closing(Journal(Path(directory) / RUN, **KEPT)) as made:
        made.open()
        begin(made)
        for number, room in enumerate(rooms):
            with files_of_at_most(path(made).stat().st_size + room):
                keep(made, replace(DONE, step=f"s{number}", output=f"answer {number}"))
        made.end({"status": "ok"})
        found = read(path(made), unchanging)
    assert [outcome(entry, found).output for entry in found.sessions[0].steps] == [
        f"answer {n}" for n in range(len(rooms))
    ]
    assert (found.sessions[0].end["status"], found.foreign) == ("ok", 0)


def test_a_full_disk_is_warned_of_once_and_what_it_did_not_take_is_written_later(journal, warnings):
    begin(journal)
    with files_of_at_most(path(journal).stat().st_size + 50):
        keep(journal)
        keep(journal)
    journal.close()
    assert len(warnings) == 1
    assert f"run {RUN}: its journal cannot be written" in warnings[0]
    found = read(path(journal), secret)
    assert (found.damaged, len(found.sessions[0].steps)) == (1, 2)
    assert outcome(found.sessions[0].steps[0], found).output == "the answer"


def test_what_comes_after_the_end_is_not_written(journal):
    begin(journal)
    journal.close()
    keep(journal)
    journal.close()
    assert [s.steps for s in read(path(journal), secret).sessions] == [()]


def test_a_run_can_be_gone_on_with_once_its_journal_tells_what_it_is_to_do(far):
    three(far)
    far.run()
    with Workspace(screen=Screen()) as workspace:
        assert is_resumable(workspace, far.ids[0])
        far.journal.write_bytes(far.journal.read_bytes().partition(b"\n")[0])
        assert not is_resumable(workspace, far.ids[0])
        far.journal.unlink()
        far.journal.mkdir()
        assert not is_resumable(workspace, far.ids[0])


def test_a_journal_that_could_not_be_made_at_first_is_made_later(tmp_path, warnings):
    (tmp_path / "runs").write_text("in the way")
    made = Journal(tmp_path / "runs" / RUN, secret=secret, warn=warnings.append)
    begin(made)
    (tmp_path / "runs").unlink()
    keep(made)
    made.close()
    assert [len(s.steps) for s in read(path(made), secret).sessions] == [1]
    assert len(warnings) == 1


def test_a_run_whose_head_was_cut_short_by_a_full_disk_is_a_run_all_the_same(tmp_path, warnings):
    made = Journal(tmp_path / RUN, secret=secret, warn=warnings.append)
    made.open()
    with files_of_at_most(20):
        begin(made)
    keep(made)
    made.close()
    assert find_run(tmp_path, "last", secret=secret).name == RUN
    assert summary(tmp_path / RUN, secret).counts["ok"] == 1


def test_lines_of_another_user_and_of_another_run_are_left_out_and_counted(whole):
    for run_id, key in ((RUN, b"other"), (RUN.replace("2026", "9999"), unchanging())):
        found = parse(whole, run_id, key)
        assert (found.head, found.sessions, found.texts, found.damaged) == ({}, (), {}, 0)
        assert found.foreign == len(whole.splitlines())


@given(st.data())
def test_a_line_in_which_a_byte_was_changed_is_not_believed(whole, data):
    lines = whole.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b not in {lines[number][place], 10}))
    lines[number] = lines[number][:place] + bytes([byte]) + lines[number][place + 1 :]
    found = parse(b"\n".join(lines), RUN, unchanging())
    assert found.damaged + found.foreign == 1


def test_where_no_journal_can_be_written_the_run_goes_on(far):
    three(far)
    far.write("runs", "a file in the way")
    status, _, err = far.call("run", "workflow", "w")
    assert status == 0
    assert err.count("its journal cannot be written") == 1


def test_a_journal_that_is_a_pipe_is_not_written_to(journal, warnings, tmp_path):
    other = tmp_path / "runs" / RUN.replace("0a", "1a")
    other.mkdir()
    os.mkfifo(other / "journal.jsonl")
    with pytest.raises(OSError, match="not a regular file"):
        read(other / "journal.jsonl", secret)
    assert Journal(other, secret=secret, warn=warnings.append).open().sessions == ()
    assert "not a regular file" in warnings[0]


def test_a_run_is_found_by_its_id_by_its_beginning_and_as_the_last_one(tmp_path):
    for run_id, name in [("20261121-000000000-aaaaaa", "x"), ("20261122-000000000-bbbbbb", "y")]:
        made = Journal(tmp_path / run_id, secret=secret, warn=print)
        made.open()
        made.begin(PLAN, {}, workflow=name, steps=1)
        made.close()
    assert find_run(tmp_path, "20261121", secret=secret).name == "20261121-000000000-aaaaaa"
    assert find_run(tmp_path, "20261122-000000000-bbbbbb", secret=secret) == find_run(tmp_path, "last", secret=secret)
    assert find_run(tmp_path, "last", workflow="x", secret=secret).name == "20261121-000000000-aaaaaa"
    assert [s.run_id for s in summaries(tmp_path, workflow="y", secret=secret)] == ["20261122-000000000-bbbbbb"]
    with pytest.raises(UsageError, match="beginning of 2 runs"):
        find_run(tmp_path, "2026112", secret=secret)
    with pytest.raises(UsageError, match="no run of z yet"):
        find_run(tmp_path, "last", workflow="z", secret=secret)
    with pytest.raises(NotFound) as unknown:
        find_run(tmp_path, "20261122-000000000-bbbbbc", secret=secret)
    assert unknown.value.hint == "runs of single agents are in 'claude-force memory recent'"


@pytest.mark.parametrize("spelling", ["../secret", "", ".", "/etc", "..", "*"])
def test_no_spelling_leads_out_of_the_runs(tmp_path, spelling):
    (tmp_path / "runs" / RUN).mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    with pytest.raises(NotFound):
        find_run(tmp_path / "runs", spelling, secret=secret)


def test_links_are_no_runs_and_a_linked_journal_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "journal.jsonl").write_text('{"run": "x", "journal": 1, "workflow": "stolen"}\n')
    runs = tmp_path / "runs"
    (runs / RUN).mkdir(parents=True)
    (runs / "20261122-093000123-ffffff").symlink_to(outside)
    (runs / RUN / "journal.jsonl").symlink_to(outside / "journal.jsonl")
    assert run_ids(runs) == [RUN]
    with pytest.raises(UsageError, match="is a link"):
        find_run(runs, RUN, secret=secret)
    with pytest.raises(UsageError, match="no run of yours yet"):
        find_run(runs, "last", secret=secret)
    assert summary(runs / RUN, secret).workflow == "?"


def test_a_run_without_a_journal_is_listed_as_unreadable(tmp_path):
    (tmp_path / RUN).mkdir()
    assert [(s.status, s.cost) for s in summaries(tmp_path, secret=secret)] == [("unreadable", None)]
    assert run_ids(tmp_path / "none") == []


def test_two_processes_cannot_carry_out_one_run(journal):
    begin(journal)
    with pytest.raises(Busy, match=f"run {RUN} is still going") as busy:
        Journal(journal.directory, secret=secret, warn=print).open()
    assert busy.value.exit_code == 75
    assert summary(journal.directory, secret).status == "running"
    journal.close()
    assert summary(journal.directory, secret).status == "interrupted"


def test_each_step_is_on_disk_before_what_depends_on_it_is_asked(far):
    far.workflow({"id": "a", "task": reply("first")}, {"id": "b", "task": "[[simulate: hang]]", "dependencies": ["a"]})
    process = start("run", "workflow", "w", "--no-cache")
    try:
        far.simulator.wait_for(2, timeout=20)
        steps = far.transcript.sessions[0].steps
        assert [(s["step"], s["status"]) for s in steps] == [("a", "ok")]
        assert far.transcript.texts[steps[0]["output"]] == "first"
        assert far.data("runs", "list")[0]["status"] == "running"
        status, _, err = far.call("run", "workflow", "--resume", "last")
        assert (status, "is still going" in err) == (75, True)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, "interrupted"), (signal.SIGINT, "interrupted")])
def test_a_run_that_was_ended_goes_on_and_pays_for_nothing_twice(far, how, status):
    three(far, last="three [[simulate: hang times=1]]")
    process = start("run", "workflow", "w", "the task", "--no-cache", "-q")
    far.simulator.wait_for(4, timeout=20)
    while len(far.transcript.sessions[0].steps) < 3:  # the answers are there, their lines will be
        process.poll()
    process.send_signal(how)
    process.communicate()
    assert far.data("runs", "list")[0]["status"] == status
    assert far.asked() == 4
    assert far.resume() == {"a": "cached", "b": "cached", "c": "ok", "d": "cached"}
    assert far.asked() == 1
    assert len(far.ids) == 1
    assert far.data("runs", "list")[0]["census"]["ok"] == 4


def test_a_step_that_failed_is_asked_again_and_the_others_are_not(far):
    three(far, last="three [[simulate: status=400 times=1]]")
    assert far.run("w", "--on-error", "continue")["c"] == "failed"
    far.asked()
    assert far.resume() == {"a": "cached", "b": "cached", "c": "ok", "d": "cached"}
    assert far.asked() == 1


def test_what_a_failed_run_cost_and_how_to_go_on_is_said(far):
    three(far, last="[[simulate: status=400]]")
    err = far.call("run", "workflow", "w")[2]
    assert f"claude-force run workflow --resume {far.ids[-1]}" in err


def test_a_finished_run_that_is_resumed_unchanged_costs_nothing_and_tells_what_it_spared(far):
    three(far)
    first = far.data("run", "workflow", "w", "--no-cache")
    far.asked()
    again = far.data("run", "workflow", "--resume", far.ids[0][:12], "--no-cache")
    assert far.asked() == 0
    assert (again["estimated_cost"], again["saved_cost"]) == (0, pytest.approx(first["estimated_cost"]))
    assert {i: r["output"] for i, r in again["results"].items()} == {
        i: r["output"] for i, r in first["results"].items()
    }
    assert again["run_id"] == first["run_id"]


def test_what_is_recalled_is_no_execution(far, project):
    three(far)
    far.run()
    lines = (project / ".claude" / "metrics" / "executions.jsonl").read_text()
    far.resume()
    assert (project / ".claude" / "metrics" / "executions.jsonl").read_text() == lines


def test_an_edited_agent_whose_answer_is_the_same_runs_alone(far):
    far.agent("first", "You begin.")
    far.workflow(
        {"id": "a", "agent": "first", "task": reply("same")},
        {"id": "b", "task": "then", "dependencies": ["a"]},
        {"id": "c", "task": "last", "dependencies": ["b"]},
    )
    far.run()
    far.agent("first", "You begin, politely.")
    assert far.resume() == {"a": "ok", "b": "cached", "c": "cached"}


def test_an_edited_agent_whose_answer_differs_runs_with_all_that_follows_from_it(far):
    far.agent("first", "You begin.")
    far.workflow(
        {"id": "a", "agent": "first", "task": "begin"},
        {"id": "b", "task": "then", "dependencies": ["a"]},
        {"id": "aside", "task": "nothing of it"},
        {"id": "c", "task": "last", "dependencies": ["b", "aside"]},
    )
    far.run()
    far.agent("first", "You begin, politely.")
    assert far.resume() == {"a": "ok", "b": "ok", "aside": "cached", "c": "ok"}


def changed_task(far):
    return ("--task", "another task")


def changed_input(far):
    return ("--input", "k=another")


def changed_skill(far):
    far.skill("s", "Be brief.")
    return ()


def changed_model(far):
    fields_of(far, model="sonnet")
    return ()


def changed_schema(far):
    fields_of(far, schema={"type": "object", "properties": {"n": {"type": "integer"}}})
    return ()


def changed_file(far):
    (far.project / "data.txt").write_text("new")
    return ()


def fields_of(far, **fields):
    answer = reply('{"n": 1}')
    far.workflow(
        {"id": "a", "task": f"{{{{task}}}} {{{{input.k}}}} {answer}", "skills": ["s"], "files": ["data.txt"], **fields},
        {"id": "b", "task": "{{steps.a.output}}", "dependencies": ["a"]},
        {"id": "c", "task": "neither"},
        inputs={"k": "v"},
    )


@pytest.mark.parametrize(
    "change", [changed_task, changed_input, changed_skill, changed_model, changed_schema, changed_file]
)
def test_a_step_runs_again_for_whatever_changed_in_it_and_for_nothing_else(far, change):
    far.skill("s", "Be kind.")
    (far.project / "data.txt").write_text("old")
    fields_of(far)
    assert far.run("w", "the task", "--input", "k=given") == {"a": "ok", "b": "ok", "c": "ok"}
    assert far.resume() == {"a": "cached", "b": "cached", "c": "cached"}
    assert far.resume(*change(far)) == {"a": "ok", "b": "cached", "c": "cached"}


def test_members_that_are_done_are_not_asked_again(far):
    far.workflow(
        {"id": "each", "foreach": ["x", "y", "z"], "task": "do {{item}} [[simulate: status=400 times=1]]"},
        {"id": "end", "task": "sum", "dependencies": ["each"]},
    )
    assert far.run("w", "--on-error", "continue", "--sequential") == {"each": "failed", "end": "skipped"}
    far.workflow(
        {"id": "each", "foreach": ["w", "x", "y", "z"], "task": "do {{item}} [[simulate: status=400 times=1]]"},
        {"id": "end", "task": "sum", "dependencies": ["each"]},
    )
    far.asked()
    first = far.data("run", "workflow", "--resume", "last", "--on-error", "continue")["results"]["each"]
    assert [(m["item"], m["status"]) for m in first["members"]] == [
        ("w", "failed"),
        ("x", "ok"),
        ("y", "ok"),
        ("z", "ok"),
    ]
    assert far.asked() == 4
    assert far.resume() == {"each": "ok", "end": "ok"}
    assert far.asked() == 2


def test_from_a_step_on_all_is_asked_anew_and_nothing_before_it(far):
    three(far)
    far.run()
    assert far.resume("--from", "b") == {"a": "cached", "b": "ok", "c": "ok", "d": "cached"}
    far.call("run", "workflow", "w")
    again = far.data("run", "workflow", "w", "--from", "c")["results"]
    assert {i: r["status"] for i, r in again.items()} == {"a": "cached", "b": "cached", "c": "ok", "d": "cached"}


def test_what_was_asked_anew_in_vain_is_not_taken_from_before(far):
    far.workflow({"id": "a", "task": f"one {reply('A')}"})
    far.run()
    (entry,) = far.transcript.sessions[0].steps
    far.append(entry | {"status": "failed", "error": {"type": "truncated", "message": "", "retryable": False}})
    assert far.resume() == {"a": "ok"}


def test_a_step_to_begin_from_must_exist_and_leaves_no_run_behind(far):
    three(far)
    status, _, err = far.call("run", "workflow", "w", "--from", "bb")
    assert (status, "no step named 'bb'" in err) == (2, True)
    assert far.ids == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "1999"), "no run named '1999'"),
        (("--resume", "last", "other"), "there is no run of other yet"),
        ((), "no workflow is named"),
    ],
)
def test_what_cannot_be_resumed_is_said_in_one_line(far, words, said):
    three(far)
    far.workflow({"id": "x", "task": "y"}, name="other")
    far.run()
    status, _, err = far.call("run", "workflow", *words)
    assert status == 2
    assert said in err


def test_a_run_is_resumed_as_one_of_its_own_workflow_only(far):
    three(far)
    far.workflow({"id": "x", "task": "y"}, name="other")
    far.run()
    status, _, err = far.call("run", "workflow", "other", "--resume", far.ids[0])
    assert (status, "is one of workflow 'w', not of 'other'" in err) == (2, True)
    assert far.run("w", "--resume", "last")["a"] == "cached"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty or missing"),
        (b"\x00garbage", "is damaged"),
        (b'{"run": 1}', "another user or on another machine"),
    ],
)
def test_a_journal_that_tells_nothing_is_said_to_be_damaged_or_foreign_and_is_not_the_last(far, data, said):
    three(far)
    far.run()
    far.run()
    far.journal.write_bytes(data)
    for words in (("run", "workflow", "--resume"), ("runs", "replay"), ("runs", "show")):
        status, _, err = far.call(*words, far.ids[-1])
        assert (status, said in err) == (2, True)
    assert far.data("run", "workflow", "--resume", "last")["run_id"] == far.ids[0]


def test_a_run_of_which_only_the_head_was_written_cannot_be_resumed(far):
    three(far)
    far.run()
    far.journal.write_bytes(far.journal.read_bytes().partition(b"\n")[0] + b"\n")
    status, _, err = far.call("run", "workflow", "--resume", "last")
    assert (status, "does not tell what it was to do" in err) == (2, True)


def forge(far, run_id):
    """Put a journal into the project that tells of the last run, as somebody else would who cannot seal it."""
    far.write(f"runs/{run_id}/journal.jsonl", far.journal.read_text().replace(far.ids[-1], run_id))


FOREIGN = "99991231-000000000-abcdef"


def test_a_journal_that_came_with_the_project_answers_nothing_and_is_never_the_last(far):
    three(far)
    far.run()
    own = far.ids[0]
    forge(far, FOREIGN)
    far.asked()
    assert far.data("run", "workflow", "--resume", "last", "--no-cache")["run_id"] == own
    (shown,) = far.data("runs", "list")
    assert shown["run_id"] == own
    assert "1 run of another user or machine left out" in far.call("runs", "list")[2]
    for words in (("run", "workflow", "--resume"), ("runs", "replay"), ("runs", "show"), ("runs", "diff", own)):
        status, _, err = far.call(*words, FOREIGN)
        assert (status, "another user or on another machine" in err) == (2, True)
    assert far.call("why", FOREIGN[:4], "a")[0] == 2
    assert far.asked() == 0


def test_where_all_runs_are_foreign_there_is_no_last_one(far):
    three(far)
    far.run()
    forge(far, FOREIGN)
    shutil.rmtree(far.project / ".claude" / "runs" / far.ids[0])
    assert "there is no run of yours yet" in far.call("run", "workflow", "--resume", "last")[2]


def test_answers_slipped_into_ones_own_journal_are_not_recalled(far):
    three(far)
    far.run()
    (entry,) = (e for e in far.transcript.sessions[0].steps if e["step"] == "a")
    with far.journal.open("a") as stream:
        stream.write(json.dumps({"text": "f" * 64, "is": "forged"}) + "\n")
        stream.write(json.dumps({**entry, "output": "f" * 64}) + "\n")
    again = far.data("run", "workflow", "--resume", "last", "--no-cache")["results"]["a"]
    assert (again["status"], again["output"]) == ("cached", "A")
    assert "2 lines of its journal left out" in far.call("runs", "show", "last")[1]


def test_a_run_whose_secret_is_gone_is_no_longer_ones_own(far, home):
    three(far)
    far.run()
    (home / ".claude" / "cache.key").unlink()
    assert "no run of yours yet" in far.call("run", "workflow", "--resume", "last")[2]


def test_a_secret_that_others_can_read_seals_nothing_and_the_run_goes_on(far, home):
    three(far)
    far.run()
    (home / ".claude" / "cache.key").chmod(0o644)
    status, _, err = far.call("run", "workflow", "w", "--no-cache")
    assert (status, err.count("cache.key: others can read it: delete it")) == (0, 1)


def test_a_workflow_of_a_file_is_resumed_from_anywhere(far, tmp_path, monkeypatch):
    three(far)
    (far.project / "mine.json").write_bytes((far.project / ".claude" / "workflows" / "w.json").read_bytes())
    far.run("./mine.json")
    inner = far.project / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert set(far.resume().values()) == {"cached"}


def test_an_output_with_a_secret_does_not_run_what_depends_on_it_again(far):
    far.workflow(
        {"id": "a", "task": f"find it {reply('password=hunter2horse')}"},
        {"id": "each", "foreach": ["x"], "task": f"{{{{item}}}} {reply('password=stable4horse')}"},
        {"id": "b", "task": "use it", "dependencies": ["a", "each"]},
    )
    far.run()
    assert "hunter2" not in far.journal.read_text()
    assert set(far.resume().values()) == {"cached"}
    status, _, err = far.call("run", "workflow", "--resume", "last", "--from", "b", "--no-cache")
    assert status == 0
    for step in ("a", "each"):
        assert f"b is given the output of '{step}' without the secrets that it held" in err


def test_a_task_with_a_secret_spares_what_is_done_and_is_asked_for_again(far):
    far.workflow({"id": "a", "task": "{{task}} {{input.k}}"}, inputs={"k": ""})
    given = ("log in with password=hunter2horse", "--input", "k=token=abc123def456ghi")
    far.run("w", *given)
    status, out, err = far.call("run", "workflow", "--resume", "last", "--no-cache", "--json")
    assert json.loads(out)["results"]["a"]["status"] == "cached"
    assert "the task comes from the journal, without its secrets" in err
    assert "the input k comes from the journal, without its secrets" in err
    assert "hunter2" not in far.journal.read_text() + err
    status, _, err = far.call("run", "workflow", "w", *given, "--resume", "last", "--no-cache")
    assert (status, "secrets" in err) == (0, False)


def test_a_single_agent_has_no_journal(far):
    far.call("run", "agent", "echo", "hello")
    assert far.ids == []


def test_the_python_api_keeps_a_journal_too(far):
    three(far)
    with AgentOrchestrator() as orchestrator:
        run_id = orchestrator.execute_workflow("w")["run_id"]
    assert far.ids == [run_id]
    assert summary(far.directory, secret).status == "ok"
    assert far.resume("--jobs", "1") == dict.fromkeys("abcd", "cached")


def test_times_of_a_resumed_run_leave_out_the_pause_and_costs_add_up(far):
    three(far, last="three [[simulate: status=400 times=1]]")
    far.run("w", "--on-error", "continue")
    far.resume()
    found = outcomes(far.transcript)
    by_step = {o.step: o for o in found}
    assert {o.step: o.status for o in found} == dict.fromkeys("abcd", "ok")
    assert by_step["c"].started >= max(by_step[i].finished for i in "abd")
    told = sums(far.transcript.sessions)
    assert told["cost"] == sum(o.cost for o in found)
    assert summary(far.directory, secret).counts == told["counts"] == {"ok": 4, "cached": 0, "failed": 0, "skipped": 0}


def test_a_step_that_left_the_workflow_is_no_longer_counted(far):
    three(far)
    far.run()
    far.workflow({"id": "a", "task": f"one {reply('A')}"})
    assert far.resume() == {"a": "cached"}
    assert [o.step for o in outcomes(far.transcript)] == ["a"]
    assert summary(far.directory, secret).counts["ok"] == 1
