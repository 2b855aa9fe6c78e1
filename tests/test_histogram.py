import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.stores import histogram

VALUES = st.lists(st.integers(0, 10**12), min_size=1)


def counted(values):
    counts = {}
    for value in values:
        histogram.merge(counts, {histogram.bucket(value): 1})
    return counts


@given(VALUES, st.integers(0, 100))
def test_a_percentile_is_within_one_percent_of_the_exact_one(values, percent):
    exact = sorted(values)[max(-(-percent * len(values) // 100), 1) - 1]

    assert histogram.percentile(counted(values), percent) == pytest.approx(exact, rel=0.01)


@given(st.lists(st.integers(0, 255), min_size=1), st.integers(1, 100))
def test_percentiles_of_small_numbers_are_exact(values, percent):
    exact = sorted(values)[-(-percent * len(values) // 100) - 1]

    assert histogram.percentile(counted(values), percent) == exact


@given(st.integers(0, 10**12), st.integers(0, 10**6))
def test_a_greater_value_is_in_no_lesser_bucket(value, more):
    assert histogram.bucket(value) <= histogram.bucket(value + more)
    assert histogram.bucket(histogram.middle(histogram.bucket(value))) == histogram.bucket(value)


@given(VALUES, VALUES)
def test_merged_histograms_are_that_of_all_values_in_every_form(one, other):
    together = counted(one + other)
    merged = counted(one)
    histogram.merge(merged, counted(other))
    added = histogram.to_integer(counted(one)) + histogram.to_integer(counted(other))

    assert merged == together
    assert histogram.from_integer(added) == together
    assert histogram.unpacked(histogram.packed(together)) == together


@given(st.lists(st.lists(st.integers(0, 300) | st.integers(0, 2**63)), max_size=5))
def test_histograms_come_back_from_bytes_one_by_one_and_added_up(lists):
    histograms = [counted(values) for values in lists]
    total = histogram.Total()
    for counts in histograms:
        assert histogram.from_bytes(histogram.to_bytes(counts)) == counts
        total.add(histogram.to_bytes(counts))

    everything = counted([value for values in lists for value in values])
    assert histogram.from_bytes(total.data()) == everything
    assert histogram.from_integer(total.whole()) == everything
    assert histogram.from_bytes(total.data()) == everything
    assert total.whole() == total.whole()


def test_few_values_take_little_room_and_many_no_more_than_their_buckets():
    few, many = {1_700: 3, 1_900: 1}, dict.fromkeys(range(1_000), 100)

    assert len(histogram.to_bytes(few)) == 1 + 2 * 4
    assert len(histogram.to_bytes(many)) <= 1 + 4 * 1_000


def test_few_values_that_were_added_up_take_little_room():
    total = histogram.Total()
    total.add(histogram.to_bytes({1_700: 3, 1_900: 1}))

    assert len(total.data()) == 1 + 2 * 4


def test_more_values_than_are_held_at_once_are_added_up():
    counts = {7_000: 13_000, 7_001: 1}
    total = histogram.Total()
    for _ in range(30):
        total.add(histogram.to_bytes(counts))

    assert histogram.from_integer(total.whole()) == {7_000: 390_000, 7_001: 30}


def test_nothing_has_no_percentile():
    assert histogram.percentile({}, 50) is None
    assert histogram.from_integer(histogram.to_integer({})) == {}


def test_a_count_too_large_for_its_field_is_refused_rather_than_added_to_the_next_bucket():
    assert histogram.from_integer(histogram.to_integer({3: 2**32 - 1})) == {3: 2**32 - 1}
    with pytest.raises(OverflowError):
        histogram.to_integer({3: 2**32})


def test_a_packed_list_that_lost_its_end_is_refused():
    with pytest.raises(ValueError, match="zip"):
        histogram.unpacked([1, 2, 3])
