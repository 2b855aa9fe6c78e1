"""Patterns from outside: what `re` says, in bounded time."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.answers import patterns

PATTERNS = ["^a*$", "b", "[*+]{2}", r"\+\*", "^(a|b)+$", "^([a-c]+-)*[a-c]+$", "(?:x{2})+y?", "", "[]+*]"]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=12)
@given(text=st.text(alphabet="abc-+*xy]\n", max_size=12))
def test_a_search_says_what_re_says(pattern, text):
    assert patterns.found(pattern, text) == bool(re.search(pattern, text))


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a|a?)+$", "(a|a)+$", "^(?:a|a)*?$", "^(a?){60}a{60}$"])
def test_a_search_without_end_is_given_up(monkeypatch, pattern):
    monkeypatch.setattr(patterns, "LONGEST_SECONDS", 0.3)
    with pytest.raises(TimeoutError, match=r"takes more than 0\.3 s"):
        patterns.found(pattern, "a" * 60 + "!")


def test_a_long_text_is_searched_where_it_can_be_ended(monkeypatch):
    monkeypatch.setattr(patterns, "LONGEST_SECONDS", 0.3)
    with pytest.raises(TimeoutError):
        patterns.found("a*b", "a" * 300_000)
