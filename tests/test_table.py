import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.reports.table import (
    amounts,
    clean,
    columns,
    cut,
    duration,
    first_line,
    money,
    one_line,
    plural,
    table,
)

WIDE = "日本語"


def test_columns_line_up_and_numbers_stand_to_the_right():
    rows = [["lint", "3", "$0.02"], ["review", "1,250", "$11.00"]]
    shown = table(["name", "calls", "cost"], rows, numbers=["calls", "cost"])

    assert shown.splitlines() == [
        "name    calls    cost",
        "lint        3   $0.02",
        "review  1,250  $11.00",
    ]


def test_wide_characters_take_two_columns_and_combining_ones_none():
    shown = table(["a", "b"], [[WIDE, "x"], ["cafe\u0301", "y"], ["plain", "z"]])

    assert shown.splitlines() == [
        "a       b",
        f"{WIDE}  x",
        "cafe\u0301    y",
        "plain   z",
    ]


def test_a_table_without_rows_is_its_headings():
    assert table(["name", "count"], []) == "name  count"


@pytest.mark.parametrize("run", ["20261122-0405060-abcdef", "20261122-0405060-123456"])
def test_a_column_stands_where_its_kind_does_whatever_is_in_it(run):
    shown = table(["RUN", "COST"], [[run, "unknown"], ["20261122-0405060-other-run", "$1.00"]], numbers=["COST"])

    assert shown.splitlines()[0] == "RUN                            COST"
    assert shown.splitlines()[1].startswith(run)


def test_the_widest_texts_give_way_first_and_numbers_never():
    rows = [["a" * 40, "1,234,567,890", "short", "b" * 30]]
    shown = table(["A", "N", "C", "D"], rows, width=60, numbers=["N"], texts=["A", "C", "D"])

    assert shown.splitlines()[1] == f"{'a' * 17}…  1,234,567,890  short  {'b' * 17}…"
    narrow = table(["A", "N"], [["a" * 40, "1,234,567,890"]], width=1, numbers=["N"], texts=["A"])
    assert narrow.splitlines()[1] == f"{'a' * 11}…  1,234,567,890"


def test_a_page_without_an_end_shortens_nothing():
    assert "b" * 30_000 in table(["A", "B"], [["a", "b" * 30_000]], texts=["B"])


@pytest.mark.parametrize(("width", "headings"), [(15, ["NAME", "N"]), (16, ["NAME", "N", "BAR"])])
def test_a_column_that_can_be_spared_is_left_out_whole_before_a_text_is_shortened(width, headings):
    shown = table(["NAME", "N", "BAR"], [["eight by", "7", "###"]], width=width, texts=["NAME"], spare="BAR")

    assert shown.splitlines()[0].split() == headings
    assert "eight by" in shown


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        table(["a", "b"], [["1"]])


def test_a_cell_can_neither_break_a_line_nor_steer_the_terminal():
    shown = table(["a", "b"], [["one\ntwo\tthree\u2028four", "\x1b[31mred\x9b0m"], ["x", "y"]])

    assert shown.splitlines() == ["a                   b", "one two three four  [31mred0m", "x                   y"]


@given(st.lists(st.text(), min_size=1), st.integers(15, 60))
def test_every_row_keeps_to_the_width_and_puts_the_next_column_at_one_place(cells, width):
    rows = [[cell.replace("|", ""), "|"] for cell in cells]

    for width_of_page in (width, 10_000):
        shown = table(["", "|"], rows, width=width_of_page, texts=[""]).split("\n")
        assert all(columns(line) <= width_of_page for line in shown)
        assert len({columns(line.partition("|")[0]) for line in shown}) == 1


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("a b c", 3, "a…"),
        (WIDE, 6, WIDE),
        (WIDE, 5, "日本…"),
        (WIDE, 4, "日…"),
        (WIDE, 1, "…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("text", 0, ""),
        ("text", -3, ""),
        ("", 0, ""),
    ],
)
def test_a_text_is_cut_to_its_columns_and_shows_that_it_was(text, width, shown):
    assert cut(text, width) == shown


@given(st.text(), st.integers(-2, 20))
def test_a_cut_text_is_the_text_or_a_beginning_of_it_within_the_width(text, width):
    shown = cut(text, width)

    assert columns(shown) <= max(width, 0)
    assert shown == text or text.startswith(shown.removesuffix("…"))


@pytest.mark.parametrize(("text", "count"), [("", 0), ("abc", 3), (WIDE, 6), ("é", 1), ("👍", 2), ("a\u200db", 2)])
def test_columns_are_those_of_a_terminal(text, count):
    assert columns(text) == count


@given(st.text() | st.text(alphabet="\x00\x07\x08\x1b\x7f\x80\x9b\x9f\r\n\ta[]0;m\u202e\u2066"))
def test_nothing_that_steers_a_terminal_is_left_in_a_clean_text(text):
    left = clean(text)

    assert not [c for c in left if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"} & set(left)
    assert clean(left) == left
    assert len(one_line(text).splitlines()) <= 1


@given(st.text(st.characters(exclude_categories=["Cc", "Cf"])))
def test_a_text_that_steers_nothing_is_left_as_it_is(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("nanodollars", "shown"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1_234_567_890_000, "$1,234.57"),
        (1_000_000_000, "$1.00"),
        (45_000_000, "$0.0450"),
        (1_000_000, "$0.0010"),
        (800_000, "$0.000800"),
        (80, "$0.000001"),
        (-45_000_000, "-$0.0450"),
    ],
)
def test_an_amount_is_shown_with_enough_digits(nanodollars, shown):
    assert money(nanodollars) == shown


def test_the_points_of_the_amounts_in_a_column_are_below_each_other():
    column = [1_234_567_890_000, 45_000_000, 0, None, -1_000_000_000]
    assert amounts(column) == ["$1,234.5679", "$0.0450", "$0.0000", "unknown", "-$1.0000"]
    assert amounts([]) == []


@given(st.integers(1, 10**13))
def test_what_costs_something_is_never_shown_as_nothing(nanodollars):
    assert float(money(nanodollars)[1:].replace(",", "")) > 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (60, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (3_599.4, "59 min 59 s"),
        (3_599.6, "1 h 0 min"),
        (359_969, "99 h 59 min"),
    ],
)
def test_a_time_span_is_shown_in_its_unit(seconds, shown):
    assert duration(seconds) == shown


def test_a_count_has_its_noun():
    assert [plural(n, "step") for n in (0, 1, 2, 1_000)] == ["0 steps", "1 step", "2 steps", "1,000 steps"]


@pytest.mark.parametrize(("text", "line"), [("", ""), ("\n \n  two   words \nmore", "two words"), ("one", "one")])
def test_the_first_line_is_the_first_that_holds_something(text, line):
    assert first_line(text) == line
