"""Patterns from outside: what `re` says, in bounded time."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force import patterns

PATTERNS = ["^a*$", "b", "[*+]{2}", r"\+\*", "^(a|b)+$", "^([a-c]+-)*[a-c]+$", "(?:x{2})+y?", "", "[]+*]"]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=12)
@given(text=st.text(alphabet="abc-+*xy]\n", max_size=12))
def test_a_search_says_what_re_says(pattern, text):
    assert patterns.found(pattern, text) == bool(re.search(pattern, text))


def test_a_search_without_end_is_given_up_as_not_found(monkeypatch):
    monkeypatch.setattr(patterns, "LONGEST_SECONDS", 0.3)
    assert not patterns.found(r"^(a+)+$", "a" * 60 + "!")
