"""The fields of problems have the types and shapes their classes name, dimensions shared."""

import dataclasses
import types
import typing

import jax
import jaxtyping
import numpy as np
import pytest

from inference.problems import (
    barren,
    cnf,
    convert,
    dimacs,
    factor_graph,
    generators,
    logical_groups,
    uai,
)

NAMES = {name: getattr(jaxtyping, name) for name in ("Bool", "Float", "Float64", "Int32", "Int64")}
# Dimensions that no field has by itself.
SIZES = {
    cnf.CNF: lambda formula: {"n": formula.num_variables, "X": len(formula.xors)},
    cnf.Ragged: lambda lists: {"C": len(lists)},
}
PROBLEMS = (cnf.Ragged, factor_graph.FactorGroup, cnf.CNF, factor_graph.FactorGraph)
PROBLEMS += (logical_groups.ClauseGroup, logical_groups.ParityGroup)


def plain(hint):
    """What isinstance takes: mappings without the types of keys and values."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if is_union else (hint,)
    return tuple(typing.get_origin(kind) or kind for kind in kinds)


def misfits(problem):
    """The fields that are not as annotated, those of groups and lists included."""
    kind, found = type(problem), []
    hints, inner = typing.get_type_hints(kind, localns=NAMES), []
    assert kind in PROBLEMS and hints
    with jaxtyping.jaxtyped("context"):
        for name, size in SIZES.get(kind, lambda _: {})(problem).items():
            assert isinstance(np.empty(size), jaxtyping.Shaped[np.ndarray, name])
        for name, hint in hints.items():
            value = getattr(problem, name)
            if isinstance(value, tuple):
                inner += value
            elif hint in PROBLEMS:
                inner.append(value)
            elif not isinstance(value, plain(hint)):
                found.append(f"{kind.__name__}.{name}")
    for one in inner:
        found += misfits(one)
    return found


WEIGHTS = np.log([[0.5, 0.5], [0.1, 0.9], [1.0, 1.0]])
DIMACS = b"c p show 1 2 0\np cnf 3 3\n1 -3 0\n2 0\nx2 3 0\nw 1 0.25\n"
UAI = "BAYES 3 2 3 1  3 1 0 2 0 1 1 2  2 0.5 0.5  6 0.2 0.3 0.5 0.1 0.1 0.8  1 1"
FORMULAS = {
    "nothing": cnf.from_clauses([]),
    "empty clause": cnf.from_clauses([[]], num_variables=2, projection=[]),
    "everything": cnf.from_clauses(
        [[1, -2], [3]],
        xors=[([1, 2], True), ([3], False)],
        projection=[3, 1, 2],
        log_weights=WEIGHTS,
    ),
    "parsed": dimacs.parse(DIMACS),
    "joined": dataclasses.replace(
        cnf.from_clauses([[1, 2]]), clauses=cnf.join(cnf.ragged([[1], []]), cnf.ragged([[2, -1]]))
    ),
    "random": generators.random_ksat(0, 9, 20),
    "xors": generators.parity_chain(0, 5, 3),
    "projected": generators.grid_reachability(2, 3),
    "queens": generators.n_queens(4),
    "squares": generators.latin_square(2),
    "tilings": generators.domino_tilings(2, 3),
    "chain": generators.chain(4),
    "converted": convert.factor_graph_to_cnf(generators.potts_grid(2, 2, 3, 0.5)),
}
MIXED = factor_graph.build(
    [2, 2, 2, 3],
    [((0, 3), np.ones((2, 3))), ((1,), [0.0, 1.0]), ((), 2.0), ((0, 1, 2), np.zeros((2, 2, 2)))],
    logical=[
        logical_groups.clause_group([[1, -2], [1, 2, 3]]),
        logical_groups.parity_group([[1, 3], [2]], [True, False]),
    ],
)
GRAPHS = {
    "nothing": factor_graph.build([], []),
    "built": MIXED,
    "conditioned": factor_graph.condition(MIXED, {0: 1, 3: 2}),
    "all known": factor_graph.condition(MIXED, dict.fromkeys(range(4), 0)),
    "tabulated": factor_graph.tabulate(MIXED),
    "parsed": uai.parse(UAI),
    "pruned": barren.prune(uai.parse(UAI)),
    "ising": generators.ising_grid(2, 3, 0.5, 0.1),
    "potts": generators.potts_grid(2, 3, 4, 0.5),
    "glass": generators.spin_glass_grid(0, 2, 3, 1.0),
    "clauses": convert.clause_graph(generators.parity_chain(0, 5, 3)),
    "tables": convert.cnf_to_factor_graph(generators.chain(4)),
    "on the device": jax.tree.map(jax.numpy.asarray, MIXED),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_have_the_shapes_they_name(name):
    assert misfits(FORMULAS[name]) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_have_the_shapes_they_name(name):
    assert misfits(GRAPHS[name]) == []


def test_every_array_is_annotated():
    for kind in PROBLEMS:
        hints = typing.get_type_hints(kind, localns=NAMES)
        plain = {name for name, hint in hints.items() if hint in (typing.Any, np.ndarray)}
        assert not plain and set(hints) == set(getattr(kind, "_fields", hints))


def replaced(problem, **fields):
    """With other fields, unchecked."""
    if isinstance(problem, tuple):
        return problem._replace(**fields)
    changed = object.__new__(type(problem))
    for field in dataclasses.fields(problem):
        value = fields.get(field.name, getattr(problem, field.name))
        object.__setattr__(changed, field.name, value)
    return changed


FORMULA, (TABLES, _, CLAUSES, PARITIES) = FORMULAS["everything"], MIXED.groups
WRONG = [
    (FORMULA, "xor_rhs", np.zeros(3, bool)),
    (FORMULA, "xor_rhs", np.zeros(2)),
    (FORMULA, "projection", np.array([1, 2])),
    (FORMULA, "log_weights", np.zeros((2, 2))),
    (FORMULA, "log_weights", np.zeros((3, 2), np.float32)),
    (FORMULA.clauses, "values", FORMULA.clauses.values.astype(np.int64)),
    (FORMULA.clauses, "offsets", FORMULA.clauses.offsets.astype(np.int32)),
    (FORMULA.clauses, "values", FORMULA.clauses.values[None]),
    (MIXED, "num_states", MIXED.num_states[:-1]),
    (MIXED, "num_states", MIXED.num_states.astype(np.int64)),
    (MIXED, "log_unary", MIXED.log_unary[:-1]),
    (MIXED, "log_unary", MIXED.log_unary[0]),
    (MIXED, "log_unary", np.zeros(MIXED.log_unary.shape, int)),
    (MIXED, "log_constant", np.zeros(1)),
    (MIXED, "log_error", np.zeros(1)),
    (TABLES, "variables", TABLES.variables[0]),
    (TABLES, "log_potentials", np.zeros((2, 2, 3))),
    (CLAUSES, "signs", CLAUSES.signs[:, :-1]),
    (CLAUSES, "mask", CLAUSES.mask[:-1]),
    (CLAUSES, "signs", CLAUSES.signs.astype(int)),
    (PARITIES, "rhs", PARITIES.rhs[:-1]),
    (PARITIES, "mask", PARITIES.mask[:, :-1]),
]


@pytest.mark.parametrize(("problem", "name", "value"), WRONG)
def test_a_wrong_shape_is_caught(problem, name, value):
    assert misfits(problem) == []
    assert misfits(replaced(problem, **{name: value}))


def test_a_wrong_group_is_caught_inside_a_graph():
    wrong = PARITIES._replace(rhs=PARITIES.rhs[:-1])
    assert misfits(MIXED._replace(groups=(TABLES, wrong))) == ["ParityGroup.rhs"]
