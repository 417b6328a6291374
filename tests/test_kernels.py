"""What every kernel keeps: one trace for equal shapes, under ``jit`` and ``vmap`` the same.

A row is a function and its arguments, made from an index, of equal shapes.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import build

from hashing.parity import affine, families, gf2
from inference.exact import elimination
from inference.message_passing import bp_compiled, rules
from inference.problems import factor_graph

CHAIN = ([2, 3, 2], [((0, 1), [[1, 2, 0], [0.5, 1, 3]]), ((1, 2), [[1, 4], [0, 1], [2, 2]])])


def _system(i):
    rng = np.random.default_rng(i)
    rows = rng.integers(0, 2**32, size=(5, 2), dtype=np.uint32)
    return jnp.array(rows), jnp.array(rng.integers(0, 2, size=5), dtype=bool)


def _graph(i):
    graph = build(*CHAIN)
    shift = np.float32(i)
    groups = tuple(
        factor_graph.FactorGroup(g.variables, np.float32(g.log_potentials) - shift)
        for g in graph.groups
    )
    return (graph._replace(log_unary=np.float32(graph.log_unary), groups=groups),)


def _ratios(i):
    rng = np.random.default_rng(i)
    sides = jnp.array(rng.random((6, 4)) < 0.5)
    return sides, jnp.array(rng.random((6, 4)) < 0.8), jnp.array(rng.normal(size=(6, 4)), "float32")


def _rows(i):
    rng = np.random.default_rng(i)
    incoming = rules.normalize(jnp.array(rng.normal(size=(5, 2, 3)), "float32"))
    return jnp.array(rng.normal(size=(5, 3, 3)), "float32"), incoming


VARIABLES = jnp.arange(40, dtype=jnp.int32)
KERNELS = {
    "gf2.row_reduce": (gf2.row_reduce, _system),
    "gf2.rank": (gf2.rank, lambda i: _system(i)[:1]),
    "gf2.apply": (gf2.apply, lambda i: (_system(i)[0], _system(i + 9)[0])),
    "affine.solve": (lambda rows, rhs: affine.solve(rows, rhs, 64), _system),
    "families.dense": (
        lambda key: families.dense(key, 4, VARIABLES),
        lambda i: (jax.random.key(i),),
    ),
    "families.fixed_weight": (
        lambda key: families.fixed_weight(key, 4, VARIABLES, 3),
        lambda i: (jax.random.key(i),),
    ),
    "rules.table_messages": (rules.table_messages, _rows),
    "rules.clause_messages": (rules.clause_messages, _ratios),
    "rules.parity_messages": (
        lambda sides, mask, log_ratios: rules.parity_messages(sides[:, 0], mask, log_ratios),
        _ratios,
    ),
    "elimination": (elimination.compile_log_partition(build(*CHAIN)), _graph),
    "bp": (bp_compiled.compile_log_partition(build(*CHAIN)), _graph),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels(name):
    function, arguments = KERNELS[name]
    cases = [arguments(i) for i in range(3)]
    traces = []

    def counted(*given):
        traces.append(given)
        return function(*given)

    traced = jax.jit(counted)
    single = [traced(*case) for case in cases]
    assert len(traces) == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    together = jax.jit(jax.vmap(function))(*stacked)
    for i, one in enumerate(single):
        batched = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(one, batched, rtol=1e-6)
        chex.assert_trees_all_equal(one, traced(*cases[i]))
