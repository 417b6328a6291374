"""Other libraries' belief propagation on our graphs, for comparisons only.

    run = message_passing_peers.pgmax(graph)      # builds; None where PGMax is not installed
    shares, seconds = run(200)                    # damped flooding from uniform messages

A runner takes a number of rounds and returns the marginals [V, S] and the seconds they took, the
compilation apart.
"""

import functools
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from inference.problems import factor_graph

Runner = Callable[[int], tuple[np.ndarray, float]]
_LOWEST = -1e5  # PGMax wants finite evidence


def pgmax(graph: factor_graph.FactorGraph) -> Runner | None:
    """Sum-product by PGMax with damping one half, in float32."""
    if importlib.util.find_spec("pgmax") is None:
        return None
    import jax

    _supply_xla_bridge()
    from pgmax import fgraph, infer, vgroup

    variables = vgroup.NDVarArray(
        num_states=np.asarray(graph.num_states, np.int64), shape=(graph.num_variables,)
    )
    every = variables[:]
    built = fgraph.FactorGraph(variable_groups=variables)
    built.add_factors([_factor_group(group, every) for group in graph.groups])
    belief = infer.build_inferer(built.bp_state, backend="bp")
    unary = np.maximum(np.asarray(graph.log_unary, np.float32), _LOWEST)
    start = belief.init(evidence_updates={variables: unary})
    damped = functools.partial(belief.run_with_diffs, damping=0.5, temperature=1.0)
    iterate = jax.jit(damped, static_argnames=("num_iters",))
    compiled = set()

    def run(iterations: int) -> tuple[np.ndarray, float]:
        if iterations not in compiled:
            jax.block_until_ready(iterate(start, num_iters=iterations))
            compiled.add(iterations)
        begun = time.perf_counter()
        arrays, _ = jax.block_until_ready(iterate(start, num_iters=iterations))
        seconds = time.perf_counter() - begun
        shares = infer.get_marginals(belief.get_beliefs(arrays))[variables]
        return np.asarray(shares, np.float64), seconds

    return run


def _factor_group(group: Any, every: list) -> Any:
    from pgmax import fgroup

    tables = np.asarray(group.log_potentials, np.float32)
    return fgroup.EnumFactorGroup(
        variables_for_factors=[[every[v] for v in row] for row in group.variables.tolist()],
        factor_configs=np.indices(tables.shape[1:]).reshape(tables.ndim - 1, -1).T,
        log_potentials=tables.reshape(len(tables), -1),
    )


def _supply_xla_bridge() -> None:
    """PGMax 0.6 asks ``jax.lib.xla_bridge``, which JAX has dropped, for the backend."""
    import jax
    import jax.extend.backend

    if "jax.lib.xla_bridge" not in sys.modules:
        bridge: Any = types.ModuleType("jax.lib.xla_bridge")
        bridge.get_backend = jax.extend.backend.get_backend
        sys.modules["jax.lib.xla_bridge"] = bridge
        setattr(jax.lib, "xla_bridge", bridge)
