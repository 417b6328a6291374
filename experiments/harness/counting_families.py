"""Random families of formulas for benchmarks of counters: half of the draws to tune on.

    >>> list(families("held_out"))[0]
    'circuits__1'

Six draws a family, rising in size; the other half has the same sizes, and seeds of other parity.
"""

import functools
from collections.abc import Callable

from inference.problems import cnf, formula_families

HALVES = ("tuning", "held_out")
# Each draw is made by a function of a seed.
DRAWS: dict[str, list[Callable[[int], cnf.CNF]]] = {
    "circuits": [
        functools.partial(formula_families.random_circuit, num_inputs=n, num_gates=gates, **how)
        for n, gates, how in (
            (60, 3_000, {}),
            (100, 3_000, {"num_forced": 5}),
            (40, 3_000, {"share_xor": 0.2, "num_forced": 10}),
            (100, 5_000, {"window": 20, "num_forced": 20}),
            (100, 8_000, {"window": 20, "num_forced": 20, "shuffled": True}),
            (200, 20_000, {"shuffled": True}),
        )
    ],
    "machines": [
        functools.partial(formula_families.bounded_model_checking, bits=bits, steps=steps, **how)
        for bits, steps, how in (
            (4, 40, {}),
            (8, 20, {"projected": False}),
            (16, 16, {}),
            (24, 10, {"equals": True}),
            (10, 40, {"projected": False}),
            (24, 40, {}),
        )
    ],
    "features": [
        functools.partial(formula_families.feature_tree, num_features=n, num_constraints=number)
        for n, number in ((250, 50), (400, 40), (500, 100), (700, 50), (1000, 200), (2000, 100))
    ],
    "roads": [
        functools.partial(formula_families.road_reliability, rows=rows, columns=columns, **how)
        for rows, columns, how in (
            (4, 5, {}),
            (5, 5, {"removed": 0.3}),
            (6, 8, {}),
            (3, 30, {"removed": 0.1}),
            (12, 12, {}),
            (20, 20, {}),
        )
    ],
}


def families(half: str) -> dict[str, Callable[[], cnf.CNF]]:
    """Functions that make the draws, by ``FAMILY__NUMBER``.

    Args:
      half: "tuning" or "held_out".

    Raises:
      ValueError: it is neither.
    """
    if half not in HALVES:
        raise ValueError(f"expected families {' or '.join(HALVES)}, given {half!r}")
    return {
        f"{family}__{number}": functools.partial(make, 2 * number + HALVES.index(half))
        for family, makers in DRAWS.items()
        for number, make in enumerate(makers, start=1)
    }
