"""Random models small enough to enumerate: mixed arities, domains, hard zeros, contradictions."""

import numpy as np

from inference.problems import factor_graph


def random_model(seed):
    """Numbers of states, and factors as ``reference`` takes them."""
    rng = np.random.default_rng(seed)
    num_states = rng.choice([1, 2, 2, 2, 3], size=rng.integers(1, 9)).tolist()
    density, scale = rng.choice([0.0, 0.0, 0.1, 0.4]), rng.choice([0.3, 1.0, 3.0])
    factors = []
    for _ in range(rng.integers(0, 16)):
        arity = min(len(num_states), rng.choice([0, 1, 2, 2, 2, 2, 3, 4]))
        scope = tuple(rng.choice(len(num_states), size=arity, replace=False).tolist())
        shape = [num_states[v] for v in scope]
        table = np.exp(scale * rng.normal(size=shape)) * (rng.random(shape) >= density)
        factors.append((scope, table.tolist()))
    return num_states, factors


def build(num_states, factors):
    """The graph of such a model."""
    with np.errstate(divide="ignore"):
        logs = [(scope, np.log(np.array(table, dtype=float))) for scope, table in factors]
    return factor_graph.build(num_states, logs)
