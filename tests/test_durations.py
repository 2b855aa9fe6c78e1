"""Spans of time as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.durations import seconds


@pytest.mark.parametrize(
    ("text", "span"),
    [("30", 30), ("30s", 30), ("250ms", 0.25), ("5m", 300), ("1.5h", 5400), ("1d", 86_400), ("2 w", 1_209_600)],
)
def test_a_number_with_its_unit_is_so_many_seconds(text, span):
    assert seconds(text) == pytest.approx(span)


def test_a_number_alone_is_of_the_unit_that_is_meant():
    assert seconds("3", unit="d") == seconds("3d") == 3 * 86_400


@pytest.mark.parametrize("text", ["", "s", "-1", "1y", "1h30m", "nan", "inf", "1e9", "٣", "1" * 16, "1,5h"])
def test_anything_else_is_no_span_of_time(text):
    with pytest.raises(ValueError, match="is no span of time"):
        seconds(text)


@given(st.text())
def test_any_text_is_a_finite_span_from_0_or_none(text):
    try:
        assert 0 <= seconds(text) < float("inf")
    except ValueError:
        pass
