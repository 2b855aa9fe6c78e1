"""Finding, listing, reading and checking agents, skills and workflow files in real directories."""

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import claude_force
from claude_force.errors import NotFound, ValidationError
from claude_force.library import lint, lookup
from claude_force.library.sources import SIZE_LIMIT


@pytest.fixture
def near(project):
    """The project's shelf, which must not be left."""
    return lookup.shelf("project", project / ".claude", boundary=project)


@pytest.fixture
def far(home):
    return lookup.shelf("user", home / ".claude")


@pytest.fixture
def warnings():
    return []


def put(path, content="You help.\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def agent(shelf, name, fields="", *, file=None, body="You help.\n"):
    text = f"---\nname: {name}\ndescription: Use it for {shelf.source}.\n{fields}---\n{body}"
    return put(shelf.agents / f"{file or name}.md", text)


def skill(shelf, name, fields=None, body="Do it so.\n"):
    fields = f"name: {name}\ndescription: Use it.\n" if fields is None else fields
    return put(shelf.skills / name / "SKILL.md", f"---\n{fields}---\n{body}")


def names(found):
    return [item.name for item in found]


def said(problems):
    return [(problem.path.name, problem.line, problem.severity, problem.message) for problem in problems]


# Finding


def test_the_nearest_shelf_wins(near, far):
    agent(far, "tester")
    assert lookup.find_agent([near, far], "tester").source == "user"
    path = agent(near, "tester")
    found = lookup.find_agent([near, far], "tester")
    assert (found.source, found.path, found.description) == ("project", path, "Use it for project.")
    assert [a.source for a in lookup.list_agents([near, far])] == ["project"]


def test_the_name_field_and_not_the_file_name_is_the_agent(near, far):
    agent(near, "tuner", file="sub/directory/anything")
    agent(near, "other", file="tester")
    agent(far, "tester")
    assert lookup.find_agent([near, far], "tuner").name == "tuner"
    assert lookup.find_agent([near, far], "tester").source == "user"
    assert names(lookup.list_agents([near, far])) == ["other", "tester", "tuner"]


@pytest.mark.parametrize(
    "spelling", ["Backend Architect", "backend_architect", "BACKEND-ARCHITECT", " backend  architect "]
)
def test_case_spaces_and_underscores_do_not_count(near, far, spelling):
    agent(far, "backend-architect")
    agent(near, "another")
    assert lookup.find_agent([near, far], spelling).name == "backend-architect"


def test_a_name_as_it_is_written_comes_before_one_that_is_only_like_it(near, far):
    agent(near, "Code Reviewer", file="x")
    agent(far, "code-reviewer")
    assert lookup.find_agent([near, far], "code-reviewer").source == "user"
    assert lookup.find_agent([near, far], "Code Reviewer").source == "project"
    assert lookup.find_agent([near, far], "code reviewer").source == "project"


@pytest.mark.parametrize(
    ("find", "kind"),
    [(lookup.find_agent, "agent"), (lookup.find_skill, "skill"), (lookup.find_workflow, "workflow")],
)
def test_an_unknown_name_is_refused_with_close_ones(near, far, find, kind):
    agent(far, "python-expert")
    skill(near, "python-expert")
    put(near.workflows / "python-expert.toml", "")
    with pytest.raises(NotFound, match=f"no {kind} named 'pyton-expert'") as caught:
        find([near, far], "pyton-expert")
    assert caught.value.hint == "did you mean python-expert?"


@pytest.mark.parametrize("name", ["", ".", "..", "../agents/tester", "/etc/passwd", "a\0b", "x" * 5000, "SKILL", "*"])
def test_a_name_is_never_a_path(near, name):
    agent(near, "tester")
    skill(near, "tester")
    put(near.skills / "SKILL.md")
    for find in (lookup.find_agent, lookup.find_skill, lookup.find_workflow):
        with pytest.raises(NotFound):
            find([near], name)


def test_of_two_agents_with_one_name_the_first_path_wins_with_a_warning(near, warnings):
    first, second = agent(near, "twin", file="a/z"), agent(near, "twin", file="b")
    assert lookup.find_agent([near], "twin", warn=warnings.append).path == first
    assert lookup.list_agents([near], warn=warnings.append)[0].path == first
    assert warnings[0] == warnings[1]
    assert warnings[0].startswith(f"{second}: not used")


def test_of_two_agents_with_one_name_the_file_called_so_comes_first(near, warnings):
    agent(near, "twin", file="a/z")
    own = agent(near, "twin")
    assert lookup.find_agent([near], "twin", warn=warnings.append).path == own
    assert warnings == []
    assert lookup.list_agents([near], warn=warnings.append)[0].path == own
    assert len(warnings) == 1


def test_warnings_reach_python_unless_they_are_caught(near):
    agent(near, "twin", file="a")
    agent(near, "twin", file="b")
    with pytest.warns(UserWarning, match="b.md: not used"):
        lookup.list_agents([near])


def test_shelves_that_do_not_exist_are_empty(near, far):
    assert lookup.list_agents([near, far]) == lookup.list_skills([near]) == lookup.list_workflows([near]) == ()
    assert lint.check_agents([near, far]) == lint.check_skills([near, far]) == []


def test_a_path_that_is_no_directory_is_warned_of(near, warnings):
    for directory in (near.agents, near.skills, near.workflows):
        put(directory)
    lookup.list_agents([near], warn=warnings.append)
    lookup.list_skills([near], warn=warnings.append)
    lookup.list_workflows([near], warn=warnings.append)
    assert len(warnings) == 3
    assert len([problem for check in (lint.check_agents, lint.check_skills) for problem in check([near])]) == 2


# Agents


def test_every_field_with_a_meaning_is_read_and_the_others_are_named(near):
    agent(
        near,
        "full",
        "model: opus\neffort: High\nskills: [pdf, xlsx]\nmax-tokens: 4096\ntools: Read\nhooks:\n  Stop: []\nfoo: 1\n",
        body="\n\nYou $(never) run {{this}}.\n\n",
    )
    found = lookup.find_agent([near], "full")
    assert (found.model, found.effort, found.skills, found.max_tokens) == ("opus", "high", ("pdf", "xlsx"), 4096)
    assert found.ignored == ("tools", "hooks", "foo")
    assert found.prompt == "You $(never) run {{this}}."


@pytest.mark.parametrize("fields", ["", "model: inherit\n", "model:\neffort:\nmax_tokens:\nskills: []\n", "model: ~\n"])
def test_fields_that_say_nothing_are_none(near, fields):
    agent(near, "bare", fields)
    found = lookup.find_agent([near], "bare")
    assert (found.model, found.effort, found.max_tokens, found.skills) == (None, None, None, ())


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("# Code Reviewer Agent\n\n***\n\n## Role\nReads code\nand tells.\n\nMore.\n", "Reads code and tells."),
        ("# Code Reviewer Agent\n## Role\n", "Code Reviewer Agent"),
        ("Reads code.\n# Rest\n", "Reads code."),
    ],
)
def test_a_file_without_front_matter_is_an_agent_called_like_the_file(near, text, description):
    put(near.agents / "code-reviewer.md", text)
    found = lookup.find_agent([near], "code-reviewer")
    assert (found.name, found.description, found.prompt) == ("code-reviewer", description, text.strip())


def test_front_matter_without_a_name_leaves_the_file_name(near):
    put(near.agents / "linter.md", "---\ndescription: |\n  Use it.\n---\nYou lint.\n")
    assert names(lookup.list_agents([near])) == ["linter"]
    assert lookup.find_agent([near], "linter").description == "Use it."


def test_a_readme_without_a_name_and_hidden_files_are_no_agents(near):
    put(near.agents / "README.md", "# About\n")
    put(near.agents / "sub" / "readme.md", "---\ndescription: x\n---\ny\n")
    put(near.agents / ".draft.md")
    put(near.agents / ".git" / "x.md")
    put(near.agents / "notes.txt")
    assert lookup.list_agents([near]) == ()
    agent(near, "guide", file="Readme")
    assert names(lookup.list_agents([near])) == ["guide"]


DAMAGED = {
    "empty": (b"", 1, "no instructions"),
    "no-body": (b"---\nname: no-body\n---\n \n", 4, "no instructions"),
    "unclosed": (b"---\nname: unclosed\n\nYou help.\n", 1, "never closed"),
    "latin": (b"One\nTwo\nd\xe9j\xe0\n", 3, "byte 9 is not UTF-8"),
    "huge": (b"x" * (SIZE_LIMIT + 1), 1, "larger than"),
    "effort": (b"---\nname: effort\neffort: extreme\n---\nx\n", 3, "no effort is called 'extreme'"),
    "limit": (b"---\nname: limit\ndescription: x\nmax_tokens: 0\n---\nx\n", 4, "max_tokens is '0'"),
    "limit-text": (b"---\nmax-tokens: many\n---\nx\n", 2, "max_tokens is 'many'"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_agent_is_refused_with_its_line_and_what_to_do(near, far, name):
    content, line, words = DAMAGED[name]
    path = put(near.agents / f"{name}.md", content)
    agent(far, name)
    with pytest.raises(ValidationError) as caught:
        lookup.find_agent([near, far], name)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_damaged_files_do_not_stop_a_listing_and_each_is_warned_of(near, warnings):
    for name, (content, _, _) in DAMAGED.items():
        put(near.agents / f"{name}.md", content)
    agent(near, "sound")
    assert names(lookup.list_agents([near], warn=warnings.append)) == ["sound"]
    assert len(warnings) == len(DAMAGED)
    errors = [problem for problem in lint.check_agents([near]) if problem.severity == "error"]
    assert {p.path.stem: p.line for p in errors} == {name: line for name, (_, line, _) in DAMAGED.items()}
    assert {str(problem) for problem in errors} == set(warnings)


def test_an_agent_is_read_from_a_path_under_a_name_of_the_caller(project):
    path = put(project / "x.md", "---\nname: other\nmodel: haiku\n---\nYou help.\n")
    found = lookup.read_agent(path, "config", name="mine")
    assert (found.name, found.model, found.source, found.path) == ("mine", "haiku", "config", path)
    assert lookup.read_agent(put(project / "README.md"), "config").name == "README"
    with pytest.raises(ValidationError, match="cannot be read: No such file"):
        lookup.read_agent(project / "missing.md", "config")


def test_files_in_utf16_and_with_a_byte_order_mark_are_read(near):
    put(near.agents / "wide.md", "---\nname: wide\n---\nGrüße.\n".encode("utf-16"))
    put(near.agents / "mark.md", b"\xef\xbb\xbf---\r\nname: mark\r\n---\r\nOne\r\nTwo\r\n")
    assert [found.prompt for found in lookup.list_agents([near])] == ["One\nTwo", "Grüße."]


def test_what_is_no_regular_file_is_refused_and_not_waited_for(near, warnings):
    near.agents.mkdir()
    os.mkfifo(near.agents / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(near.agents)
        listener.bind("socket.md")
        assert lookup.list_agents([near], warn=warnings.append) == ()
    assert [("not a regular file" in text) for text in warnings] == [True, True]
    with pytest.raises(ValidationError, match="not a regular file"):
        lookup.find_agent([near], "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_warned_of(near, warnings):
    agent(near, "secret").chmod(0)
    agent(near, "inner", file="closed/inner").parent.chmod(0)
    assert lookup.list_agents([near], warn=warnings.append) == ()
    (near.agents / "closed").chmod(stat.S_IRWXU)
    assert [("Permission denied" in text) for text in warnings] == [True, True]


# The boundary


def test_a_link_out_of_the_project_is_never_read(near, tmp_path, warnings):
    outside = put(tmp_path / "outside" / "secret.md", "secret\n")
    near.agents.mkdir(parents=True)
    (near.agents / "secret.md").symlink_to(outside)
    (near.agents / "linked").symlink_to(outside.parent)
    assert lookup.list_agents([near], warn=warnings.append) == ()
    assert len(warnings) == 2
    assert all("leads out of" in text for text in warnings)
    with pytest.raises(ValidationError, match="leads out of"):
        lookup.find_agent([near], "secret")
    assert [problem.severity for problem in lint.check_agents([near])] == ["error", "error"]


def test_a_path_with_dots_out_of_the_project_is_never_read(project, tmp_path):
    put(tmp_path / "secret.md", "secret\n")
    put(tmp_path / "secret.json", "{}")
    with pytest.raises(ValidationError, match="leads out of"):
        lookup.read_agent(project / ".." / "secret.md", "config", boundary=project)
    with pytest.raises(ValidationError, match="leads out of"):
        lookup.read_workflow(project / ".." / "secret.json", "config", boundary=project)


def test_skills_and_workflows_are_inside_the_boundary_too(near, tmp_path, warnings):
    put(tmp_path / "x" / "SKILL.md", "secret\n")
    near.skills.mkdir()
    near.workflows.mkdir()
    (near.skills / "x").symlink_to(tmp_path / "x")
    (near.workflows / "w.json").symlink_to(put(tmp_path / "w.json", "{}"))
    assert lookup.list_skills([near], warn=warnings.append) == ()
    assert lookup.list_workflows([near], warn=warnings.append) == ()
    assert len(warnings) == 2


def test_links_inside_the_project_are_followed_and_circles_end(near, project):
    put(project / "shared" / "one.md")
    agent(near, "two")
    (near.agents / "linked").symlink_to(project / "shared")
    (near.agents / "circle").symlink_to(near.agents)
    assert names(lookup.list_agents([near])) == ["one", "two"]


def test_a_project_that_is_itself_reached_by_a_link_is_inside_itself(near, project, tmp_path):
    agent(near, "one")
    (tmp_path / "link").symlink_to(project)
    linked = lookup.shelf("project", tmp_path / "link" / ".claude", boundary=tmp_path / "link")
    assert names(lookup.list_agents([linked])) == ["one"]


# Skills


def test_skills_are_directories_with_a_skill_file(near, far):
    skill(near, "pdf", body="Run !`rm -rf /` ${CLAUDE_SKILL_DIR}\n")
    skill(far, "pdf")
    skill(far, "Excel Sheets", "description: Use it.\n")
    skill(near, ".hidden")
    skill(near, "deep/inside")
    put(near.skills / "empty" / "notes.md")
    put(near.skills / "stray.md")
    assert names(lookup.list_skills([near, far])) == ["Excel Sheets", "pdf"]
    found = lookup.find_skill([near, far], "pdf")
    assert (found.source, found.description, found.body) == (
        "project",
        "Use it.",
        "Run !`rm -rf /` ${CLAUDE_SKILL_DIR}",
    )
    assert lookup.find_skill([near, far], "excel-sheets").path == far.skills / "Excel Sheets" / "SKILL.md"


def test_a_skill_without_front_matter_is_called_like_its_directory(near):
    put(near.skills / "review" / "SKILL.md", "# Review Skill\n\nRead it twice.\n")
    found = lookup.find_skill([near], "review")
    assert (found.name, found.description) == ("review", "Read it twice.")


def test_an_empty_skill_is_refused(near, warnings):
    path = skill(near, "hollow", body="")
    with pytest.raises(ValidationError, match=f"{path}:5: the skill has no instructions"):
        lookup.find_skill([near], "hollow")
    assert lookup.list_skills([near], warn=warnings.append) == ()
    assert len(warnings) == 1


# Workflow files


def test_workflows_are_read_from_toml_and_json(near, far):
    put(near.workflows / "ship.toml", '[[steps]]\nid = "a"\r\n')
    put(far.workflows / "ship.json", "{}")
    put(far.workflows / "check.JSON", '\ufeff{"steps": []}')
    put(far.workflows / "notes.md")
    found = lookup.find_workflow([near, far], "Ship")
    assert (found.name, found.data, found.source) == ("ship", {"steps": [{"id": "a"}]}, "project")
    assert names(lookup.list_workflows([near, far])) == ["check", "ship"]


def test_of_two_workflow_files_with_one_name_the_first_path_wins(near, warnings):
    put(near.workflows / "a.toml", "")
    put(near.workflows / "a.json", "{}")
    assert lookup.find_workflow([near], "a", warn=warnings.append).path.name == "a.json"
    assert len(warnings) == 1
    assert "a.toml: not used" in warnings[0]


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("a.toml", "x = 1\n\ny 2\n", 3, "TOML syntax: Expected '='"),
        ("a.toml", "x = 1\ny = [\n", 3, "TOML syntax: Invalid value"),
        ("a.json", '{\n "a": 1\n "b": 2}', 3, "JSON syntax: "),
        ("a.json", "[]", 1, "no object"),
        ("a.json", "[" * 100_000, 1, "nested too deeply"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", 1, "JSON syntax: "),
        ("a.json", b'{\n"a": "\xff"}', 2, "byte 8 is not UTF-8"),
    ],
)
def test_a_damaged_workflow_is_refused_with_its_line_and_the_words_of_the_parser(
    near, warnings, name, text, line, words
):
    path = put(near.workflows / name, text)
    with pytest.raises(ValidationError) as caught:
        lookup.find_workflow([near], "a")
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert words in caught.value.message
    assert lookup.list_workflows([near], warn=warnings.append) == ()
    assert warnings == [f"{caught.value.message}; {caught.value.hint}"]


# What ships


def test_everything_that_ships_is_found_and_sound(warnings):
    shelf = lookup.bundled_shelf()
    agents = lookup.list_agents([shelf], warn=warnings.append)
    assert agents
    assert lookup.find_agent([shelf], agents[0].name) == agents[0]
    assert lookup.list_skills([shelf], warn=warnings.append)
    assert lookup.list_workflows([shelf], warn=warnings.append)
    assert warnings == []
    found = [*lint.check_agents([shelf]), *lint.check_skills([shelf], strict=True)]
    assert [str(problem) for problem in found if problem.severity != "note"] == []


def test_the_bundled_shelf_is_in_the_package_where_it_was_installed(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "claude_force"
    (package / "data" / "agents").mkdir(parents=True)
    monkeypatch.setattr(lookup, "__file__", str(package / "library" / "lookup.py"))
    shelf = lookup.bundled_shelf()
    assert (shelf.agents, shelf.skills) == (package / "data" / "agents", package / "data" / "skills")
    assert shelf.workflows == package / "data" / "workflows"
    assert Path(claude_force.__file__).parent.name == "claude_force"


def test_a_listing_reads_each_file_once_and_a_direct_hit_one_file(near, monkeypatch):
    for number in range(50):
        agent(near, f"agent-{number:02}")
    opened = []
    real = lookup.read_document
    monkeypatch.setattr(lookup, "read_document", lambda path, boundary: opened.append(path) or real(path, boundary))
    assert len(lookup.list_agents([near])) == 50
    assert len(opened) == len(set(opened)) == 50
    opened.clear()
    lookup.find_agent([near], "agent-07")
    assert [path.stem for path in opened] == ["agent-07"]


# Checks


def test_fields_without_effect_are_noted_and_defects_of_yaml_are_warned_of(near):
    agent(near, "one", "tools: Read\nfoo: 1\n")
    put(near.agents / "two.md", "---\nname: two\ndescription: Triggers on: x\nname: two\n---\ny\n")
    assert said(lint.check_agents([near])) == [
        ("one.md", 4, "note", "'tools' only means something to Claude Code and is ignored here"),
        ("one.md", 5, "note", "'foo' has no meaning and is ignored here"),
        ("two.md", 3, "warning", "': ' in a value without quotes"),
        ("two.md", 4, "warning", "'name' is given twice; the one on line 2 is not used"),
    ]


def test_what_claude_code_skips_is_warned_of(near):
    put(near.agents / "bare.md", "# Bare\n")
    agent(near, "my:agent", file="colon")
    agent(near, "-dash", file="dash")
    assert [(name, severity) for name, _, severity, _ in said(lint.check_agents([near]))] == [
        ("bare.md", "warning"),
        ("colon.md", "warning"),
        ("dash.md", "warning"),
    ]


def test_two_agents_with_one_name_and_a_skill_that_is_missing_are_found(near, far):
    agent(near, "twin", file="a")
    agent(near, "twin", "skills: My Pdf, xlsx\n", file="b")
    skill(far, "my-pdf")
    assert said(lint.check_agents([near, far])) == [
        ("b.md", 1, "warning", f"{near.agents / 'a.md'} is called 'twin' too"),
        ("b.md", 4, "error", "there is no skill 'xlsx'"),
    ]


BREACHES = {
    "long": ("name: long\ndescription: " + "x" * 1025 + "\ncompatibility: " + "y" * 501 + "\n", [3, 4]),
    "other": ("name: another\ndescription: x\n", [2]),
    "My_Skill": ("name: My_Skill\ndescription: x\n", [2]),
    "a--b": ("name: a--b\ndescription: x\n", [2]),
    "nameless": ("description: x\n", [1]),
    "mute": ("name: mute\n", [1]),
    "n" * 65: (f"name: {'n' * 65}\ndescription: x\n", [2]),
}


@pytest.mark.parametrize("name", BREACHES)
def test_breaches_of_the_specification_are_warnings_and_errors_if_strict(near, name):
    fields, lines = BREACHES[name]
    skill(near, name, fields)
    for strict, severity in ((False, "warning"), (True, "error")):
        found = [problem for problem in lint.check_skills([near], strict=strict) if problem.severity != "note"]
        assert [(problem.line, problem.severity) for problem in found] == [(line, severity) for line in lines]
        assert all(problem.remedy for problem in found)


def test_fields_outside_the_specification_are_notes_and_errors_if_strict(near):
    skill(near, "a", "name: a\ndescription: b\nlicense: MIT\nversion: 1\nmodel: opus\n")
    assert [p.severity for p in lint.check_skills([near])] == ["note", "note", "note"]
    assert [(p.line, p.severity) for p in lint.check_skills([near], strict=True)] == [
        (4, "note"),
        (5, "error"),
        (6, "error"),
    ]


@pytest.mark.parametrize("body", ["line\n" * 501, "x" * 20_001])
def test_long_instructions_are_warned_of(near, body):
    skill(near, "a", body=body)
    ((_, line, severity, message),) = said(lint.check_skills([near], strict=True))
    assert (line, severity) == (5, "warning")
    assert "over 500 lines or 20000 characters" in message


def test_an_unclosed_skill_has_one_error_about_that(near):
    put(near.skills / "a" / "SKILL.md", "---\nname: a\ndescription: b\n")
    ((_, line, severity, message),) = said(lint.check_skills([near]))
    assert (line, severity) == (1, "error")
    assert "never closed" in message


# Open input


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"---\n{text}\n---\nx".encode()))
def test_any_file_is_an_agent_or_a_validation_error(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp() / "any" / "agent.md", content)
    (checked, *_) = [*lint.check_agents([lookup.Shelf("x", path.parent, path, path)]), None]
    try:
        found = lookup.read_agent(path, "project")
    except ValidationError as refused:
        found = refused
    if isinstance(found, ValidationError):
        assert checked is not None
        assert found.message.startswith(f"{path}:")
        assert found.hint
    else:
        assert found.prompt
        assert found.name
        assert "\n" not in found.name
