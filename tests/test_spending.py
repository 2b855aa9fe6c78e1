"""Caps of the project and of the user, the worst case of a call, and what a refusal says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import (
    ApiError,
    BudgetExceeded,
    Busy,
    ConnectionFailed,
    Interrupted,
    TimedOut,
    TryLater,
    UsageError,
)
from claude_force.models import all_models, cost
from claude_force.records import Block, Request, Usage
from claude_force.running.spending import Spending, accounts, dollars, is_unbilled, prompt_tokens, worst_case
from claude_force.settings import config
from claude_force.simulator import catalogue, tokens
from claude_force.stores.ledger import Ledger

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
MODEL = "claude-sonnet-5-5"
REQUEST = Request(MODEL, 1000, (Block("Be brief."),), (Block("Say hello."),))
WORST = worst_case(REQUEST, {})
EXACT = {"m": {"input": 1, "output": 1000}}
"""One dollar for each 1,000 tokens of an answer."""
CALL = Request("m", 1000, (), (Block(""),))
ONE = 1_000_032_000
"""What CALL can cost: a dollar, and what frames its prompt."""


@pytest.fixture
def clock():
    return [NOON]


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def project(tmp_path, clock, warnings):
    with Ledger(tmp_path / "project" / "state.db", clock=lambda: clock[0], warn=warnings.append) as opened:
        yield opened


@pytest.fixture
def user(tmp_path, clock, warnings):
    with Ledger(tmp_path / "user" / "state.db", clock=lambda: clock[0], warn=warnings.append) as opened:
        yield opened


@pytest.fixture
def spending(project, user):
    """Return what makes the Spending of a run under the caps of the two files, in USD by scope."""

    def make(own=None, shared=None, *, home=False, run_id="run", prices=EXACT, own_prices=EXACT, max_cost=None):
        settings = config.Settings(project_caps=own or {}, user_caps=shared or {})
        found = accounts(settings, project=lambda: project, user=None if home else lambda: user)
        return Spending(found, run_id=run_id, prices=prices, own_prices=own_prices, max_cost=max_cost)

    return make


def spent(ledger, scope="daily", run_id="run"):
    (standing,) = ledger.standing({scope: None}, run_id=run_id)
    return standing.spent, standing.uncertain, standing.reserved


def test_a_call_of_unknown_cost_is_known_by_the_same_name_in_both_ledgers(spending, project, user):
    run = spending({"daily": 5}, {"monthly": 5}, run_id="r")
    run.settle(run.reserve(CALL, "writer", "review"), None)
    unpaid = spending({}, {"monthly": 5}, run_id="r")
    unpaid.settle(unpaid.reserve(CALL, "writer", "review"), None)
    first, second = project.uncertain_calls()
    assert (first.run_id, first.step, first.agent, first.charged) == ("r", "review", "writer", ONE)
    assert [call.ref for call in user.uncertain_calls()] == [first.ref, second.ref]
    assert first.ref != second.ref


def refusal(spending, request=CALL, agent="writer"):
    with pytest.raises(BudgetExceeded) as caught:
        spending.reserve(request, agent)
    assert caught.value.exit_code == 4
    return caught.value


# what counts where


def test_without_a_cap_a_call_is_noted_in_the_projects_ledger_alone(spending, project, user):
    run = spending()
    reservation = run.reserve(CALL, "writer")
    assert not project.path.exists()
    run.warm()
    assert project.path.exists()
    run.settle(reservation, 70)
    assert spent(project) == spent(project, "run") == spent(project, "agent:writer") == (70, 0, 0)
    assert not user.path.parent.exists()


def test_without_a_cap_an_answer_from_the_cache_writes_nothing(spending, project):
    run = spending()
    run.settle(run.reserve(CALL, "writer"), 0)
    assert not project.path.exists()


def test_each_files_caps_hold_over_their_own_ledger(spending, project, user):
    user.note(ONE, run_id="of another project", agent="writer")
    run = spending({"daily": 3}, {"daily": 2.0001})
    first = run.reserve(CALL, "writer")
    assert (spent(project), spent(user)) == ((0, 0, ONE), (ONE, 0, ONE))
    error = refusal(run)
    assert error.message == (
        "daily cap of $2.0001 over all projects: $1.000032 spent, $1.000032 reserved by calls under way; "
        "this call could cost $1.000032; resets at 00:00 UTC, in 12 h 0 min"
    )
    assert error.hint == "lower max_tokens, or raise the cap: claude-force budget set daily USD --user"
    assert (spent(project), spent(user)) == ((0, 0, ONE), (ONE, 0, ONE))
    run.settle(first, 5)
    assert (spent(project), spent(user)) == ((5, 0, 0), (ONE + 5, 0, 0))


def test_a_project_is_told_its_own_cap_first(spending):
    run = spending({"monthly": 0.5}, {"monthly": 0.25})
    error = refusal(run)
    assert error.message.startswith("monthly cap of $0.50: $0.00 spent; this call could cost $1.000032; resets at ")
    assert error.message.endswith("2026-12-01 00:00 UTC, in 8 days")
    assert error.hint.endswith("claude-force budget set monthly USD")
    assert not error.retryable


def test_in_the_home_there_is_one_ledger_and_the_tighter_cap_holds(spending, project, user):
    run = spending({"daily": 1.5, "run": 9}, {"daily": 5, "monthly": 2}, home=True)
    run.settle(run.reserve(CALL, "writer"), ONE)
    assert spent(project) == (ONE, 0, 0)
    assert "daily cap of $1.50 over all projects" in refusal(run).message
    assert not user.path.exists()


def test_the_users_ledger_also_counts_calls_that_none_of_the_users_caps_is_about(spending, project, user):
    run = spending({}, {"agent:poet": 1.5})
    run.settle(run.reserve(CALL, "writer"), 70)
    run.settle(run.reserve(CALL, "poet"), ONE)
    assert spent(user) == spent(project) == (ONE + 70, 0, 0)
    assert refusal(run, agent="poet").message.startswith("daily cap on agent poet of $1.50 over all projects: ")
    run.settle(run.reserve(CALL, "writer"), 30)
    assert spent(user) == (ONE + 100, 0, 0)


def test_a_runs_cap_counts_what_the_run_spent_before_it_was_resumed(spending):
    first = spending({"run": 2})
    first.settle(first.reserve(CALL, "writer"), ONE)
    spending({"run": 2}, run_id="another").reserve(CALL, "writer")
    again = spending({"run": 2})
    assert refusal(again).message.startswith("run cap of $2.00: $1.000032 spent; this call could cost ")
    assert "resets" not in refusal(again).message


def test_the_option_takes_the_place_of_the_runs_caps_of_both_files(spending):
    run = spending({"run": 0.1, "daily": 9}, {"run": 0.2}, max_cost=2)
    run.settle(run.reserve(CALL, "writer"), ONE)
    error = refusal(run)
    assert error.message.startswith("run cap of $2.00: ")
    assert error.hint == "lower max_tokens, or raise the cap: --max-cost USD"


def test_a_cap_of_nothing_lets_nothing_through(spending):
    assert refusal(spending(max_cost=0)).message.startswith("run cap of $0.00: $0.00 spent; ")
    assert refusal(spending({"daily": 0})).message.startswith("daily cap of $0.00: ")


def test_only_a_refusal_for_calls_under_way_is_worth_trying_again(spending):
    run = spending({"daily": 1.5})
    under_way = run.reserve(CALL, "writer")
    assert refusal(run).retryable
    run.settle(under_way, ONE)
    assert not refusal(run).retryable


# what a call cost


def test_a_call_of_unknown_fate_stays_charged_and_is_told(spending, project):
    run = spending({"daily": 1.5})
    run.settle(run.reserve(CALL, "writer"), 0, certain=False)
    assert spent(project) == (ONE, ONE, 0)
    assert "$1.000032 spent ($1.000032 of it perhaps not billed); " in refusal(run).message


def test_without_a_cap_a_call_of_unknown_fate_counts_as_much(spending, project):
    run = spending()
    run.settle(run.reserve(CALL, "writer"), None)
    assert spent(project) == (ONE, ONE, 0)


def test_without_a_cap_a_call_without_a_price_counts_nothing(spending, project):
    run = spending(prices={}, own_prices={})
    run.settle(run.reserve(CALL, "writer"), None)
    assert spent(project) == (0, 0, 0)


def test_a_call_that_cost_more_than_its_worst_case_is_charged_what_it_cost(spending, project):
    run = spending({"daily": 2})
    run.settle(run.reserve(CALL, "writer"), 3 * ONE)
    assert spent(project) == (3 * ONE, 0, 0)


def test_what_the_api_refused_is_charged_nothing(spending, project):
    run = spending({"daily": 2})
    run.settle(run.reserve(CALL, "writer"), 0)
    assert spent(project) == (0, 0, 0)


@pytest.mark.parametrize(
    ("error", "unbilled"),
    [
        (ApiError("no", status=400), True),
        (TryLater("later", status=529), True),
        (Busy("open"), True),
        (UsageError("no key"), True),
        (BudgetExceeded("no"), True),
        (ConnectionFailed("cut"), False),
        (TimedOut("silent"), False),
        (Interrupted("interrupted"), False),
    ],
)
def test_only_what_was_not_sent_or_refused_is_surely_unbilled(error, unbilled):
    assert is_unbilled(error) is unbilled


def test_a_time_limit_that_passed_while_waiting_after_a_refusal_is_unbilled():
    late = TimedOut("no time left")
    late.__cause__ = TryLater("overloaded", status=529)
    assert is_unbilled(late)


# unknown prices


def test_under_a_cap_a_model_without_a_price_is_refused(spending, project):
    error = refusal(spending({"daily": 9}, prices={}, own_prices={}))
    assert error.message == "m has no known price, and there is a daily cap"
    assert error.hint == (
        'give its price per million tokens in claude.json: "prices": {"m": {"input": USD, "output": USD}}'
    )
    assert not project.path.exists()


@pytest.mark.parametrize("caps", [{"shared": {"monthly": 9}}, {"max_cost": 9}])
def test_under_the_users_cap_a_price_that_only_the_project_gives_does_not_count(spending, caps):
    error = refusal(spending(**caps, own_prices={}))
    assert "m has no known price" in error.message
    assert "in ~/.claude/claude.json: " in error.hint


def test_under_the_projects_own_cap_the_projects_price_counts(spending, project):
    run = spending({"daily": 9}, own_prices={})
    run.reserve(CALL, "writer")
    assert spent(project) == (0, 0, ONE)


# disks


def test_a_ledger_out_of_reach_gives_back_what_the_other_one_set_aside(spending, project, user):
    user.path.parent.mkdir(parents=True)
    user.path.write_bytes(b"no database" * 1000)
    run = spending({"daily": 9}, {"daily": 9})
    assert "is damaged" in refusal(run).message
    assert spent(project) == (0, 0, 0)


def test_an_answer_that_is_paid_for_is_not_lost_with_the_ledger(spending, project, warnings):
    run = spending()
    reservation = run.reserve(CALL, "writer")
    project.path.parent.mkdir(parents=True)
    project.path.write_bytes(b"no database" * 1000)
    run.settle(reservation, 5)
    run.settle(reservation, 5)
    assert len(warnings) == 1


# the worst case


def request_of(text, model=MODEL, *, marked=False, schema=None, max_tokens=100):
    return Request(model, max_tokens, (Block("You are terse.", cache=marked),), (Block(text),), schema=schema)


PROSE = "The quick brown fox jumps over the lazy dog, and nobody knows why it does so every day. " * 20


@pytest.mark.parametrize("model", [m.id for m in all_models() if m.prices])
@pytest.mark.parametrize("marked", [False, True])
def test_no_way_of_billing_a_call_costs_more_than_its_worst_case(model, marked):
    request = request_of(PROSE, model, marked=marked)
    prompt = prompt_tokens(request)
    worst = worst_case(request, {})
    ways = [Usage(input_tokens=prompt, output_tokens=100), Usage(input_tokens=10, output_tokens=3)]
    if marked:
        ways.append(Usage(input_tokens=10, cache_creation_input_tokens=prompt - 10, output_tokens=100))
        ways.append(Usage(cache_creation_input_tokens=prompt, output_tokens=100))
        ways.append(Usage(cache_read_input_tokens=prompt, output_tokens=100))
    costs = [cost(usage, model) for usage in ways]
    assert worst == max(costs)


def test_a_marked_prompt_is_priced_as_written_to_the_cache():
    plain, marked = (worst_case(request_of(PROSE, marked=mark), {}) for mark in (False, True))
    assert marked > plain


def test_a_schema_and_newer_tokenizers_count():
    plain = request_of(PROSE)
    assert prompt_tokens(request_of(PROSE, schema='{"type": "object"}')) > prompt_tokens(plain) + 500
    assert prompt_tokens(plain) > prompt_tokens(request_of(PROSE, "claude-sonnet-4-5"))


@given(st.text(alphabet="0123456789,.; \n", max_size=400))
def test_each_digit_can_be_a_token(text):
    for model in (MODEL, "claude-haiku-4-5"):
        assert prompt_tokens(request_of(text, model)) >= sum(c.isdigit() for c in text)


@given(st.text(max_size=400))
def test_the_simulator_never_counts_more(text):
    for model in (MODEL, "claude-haiku-4-5"):
        assert prompt_tokens(request_of(text, model)) >= tokens.count(text, catalogue.find_model(model))


@given(st.integers(0, 10**15))
def test_dollars_are_told_to_the_millionth_and_never_understated(amount):
    text = dollars(amount)
    whole, fraction = text.removeprefix("$").replace(",", "").split(".")
    assert 2 <= len(fraction) <= 6
    assert not fraction[2:].endswith("0")
    told = int(whole) * 10**9 + int(fraction.ljust(9, "0"))
    assert 0 <= told - amount < 1000


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (10**9, "$1.00"), (31_200_000, "$0.0312"), (1, "$0.000001"), (10**15, "$1,000,000.00")],
)
def test_dollars_have_no_needless_zeros(amount, text):
    assert dollars(amount) == text
