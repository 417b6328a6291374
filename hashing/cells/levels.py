"""Where nested cells become small: the search for a level.

    >>> first_small(lambda level: 1000 >> level, start=0, limit=73)
    4

Cells are nested, so a predicate of their sizes changes once, whatever the place of the start.
"""

import math
from collections.abc import Callable


def first_small(size: Callable[[int], int], start: int, limit: int) -> int:
    """The least m >= 0 with ``size(m) < limit``, where sizes about halve from level to level.

    A small cell tells how far back the first one is; from a full one it gallops on, from an empty
    one back.
    """
    level, low, high, step = max(start, 0), -1, math.inf, 1
    back = max(1, (limit - 1).bit_length())  # from an empty cell to one of about the limit
    while high - low > 1:
        found = size(level)
        if found >= limit and high == math.inf:
            low, level, step = level, level + step, 2 * step
            continue
        low, high = (level, high) if found >= limit else (low, level)
        halvings = round(math.log2(limit / found)) if 0 < found < limit else (high - low) // 2
        if found == 0 and low < 0:
            halvings, back = back, 2 * back
        level = int(min(max(high - max(halvings, 1), low + 1), high - 1))
    return int(high)


def first_level(is_small: Callable[[int], bool], start: int) -> int:
    """The least m >= 0 with ``is_small(m)``, for a monotone predicate.

    Gallops from ``start`` with doubling steps, then bisects.
    """
    step, low, high = 1, -1, max(start, 0)
    if is_small(high):
        while high - step > low and is_small(high - step):
            high, step = high - step, 2 * step
        low = max(low, high - step)
    else:
        while not is_small(high + step):
            high, step = high + step, 2 * step
        low, high = high, high + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_small(middle) else (middle, high)
    return high
