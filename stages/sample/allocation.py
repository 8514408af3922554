"""Shares of a total under caps, in integers."""

from collections.abc import Sequence
from fractions import Fraction


def allocate(total: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to `weights`, nobody above its cap, exactly.

    Who would get more than its cap gets the cap, and the others share what is left, again in
    proportion (water-filling). The fractions that remain are rounded by largest remainder; equal
    remainders go to the earlier position, so callers pass a total order.

    Args:
        total: What to divide; at most the sum of `caps`.
        weights: Positive integers of any size.
        caps: Non-negative integers.

    Returns:
        Integers that add up to `total`.

    Source: water-filling for proportional shares with upper bounds, largest remainder (Hamilton).
    """
    assert 0 <= total <= sum(caps), (total, sum(caps))
    assert all(weight > 0 for weight in weights)
    shares = [0] * len(weights)
    # Who is filled first: the one whose cap is smallest against its weight.
    order = sorted(range(len(weights)), key=lambda i: Fraction(caps[i], weights[i]))
    left, weight_left = total, sum(weights)
    for count, i in enumerate(order):
        if left * weights[i] < caps[i] * weight_left:
            open_ones = order[count:]
            break
        shares[i] = caps[i]
        left -= caps[i]
        weight_left -= weights[i]
    else:
        return shares
    remainders = []
    for i in open_ones:
        shares[i], remainder = divmod(left * weights[i], weight_left)
        remainders.append((-remainder, i))
    # A share below its cap may be rounded up without passing it, since caps are integers.
    for _, i in sorted(remainders)[: total - sum(shares)]:
        shares[i] += 1
    return shares
