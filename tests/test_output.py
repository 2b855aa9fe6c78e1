"""What goes to stdout and what to stderr, in which colour, how much of it, and what never gets through."""

import io
import json
import os
import subprocess
import sys

import pytest

from claude_force.errors import ForceError, NotFound
from claude_force.records import Result
from claude_force.reports.table import WIDEST
from claude_force.terminal.output import Screen

from .terminal import Terminal

EVIL = "a\x1b[31mb\x07c\x9bd\u202ee"


@pytest.fixture
def streams():
    return io.StringIO(), io.StringIO()


@pytest.fixture
def screen(streams):
    screen = Screen(stdout=streams[0], stderr=streams[1])
    screen.configure(json=False, quiet=False, verbose=0, color="never")
    return screen


def force(*words, **settings):
    command = [sys.executable, "-m", "claude_force", *words]
    return subprocess.run(command, env=os.environ, text=True, timeout=30, check=False, **settings)


@pytest.mark.parametrize(
    ("choice", "variables", "on_terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("always", {"TERM": "dumb"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_the_option_decides_on_colour_then_no_color_then_force_color_then_the_terminal(
    monkeypatch, choice, variables, on_terminal, colored
):
    monkeypatch.delenv("NO_COLOR")
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    with Terminal() as terminal:
        stderr = terminal.stream if on_terminal else io.StringIO()
        screen = Screen(stdout=io.StringIO(), stderr=stderr)
        screen.configure(json=False, quiet=False, verbose=0, color=choice)
        screen.warn("look")
        if on_terminal:
            terminal.wait(bool)
        shown = terminal.raw if on_terminal else stderr.getvalue()
    assert ("\x1b[33mwarning\x1b[0m" in shown) is colored
    assert ("\x1b" in shown) is colored


def test_a_result_is_never_coloured(streams):
    screen = Screen(stdout=streams[0], stderr=streams[1])
    screen.configure(json=False, quiet=False, verbose=0, color="always")
    screen.show(Result({}, "plain", ForceError("no")))
    assert streams[0].getvalue() == "plain\n"
    assert streams[1].getvalue().startswith("claude-force: \x1b[31merror\x1b[0m: no")


@pytest.mark.parametrize(
    ("quiet", "verbose", "shown"),
    [
        (False, 0, ["claude-force: warning: w", "n"]),
        (True, 0, ["claude-force: warning: w"]),
        (False, 1, ["claude-force: warning: w", "n"]),
    ],
)
def test_quiet_silences_progress_and_never_a_warning(streams, quiet, verbose, shown):
    screen = Screen(stdout=streams[0], stderr=streams[1])
    screen.configure(json=False, quiet=quiet, verbose=verbose, color="never")
    screen.warn("w")
    screen.note("n")
    assert streams[1].getvalue().splitlines() == shown
    assert streams[0].getvalue() == ""


def test_a_warning_is_said_once(screen, streams):
    for text in ("same", "same", "other", "same"):
        screen.warn(text)
    assert streams[1].getvalue().splitlines() == ["claude-force: warning: same", "claude-force: warning: other"]


def test_what_could_steer_a_terminal_does_not_get_through(screen, streams):
    screen.warn(EVIL)
    screen.note(EVIL)
    screen.fail(ForceError(EVIL, hint=EVIL))
    assert streams[1].getvalue().splitlines() == [
        "claude-force: warning: a[31mbcde",
        "a[31mbcde",
        "claude-force: error: a[31mbcde; a[31mbcde",
    ]


def test_an_answer_on_a_terminal_is_cleaned_and_in_a_file_it_is_whole(streams):
    with Terminal() as terminal:
        screen = Screen(stdout=terminal.stream, stderr=streams[1])
        screen.show(Result({}, EVIL))
        screen.write(EVIL)
        assert terminal.wait(lambda lines: len(lines) == 2) == ["a[31mbcde", "a[31mbcde"]
        assert "\x1b" not in terminal.raw
    Screen(stdout=streams[0], stderr=streams[1]).show(Result({}, EVIL))
    assert streams[0].getvalue() == EVIL + "\n"


def test_an_error_is_one_line_however_many_its_message_has(screen, streams):
    screen.fail(ForceError("first\nsecond\n\n third", hint="do\nthis"))
    assert streams[1].getvalue() == "claude-force: error: first second third; do this\n"


@pytest.mark.parametrize(("text", "printed"), [("x", "x\n"), ("x\n", "x\n"), ("x\n\n", "x\n\n"), ("", "")])
def test_a_text_ends_with_its_line(screen, streams, text, printed):
    assert screen.show(Result({}, text)) == 0
    assert streams[0].getvalue() == printed


def test_a_result_with_an_error_is_printed_and_so_is_the_error(screen, streams):
    assert screen.show(Result({}, "half", ForceError("cut"), 1)) == 1
    assert (streams[0].getvalue(), streams[1].getvalue()) == ("half\n", "claude-force: error: cut\n")


def test_a_streamed_answer_is_not_printed_again(screen, streams):
    for piece in ("hel", "", "lo"):
        screen.write(piece)
    screen.show(Result({}, "hello", streamed=True))
    assert streams[0].getvalue() == "hello\n"


def test_a_note_in_the_middle_of_an_answer_begins_a_line_of_its_own():
    with Terminal() as terminal:
        screen = Screen(stdout=terminal.stream, stderr=terminal.stream)
        screen.write("half of a li")
        screen.note("a note")
        screen.write("ne\n")
        screen.note("another")
        expected = ["half of a li", "a note", "ne", "another"]
        assert terminal.wait(lambda lines: len(lines) == 4) == expected


def test_json_is_one_line_for_programs_and_indented_for_people(streams):
    data = {"schema_version": 1, "text": "é\x1b", "path": None}
    screen = Screen(json=True, stdout=streams[0], stderr=streams[1])
    screen.show(Result(data, "not this"))
    assert streams[0].getvalue().count("\n") == 1
    assert json.loads(streams[0].getvalue()) == data
    with Terminal() as terminal:
        Screen(json=True, stdout=terminal.stream, stderr=streams[1]).show(Result(data))
        lines = terminal.wait(lambda lines: lines[-1:] == ["}"])
    assert json.loads("\n".join(lines)) == data
    assert len(lines) == 5


def test_a_failure_in_json_is_on_both_streams(streams):
    screen = Screen(json=True, stdout=streams[0], stderr=streams[1])
    error = NotFound("agent", "ecko", ["echo"])
    assert screen.fail(error) == 2
    assert json.loads(streams[0].getvalue()) == {"schema_version": 1, "success": False, "error": error.facts()}
    assert streams[1].getvalue() == "claude-force: error: no agent named 'ecko'; did you mean echo?\n"


def test_an_interruption_is_told_in_one_line(screen, streams):
    assert screen.interrupted() == 130
    assert streams[1].getvalue() == "claude-force: error: interrupted\n"


def cause():
    try:
        raise KeyError("deep")
    except KeyError as error:
        return error


@pytest.mark.parametrize(
    ("verbose", "debug", "traced"), [(0, "", False), (1, "", False), (2, "", True), (0, "1", True), (0, "0", False)]
)
def test_a_defect_is_one_line_and_its_origin_is_for_who_asks(streams, monkeypatch, verbose, debug, traced):
    monkeypatch.setenv("CLAUDE_FORCE_DEBUG", debug)
    screen = Screen(stdout=streams[0], stderr=streams[1])
    screen.configure(json=False, quiet=False, verbose=verbose, color="never")
    assert screen.unforeseen(cause()) == 1
    first, *rest = streams[1].getvalue().splitlines()
    assert first.startswith("claude-force: error: KeyError: 'deep'; this is a defect")
    assert any("in cause" in line for line in rest) is traced
    assert bool(rest) is traced


def test_sizes_are_those_of_the_terminal_and_otherwise_ample(screen):
    with Terminal(columns=70, lines=11) as terminal:
        screen_there = Screen(stdout=terminal.stream, stderr=terminal.stream)
        assert (screen_there.width, screen_there.height, screen_there.page) == (70, 11, 70)
    assert (screen.width, screen.height, screen.page) == (100, 24, WIDEST)


def test_block_characters_are_drawn_where_the_encoding_has_them():
    for encoding, able in (("utf-8", True), ("UTF8", True), ("latin-1", False)):
        stderr = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        assert Screen(stdout=io.StringIO(), stderr=stderr).draws_blocks is able


def test_an_answer_streams_to_a_person_and_not_to_a_program(streams):
    with Terminal() as terminal:
        assert Screen(stdout=terminal.stream, stderr=streams[1]).streams
        assert not Screen(json=True, stdout=terminal.stream, stderr=streams[1]).streams
    assert not Screen(stdout=streams[0], stderr=streams[1]).streams


def test_characters_that_stdout_cannot_show_are_written_as_escapes():
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="ascii")
    Screen(stdout=stdout, stderr=io.StringIO()).show(Result({}, "naïve → \udc80"))
    assert raw.getvalue() == b"na\\xefve \\u2192 \\udc80\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("list", "models"), 1, "cannot write to stdout: no space left on device"),
        (("--json", "list", "models"), 1, "cannot write to stdout: no space left on device"),
        (("--json", "show", "agent", "lintr"), 2, "no agent named 'lintr'; did you mean linter?"),
    ],
)
def test_a_full_disk_is_told_in_one_line(words, status, said):
    with open("/dev/full", "w") as full:
        ended = force(*words, stdout=full, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (status, f"claude-force: error: {said}\n")


def test_without_stderr_the_result_is_still_there():
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m claude_force list models --json 2>&-"],
        stdout=subprocess.PIPE,
        env=os.environ,
        timeout=30,
        check=True,
    )
    assert json.loads(ended.stdout)


def test_a_reader_that_leaves_early_ends_it_quietly():
    process = subprocess.Popen(
        [sys.executable, "-m", "claude_force", "--json", "list", "models"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
