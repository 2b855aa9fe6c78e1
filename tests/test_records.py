import json
import os
import string
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from claude_force.errors import ForceError, TryLater
from claude_force.frozen import FrozenInstanceError, fields, replace
from claude_force.records import Block, Request, Usage, canonical, key, payload

BLOCKS = st.lists(st.builds(Block, st.text(), st.booleans()), max_size=3).map(tuple)
SCHEMAS = st.dictionaries(st.text(), st.integers() | st.text(), min_size=1).map(canonical)
FIELDS = {
    "model": st.text(min_size=1),
    "max_tokens": st.integers(1),
    "system": BLOCKS,
    "user": BLOCKS,
    "effort": st.none() | st.text(min_size=1),
    "schema": st.none() | SCHEMAS,
    "sample": st.integers(0),
}
REQUEST = Request("claude-test", 100, (Block("be brief", cache=True),), (Block("hällo"), Block("\U0001f600")))


@given(st.data())
def test_a_change_of_any_field_changes_the_key(data):
    request = data.draw(st.builds(Request, **FIELDS))
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    changed = replace(request, **{name: data.draw(FIELDS[name])})
    assume(changed != request)

    assert key(changed) != key(request)


def test_every_field_of_a_request_is_among_those_that_were_changed():
    assert {field.name for field in fields(Request)} == set(FIELDS)


@given(st.builds(Request, **FIELDS))
def test_a_key_is_64_hexadecimal_digits_and_equal_for_equal_requests(request):
    found = key(request)

    assert len(found) == 64
    assert set(found) <= set(string.hexdigits.lower())
    assert key(replace(request)) == found


def test_where_one_block_ends_and_the_next_begins_is_part_of_the_key():
    assert key(replace(REQUEST, user=(Block("ab"), Block("c")))) != key(
        replace(REQUEST, user=(Block("a"), Block("bc")))
    )
    assert key(replace(REQUEST, system=(), user=REQUEST.system)) != key(replace(REQUEST, user=()))


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_with_another_hash_seed_finds_the_same_key(seed):
    code = (
        "from claude_force.records import *\n"
        "from claude_force import prompt, models\n"
        "agent = Agent('a', 'd', 'prompt', skills=('s',))\n"
        "model, _ = models.find('haiku')\n"
        "request = prompt.build(agent, [Skill('s', 'd', 'body')], 'task', model=model, max_tokens=9,\n"
        "    schema=canonical({'b': 1, 'a': [2]}), files=[Document('f', 'x')])\n"
        "print(key(request))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": given},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for given in ("random", seed)
    ]

    assert printed[0] == printed[1]
    assert len(printed[0].strip()) == 64


def test_the_payload_is_what_the_api_takes():
    request = replace(REQUEST, effort="low", schema='{"type":"object"}', sample=7)

    assert payload(request) == {
        "model": "claude-test",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "hällo"}, {"type": "text", "text": "\U0001f600"}],
            }
        ],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    }


def test_what_is_not_asked_for_is_not_in_the_payload():
    assert set(payload(Request("m", 1, (), (Block("hi"),)))) == {"model", "max_tokens", "messages"}


def test_records_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        REQUEST.max_tokens = 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_canonical_json_reads_back_and_does_not_depend_on_the_order_of_keys(value):
    text = canonical(value)

    assert json.loads(text) == value
    assert text.isascii()
    assert canonical(json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))) == text


def test_usages_add_up_and_forget_what_has_no_sum():
    one = Usage(1, 2, 3, 4, 5, 6, 7, service_tier="batch", inference_geo="us", speed="fast")

    assert one + Usage(10, 20, 30, 40, 50, 60, 70) == Usage(11, 22, 33, 44, 55, 66, 77)
    assert sum([one, one], start=Usage()).output_tokens == 4


def test_the_prompt_is_what_was_fresh_written_and_read():
    assert Usage(input_tokens=1, cache_creation_input_tokens=10, cache_read_input_tokens=100).prompt_tokens == 111


def test_an_error_says_its_kind_and_whether_another_try_could_help():
    assert TryLater("slow down", status=429, hint="wait").facts() == {
        "type": "try_later",
        "message": "slow down",
        "retryable": True,
        "hint": "wait",
    }
    assert ForceError("no", retryable=True).facts()["retryable"] is True
    assert ForceError("no").facts()["retryable"] is False
