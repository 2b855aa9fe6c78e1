"""Front matter: agreement with a YAML loader where the text is YAML, and something of use where it is not."""

import re
from pathlib import Path
from time import process_time

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from claude_force.library.markdown import UNCLOSED, as_list, decode, parse

FILES = sorted(Path(__file__).with_name("data").joinpath("frontmatter").glob("*.md"))


def document(name):
    return parse(decode(next(path for path in FILES if path.stem == name).read_bytes()))


def front(fields, body="Body\n"):
    return f"---\n{fields}\n---\n{body}"


def as_yaml(path):
    """The front matter as PyYAML has it, every value that is no string left out; None if it is not YAML."""
    text = decode(path.read_bytes()).replace("\r\n", "\n")
    block = re.match(r"\s*---\n(.*?)\n *(---|\.\.\.)\n", text, re.DOTALL)[1]
    try:
        return {key: value for key, value in yaml.safe_load(block).items() if isinstance(value, str)}
    except yaml.YAMLError:
        return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_odd_file_yields_name_and_description(path):
    found = parse(decode(path.read_bytes()))
    assert found.fields["name"] == path.stem
    assert "Use it" in found.fields["description"]
    assert found.body.strip()


@pytest.mark.parametrize("path", [path for path in FILES if as_yaml(path)], ids=lambda path: path.stem)
def test_a_file_that_is_yaml_means_what_yaml_says(path):
    found = parse(decode(path.read_bytes()))
    expected = as_yaml(path)
    assert {key: found.fields[key] for key in expected} == expected
    assert found.problems == ()


def test_a_file_that_is_no_yaml_has_a_problem_on_each_line_at_fault():
    faulty = {
        path.stem: [line for line, _ in parse(decode(path.read_bytes())).problems]
        for path in FILES
        if as_yaml(path) is None
    }
    assert faulty == {
        "colon-in-description": [3],
        "description-below-key": [5],
        "examples-at-margin": [3],
        "quote-never-closed": [3, 4],
        "starts-with-stars": [3, 4],
        "text-after-quote": [3],
    }


def test_examples_at_the_margin_belong_to_the_description_and_known_fields_do_not():
    found = document("examples-at-margin")
    assert list(found.fields) == ["name", "description", "model", "color"]
    assert found.fields["description"] == (
        "Use it for queries. Examples:\n<example> Context: the plan is slow "
        'user: "Make it fast" assistant: "I will look at it" # not a comment but text </example>'
    )
    assert found.fields["color"] == "green"


def test_an_example_that_looks_like_fields_is_text_if_what_follows_it_is_unsound():
    example = 'description: Use it. <example>\nContext: slow\nuser: "help"\n</example>\nmodel: opus'
    found = parse(front(f"name: a\n{example}"))
    assert list(found.fields) == ["name", "description", "model"]
    assert found.fields["description"].endswith('Context: slow user: "help" </example>')
    assert [line for line, _ in found.problems] == [4]


def test_text_below_an_empty_description_is_the_description():
    found = document("description-below-key")
    assert found.fields["description"].startswith("<example> Context: nothing")
    assert found.fields["tools"] == ["Read", "Grep"]
    assert found.problems == ((5, "text at the margin belongs to no field"),)


def test_an_open_quote_ends_with_its_field():
    found = document("quote-never-closed")
    assert found.fields["description"] == '"Use it when a quote is left open'
    assert [line for line, _ in found.problems] == [3, 4]


def test_lists_are_lists_in_every_notation():
    assert document("double-quoted").fields["tools"] == ["Read", "Bash(a, b)", "it's"]
    assert document("literal").fields["tools"] == ["Read", "Bash(git:*)"]
    assert parse(front("tools:\n  [a,\n  'b']")).fields["tools"] == ["a", "b"]
    assert parse(front("tools: []")).fields["tools"] == []
    assert parse(front("tools:\n- a\n- b\n  c\n-\nx: 1")).fields["tools"] == ["a", "b c", ""]


def test_a_structure_is_its_own_text():
    fields = document("structured").fields
    assert fields["hooks"].startswith('PreToolUse:\n  - matcher: "Bash"\n')
    assert "echo {{no}} $(run)" in fields["hooks"]
    assert fields["metadata"] == '{"a": {"b": ["c"]}}'
    assert fields["mcpServers"] == '- github\n- db: {url: "x"}'
    assert parse(front("a: [{b: c}]")).fields["a"] == "[{b: c}]"
    assert parse(front("a:\n  {b: c}")).fields["a"] == "{b: c}"


def test_a_null_is_empty_and_all_other_plain_values_stay_text():
    fields = parse(front("name: 3000\nmodel: ~\ncolor: null\nmemory:\nbackground: true\nversion: 2026-01-05")).fields
    assert list(fields.values()) == ["3000", "", "", "", "true", "2026-01-05"]


def test_lines_and_body_line_count_from_the_first_line_of_the_file():
    found = parse("\n---\n\nname: a\n# comment\ndescription: >\n  b\n\nmodel: c\n---\n\nBody")
    assert found.lines == {"name": 4, "description": 6, "model": 9}
    assert (found.body_line, found.body) == (11, "\nBody")


def test_only_the_first_closing_fence_counts():
    found = document("rules-in-body")
    assert found.fields["name"] == "rules-in-body"
    assert found.body == "One\n\n---\nname: other\n---\nTwo\n"


def test_text_without_front_matter_is_all_body():
    for text in ("# Reviewer Agent\n\nname: x\n", "", "----\nname: x\n----\n", "---\n# Title\n\nText.\n\n---\nMore\n"):
        assert parse(text).fields == {}
        assert parse(text).body == text
        assert parse(text).body_line == 1


def test_an_empty_front_matter_is_no_body():
    assert parse("---\n# nothing\n---\nBody").body == "Body"


def test_a_stray_line_before_the_first_field_is_passed_over():
    assert parse(front("stray\nname: x")).fields == {"name": "x"}


def test_front_matter_that_never_ends_says_so_and_has_no_body():
    found = parse("---\nname: x\n\nYou are helpful.\n")
    assert found.fields["name"].startswith("x")
    assert found.problems[0] == (1, UNCLOSED)
    assert found.body == ""


def test_the_last_of_two_fields_counts_and_the_second_line_is_named():
    found = parse(front("name: a\ndescription: b\nname: c"))
    assert found.fields["name"] == "c"
    assert found.lines["name"] == 4
    assert found.problems == ((4, "'name' is given twice; the one on line 2 is not used"),)


def test_a_hash_cuts_a_plain_value_but_never_a_description():
    found = parse(front("description: Fixes issue #12 and #13 #14\nmodel: haiku # cheap\ncolor: a#b"))
    assert found.fields == {"description": "Fixes issue #12 and #13 #14", "model": "haiku", "color": "a#b"}
    assert [line for line, _ in found.problems] == [2]


def test_an_unknown_field_opens_in_sound_front_matter_and_after_an_unsound_short_field():
    assert list(parse(front("name: a\nfoo: b\ndescription: c\nbar_baz: d")).fields) == [
        "name",
        "foo",
        "description",
        "bar_baz",
    ]
    assert list(parse(front("name: *a\nfoo: b")).fields) == ["name", "foo"]


@pytest.mark.parametrize(
    ("fields", "line", "words"),
    [
        ("name: a\ndescription: b: c", 3, "': '"),
        ("description: b\n  c: d", 3, "': '"),
        ("description: ends with:", 2, "': '"),
        ("tools: [a, b", 2, "["),
        ("name: 'a", 2, "'"),
        ('name: "a" b', 2, '"'),
        ("name: @a", 2, "'@'"),
        ("name: - a", 2, "'-'"),
        ("name: |nothing", 2, "'|'"),
        ('name: "\\d"', 2, "\\d"),
        ('name: "a"\nstray', 3, "margin"),
        ("description: |\n  a\nstray", 4, "margin"),
    ],
)
def test_what_strict_yaml_rejects_is_named_with_its_line(fields, line, words):
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(fields)
    ((found, message),) = parse(front(fields)).problems
    assert found == line
    assert words in message


def test_text_below_a_quoted_value_is_added_to_it():
    assert parse(front('description: "a"\nmore\nmodel: b')).fields == {"description": "a more", "model": "b"}


def test_escapes_that_yaml_does_not_know_stay_as_they_are():
    assert parse(front(r'description: "\d+ \q"')).fields["description"] == r"\d+ \q"


def test_halves_of_a_pair_are_joined_and_a_lone_half_is_replaced():
    assert parse(front(r'name: "\ud83d\ude00"')).fields["name"] == "\U0001f600"
    assert parse(front(r'name: "\ud83d"')).fields["name"] == "\ufffd"


@pytest.mark.parametrize("mark", ["|", "|-", "|+", ">", ">-", ">+", "|2", ">+2", ">1-"])
@pytest.mark.parametrize(
    "text", ["  a\n  b\n", "  a\n\n\n  b\n   more\n  c\n\n\n", "\n  a\n", "\n", "  \n  a  \n", "  a\n\n     b\n   c\n"]
)
def test_block_scalars_agree_with_yaml(mark, text):
    source = f"description: {mark}\n{text}name: x\n"
    assert parse(f"---\n{source}---\n").fields == yaml.safe_load(source)


def test_lists_split_at_commas_outside_parentheses():
    assert as_list("Read, Agent(a, b, c),,Bash(git:*) ,") == ["Read", "Agent(a, b, c)", "Bash(git:*)"]
    assert as_list("my skill, other") == ["my skill", "other"]
    assert as_list(["a b", ""]) == ["a b"]
    assert as_list("") == []
    assert as_list("a), (b, c") == ["a)", "(b, c"]


def test_bytes_are_utf8_or_utf16_with_a_mark():
    assert decode("é".encode()) == decode("é".encode("utf-8-sig")) == decode("é".encode("utf-16")) == "é"
    assert decode(b"\xfe\xff\x00a") == "a"


@pytest.mark.parametrize(("data", "offset"), [(b"abc\xff", 3), (b"\xef\xbb\xbf\xe9", 3), (b"\xff\xfea", 2)])
def test_other_bytes_are_refused_with_their_offset(data, offset):
    with pytest.raises(ValueError, match=f"position {offset}") as caught:
        decode(data)
    assert caught.value.start == offset


PIECES = (
    "---\n",
    "...\n",
    "name: ",
    "description:",
    "tools:\n- x\n",
    "user: b",
    "\n",
    "\n\n",
    "\r\n",
    "  ",
    "\t",
    "- ",
)
SIGNS = (
    ": ",
    '"',
    "'",
    "[",
    "]",
    "{",
    "}",
    "|",
    ">",
    "#",
    " # ",
    "\\",
    "\\u",
    "\\ud800",
    "*",
    ",",
    "(",
    "é",
    "\ud800",
    "2",
)
PATCHWORK = st.lists(st.sampled_from(PIECES + SIGNS)).map("".join)


@given(st.text() | PATCHWORK.map("---\n{}".format))
@example('---\nname: "\\U0010FFFF\\U00110000"\n---')
def test_any_text_has_a_result(text):
    found = parse(text)
    total = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert found.fields.keys() == found.lines.keys()
    assert all(1 <= line <= total for line in (*found.lines.values(), *(line for line, _ in found.problems)))
    assert all(isinstance(value, str) or all(isinstance(v, str) for v in value) for value in found.fields.values())
    for value in found.fields.values():
        assert isinstance(as_list(value), list)


@given(st.binary())
def test_any_bytes_are_text_or_a_value_error(data):
    try:
        text = decode(data)
    except ValueError as error:
        text = str(error)
    assert isinstance(text, str)


KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(lambda key: yaml.safe_load(key) == key)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x85\u2028\u2029"), min_size=1)


def dumped(fields, **options):
    text = yaml.dump(fields, width=30, allow_unicode=True, **options)
    found = parse(f"---\n{text}---\nBody")
    if "#" not in text:  # a description keeps what YAML takes for a comment
        assert found.problems == ()
    return found.fields


@given(st.dictionaries(KEYS, TEXT), st.sampled_from([None, '"', "'", "|", ">"]))
def test_strings_that_yaml_writes_are_read_as_they_were(fields, style):
    assert dumped(fields, default_style=style) == fields


@given(st.dictionaries(KEYS, st.lists(TEXT)), st.booleans())
def test_lists_that_yaml_writes_are_read_as_they_were(fields, flow):
    assert dumped(fields, default_flow_style=None if flow else False) == fields


WORDS = st.text("abz09.,;!?()<>/-_#:'\"*& é", min_size=1).map(str.strip).filter(bool)


@given(WORDS)
def test_a_plain_line_means_what_yaml_says_or_is_called_unsound(value):
    text = f"model: {value}\nname: x"
    found = parse(front(text))
    assert found.fields["name"] == "x"
    try:
        expected = yaml.load(text, Loader=yaml.BaseLoader)  # which leaves every value text
    except yaml.YAMLError:
        assert found.problems
    else:
        assume(not found.problems)
        assert found.fields == expected


@given(st.from_regex(r"[abz][abz09.,;()/é]*( [abz09.,;()/é]+)*", fullmatch=True))
def test_a_plain_line_of_words_is_sound(value):
    text = f"model: {value}\nname: x"
    found = parse(front(text))
    assert (found.problems, found.fields) == ((), yaml.load(text, Loader=yaml.BaseLoader))


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        ("name: ", ":"),
        ("name: ", '"'),
        ("name: '", "''"),
        ('name: "', "\\"),
        ('name: "', " "),
        ("", "a: '\n"),
        ("", 'a: "\\\n'),
        ("", "a: [\n"),
        ("", "a: {b: ['\n"),
        ("name: ", "[[[[{"),
        ("description: a: b\n", "user: c\n"),
        ("description:\n", "\n \n"),
        ("tools:\n", "- (\n"),
        ("description: |\n", "  a\n\n"),
    ],
)
def test_hostile_text_of_eight_times_the_size_takes_no_more_than_about_eight_times_as_long(start, unit):
    def seconds(size):
        text = f"---\n{start}{unit * (size // len(unit))}"
        begin = process_time()
        as_list("".join(map(str, parse(text).fields.values())))
        return process_time() - begin

    seconds(1000)  # compiles the patterns
    small = min(seconds(20_000) for _ in range(3))
    assert seconds(160_000) < 30 * small + 0.02  # were it quadratic, sixty-four times as long
