from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import ValidationError
from claude_force.records import Step, Workflow
from claude_force.workflow import dag


def workflow(edges):
    """A workflow in which each id depends on those that `edges` names for it."""
    return Workflow("w", tuple(Step(i, "agent", dependencies=tuple(before)) for i, before in edges.items()))


@st.composite
def graphs(draw, *, acyclic):
    """The dependencies of each of a few steps, in any order of the file."""
    ids = draw(st.permutations([f"s{n}" for n in range(draw(st.integers(1, 9)))]))
    edges = {}
    for place, step_id in enumerate(ids):
        others = ids[:place] if acyclic else ids
        edges[step_id] = draw(st.lists(st.sampled_from(others), unique=True) if others else st.just([]))
    return {step_id: edges[step_id] for step_id in draw(st.permutations(ids))}


def reachable(edges, start):
    """All that `start` waits for, found the plain way."""
    found = set(edges[start])
    while (more := found | {d for f in found for d in edges[f]}) != found:
        found = more
    return found


@given(graphs(acyclic=True))
def test_each_step_comes_once_and_after_its_dependencies(edges):
    order = dag.order(workflow(edges))

    assert sorted(order) == sorted(edges)
    assert all(order.index(before) < order.index(i) for i, befores in edges.items() for before in befores)


@given(graphs(acyclic=True))
def test_what_remains_is_the_longest_path_to_an_end(edges):
    @cache
    def longest(step_id):
        return 1 + max((longest(i) for i, before in edges.items() if step_id in before), default=0)

    assert dag.remaining(workflow(edges)) == {i: longest(i) for i in edges}


@given(graphs(acyclic=False))
def test_ancestors_are_all_that_a_step_waits_for(edges):
    assert all(dag.ancestors(workflow(edges), i) == reachable(edges, i) for i in edges)


@given(graphs(acyclic=True))
def test_dependents_turn_the_dependencies_round(edges):
    dependents = dag.dependents(workflow(edges))

    assert {(a, b) for a, waiting in dependents.items() for b in waiting} == {(a, b) for b in edges for a in edges[b]}
    assert dag.final_steps(workflow(edges)) == [i for i in edges if not dependents[i]]


@given(graphs(acyclic=False))
def test_a_cycle_is_found_exactly_where_there_is_one_and_its_ids_form_it(edges):
    cyclic = any(i in reachable(edges, i) for i in edges)
    try:
        dag.order(workflow(edges))
    except ValidationError as refused:
        named = refused.message.partition(": ")[2].split(" -> ")
        assert cyclic
        assert named[0] == named[-1]
        assert len(set(named)) == len(named) - 1
        assert all(before in edges[after] for before, after in pairwise(named))
    else:
        assert not cyclic


def test_a_cycle_is_named_without_the_steps_that_only_lead_to_it_or_follow_it():
    edges = {"after": ["c"], "c": ["b"], "b": ["a"], "a": ["c", "before"], "before": []}

    with pytest.raises(ValidationError) as refused:
        dag.order(workflow(edges))

    assert refused.value.message == "the dependencies form a cycle: c -> a -> b -> c"


def test_steps_that_wait_for_nothing_keep_the_order_of_the_file():
    assert dag.order(workflow({"z": [], "a": [], "m": []})) == ["z", "a", "m"]


def test_a_chain_of_thousands_is_no_deeper_than_the_stack():
    chain = workflow({f"s{n}": [f"s{n - 1}"] if n else [] for n in range(5_000)})

    assert dag.remaining(chain)["s0"] == 5_000
    assert len(dag.ancestors(chain, "s4999")) == 4_999


def test_a_circle_of_thousands_is_named_whole():
    circle = workflow({f"s{n}": [f"s{(n + 1) % 5_000}"] for n in range(5_000)})

    with pytest.raises(ValidationError) as refused:
        dag.order(circle)

    assert len(refused.value.message.split(" -> ")) == 5_001
