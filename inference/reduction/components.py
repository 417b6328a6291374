"""Components of a formula: parts that share no variable, whose counts multiply.

>>> parts = split(cnf.from_clauses([[1, 3], [2, -4]], num_variables=4))
>>> [part.variables.tolist() for part in parts]
[[1, 3], [2, 4]]
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from inference.problems import cnf


class Part(NamedTuple):
    """One component.

    Attributes:
      formula: its clauses and XORs, variables numbered anew in their order.
      variables: int32 [n'], which variable of the whole formula each of them is.
    """

    formula: cnf.CNF
    variables: np.ndarray


def split(formula: cnf.CNF) -> list[Part]:
    """The components, by their smallest variables; together they have all variables and clauses.

    Variables that nothing mentions, and clauses that mention nothing, make one part, the last.
    """
    labels, n = _labels(formula), formula.num_variables
    clause_labels = _of_lists(formula.clauses, labels)
    xor_labels = _of_lists(formula.xors, labels)
    members = _groups(labels[1:], np.arange(1, n + 1, dtype=np.int32))
    clauses = _groups(clause_labels, np.arange(len(clause_labels)))
    xors = _groups(xor_labels, np.arange(len(xor_labels)))
    none = np.zeros(0, dtype=np.int64)
    number, sampled = np.zeros(n + 1, dtype=np.int32), np.zeros(n + 1, dtype=bool)
    sampled[formula.sampling_set] = True
    parts = []
    for label in sorted({*members, *clauses, *xors}):
        variables = members.get(label, none.astype(np.int32))
        number[variables] = np.arange(1, len(variables) + 1)
        mine = clauses.get(label, none), xors.get(label, none)
        parts.append(Part(_restrict(formula, variables, number, sampled, *mine), variables))
    return parts


def _labels(formula: cnf.CNF) -> np.ndarray:
    """The smallest variable of each one's component, n + 1 where nothing mentions it: [n + 1].

    Lists hook the labels of their variables to the smallest of them, then paths are halved: few
    rounds are needed (Shiloach and Vishkin, 1982).
    """
    both = cnf.join(formula.clauses, formula.xors)
    variables, sizes = np.abs(both.values), np.diff(both.offsets)
    starts = both.offsets[:-1][sizes > 0]
    labels, before = np.arange(formula.num_variables + 1), None
    while before is None or not np.array_equal(labels, before):
        before = labels.copy()
        if len(starts):
            smallest = np.repeat(np.minimum.reduceat(labels[variables], starts), sizes[sizes > 0])
            np.minimum.at(labels, before[variables], smallest)
        while not np.array_equal(labels, labels[labels]):
            labels = labels[labels]
    unmentioned = np.bincount(variables, minlength=len(labels)) == 0
    labels[unmentioned] = len(labels)
    return labels


def _of_lists(lists: cnf.Ragged, labels: np.ndarray) -> np.ndarray:
    """The label of each list, that of unmentioned variables for an empty one."""
    found = np.full(len(lists), len(labels))
    filled = np.diff(lists.offsets) > 0
    found[filled] = labels[np.abs(lists.values[lists.offsets[:-1][filled]])]
    return found


def _groups(labels: np.ndarray, items: np.ndarray) -> dict[int, np.ndarray]:
    """Items by label, in their order."""
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    return dict(zip(values.tolist(), np.split(items[order], starts[1:]), strict=False))


def _restrict(
    formula: cnf.CNF,
    variables: np.ndarray,
    number: np.ndarray,
    sampled: np.ndarray,
    clauses: np.ndarray,
    xors: np.ndarray,
) -> cnf.CNF:
    """The lists of these indices over these variables, which ``number`` numbers."""
    kept, odd = _take(formula.clauses, clauses), _take(formula.xors, xors)
    projection = None
    if formula.projection is not None:
        projection = number[variables[sampled[variables]]]
    weights = None if formula.log_weights is None else formula.log_weights[variables - 1]
    return cnf.CNF(
        len(variables),
        dataclasses.replace(kept, values=np.sign(kept.values) * number[np.abs(kept.values)]),
        dataclasses.replace(odd, values=number[odd.values]),
        formula.xor_rhs[xors],
        projection,
        weights,
    )


def _take(lists: cnf.Ragged, indices: np.ndarray) -> cnf.Ragged:
    sizes = (lists.offsets[1:] - lists.offsets[:-1])[indices]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    shift = np.repeat(lists.offsets[:-1][indices] - offsets[:-1], sizes)
    return cnf.Ragged(lists.values[np.arange(offsets[-1]) + shift], offsets)
