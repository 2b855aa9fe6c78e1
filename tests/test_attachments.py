import os

import pytest

from claude_force.attachments import LARGEST_REQUEST, check_size, find, read, text_of
from claude_force.errors import ValidationError
from claude_force.records import Document


def test_names_come_in_the_order_of_the_patterns_each_once(project):
    for name in ("b.py", "a.py", "c.md"):
        (project / name).write_text("x")

    assert find(project, ["c.md", "*.py", "./a.py", "b.py"]) == ["c.md", "a.py", "b.py"]


def test_no_patterns_find_nothing(project):
    assert find(project, []) == []


@pytest.mark.parametrize("pattern", ["missing.py", "*.rs", "../up", "/etc/passwd"])
def test_what_is_not_there_is_refused_with_its_place(project, pattern):
    with pytest.raises(ValidationError) as refused:
        find(project, [pattern])

    assert refused.value.message == f"no file below {project} fits '{pattern}'"
    assert "relative to the project" in refused.value.hint


@pytest.mark.parametrize(("typed", "spelled"), [("a.py", "src/a.py"), ("*.py", "src/*.py"), ("../top.md", "top.md")])
def test_a_path_that_is_right_from_the_working_directory_is_told_as_the_project_has_it(
    project, monkeypatch, typed, spelled
):
    (project / "src").mkdir()
    (project / "src/a.py").write_text("x")
    (project / "top.md").write_text("x")
    monkeypatch.chdir(project / "src")

    with pytest.raises(ValidationError) as refused:
        find(project, [typed])

    assert refused.value.hint == f"paths are relative to the project: write {spelled}"
    assert find(project, [spelled])


def test_an_absolute_path_into_the_project_is_told_as_the_project_has_it(project):
    (project / "a.py").write_text("x")

    with pytest.raises(ValidationError) as refused:
        find(project, [str(project / "a.py")])

    assert refused.value.hint.endswith("write a.py")


def test_a_pattern_may_fit_nothing_beside_one_that_fits_but_a_plain_name_may_not(project):
    (project / "a.py").write_text("x")

    assert find(project, ["*.rs", "*.py"]) == ["a.py"]
    with pytest.raises(ValidationError, match=r"fits 'b\.py'"):
        find(project, ["*.py", "b.py"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("grüß\n".encode(), "grüß\n"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide".encode("utf-16"), "wide"),
        (b"line\r\n", "line\r\n"),
    ],
)
def test_a_text_file_is_read_as_it_is(project, data, text):
    (project / "f").write_bytes(data)

    assert read(project / "f", "the file") == Document("the file", text)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x7fELF\0\0", "blob is binary"),
        (b"caf\xe9", "blob: "),
        (b"\xff\xfea", "blob: "),
    ],
)
def test_what_is_no_text_is_refused(data, problem):
    with pytest.raises(ValidationError) as refused:
        text_of(data, "blob")

    assert refused.value.message.startswith(problem)
    assert "text" in refused.value.hint


def test_a_file_that_cannot_be_read_is_named_with_the_reason(project):
    with pytest.raises(ValidationError, match=r"^cannot read x: no such file or directory$"):
        read(project / "missing", "x")
    with pytest.raises(ValidationError, match=r"^cannot read x: is a directory$"):
        read(project, "x")


def test_a_file_above_the_limit_of_a_request_is_refused(project):
    with (project / "huge").open("wb") as stream:
        os.truncate(stream.fileno(), LARGEST_REQUEST + 1)

    with pytest.raises(ValidationError, match="huge has more than 32 MiB"):
        read(project / "huge", "huge")


def test_files_that_are_too_much_together_are_refused_naming_the_largest():
    files = [Document("small", "x" * 1024), Document("big", "é" * (LARGEST_REQUEST // 2 - 1024))]

    check_size(files, "x" * 1024)
    with pytest.raises(ValidationError) as refused:
        check_size(files, "x" * 1025)
    with pytest.raises(ValidationError, match="the API takes 32"):
        check_size(files, "ü" * 513)

    assert refused.value.message.endswith("the API takes 32; the largest file is big with 32.0 MiB")


def test_a_task_that_is_too_much_by_itself_is_refused():
    with pytest.raises(ValidationError, match=r"(?m)^the request has 33\.0 MiB, the API takes 32$"):
        check_size([], "x" * (33 * 2**20))
