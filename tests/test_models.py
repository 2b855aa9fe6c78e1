"""Models and prices: what a name means, what an answer costs, and what the table says."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force import models
from claude_force.errors import NotFound
from claude_force.frozen import replace
from claude_force.models import all_models, cost, estimate_tokens, find, lifecycle, price_rows, usd
from claude_force.records import Usage

TODAY = "2026-11-22"
TABLE = json.loads(Path(models.__file__).with_name("models.json").read_text("utf-8"))
PRICED = [model.id for model in all_models() if model.prices]
WITH_LONG_PRICE = [model.id for model in all_models() if any("long" in row for row in model.prices)]
MILLION = 1_000_000
COUNTS = st.integers(min_value=0, max_value=10**7)
USAGES = st.builds(
    lambda fresh, out, short, hour, read: Usage(fresh, out, short + hour, read, hour),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
)


def dollars(amount):
    return round(Fraction(str(amount)) * 10**9)


@pytest.mark.parametrize(
    ("spelling", "id_"),
    [
        ("haiku", "claude-haiku-5-5"),
        ("Sonnet", "claude-sonnet-5-5"),
        ("OPUS", "claude-opus-5-5"),
        ("fable", "claude-fable-5-2"),
        (" opus[1m] ", "claude-opus-5-5"),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
        ("Claude Sonnet 4.6 (copilot)", "claude-sonnet-4-6"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4-6"),
        ("anthropic.claude-opus-4-8", "claude-opus-4-8"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001"),
        ("us-gov.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("global.anthropic.claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5-20251001"),
        ("claude-opus-4-6@default", "claude-opus-4-6"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
    ],
)
def test_every_usual_spelling_is_understood_without_a_warning(spelling, id_):
    model, warning = find(spelling, on=TODAY)
    assert (model.id, model.known, warning) == (id_, True, None)


@pytest.mark.parametrize(
    ("spelling", "old", "day", "new"),
    [
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514", "2026-06-15", "claude-sonnet-4-6"),
        ("claude-sonnet-4", "claude-sonnet-4-20250514", "2026-06-15", "claude-sonnet-4-6"),
        ("Claude 3.5 Sonnet", "claude-3-5-sonnet-20241022", "2025-10-28", "claude-sonnet-4-6"),
        ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet-20241022", "2025-10-28", "claude-sonnet-4-6"),
        ("claude-3-opus-latest", "claude-3-opus-20240229", "2026-01-05", "claude-opus-4-8"),
        ("claude-3-haiku-20240307", "claude-3-haiku-20240307", "2026-04-20", "claude-haiku-4-5-20251001"),
        ("claude-2.1", "claude-2.1", "2025-07-21", "claude-sonnet-4-6"),
    ],
)
def test_a_retired_model_is_replaced_by_its_successor_with_a_warning(spelling, old, day, new):
    model, warning = find(spelling, on=TODAY)
    assert model.id == new
    assert warning == f"{old} was retired on {day}; using {new}"


def test_a_deprecated_model_is_used_until_the_day_it_retires():
    model, warning = find("claude-sonnet-4-5", on="2026-11-29")
    assert model.id == "claude-sonnet-4-5-20250929"
    assert warning == f"{model.id} is deprecated and will be retired on 2026-11-30; use claude-sonnet-5-5"
    model, warning = find("claude-sonnet-4-5", on="2026-11-30")
    assert model.id == "claude-sonnet-5-5"
    assert "was retired on 2026-11-30" in warning


def test_a_deprecated_model_without_an_end_is_used_with_a_warning():
    model, warning = find("claude-mythos-preview", on=TODAY)
    assert model.id == "claude-mythos-preview"
    assert warning == "claude-mythos-preview is deprecated since 2026-06-09; use claude-mythos-5"


def test_a_model_is_active_before_it_is_deprecated_and_retired_after():
    sonnet = find("claude-sonnet-4-5", on="2026-01-01")[0]
    assert [lifecycle(sonnet, on=day) for day in ("2026-09-29", "2026-09-30", "2026-11-30")] == [
        "active",
        "deprecated",
        "retired",
    ]
    assert find("claude-sonnet-4-5", on="2026-09-29") == (sonnet, None)


def test_the_day_is_today_unless_it_is_given():
    assert find("claude-3-opus-20240229")[0].id != "claude-3-opus-20240229"
    assert lifecycle(all_models()[-1]) == "retired"


@pytest.mark.parametrize("id_", ["claude-opus-6", "claude-haiku-6-1", "claude-fable-7-20280101"])
def test_a_newer_model_of_a_line_is_taken_with_a_warning_that_its_price_is_unknown(id_):
    model, warning = find(id_)
    assert (model.id, model.line, model.known) == (id_, id_.split("-")[1], False)
    assert "price unknown" in warning
    assert model.context_tokens >= max(listed.context_tokens for listed in all_models())
    assert find(id_, prices={id_: {"input": 1, "output": 1}})[0].known


def test_a_name_that_has_a_price_of_its_own_is_known_and_kept_as_it_is():
    prices = {"Gateway/GPT-4": {"input": 1, "output": 2}}
    model, warning = find("Gateway/GPT-4", prices=prices)
    assert (model.id, model.line, model.known, warning) == ("Gateway/GPT-4", "", True, None)


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("sonet", "sonnet"),
        ("claude-sonet-5", "claude-sonnet-5"),
        ("gpt-4", "known: "),
        ("claude-opus", "opus"),
        ("claude-sonnet-5-latest", "claude-sonnet-5"),
        ("claude-zeta-5", "known: |did you mean"),
    ],
)
def test_any_other_name_is_not_found_and_close_names_are_suggested(spelling, hint):
    with pytest.raises(NotFound, match=f"no model named '{spelling}'") as caught:
        find(spelling)
    assert any(part in caught.value.hint for part in hint.split("|"))
    assert "claude-3" not in caught.value.hint


def test_a_simple_answer_costs_what_the_price_list_says():
    usage = Usage(input_tokens=1000, output_tokens=500)
    assert cost(usage, "claude-opus-5-5") == dollars("0.014")
    assert cost(usage, "claude-3-haiku-20240307") == dollars("0.000875")


def test_cache_tokens_have_prices_of_their_own():
    usage = Usage(
        input_tokens=10,
        cache_creation_input_tokens=300,
        cache_creation_1h_input_tokens=100,
        cache_read_input_tokens=1000,
    )
    assert cost(usage, "claude-sonnet-4-6") == 10 * 3000 + 200 * 3750 + 100 * 6000 + 1000 * 300
    assert cost(usage, "claude-3-haiku-20240307") == 10 * 250 + 200 * 300 + 100 * 500 + 1000 * 30


def test_the_price_is_that_of_the_day():
    usage = Usage(cache_read_input_tokens=MILLION)
    read = {
        day: cost(usage, "claude-sonnet-5-5", on=day) for day in ("2026-01-01", "2026-10-06", "2026-10-07T00:00:00Z")
    }
    assert [*read.values()] == [dollars("0.20"), dollars("0.20"), dollars("0.10")]
    assert cost(usage, "claude-sonnet-5-5") == dollars("0.10")


def test_a_long_prompt_of_haiku_changes_the_price_of_every_token():
    at = Usage(input_tokens=50_000, cache_read_input_tokens=50_000, output_tokens=1000)
    assert cost(at, "haiku") == 50_000 * 100 + 50_000 * 10 + 1000 * 500
    above = replace(at, cache_creation_input_tokens=1)
    assert cost(above, "haiku") == 50_000 * 500 + 50_000 * 50 + 625 + 1000 * 2500


def test_an_amount_in_usd_is_as_many_nanodollars_and_back():
    assert models.nanodollars(1.1) == 1_100_000_000
    amounts = (0, 1, 7, 999_999_999_999_999)
    assert tuple(models.nanodollars(usd(amount)) for amount in amounts) == amounts


def test_a_batch_costs_half_and_inference_in_the_us_a_tenth_more_rounded_up():
    usage = Usage(input_tokens=1, service_tier="batch")
    assert cost(usage, "haiku") == 50
    assert cost(replace(usage, input_tokens=3), "claude-3-haiku-20240307") == 375
    read = Usage(cache_read_input_tokens=1, service_tier="batch", inference_geo="us")
    assert cost(read, "claude-haiku-5-5") == 6  # 10 / 2 * 1.1 = 5.5
    assert cost(Usage(input_tokens=1000, inference_geo="us"), "claude-opus-4-8") == dollars("0.0055")
    assert cost(Usage(input_tokens=1000, inference_geo="global"), "claude-opus-4-8") == dollars("0.005")


def test_searches_are_charged_apart_from_tokens():
    usage = Usage(web_searches=3, service_tier="batch", inference_geo="us")
    assert cost(usage, "claude-opus-4-8") == dollars("0.03")


@pytest.mark.parametrize(("id_", "in_", "out"), [("opus", 8, 40), ("claude-opus-5", 10, 50), ("fable", 16, 80)])
def test_fast_mode_has_a_price_of_its_own(id_, in_, out):
    assert cost(Usage(MILLION, MILLION, speed="fast"), id_) == dollars(in_ + out)
    assert cost(Usage(MILLION, MILLION, speed="standard"), id_) < dollars(in_ + out)


@pytest.mark.parametrize("id_", ["claude-opus-6", "gpt-4", "claude-mythos-preview", ""])
def test_an_unknown_price_is_none_and_never_zero(id_):
    assert cost(Usage(), id_) is None


def test_fast_mode_of_a_model_that_has_no_fast_price_is_unknown():
    assert cost(Usage(1, speed="fast"), "claude-sonnet-5-5") is None


@pytest.mark.parametrize("key", ["claude-haiku-5-5", "haiku", "Claude Haiku 5.5"])
def test_prices_of_ones_own_replace_the_table_under_any_spelling(key):
    prices = {"other": {"input": 9, "output": 9}, key: {"input": 3, "output": 15}}
    usage = Usage(200_000, 10, 30, 40, 10, speed="fast")
    expected = 200_000 * 3000 + 10 * 15_000 + 20 * 3750 + 10 * 6000 + 40 * 300
    assert cost(usage, "claude-haiku-5-5", prices=prices) == expected
    given_all = {key: {"input": 3, "output": 15, "cache_write_5m": 1, "cache_write_1h": 2, "cache_read": 0.5}}
    expected = 200_000 * 3000 + 10 * 15_000 + 20 * 1000 + 10 * 2000 + 40 * 500
    assert cost(usage, "haiku", prices=given_all) == expected


def test_a_price_for_a_name_of_ones_own_is_used():
    assert cost(Usage(2, 3), "local/llama", prices={"local/llama": {"input": 0.001, "output": 0}}) == 2


@given(st.sampled_from([model for model in PRICED if model not in WITH_LONG_PRICE]), USAGES, USAGES)
def test_costs_add_up_where_there_is_no_price_for_long_prompts(id_, one, other):
    assert cost(one + other, id_) == cost(one, id_) + cost(other, id_)


@given(st.sampled_from(WITH_LONG_PRICE), USAGES, USAGES)
def test_a_long_prompt_costs_no_less_than_its_parts(id_, one, other):
    assert cost(one + other, id_) >= cost(one, id_) + cost(other, id_)


@given(st.sampled_from(PRICED), USAGES, st.sampled_from(["", "batch"]), st.sampled_from(["", "us"]))
def test_a_cost_is_exact_to_the_nanodollar(id_, usage, tier, geo):
    plain = cost(usage, id_)
    factor = Fraction(1, 2 if tier else 1) * Fraction(11 if geo else 10, 10)
    found = cost(replace(usage, service_tier=tier, inference_geo=geo), id_)
    assert isinstance(found, int)
    assert 0 <= found - plain * factor < 1


@pytest.mark.parametrize(
    ("kind", "tokens"), [("prose", 118), ("Python", 161), ("JSON", 198), ("<html>", 217), ("\ud55c\uad6d\uc5b4", 312)]
)
def test_an_estimate_is_not_below_the_counts_published_for_500_characters(kind, tokens):
    text = (kind * 500)[:500]
    older, newer = estimate_tokens(text, "claude-sonnet-4-6"), estimate_tokens(text, "claude-opus-5-5")
    assert tokens <= older
    assert older * 1.3 <= newer


@given(st.text(st.characters(codec=None)), st.text())
def test_an_estimate_grows_with_the_text_and_takes_any_string(text, more):
    assert estimate_tokens(text, "haiku") <= estimate_tokens(text + more, "haiku")
    assert (estimate_tokens(text, "haiku") == 0) == (text == "")


def test_an_unknown_model_is_taken_to_count_like_the_newer_ones():
    assert estimate_tokens("x" * 1000, "local/llama") == estimate_tokens("x" * 1000, "claude-opus-5-5") == 600
    assert estimate_tokens("x" * 1000, "claude-haiku-4-5") == 445


@given(st.integers(min_value=0, max_value=10**13))
def test_an_amount_in_usd_prints_with_at_most_nine_decimals(nanodollars):
    assert Fraction(repr(usd(nanodollars))) == Fraction(nanodollars, 10**9)


def test_an_unknown_amount_stays_unknown_in_usd():
    assert usd(None) is None
    assert json.dumps(usd(dollars("0.0132"))) == "0.0132"


def test_the_listing_has_a_row_for_every_model_and_every_name_of_ones_own():
    rows = {row["id"]: row for row in price_rows(prices={"local/llama": {"input": 1, "output": 2}}, on=TODAY)}
    assert [*rows] == ["local/llama", *(model.id for model in all_models())]
    assert rows["local/llama"]["usd_per_million_tokens"]["output"] == 2
    assert rows["claude-mythos-preview"]["usd_per_million_tokens"]["input"] is None
    haiku = rows["claude-haiku-5-5"]
    assert haiku["aliases"] == ["haiku"]
    assert haiku["usd_per_million_tokens"] == {
        "input": 0.1,
        "output": 0.5,
        "cache_write_5m": 0.125,
        "cache_write_1h": 0.2,
        "cache_read": 0.01,
    }
    assert (haiku["context_tokens"], haiku["lifecycle"]) == (MILLION, "active")
    assert rows["claude-sonnet-4-5-20250929"]["lifecycle"] == "deprecated"
    assert rows["claude-2.0"]["lifecycle"] == "retired"


def test_the_listing_shows_prices_of_ones_own_beside_the_name_of_the_table():
    (row,) = [row for row in price_rows(prices={"sonnet": {"input": 7, "output": 8}}) if "sonnet" in row["aliases"]]
    assert (row["id"], row["usd_per_million_tokens"]["input"]) == ("claude-sonnet-5-5", 7)


def numbers(value):
    if isinstance(value, dict):
        return [number for name, item in value.items() if name != "above" for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def test_every_price_of_the_table_is_a_whole_number_of_nanodollars_per_token():
    found = [number for row in TABLE["models"] for price in row["prices"] for number in numbers(price)]
    assert len(found) > 150
    assert [number for number in found if Fraction(str(number)) * 1000 != round(number * 1000)] == []


def test_the_table_agrees_with_itself():
    ids = [row["id"] for row in TABLE["models"]]
    names = ids + [alias for row in TABLE["models"] for alias in row.get("aliases", [])] + [*TABLE["short_names"]]
    assert len(set(names)) == len(names)
    for row in TABLE["models"]:
        days = [price["from"] for price in row["prices"]]
        assert days == sorted(set(days))
        assert days[:1] in ([], [row["released"]])
        assert set(row["efforts"].split()) <= {"low", "medium", "high", "xhigh", "max"}
        assert row.get("successor") in ids or not (row.get("retired") or row.get("deprecated"))
        if "retired" in row:
            assert row["released"] < row.get("deprecated", row["retired"]) <= row["retired"] != row["released"]


def test_every_model_leads_to_one_that_never_retires():
    assert {lifecycle(find(model.id, on="9999-12-31")[0], on="9999-12-31") for model in all_models()} <= {
        "active",
        "deprecated",
    }


def test_a_short_name_means_the_newest_of_its_line():
    for short, id_ in TABLE["short_names"].items():
        line = [model for model in all_models() if model.line == short]
        assert id_ == max(line, key=lambda model: model.released).id == line[0].id
    assert models.price_version() == TABLE["price_version"] >= max(model.released for model in all_models())


def test_cache_prices_follow_the_published_multiples_save_one():
    odd = set()
    for row in TABLE["models"]:
        for price in row["prices"]:
            if "cache_read" in price:
                exact = Fraction(str(price["cache_write_5m"])) == Fraction(str(price["input"])) * Fraction(5, 4)
                exact &= Fraction(str(price["cache_write_1h"])) == Fraction(str(price["input"])) * 2
                odd |= set() if exact else {row["id"]}
    assert odd == {"claude-3-haiku-20240307"}


def test_efforts_are_those_that_the_model_accepts():
    assert find("claude-opus-4-5")[0].efforts == ("low", "medium", "high")
    assert find("claude-opus-4-6")[0].efforts == ("low", "medium", "high", "max")
    assert find("claude-opus-4-7")[0].efforts == ("low", "medium", "high", "xhigh", "max")
    assert find("claude-haiku-4-5")[0].efforts == ()
