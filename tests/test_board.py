"""The board on a real pseudo-terminal: what a person sees of it, and that nothing of it is left behind."""

import io
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from claude_force.errors import ForceError
from claude_force.records import Outcome, Step, Workflow
from claude_force.running.plan import Plan
from claude_force.terminal.board import Board, describe
from claude_force.terminal.output import Screen

from .terminal import Terminal, render


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def plan(*ids):
    return Plan(Workflow("w", tuple(Step(i, "echo") for i in ids)), "", {}, Path(), {})


def ok(step, seconds=1.0, **more):
    return Outcome(step, "echo", "ok", finished=seconds, cost=12_000_000, **more)


def failed(step, message, **more):
    return Outcome(step, "echo", "failed", error=ForceError(message), **more)


def skipped(step, note):
    return Outcome(step, "echo", "skipped", note=note)


def screen_on(terminal, *, color="never", quiet=False):
    screen = Screen(stdout=io.StringIO(), stderr=terminal.stream)
    screen.configure(json=False, quiet=quiet, verbose=0, color=color)
    return screen


def finish(board, terminal):
    """Close the board and return the lines of the terminal above a last note."""
    board.screen.close_board()
    board.screen.note("the end")
    return terminal.wait(lambda lines: lines[-1:] == ["the end"])[:-1]


def test_each_step_has_a_line_that_changes_in_its_place():
    with Terminal() as terminal, screen_on(terminal).board(plan("one", "second", "third", "last")) as board:
        assert terminal.wait(lambda lines: len(lines) == 4)[0].split() == ["one", "waiting"]
        board.started("second", None, "haiku")
        lines = terminal.wait(lambda lines: "running" in lines[1])
        assert re.fullmatch(r"second  running   \d+ ms", lines[1])
        board.ended(ok("second"))
        terminal.wait(lambda lines: "ok" in lines[1])
        board.ended(failed("one", "it broke"))
        board.ended(skipped("third", "needs 'one', which failed"))
        assert finish(board, terminal) == [
            "one     failed    it broke",
            "second  ok        1.0 s, $0.0120",
            "third   skipped   needs 'one', which failed",
            "last    waiting",
        ]


def test_what_is_said_meanwhile_stands_above_the_board():
    with Terminal() as terminal, screen_on(terminal).board(plan("a", "b")) as board:
        terminal.wait(lambda lines: len(lines) == 2)
        board.screen.note("first")
        terminal.wait(lambda lines: len(lines) == 3)
        board.screen.warn("second")
        terminal.wait(lambda lines: len(lines) == 4)
        assert finish(board, terminal) == ["first", "claude-force: warning: second", "a  waiting", "b  waiting"]


def test_notes_of_many_threads_and_the_drawing_do_not_mix(monkeypatch):
    monkeypatch.setattr("claude_force.terminal.board._TICK", 0.0001)
    with Terminal(lines=10) as terminal, screen_on(terminal).board(plan("a", "b", "c")) as board:
        ready = threading.Barrier(3)

        def talk(number):
            ready.wait(timeout=20)
            for n in range(300):
                board.screen.note(f"note {number} {n}")

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        *notes, a, b, c = finish(board, terminal)
    assert [a, b, c] == ["a  waiting", "b  waiting", "c  waiting"]
    assert sorted(notes) == sorted(f"note {number} {n}" for number in range(3) for n in range(300))


def test_more_steps_than_lines_shows_those_at_work_and_counts_the_rest():
    ids = [f"step-{n}" for n in range(40)]
    with Terminal(lines=8) as terminal, screen_on(terminal).board(plan(*ids)) as board:
        assert terminal.wait(bool) == ["0 of 40 steps done"]
        for n in range(10):
            board.started(f"step-{n}", None, "haiku")
        lines = terminal.wait(lambda lines: len(lines) == 6)
        assert [line.split()[0] for line in lines] == ["step-0", "step-1", "step-2", "step-3", "step-4", "0"]
        for n in range(8):
            board.ended(ok(f"step-{n}"))
        lines = terminal.wait(lambda lines: lines[-1].startswith("8 of"))
        assert [line.split()[0] for line in lines] == ["step-8", "step-9", "8"]
        for n in range(8, 40):
            board.ended(ok(f"step-{n}"))
        assert finish(board, terminal) == ["40 of 40 steps done"]


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_a_terminal_of_few_lines_is_not_overrun(lines):
    with Terminal(lines=lines) as terminal, screen_on(terminal).board(plan(*"abcdef")) as board:
        for step in "abcdef":
            board.started(step, None, "haiku")
        for step in "abcdef":
            board.ended(ok(step))
        assert [line for line in finish(board, terminal) if line][-1] == "6 of 6 steps done"[: terminal.columns]


@pytest.mark.parametrize("columns", [14, 15, 20, 40, 80])
def test_a_line_is_never_wider_than_the_terminal(columns):
    ids = ("short", "a-name-that-is-longer-than-thirty-characters-are")
    with Terminal(columns=columns) as terminal, screen_on(terminal).board(plan(*ids)) as board:
        board.ended(failed(ids[0], "広い文字 " * 30))
        board.ended(failed(ids[1], "words " * 30))
        lines = finish(board, terminal)
    assert len(lines) == 2
    assert all("failed" in line for line in lines)


def test_what_comes_from_outside_cannot_steer_the_terminal():
    evil = "one\nclaude-force: error: two\r\x1b[2J\x1b]0;title\x07\x9b31m\ttab\u202e\u2028"
    with Terminal() as terminal, screen_on(terminal).board(plan("a", "b")) as board:
        board.ended(failed("a", evil))
        board.ended(skipped("b", evil))
        lines = finish(board, terminal)
    assert [line.split()[:2] for line in lines] == [["a", "failed"], ["b", "skipped"]]
    assert set(re.findall(r"\x1b\[[0-9;]*([A-Za-z])", terminal.raw)) <= {"F", "J", "K"}
    assert not set("\x07\x9b\t\u202e\u2028") & set(terminal.raw)


def test_members_of_a_step_are_counted_while_it_runs():
    with Terminal() as terminal, screen_on(terminal).board(plan("each")) as board:
        for n in range(3):
            board.started("each", f"item {n}", "haiku")
        for n in range(2):
            board.ended(ok("each", member=n, item=f"item {n}"))
        assert "2 items done" in terminal.wait(lambda lines: lines and "done" in lines[0])[0]
        board.ended(ok("each", members=(ok("each"), ok("each"), ok("each"))))
        assert finish(board, terminal) == ["each  ok        1.0 s, $0.0120"]


@pytest.mark.parametrize(("color", "code"), [("always", "\x1b[31mfailed"), ("never", None)])
def test_states_are_coloured_if_colour_is_wanted(color, code):
    with Terminal() as terminal, screen_on(terminal, color=color).board(plan("a")) as board:
        board.ended(failed("a", "broke"))
        assert finish(board, terminal) == ["a  failed    broke"]
    assert code in terminal.raw if code else "m" not in re.findall(r"\x1b\[[0-9;]*([A-Za-z])", terminal.raw)


def test_the_board_ends_with_the_screen_whatever_happens():
    with Terminal() as terminal:
        screen = screen_on(terminal)
        with suppress(KeyboardInterrupt), screen:
            board = screen.board(plan("a"))
            raise KeyboardInterrupt
        board.close()
        screen.note("said afterwards")
        assert terminal.wait(lambda lines: len(lines) == 2) == ["a  waiting", "said afterwards"]


def test_a_terminal_that_has_gone_ends_nothing_else():
    terminal = Terminal()
    board = screen_on(terminal).board(plan("a"))
    terminal.wait(bool)
    terminal.stream.flush()
    terminal.stream.close()
    board.started("a", None, "haiku")
    board.ended(ok("a"))
    board.screen.warn("nobody hears")
    board.close()
    assert not board._ticker.is_alive()
    terminal.reader.join(timeout=20)
    os.close(terminal.end)


def test_elsewhere_each_event_is_a_line():
    stderr = io.StringIO()
    with Screen(stdout=io.StringIO(), stderr=stderr).board(plan("a", "b", "each")) as board:
        board.started("a", None, "haiku")
        board.ended(failed("a", "one\ntwo"))
        board.started("each", "x\ny", "haiku")
        board.ended(ok("each", member=0, item="x\ny"))
        board.ended(skipped("b", "its condition does not hold"))
    assert stderr.getvalue().splitlines() == [
        "a: started (haiku)",
        "a: failed: one two",
        "each[x y]: started (haiku)",
        "each[x y]: ok: 1.0 s, $0.0120",
        "b: skipped: its condition does not hold",
    ]


def test_a_quiet_screen_shows_no_board():
    with Terminal() as terminal:
        screen = screen_on(terminal, quiet=True)
        with screen.board(plan("a")) as board:
            board.started("a", None, "haiku")
            board.ended(ok("a"))
        screen.warn("a warning is shown all the same")
        assert terminal.wait(bool) == ["claude-force: warning: a warning is shown all the same"]
        assert "\x1b" not in terminal.raw


def test_a_dumb_terminal_is_not_drawn_upon(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with Terminal() as terminal, screen_on(terminal).board(plan("a")) as board:
        board.started("a", None, "haiku")
        assert finish(board, terminal) == ["a: started (haiku)"]
        assert "\x1b" not in terminal.raw


def test_an_outcome_is_described_by_how_it_ended():
    assert describe(ok("a", 61.0)) == "ok: 1 min 1 s, $0.0120"
    assert describe(failed("a", "why")) == "failed: why"
    assert describe(skipped("a", "why not")) == "skipped: why not"


def test_a_board_of_no_steps_draws_nothing():
    with Terminal() as terminal, Board(plan(), screen_on(terminal)) as board:
        assert finish(board, terminal) == []


def test_the_terminal_of_these_tests_scrolls_wraps_and_erases():
    assert render("abcdef\n", 4, 9) == ["abcd", "ef"]
    assert render("1\r\n2\r\n3\r\n4", 9, 2) == ["1", "2", "3", "4"]
    assert render("one\r\ntwo\r\n\x1b[2FX\x1b[K\r\n", 9, 9) == ["X", "two"]
    assert render("one\r\ntwo\r\n\x1b[2F\x1b[J", 9, 9) == []
