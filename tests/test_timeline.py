from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import Refused
from claude_force.records import Outcome, Step, Usage, Workflow
from claude_force.reports.result import of_agent, of_step, of_workflow
from claude_force.reports.table import columns
from claude_force.reports.timeline import (
    census,
    census_line,
    cost,
    critical_path,
    parallel_line,
    prompt_cache_line,
    prompt_cache_saved,
    timeline,
)

DIAMOND = Workflow(
    "diamond",
    (
        Step("start", "a"),
        Step("left", "a", dependencies=("start",)),
        Step("right", "b", dependencies=("start",)),
        Step("end", "a", dependencies=("left", "right")),
    ),
)


def outcome(step, started=0.0, finished=0.0, status="ok", **facts):
    return Outcome(step, "a", status, started=started, finished=finished, **facts)


RUN = {
    "start": outcome("start", 0, 1, cost=2_000_000),
    "left": outcome("left", 1, 2, status="cached", saved=1_000_000),
    "right": outcome("right", 1, 4, cost=3_000_000),
    "end": outcome("end", 4, 4.5, status="failed", error=Refused("no")),
}


def test_each_step_that_ran_has_a_bar_where_and_as_long_as_it_ran():
    shown = timeline([outcome("never", status="skipped"), *RUN.values()], width=51, blocks=False)

    assert [line.split("  ")[0].strip() for line in shown.splitlines()] == ["start", "left", "right", "end"]
    bars = [line[7:27] for line in shown.splitlines()]
    assert [(bar.find("#"), bar.count("#")) for bar in bars] == [(0, 4), (4, 4), (4, 13), (17, 2)]
    assert [line.split()[-1] for line in shown.splitlines()] == ["$0.0020", "cached", "$0.0030", "failed"]


def test_a_timeline_of_nothing_is_empty():
    assert timeline([]) == timeline([outcome("a", status="skipped")]) == ""


@given(
    st.lists(
        st.builds(
            lambda step, started, took: outcome(step, started, started + took, cost=None),
            st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
            st.floats(0, 1e4),
            st.floats(0, 1e4),
        ),
        min_size=1,
    ),
    st.integers(60, 200),
)
def test_every_bar_stays_within_the_width_and_is_seen(outcomes, width):
    shown = timeline(outcomes, width=width, blocks=False).split("\n")

    assert len(shown) == len(outcomes)
    assert all(columns(line) <= width and "#" in line for line in shown)


def test_the_critical_path_is_the_longest_of_the_times_along_dependencies():
    seconds, steps = critical_path(DIAMOND, RUN)
    assert seconds == pytest.approx(1 + 3 + 0.5)
    assert [RUN[step].seconds for step in steps] == pytest.approx([1, 3, 0.5])
    assert critical_path(DIAMOND, {}) == (0, [])
    assert critical_path(DIAMOND, {"right": RUN["right"]}) == (pytest.approx(3), ["right"])


@given(st.lists(st.tuples(st.floats(0, 100), st.sets(st.integers(0, 7))), max_size=8))
def test_no_path_is_longer_than_the_critical_one(drawn):
    steps = tuple(
        Step(f"s{n}", "a", dependencies=tuple(f"s{d}" for d in before if d < n)) for n, (_, before) in enumerate(drawn)
    )
    outcomes = {f"s{n}": outcome(f"s{n}", 5, 5 + took) for n, (took, _) in enumerate(drawn)}
    by_id = {step.id: step for step in steps}

    @cache
    def longest(step_id):
        took = outcomes[step_id].finished - outcomes[step_id].started
        return took + max(map(longest, by_id[step_id].dependencies), default=0)

    assert critical_path(Workflow("w", steps), outcomes)[0] == pytest.approx(max(map(longest, by_id), default=0))


def test_the_census_counts_every_way_to_end():
    assert census(DIAMOND, RUN) == {"planned": 4, "ok": 2, "cached": 1, "failed": 1, "skipped": 0}
    assert census(DIAMOND, {}) == {"planned": 4, "ok": 0, "cached": 0, "failed": 0, "skipped": 0}


def test_costs_add_up_and_an_unknown_one_makes_the_sum_unknown():
    assert cost(RUN) == 5_000_000
    assert cost({}) == 0
    assert cost(RUN | {"end": outcome("end", cost=None)}) is None


def test_the_last_line_tells_how_the_run_ended():
    line = census_line(census(DIAMOND, RUN), 5_000_000, 1_000_000, 4.5, "R1")

    assert line == "4 steps: 2 ok, 1 cached, 1 failed; 4.5 s; $0.0050; saved $0.0010; run R1"
    assert census_line(census(DIAMOND, {}), None, 0, 0, "R2") == "4 steps: none run; 0 ms; unknown; run R2"


def met(fresh=0, written=0, read=0, cost=1, **facts):
    usage = Usage(fresh, 7, written, read)
    return outcome("a", model="claude-sonnet-5-5", usage=usage, cost=cost, **facts)


def test_the_prompt_cache_saves_what_reads_would_have_cost_fresh_less_the_dearer_writes():
    # sonnet 5.5: 2,000 nanodollars a fresh token, 2,500 a written one, 100 one that is read
    assert prompt_cache_saved([met(10, written=1_000)], {}) == -500_000
    assert prompt_cache_saved([met(10, written=1_000), met(10, read=1_000)], {}) == 1_900_000 - 500_000
    assert prompt_cache_saved([outcome("each", members=(met(read=3), met(read=4)))], {}) == 7 * 1_900
    own = {"claude-sonnet-5-5": {"input": 1, "output": 1}}
    assert prompt_cache_saved([met(read=1_000)], own) == 900_000


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_the_prompt_cache_saved_is_exact(fresh, written, read):
    assert prompt_cache_saved([met(fresh, written, read)], {}) == read * 1_900 - written * 500


def test_a_longer_prompt_is_priced_as_such_with_and_without_the_cache():
    usage = Usage(0, 0, 0, 100_001)
    found = outcome("a", model="claude-haiku-5-5", usage=usage, cost=1)

    assert prompt_cache_saved([found], {}) == 100_001 * (500 - 50)


def test_an_answer_that_was_not_billed_saved_nothing():
    assert prompt_cache_saved([met(read=1_000, cost=0)], {}) == 0
    assert prompt_cache_saved([outcome("a", status="cached", model="unpriced")], {}) == 0


def test_what_was_saved_at_an_unknown_price_is_unknown():
    unpriced = outcome("a", model="claude-sonnet-9", usage=Usage(0, 0, 0, 1_000), cost=None)

    assert prompt_cache_saved([unpriced, met(read=1_000)], {}) is None
    assert prompt_cache_line([unpriced], {}) == "1,000 tokens read from the API's prompt cache"


def test_the_last_line_tells_of_the_prompt_cache_only_where_something_was_read():
    told = prompt_cache_line([met(written=10_000), met(read=12_000)], {})

    assert told == "12,000 tokens read from the API's prompt cache, saved $0.0178"
    assert prompt_cache_line([met(written=10_000)], {}) == ""
    line = census_line(census(DIAMOND, RUN), 5_000_000, 0, 4.5, "R1", told)
    assert line == f"4 steps: 2 ok, 1 cached, 1 failed; 4.5 s; $0.0050; {told}; run R1"


def test_time_saved_by_running_side_by_side_is_told_where_there_is_some():
    side_by_side = [outcome("a", 0, 2), outcome("b", 0, 2), outcome("c", 0, 9, status="skipped")]

    assert parallel_line(side_by_side, 2.0) == "in parallel 2.0 s, one after the other 4.0 s: 2.0 s saved"
    assert parallel_line(side_by_side, 4.0) == ""
    assert parallel_line([], 0.0) == ""


def test_members_of_a_step_count_each_for_itself():
    members = (outcome("each", 0, 3), outcome("each", 0, 3))

    assert parallel_line([outcome("each", 0, 3, members=members)], 3.0).endswith("3.0 s saved")


def test_the_result_of_an_agent_has_the_keys_that_programs_rely_on():
    found = of_agent(
        outcome("x", 1, 1.25, output="hi", model="m", stop_reason="end_turn", usage=Usage(1, 2, 3, 4), cost=None), "R"
    )

    assert found == {
        "schema_version": 1,
        "agent": "a",
        "success": True,
        "output": "hi",
        "model": "m",
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 4,
        },
        "estimated_cost": None,
        "saved_cost": 0,
        "cached": False,
        "execution_time_ms": 250,
        "prompt_cache_saved": None,
        "run_id": "R",
        "error": None,
    }


def test_the_result_of_a_failed_agent_says_why():
    found = of_agent(RUN["end"], "R")

    assert found["success"] is False
    assert found["error"] == {"type": "refused", "message": "no", "retryable": False, "hint": ""}


def test_the_result_of_a_workflow_has_a_result_for_each_step_and_the_order_in_which_they_began():
    skipped = outcome("end", 4.1234, 4.1234, status="skipped", note="needs 'right'")
    ended = [RUN["start"], RUN["right"], RUN["left"], skipped]

    found = of_workflow(DIAMOND, ended, "R", Refused("no"))

    assert list(found["results"]) == ["start", "left", "right", "end"]
    assert found["results"]["left"]["cached"] is True
    assert found["results"]["end"]["note"] == "needs 'right'"
    assert found["execution_order"] == ["start", "right", "left"]
    assert found["census"] == {"planned": 4, "ok": 2, "cached": 1, "failed": 0, "skipped": 1}
    assert (found["total_time_seconds"], found["critical_path_seconds"]) == (4.123, 4)
    assert (found["estimated_cost"], found["saved_cost"], found["prompt_cache_saved"]) == (0.005, 0.001, 0)
    assert (found["success"], found["error"]["type"]) == (False, "refused")


def test_the_result_of_a_step_holds_one_for_each_of_its_items():
    members = tuple(outcome("each", item=item, output=item.upper()) for item in ("x", "y"))

    found = of_step(outcome("each", members=members))

    assert [(m["item"], m["output"], m["status"]) for m in found["members"]] == [("x", "X", "ok"), ("y", "Y", "ok")]
