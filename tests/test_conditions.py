import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claude_force.errors import ValidationError
from claude_force.workflow.conditions import check, holds

VALUES = {"yes": "true", "no": " False\n", "empty": "", "bugs": "BUG: one\nBUG: two", "site": "the site", "x": "a == b"}


@pytest.mark.parametrize(
    "condition",
    [
        "{{yes}}",
        "  {{ yes }}  ",
        "{{bugs}}",
        "not {{no}}",
        "not {{empty}}",
        "{{yes}} == true",
        "{{yes}}==true",
        "{{yes}} != false",
        "{{bugs}} contains BUG",
        "{{bugs}} contains 'BUG: two'",
        "{{bugs}} not contains CRASH",
        "{{bugs}} not  contains CRASH",
        "{{site}} == 'the site'",
        '{{site}} == "the site"',
        "{{site}} == 'the {{word}}'",
        "'the site' == {{site}}",
        "{{empty}} == ''",
        "{{x}} == 'a == b'",
        "'a == b' == {{x}}",
        "pre-{{yes}}-post == pre-true-post",
        "{{bugs}} contains {{empty}}",
    ],
)
def test_a_condition_holds(condition):
    assert holds(condition, (VALUES | {"word": "site"}).__getitem__) is True


@pytest.mark.parametrize(
    "condition",
    [
        "{{no}}",
        "{{empty}}",
        "not {{yes}}",
        "off",
        "'0'",
        "''",
        "{{yes}} == True",
        "{{yes}} != true",
        "{{bugs}} contains CRASH",
        "{{bugs}} not contains BUG",
        "{{empty}} contains x",
        "{{site}} != 'the site'",
    ],
)
def test_a_condition_does_not_hold(condition):
    assert holds(condition, VALUES.__getitem__) is False


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "  ",
        "{{a}} ==",
        "== {{a}}",
        "{{a}} contains",
        "{{a}} = {{b}}",
        "{{a}} == b and {{c}} == d",
        "{{a}} or {{b}}",
        "{{a}} contains two words",
        "not {{a}} == b",
        "not not {{a}}",
        "{{a}} == 'unclosed",
        "{{a}} == b == c",
        "__import__('os').system('true')",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_guessed_at(condition):
    with pytest.raises(ValidationError, match="cannot read the condition") as refused:
        check(condition)

    assert "quotes" in refused.value.hint
    with pytest.raises(ValidationError):
        holds(condition, VALUES.__getitem__)


@given(st.text())
@example("x == x")
@example("' == '")
@example("not")
@example("{{y}}")
def test_a_value_brings_no_comparison_of_its_own(value):
    assert holds("{{x}} == 'wanted'", lambda _: value) is (value.strip() == "wanted")
    assert holds("{{x}} contains needle", lambda _: value) is ("needle" in value)
    assert holds("{{x}}", lambda _: value) is not holds("not {{x}}", lambda _: value)


@given(st.text(alphabet="{}ab =!'\"\n", max_size=40))
def test_every_text_is_refused_or_says_the_same_whatever_blanks_stand_around_it(condition):
    try:
        check(condition)
    except ValidationError:
        with pytest.raises(ValidationError):
            holds(condition, lambda _: "v")
    else:
        assert holds(f" {condition}\n", lambda _: "v") is holds(condition, lambda _: "v")


def test_a_long_condition_is_refused_without_trying_every_way_to_read_it():
    with pytest.raises(ValidationError):
        check("{{a}}" * 5_000 + " ends in two words")
