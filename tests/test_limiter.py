"""The pace of sending: what slows it down, what quickens it, and that all who send keep it together."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.client.limiter import COLD_CALLS, Limiter
from claude_force.client.pace import (
    EAGER,
    IDLE_SECONDS,
    LONGEST_HOLD_SECONDS,
    MARGIN,
    Pace,
    Ticket,
    eased,
    left,
    read_pace,
    slowed,
    taken,
)
from claude_force.client.shared import Known
from claude_force.errors import Interrupted, TryLater
from claude_force.stores.circuits import SharedRecords

START = 1_700_000_000.0
DAY = 86_400


class Clock:
    """A clock and a stop event whose waits move it on and are noted."""

    def __init__(self):
        self.now = START
        self.waits = []

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["own", "shared"])
def known(request, tmp_path):
    if request.param == "own":
        yield Known()
        return
    with SharedRecords(tmp_path / "state.db") as shared:
        yield Known(shared)


def limiter(known, clock, **options):
    return Limiter(known, clock=clock, **{"stop": clock} | options)


def headers(limit, remaining):
    names = {"anthropic-ratelimit-requests-limit": limit, "anthropic-ratelimit-requests-remaining": remaining}
    return {name: str(value) for name, value in names.items()}.get


def nothing(_):
    return None


def entered(limiter, **options):
    return limiter.enter("haiku", **{"answering": True} | options)


def refused(limiter, retry_after, header=nothing):
    ticket = entered(limiter)
    ticket.header = header
    limiter.refused(ticket, retry_after)
    limiter.leave(ticket)


def answered(limiter, header=nothing):
    ticket = entered(limiter)
    ticket.header = header
    limiter.answered(ticket)
    limiter.leave(ticket)
    return ticket


def sends(limiter, clock, count):
    """Make `count` calls that are answered, and return when each was sent, in seconds after now."""
    began = clock.now
    return [answered(limiter).at - began for _ in range(count)]


def test_with_no_trouble_on_record_nothing_waits_and_nothing_is_written(known, clock):
    ours = limiter(known, clock)
    for _ in range(50):
        answered(ours, headers(1000, 900))
    assert clock.waits == []
    assert known.read("paces", "haiku") is None


def test_after_a_refusal_nobody_sends_before_the_time_given(known, clock):
    one, other = limiter(known, clock), limiter(known, clock)
    refused(one, 30.0)
    assert entered(other).at == START + 30
    assert clock.now == START + 30


def test_what_concerns_one_model_holds_no_other_back(known, clock):
    ours = limiter(known, clock)
    refused(ours, 30.0)
    assert ours.enter("opus", answering=True).at == START


def test_after_the_wait_calls_go_one_by_one_and_then_quicker_and_quicker(known, clock):
    ours = limiter(known, clock)
    refused(ours, 5.0)
    times = sends(ours, clock, 30)
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] == 5.0
    assert gaps[0] == pytest.approx(MARGIN)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.4


def test_in_time_there_is_no_pace_any_more(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0)
    sends(ours, clock, 150)
    clock.waits.clear()
    sends(ours, clock, 20)
    assert clock.waits == []


def test_a_refusal_of_who_kept_the_pace_slows_it_and_it_quickens_slowly_from_then_on(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0)
    sends(ours, clock, 5)
    before = known.read("paces", "haiku")["interval"]
    refused(ours, 1.0)
    after = known.read("paces", "haiku")["interval"]
    assert after > before
    sends(ours, clock, 10)
    assert after * 0.98 < known.read("paces", "haiku")["interval"] < after


def test_refusals_with_no_answer_in_between_double_the_distance_up_to_a_minute(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0)
    found = []
    for _ in range(8):
        refused(ours, 1.0)
        found.append(known.read("paces", "haiku")["interval"])
    assert found[:4] == pytest.approx([MARGIN * 2**n for n in range(1, 5)])
    assert found[-1] == 60


def storm(limiter, clock, count):
    """Have `count` calls refused one after the other, with no word of when to come back."""
    for _ in range(count):
        refused(limiter, None)
        clock.now += 0.1


def test_after_a_storm_of_refusals_the_pace_recovers_in_minutes(known, clock):
    ours = limiter(known, clock)
    storm(ours, clock, 12)
    assert known.read("paces", "haiku")["interval"] == 60
    times = sends(ours, clock, 60)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.5
    assert times[-1] < 240


def test_after_refusals_between_answers_the_pace_is_kept_for_a_minute_and_then_recovers(known, clock):
    ours = limiter(known, clock)
    for _ in range(4):
        storm(ours, clock, 2)
        answered(ours)
    storm(ours, clock, 1)
    slow = known.read("paces", "haiku")["interval"]
    assert 10 < slow < 30
    sends(ours, clock, 2)
    assert known.read("paces", "haiku")["interval"] > slow * 0.98
    sends(ours, clock, 100)
    assert known.read("paces", "haiku")["interval"] < 1


def test_late_refusals_that_name_no_time_leave_the_moments_of_others_alone(known, clock):
    ours = limiter(known, clock)
    together = [entered(ours) for _ in range(3)]
    clock.now += 0.1
    for ticket in together:
        ours.refused(ticket, None)
        ours.leave(ticket)
        clock.now += 0.1
    answered(ours)
    pace = known.read("paces", "haiku")
    ours.refused(together[0], None)
    assert known.read("paces", "haiku")["due"] == pace["due"]
    assert answered(ours).at == pace["due"]


@pytest.mark.parametrize(("per_minute", "refusals"), [(30, 0.1), (60, 0.05), (600, 0.03)])
def test_a_limit_that_nobody_names_is_found_and_kept_with_few_refusals(known, clock, per_minute, refusals):
    ours = limiter(known, clock)
    bucket, looked, kept, tried, began = 1.0, clock.now, 0, 0, clock.now
    while kept < 400:
        ticket = entered(ours)
        clock.now += 0.01
        bucket, looked = min(1.0, bucket + (ticket.at - looked) * per_minute / 60), ticket.at
        tried += 1
        if bucket >= 1:
            bucket, kept = bucket - 1, kept + 1
            ours.answered(ticket)
        else:
            ours.refused(ticket, None)
        ours.leave(ticket)
    assert 1 - kept / tried < refusals
    assert clock.now - began < 1.4 * kept * 60 / per_minute


def test_refusals_of_calls_that_were_sent_together_slow_down_once(known, clock):
    ours = limiter(known, clock)
    tickets = [entered(ours) for _ in range(5)]
    for ticket in tickets:
        ours.refused(ticket, 2.0)
        ours.leave(ticket)
    assert known.read("paces", "haiku")["interval"] == MARGIN
    assert entered(ours).at == START + 2


def test_the_latest_time_of_several_refusals_counts(known, clock):
    ours = limiter(known, clock)
    tickets = [entered(ours) for _ in range(3)]
    for ticket, seconds in zip(tickets, (1.0, 20.0, 5.0), strict=True):
        ours.refused(ticket, seconds)
        ours.leave(ticket)
    assert entered(ours).at == START + 20


def test_a_refusal_that_names_no_time_makes_a_pace_all_the_same(known, clock):
    ours = limiter(known, clock)
    refused(ours, None)
    assert sends(ours, clock, 2) == pytest.approx([0.0, MARGIN])


# what the API's headers tell


def test_the_limit_in_the_headers_of_a_refusal_is_the_pace(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0, headers(120, 0))
    assert sends(ours, clock, 4) == pytest.approx([1, 1 + MARGIN / 2, 1 + MARGIN, 1 + MARGIN * 3 / 2])


def test_a_refusal_for_another_reason_than_the_number_of_requests_is_no_matter_of_that_limit(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0, headers(6000, 5000))
    assert known.read("paces", "haiku")["interval"] == MARGIN


def test_an_answer_that_says_little_is_left_makes_a_pace_before_anything_is_refused(known, clock):
    ours, other = limiter(known, clock), limiter(known, clock)
    answered(ours, headers(60, 3))
    assert sends(other, clock, 3) == [0, 0, 0]
    first, second = sends(other, clock, 2)
    assert second - first == pytest.approx(EAGER)


def test_the_distance_is_a_little_more_than_the_limit_asks_if_nothing_is_left_and_a_little_less_if_something_is(
    known, clock
):
    ours = limiter(known, clock)
    refused(ours, 1.0, headers(60, 0))
    found = []
    for remaining in (0, 2, 2, 2, 0):
        answered(ours, headers(60, remaining))
        found.append(known.read("paces", "haiku")["interval"])
    assert found == pytest.approx([MARGIN, MARGIN * 0.95, MARGIN * 0.95**2, EAGER, MARGIN])


def test_calls_that_were_sent_meanwhile_have_used_up_what_was_left(known, clock):
    ours = limiter(known, clock)
    tickets = [entered(ours) for _ in range(5)]
    tickets[0].header = headers(60, 1)
    ours.answered(tickets[0])
    assert entered(ours).at == pytest.approx(START + 4 * MARGIN)


def test_as_soon_as_plenty_is_left_the_pace_is_over(known, clock):
    ours = limiter(known, clock)
    answered(ours, headers(1000, 10))
    answered(ours, headers(1000, 900))
    clock.waits.clear()
    sends(ours, clock, 20)
    assert clock.waits == []


def test_with_a_known_limit_the_pace_never_exceeds_it(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0, headers(60, 0))
    for _ in range(30):
        answered(ours, headers(60, 0))
    assert known.read("paces", "haiku")["interval"] == pytest.approx(MARGIN)


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("", ""), ("60", None), (None, "5"), ("0", "0"), ("-1", "5"), ("6e1", "5"), ("²", "5"), ("9" * 5000, "5")],
)
def test_headers_that_make_no_sense_are_none(limit, remaining):
    known = {"anthropic-ratelimit-requests-limit": limit, "anthropic-ratelimit-requests-remaining": remaining}
    assert left(known.get) is None


# long waits


def test_a_wait_of_more_than_two_minutes_is_parked(known, clock):
    ours = limiter(known, clock)
    refused(ours, 600.0)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(START + 600))
    with pytest.raises(TryLater, match=f"until {until}") as caught:
        entered(ours)
    assert clock.waits == []
    assert caught.value.exit_code == 75
    assert "--wait" in caught.value.hint
    assert caught.value.retry_after == 600
    clock.now += 480
    assert entered(ours).at == START + 600


def test_a_long_wait_is_sat_out_if_the_user_says_so(known, clock):
    refused(limiter(known, clock), 600.0)
    told = []
    assert entered(limiter(known, clock, wait=True, notice=told.append)).at == START + 600
    assert "600.0 s" in told[0]


def test_a_wait_beyond_the_deadline_is_given_up_at_once_and_takes_nobodys_moment(known, clock):
    ours = limiter(known, clock)
    refused(ours, 60.0)
    with pytest.raises(TryLater) as caught:
        entered(ours, deadline=time.monotonic() + 30)
    assert "60.0 s" in caught.value.hint
    assert clock.waits == []
    assert entered(ours).at == START + 60


def test_an_abort_ends_a_wait_at_once(known):
    stop, waiting = threading.Event(), threading.Event()
    ours = Limiter(known, stop=stop, notice=lambda _: waiting.set())
    refused(ours, 100.0)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(entered, ours)
        assert waiting.wait(10)
        stop.set()
        with pytest.raises(Interrupted):
            future.result(10)


def test_each_pace_is_told_once(known, clock):
    told = []
    ours = limiter(known, clock, notice=told.append)
    refused(ours, 5.0, headers(60, 0))
    sends(ours, clock, 5)
    assert told == ["haiku: rate limited, waiting 5.0 s; then 56 requests a minute, from all processes together"]


def test_a_refusal_during_a_wait_makes_who_waits_wait_anew(known, clock):
    late = entered(limiter(known, clock))

    class Meanwhile(Clock):
        def wait(self, seconds):
            if not self.waits:
                limiter(known, clock).refused(late, 50.0)
            return super().wait(seconds)

    clock = Meanwhile()
    ours = limiter(known, clock)
    refused(ours, 10.0)
    assert entered(ours).at == START + 50


# how many at once


def test_where_nothing_is_known_few_begin_at_once_and_answers_let_others_follow(monkeypatch):
    monkeypatch.setattr("claude_force.client.limiter.COLD_SECONDS", 3600.0)  # time alone lets nobody follow
    ours = Limiter(Known(), stop=threading.Event())
    tickets = [ours.enter("haiku") for _ in range(COLD_CALLS)]
    assert blocked(ours)
    for ticket in tickets[:2]:
        ours.answered(ticket)
    entered(ours)
    entered(ours)
    assert blocked(ours)


def test_where_nothing_is_known_time_alone_lets_others_follow(monkeypatch):
    monkeypatch.setattr("claude_force.client.limiter.COLD_SECONDS", 1e-6)
    ours = Limiter(Known(), stop=threading.Event())
    for _ in range(COLD_CALLS + 64):
        ours.enter("haiku")
    assert not blocked(ours)


def blocked(ours):
    """Whether one more call would have to wait for others to end."""
    try:
        ticket = entered(ours, deadline=time.monotonic())
    except TryLater:
        return True
    ours.leave(ticket)
    return False


def test_a_refusal_halves_the_calls_in_flight_and_answers_add_to_them(known, clock):
    ours = limiter(known, clock)
    tickets = [entered(ours) for _ in range(8)]
    ours.refused(tickets[0], 0.001)
    clock.now += 1000
    for ticket in tickets[:4]:
        ours.leave(ticket)
    assert blocked(ours)
    ours.leave(tickets[4])
    assert not blocked(ours)
    ours.answered(tickets[5])
    ours.answered(tickets[6])
    tickets.append(entered(ours))
    assert blocked(ours)
    for ticket in tickets[5:8]:
        ours.answered(ticket)
    assert not blocked(ours)


def test_a_known_limit_on_requests_needs_no_limit_on_calls_in_flight(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0, headers(60, 0))
    assert [entered(ours).at - START for _ in range(3)] == pytest.approx([1, 1 + MARGIN, 1 + 2 * MARGIN])


def test_threads_take_moments_that_are_a_distance_apart(known):
    ours = Limiter(known, stop=threading.Event())
    refused(ours, 0.01, headers(1200, 0))
    with ThreadPoolExecutor(6) as pool:
        times = sorted(t.at for t in pool.map(lambda _: entered(ours), range(12)))
    assert len(times) == 12
    assert all(b - a > 0.999 * MARGIN * 60 / 1200 for a, b in pairwise(times))


# the clock, and records that nobody of ours wrote


@pytest.mark.parametrize("jump", [-DAY, -365 * DAY, DAY, 365 * DAY])
def test_a_clock_that_is_set_holds_nobody_back(known, clock, jump):
    ours = limiter(known, clock, wait=True)
    refused(ours, 3600.0)
    clock.now += jump
    assert entered(ours).at == START + jump


def test_a_clock_that_is_set_back_during_a_wait_ends_it(known):
    class SetBack(Clock):
        def wait(self, seconds):
            super().wait(seconds)
            self.now -= 365 * DAY
            return False

    clock = SetBack()
    ours = limiter(known, clock)
    refused(ours, 60.0)
    entered(ours)
    assert len(clock.waits) == 1


def test_an_hour_that_the_api_asks_for_holds_for_an_hour(known, clock):
    ours = limiter(known, clock, wait=True)
    refused(ours, 3600.0)
    clock.now += 3000
    assert entered(ours).at == START + 3600


def test_the_api_is_asked_again_after_a_day_whatever_it_said(known, clock):
    ours = limiter(known, clock, wait=True)
    refused(ours, 30 * DAY)
    assert entered(ours).at == START + LONGEST_HOLD_SECONDS


def test_a_pace_that_nobody_used_is_forgotten(known, clock):
    ours = limiter(known, clock)
    refused(ours, 1.0)
    clock.now += 1 + IDLE_SECONDS
    sends(ours, clock, 5)
    assert clock.waits == []


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
RECORDS = st.builds(
    lambda sound, garbled: vars(sound) | garbled,
    st.builds(Pace, changed=st.just(START)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(vars(Pace()), JSON)) | st.dictionaries(st.text(max_size=5), JSON),
)
NUMBERS = st.floats(START - 2 * DAY, START + 2 * DAY) | st.floats(-10, 100)
PACES = st.builds(
    Pace,
    hold=NUMBERS,
    interval=st.floats(0, 60),
    floor=st.floats(0, 60),
    due=NUMBERS,
    spare=st.integers(0, 100),
    sent=st.integers(0, 100),
    cut=NUMBERS,
    settled=st.booleans(),
    eased=st.booleans(),
    changed=NUMBERS,
)


@given(RECORDS | st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_whatever_a_record_holds_a_pace_is_read_that_can_be_kept(record):
    pace = read_pace(record, START)
    now_taken, (at, _) = taken(math.inf, pace, START)
    assert not at > START + LONGEST_HOLD_SECONDS
    ticket = Ticket("haiku", 1, START, pace)
    for changed in (now_taken, eased(ticket, None, 0, pace, START)[0], slowed(ticket, None, 1.0, pace, START)[0]):
        assert changed is None or not changed.hold > START + LONGEST_HOLD_SECONDS


@given(PACES, st.floats(0, 1e9) | st.none(), st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)) | st.none())
def test_no_event_makes_a_wait_longer_than_a_day_nor_a_distance_longer_than_a_minute(written, retry_after, limits):
    pace = read_pace(vars(written), START)
    for ticket in (Ticket("haiku", 1, START, pace), Ticket("haiku", 1, START - 1)):
        slower, _ = slowed(ticket, limits, retry_after, pace, START)
        quicker, _ = eased(ticket, limits, 3, pace, START)
        for found in (slower, quicker or pace):
            assert found.hold <= START + LONGEST_HOLD_SECONDS
            assert 0 <= found.interval <= 60 * MARGIN
            assert found.spare >= 0
            assert read_pace(vars(found) | {"changed": START}, START).interval in {found.interval, 0}


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(10, 5000))
def test_moments_are_never_closer_than_the_limit_allows(spares, limit):
    pace, now, times = slowed(Ticket("haiku", 1, START), (limit, 0), 1.0, Pace(), START)[0], START, []
    for pause in spares:
        now += pause * 60 / limit
        pace, (at, _) = taken(math.inf, pace, now)
        times.append(at)
    assert all(b - a >= 60 / limit for a, b in pairwise(times))
