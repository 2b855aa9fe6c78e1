import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.workflow.templates import escape, names, origin, render, sole_name, step_of

TEXTS = st.text(alphabet="{}\\ ab.\n", max_size=30)


def test_names_are_found_in_order_each_once_without_the_space_around_them():
    assert names("{{ b }} then {{a.c}}, {{b}} and {{\ta.c\n}}") == ("b", "a.c")


def test_a_text_without_names_has_none_and_stays_as_it_is():
    text = "no { braces } or {{ unclosed, or } } closed"

    assert names(text) == ()
    assert render(text, str.upper) == text


def test_a_value_takes_the_place_of_its_name():
    assert render("do {{task}} for {{ who }}!", {"task": "it", "who": "me"}.__getitem__) == "do it for me!"


def test_a_value_is_not_read_again():
    assert render("{{a}}", {"a": "{{b}} and \\{{c}}"}.__getitem__) == "{{b}} and \\{{c}}"


def test_an_error_of_the_value_passes_through():
    with pytest.raises(KeyError, match="unknown"):
        render("{{unknown}}", {}.__getitem__)


def test_escaped_braces_are_no_name():
    assert names(r"\{{a}} {{b}}") == ("b",)
    assert render(r"\{{a}} {{b}}", str.upper) == "{{a}} B"


def test_braces_around_a_name_stay():
    assert render("{{{a}}}", str.upper) == "{A}"


@pytest.mark.parametrize(("text", "name"), [("{{a}}", "a"), (" {{ a.b }}\n", "a.b"), ("{{}}", "")])
def test_the_sole_name_of_a_text_is_found(text, name):
    assert sole_name(text) == name


@pytest.mark.parametrize("text", ["", "a", "{{a}}b", "{{a}} {{b}}", r"\{{", r"\{{a}}", "{{a"])
def test_a_text_with_anything_else_has_no_sole_name(text):
    assert sole_name(text) is None


@pytest.mark.parametrize(
    ("name", "first", "step"),
    [
        ("steps.plan.output", "steps", "plan"),
        ("steps.a.output.output", "steps", "a.output"),
        ("steps.plan", "steps", None),
        ("steps.output", "steps", None),
        ("steps..output", "steps", None),
        ("stepsister.plan.output", "stepsister", None),
        ("input.steps.plan.output", "input", None),
        ("item", "item", None),
        ("", "", None),
    ],
)
def test_a_name_tells_where_its_value_comes_from(name, first, step):
    assert origin(name) == first
    assert step_of(name) == step


@given(TEXTS | st.text())
def test_an_escaped_text_renders_as_itself(text):
    assert names(escape(text)) == ()
    assert render(escape(text), {}.__getitem__) == text


@given(st.lists(st.tuples(st.text(), st.text(alphabet="abc", min_size=1), st.text())))
def test_the_text_between_names_is_never_changed(parts):
    text = "".join(f"{escape(before)} {{{{{name}}}}}" for before, name, _ in parts)
    values = iter([value for _, _, value in parts])

    assert render(text, lambda _: next(values)) == "".join(f"{before} {value}" for before, _, value in parts)


def test_an_unclosed_name_in_a_long_text_is_found_without_retracing_it():
    text = "{{" + " " * 200_000  # minutes, if each blank were tried as the beginning of the name

    assert names(text) == ()
