"""Shares add up exactly, respect caps and follow the weights."""

from hypothesis import given
from hypothesis import strategies as st

from stages.sample.allocation import allocate

problems = st.lists(
    st.tuples(st.integers(1, 2**70), st.integers(0, 1000)), min_size=1, max_size=30
).flatmap(
    lambda pairs: st.tuples(
        st.just([weight for weight, _ in pairs]),
        st.just([cap for _, cap in pairs]),
        st.integers(0, sum(cap for _, cap in pairs)),
    )
)


@given(problems)
def test_shares_add_up_and_stay_below_caps(problem):
    """The shares sum to the total exactly, and nobody passes its cap."""
    weights, caps, total = problem

    shares = allocate(total, weights, caps)

    assert sum(shares) == total
    assert all(0 <= share <= cap for share, cap in zip(shares, caps, strict=True))


@given(problems)
def test_nobody_open_gets_less_than_its_proportion(problem):
    """Who is below its cap gets as much per unit of weight as anybody, within rounding."""
    weights, caps, total = problem

    shares = allocate(total, weights, caps)

    for mine, cap, weight in zip(shares, caps, weights, strict=True):
        if mine < cap:
            best = zip(shares, weights, strict=True)
            assert all((mine + 1) * other_weight >= (s - 1) * weight for s, other_weight in best)


def test_the_tail_is_whole_before_the_head_gets_more():
    """A small category whose share passes its cap is filled, and the rest goes to the others."""
    assert allocate(100, [10, 10, 1], [5, 1000, 1000]) == [5, 86, 9]


def test_equal_remainders_go_to_the_earlier_position():
    """Ties are broken by position, which callers make a total order."""
    assert allocate(2, [1, 1, 1], [9, 9, 9]) == [1, 1, 0]


def test_everything_is_filled_where_the_total_equals_the_caps():
    """At full capacity everybody is at the cap."""
    assert allocate(12, [1, 100, 1], [4, 4, 4]) == [4, 4, 4]
