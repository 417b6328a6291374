"""How often each option of a formula is on: in which share of its models each variable is true.

>>> options = Commonality((1, 2), ("NET", "USB"), (3, 4), 4)
>>> options.shares, options.core
(array([0.75, 1.  ]), ['USB'])

Options in no model are called dead and those in every model core, as for feature models.
"""

import math
from decimal import Context, Decimal
from typing import Any, NamedTuple

import numpy as np

from inference.problems import cnf


class Commonality(NamedTuple):
    """Exact counts of the models with each of some variables true.

    Attributes:
      variables: numbers.
      names: of each, its number where the formula has no name for it.
      true: the count of models with each of them true.
      total: the count of all models.
    """

    variables: tuple[int, ...]
    names: tuple[str, ...]
    true: tuple[int, ...]
    total: int

    @property
    def shares(self) -> np.ndarray:
        """Float64 [V], each rounded once; NaN where there is no model."""
        values = [one / self.total if self.total else math.nan for one in self.true]
        return np.array(values, dtype=np.float64)

    @property
    def dead(self) -> list[str]:
        """Names of the options in no model."""
        return [name for name, one in zip(self.names, self.true) if one == 0]

    @property
    def core(self) -> list[str]:
        """Names of the options in every model, if there is one."""
        return [name for name, one in zip(self.names, self.true) if one == self.total > 0]


def of(formula: cnf.CNF, each: Any) -> Commonality:
    """Counts of ``true_counts.count_each`` with the names of a formula."""
    variables = tuple(int(v) for v in each.variables)
    names = formula.names or {}
    return Commonality(
        variables, tuple(names.get(v, str(v)) for v in variables), tuple(each.true), each.total
    )


def lines(options: Commonality) -> list[str]:
    """A table of the options, by number, and a line each of the dead and the core ones."""
    if not options.total:
        return ["no model, so no shares"]
    columns = [
        (">", ["variable", *map(str, options.variables)]),
        ("<", ["name", *options.names]),
        (">", ["models", *map(scientific, options.true)]),
        (">", ["share", *(percentage(true, options.total) for true in options.true)]),
    ]
    if list(options.names) == list(map(str, options.variables)):
        del columns[1]
    padded = [[f"{x:{side}{max(map(len, column))}}" for x in column] for side, column in columns]
    told = ["  ".join(row) for row in zip(*padded)]
    for kind, found in (("dead", options.dead), ("core", options.core)):
        told.append(f"{len(found)} {kind}{': ' * bool(found)}{' '.join(found)}")
    return told


def rows(formula: cnf.CNF, options: Commonality) -> list[dict[str, Any]]:
    """The table for JSON: counts as texts; a share is null where there is no model."""
    names = formula.names or {}
    return [
        {
            "variable": one,
            "name": names.get(one),
            "count_true": str(true),
            "share": true / options.total if options.total else None,
        }
        for one, true in zip(options.variables, options.true)
    ]


def scientific(count: int) -> str:
    """A count in full up to six digits, else to five: ``1.2346e+201``."""
    wide = Context(prec=5, Emax=10**9, Emin=-(10**9))
    return str(count) if count < 10**6 else f"{wide.create_decimal(Decimal(count)):.4e}"


def percentage(part: int, total: int) -> str:
    """A share to four digits; ``0%`` and ``100%`` mean none and all, however close others are."""
    if part in (0, total):
        return "100%" if part else "0%"
    share = 100 * part / total
    if share < 1e-300:  # floats end there
        return "<1e-300%"
    return f"{share:#.4g}%" if share < 99.99 else ">99.99%"
