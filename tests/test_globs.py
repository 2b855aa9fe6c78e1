import os
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.globs import expand, is_pattern


@pytest.fixture
def root(tmp_path):
    """A project with what projects hold: sources, hidden files, an environment, modules of others."""
    directory = tmp_path / "project"
    for name in (
        "top.py",
        "readme.md",
        "src/a.py",
        "src/b.py",
        "src/deep/c.py",
        "src/deep/er/d.py",
        ".hidden.py",
        ".git/config.py",
        "node_modules/m.py",
        "src/node_modules/m.py",
        "src/__pycache__/a.py",
        "env/pyvenv.cfg",
        "env/lib/e.py",
        ".venv/pyvenv.cfg",
        ".venv/lib/v.py",
    ):
        write(directory / name)
    return directory


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("top.py", ["top.py"]),
        ("./src/../top.py", []),
        ("./src//a.py", ["src/a.py"]),
        ("*.py", ["top.py"]),
        ("?op.py", ["top.py"]),
        ("src/[ab].py", ["src/a.py", "src/b.py"]),
        ("src/[!a].py", ["src/b.py"]),
        ("src/*", ["src/a.py", "src/b.py"]),
        ("*/a.py", ["src/a.py"]),
        ("**/*.py", ["src/a.py", "src/b.py", "src/deep/c.py", "src/deep/er/d.py", "top.py"]),
        ("src/**", ["src/a.py", "src/b.py", "src/deep/c.py", "src/deep/er/d.py"]),
        ("src/**/deep/**/*.py", ["src/deep/c.py", "src/deep/er/d.py"]),
        ("**/**/**/d.py", ["src/deep/er/d.py"]),
        ("src", []),
        ("missing.py", []),
        ("missing/*.py", []),
        ("top.py/x", []),
        ("", []),
        (".", []),
        ("a\0b", []),
        ("a\0b/*", []),
    ],
)
def test_a_pattern_finds_its_files_sorted_and_each_once(root, pattern, found):
    assert expand(root, pattern) == found


@pytest.mark.parametrize("pattern", ["*/*.py", "**/m.py", "**/v.py", "**/e.py", "*/lib/*.py", "**/config.py", "*/m.py"])
def test_hidden_names_and_what_tools_make_are_passed_over(root, pattern):
    assert not {name.split("/")[0] for name in expand(root, pattern)} - {"src", "top.py"}
    assert not any("node_modules" in name or "__pycache__" in name for name in expand(root, pattern))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (".hidden.py", ".hidden.py"),
        (".*.py", ".hidden.py"),
        (".git/*.py", ".git/config.py"),
        ("**/.git/*.py", ".git/config.py"),
        (".venv/**/*.py", ".venv/lib/v.py"),
        ("env/lib/*.py", "env/lib/e.py"),
        ("node_modules/*.py", "node_modules/m.py"),
        ("src/**/node_modules/*", "src/node_modules/m.py"),
        ("src/__pycache__/a.py", "src/__pycache__/a.py"),
    ],
)
def test_what_the_pattern_spells_out_is_found(root, pattern, found):
    assert expand(root, pattern) == [found]


@pytest.mark.parametrize(
    "pattern", ["../secret", "../*", "src/../../secret", "**/../../secret", "/etc/passwd", "/etc/*"]
)
def test_a_pattern_that_climbs_or_is_absolute_fits_nothing(root, pattern):
    write(root.parent / "secret")

    assert expand(root, pattern) == []


@pytest.mark.parametrize("pattern", ["out", "*", "away/secret", "away/*", "*/*", "**/secret", "*/**", "away/**/secret"])
def test_links_that_lead_out_are_not_followed(root, pattern):
    outside = root.parent / "outside"
    write(outside / "secret")
    (root / "out").symlink_to(outside / "secret")
    (root / "away").symlink_to(outside)
    (root / "broken").symlink_to(root / "missing")

    assert {"out", "broken", "away/secret"}.isdisjoint(expand(root, pattern))


def test_a_directory_whose_name_begins_as_the_roots_does_lies_outside(root):
    write(root.parent / "project-secrets" / "key")
    (root / "twin").symlink_to(root.parent / "project-secrets")

    assert expand(root, "twin/key") == []


def test_links_within_the_root_are_followed_but_never_in_a_circle(root):
    (root / "alias.py").symlink_to(root / "src" / "a.py")
    (root / "sources").symlink_to(root / "src")
    (root / "src" / "loop").symlink_to(root / "src")

    assert expand(root, "alias.py") == ["alias.py"]
    assert expand(root, "sources/*.py") == ["sources/a.py", "sources/b.py"]
    assert expand(root, "**/d.py") == ["src/deep/er/d.py"]


def test_a_root_that_is_a_link_is_searched(root, tmp_path):
    (tmp_path / "link").symlink_to(root)

    assert expand(tmp_path / "link", "src/[ab].py") == ["src/a.py", "src/b.py"]


def test_a_name_with_brackets_that_exists_means_itself(root):
    for name in ("app/[id]/page.ts", "app/i/page.ts", "[ab].py", "a.py"):
        write(root / name)

    assert expand(root, "[ab].py") == ["[ab].py"]
    assert expand(root, "app/[id]/*.ts") == ["app/[id]/page.ts"]


def test_every_name_that_a_search_finds_is_found_again_by_itself(root):
    for name in ("src/[id].py", "src/[!x]/y.py", "src/[.py"):
        write(root / name)

    found = expand(root, "src/**/*.py")

    assert len(found) == 7
    assert [expand(root, name) for name in found] == [[name] for name in found]


def test_what_is_no_regular_file_is_not_found(root):
    os.mkfifo(root / "pipe.py")

    assert expand(root, "pipe.py") == []
    assert expand(root, "*.py") == ["top.py"]


def test_a_deep_tree_is_searched_to_its_end(tmp_path):
    deep = "/".join("d" * 1_100)
    subprocess.run(["mkdir", "-p", deep], cwd=tmp_path, check=True)
    write(tmp_path / deep / "found.py")
    try:
        assert expand(tmp_path, "**/*.py") == [f"{deep}/found.py"]
    finally:
        subprocess.run(["rm", "-r", "d"], cwd=tmp_path, check=True)  # shutil.rmtree would recurse too deep


def test_what_lies_too_deep_to_be_opened_is_passed_over(tmp_path):
    code = "import os\nfor _ in range(20):\n    os.mkdir('d' * 250)\n    os.chdir('d' * 250)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    write(tmp_path / "found")
    try:
        assert expand(tmp_path, "**") == ["found"]
    finally:
        subprocess.run(["rm", "-r", "d" * 250], cwd=tmp_path, check=True)


def test_several_double_stars_share_a_deep_path_in_few_steps(tmp_path):
    root = tmp_path / "deep"
    write(root / "/".join("x" * 40) / "there.py")
    entered = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", lambda path, scandir=os.scandir: entered.append(path) or scandir(path))
        assert expand(root, "**/x/**/x/**/x/**/x/**/x/**/nothere.py") == []
        assert expand(root, "**/x/**/x/**/x/**/x/**/x/**/*.py") == ["/".join("x" * 40) + "/there.py"]
    assert len(entered) < 1000


PLAIN = st.text(alphabet="ab*?", min_size=1, max_size=3).filter(lambda part: part not in {"**", "***"})


def naive(pattern, name):
    """Return whether the parts of a name fit those of a pattern, trying every way."""
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return naive(rest, name) or (len(name) > 1 and naive(pattern, name[1:]))
    return fnmatchcase(name[0], pattern[0]) and naive(pattern[1:], name[1:])


@given(st.lists(st.just("**") | PLAIN, min_size=1, max_size=6))
def test_a_pattern_finds_what_every_way_to_fit_it_finds(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "naive"
    names = ["a", "b", "ab/a", "aa/b", "aa/a/a/b", "aa/a/b/a", "bb/ab/a/ab", "bb/ab/ba/a/b/ab/a"]
    if not root.exists():
        for name in names:
            write(root / name)
    assert expand(root, "/".join(parts)) == sorted(name for name in names if naive(parts, name.split("/")))


@given(st.text(alphabet="ab/.*?[]!\0", max_size=20))
def test_any_pattern_stays_inside(tmp_path_factory, pattern):
    root = tmp_path_factory.getbasetemp() / "globs"
    if not root.exists():
        write(root / "in" / "a")
        write(root / "in" / "b" / "a")
        write(root / "a")
        (root / "in" / "b" / "b").symlink_to(root)

    assert set(expand(root / "in", pattern)) <= {"a", "b/a"}


@pytest.mark.parametrize(
    ("text", "wild"), [("a*", True), ("a?", True), ("[a]", True), ("src/a.py", False), ("", False)]
)
def test_a_wildcard_makes_a_pattern(text, wild):
    assert is_pattern(text) is wild
