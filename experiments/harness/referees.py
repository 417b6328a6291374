"""What samplers are judged by: lattices and formulas with everything that is known of them exactly.

    >>> rows = referee.judge_all(samplers(), targets(), jax.random.key(0))
    >>> print(referee.table(rows))

``inference.mcmc.referee`` judges any sampler on any target. The answers to those here come from
elimination, from enumeration or, of Ising grids, from counting the states of each energy.
"""

import numpy as np

from experiments.harness import discrete_models
from inference.exact import elimination, joint_states
from inference.mcmc import gibbs, informed, referee, swendsen_wang
from inference.problems import convert, factor_graph, generators

_DIGITS = 9  # of energies that count as one level


def targets() -> list[referee.ExactTarget]:
    """Lattices, a glass, formulas with soft and with hard clauses."""
    critical = discrete_models.ISING_CRITICAL
    formula = generators.random_ksat(2, 20, 30)
    return [
        enumerated("Ising 3x3, field", generators.ising_grid(3, 3, 0.4, 0.1)),
        ising("Ising 8x8, disordered", 8, 8, 0.7 * critical),
        ising("Ising 8x8, critical", 8, 8, critical),
        enumerated("Potts 3x3, 3 states", generators.potts_grid(3, 3, 3, 0.8)),
        enumerated("spin glass 4x4", generators.spin_glass_grid(2, 4, 4, 0.8)),
        enumerated("soft clauses, 12", discrete_models.soft_clauses(1, 12, 30, 1.0)),
        eliminated("hard clauses, 20", convert.cnf_to_factor_graph(formula)),
    ]


def samplers(**options: int) -> dict[str, referee.Sampler]:
    """Ours; options are those of ``referee.of_algorithm``."""
    kernels = {
        "gibbs": gibbs.gibbs,
        "dmala": lambda graph: informed.langevin_of_graph(graph, 0.3),
        "swendsen_wang": swendsen_wang.swendsen_wang,
    }
    return {name: referee.of_algorithm(build, **options) for name, build in kernels.items()}


def enumerated(name: str, graph: factor_graph.FactorGraph) -> referee.ExactTarget:
    """From all joint states, of which there should be a million at most."""
    tables = factor_graph.tabulate(graph)
    scores = joint_states.scores(tables) + float(graph.log_constant)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    possible = weights > 0
    levels, which = np.unique(np.round(-scores[possible], _DIGITS), return_inverse=True)
    sizes, marginals = np.asarray(graph.num_states), np.zeros(graph.log_unary.shape)
    at = np.arange(len(weights))
    for variable, stride in enumerate(joint_states.strides(sizes)[: len(sizes)]):
        states = at // stride % sizes[variable]
        marginals[variable, : sizes[variable]] = np.bincount(states, weights, sizes[variable])
    probabilities = np.bincount(which, weights[possible])
    mean = float(levels @ probabilities)
    return referee.ExactTarget(name, graph, mean, marginals, levels, probabilities)


def eliminated(name: str, graph: factor_graph.FactorGraph) -> referee.ExactTarget:
    """By elimination: the mean energy and the marginals, without a histogram."""
    marginals, _ = elimination.marginals(graph)
    return referee.ExactTarget(name, graph, discrete_models.exact_energy(graph), marginals)


def ising(name: str, rows: int, columns: int, coupling: float) -> referee.ExactTarget:
    """A grid without a field, up to 12 columns: how many states have each energy is counted."""
    graph = generators.ising_grid(rows, columns, coupling)
    counts = unequal_pairs(rows, columns)
    pairs = len(counts) - 1
    levels = coupling * (2.0 * np.arange(pairs + 1) - pairs)
    weights = counts * np.exp(-(levels - levels.min()))
    probabilities = weights / weights.sum()
    marginals = np.full(graph.log_unary.shape, 0.5)
    mean = float(levels @ probabilities)
    seen = counts > 0
    return referee.ExactTarget(name, graph, mean, marginals, levels[seen], probabilities[seen])


def unequal_pairs(rows: int, columns: int) -> np.ndarray:
    """How many states of a binary grid have 0, 1, ... pairs of unequal neighbours, float64 [E + 1].

    Sites are added row by row; what is kept are counts by the last one of each column.
    """
    pairs = rows * (columns - 1) + columns * (rows - 1)
    counts = np.eye(1, pairs + 1).reshape((1,) * columns + (pairs + 1,))
    for _ in range(rows):
        for column in range(columns):
            counts = _with_site(counts, column)
    return counts.reshape(-1, pairs + 1).sum(axis=0)


def _with_site(counts: np.ndarray, column: int) -> np.ndarray:
    """Counts [2, ..., E + 1] with one more site below the last of its column, which it replaces."""
    above = np.moveaxis(counts, column, 0)
    is_first = len(above) == 1  # of its column
    both = []
    for state in (0, 1):
        found = above[0] if is_first else above[state] + _one_more(above[1 - state])
        if column:
            left = np.moveaxis(found, column - 1, 0).copy()
            left[1 - state] = _one_more(left[1 - state])
            found = np.moveaxis(left, 0, column - 1)
        both.append(found)
    return np.stack(both, axis=column)


def _one_more(counts: np.ndarray) -> np.ndarray:
    """The counts [..., E + 1] where each state has one more unequal pair."""
    return np.concatenate([np.zeros((*counts.shape[:-1], 1)), counts[..., :-1]], axis=-1)
