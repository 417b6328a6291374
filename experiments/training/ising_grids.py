"""Random Ising grids in batches, with their exact log Z: what the BPNN experiments share.

    >>> grids = draw(0, 10, 50, field_max=0.1, coupling_max=5.0)
    >>> log_partitions(grids).shape, stacked(grids).log_unary.shape
    ((50,), (50, 100, 2))

The models of Kuck et al., "Belief propagation neural networks" (NeurIPS 2020): for each grid f is
uniform in [0, field_max] and c in [0, coupling_max]; fields are uniform in [-f, f], couplings in
[0, c], so that neighbours attract. Borders are free.
"""

from typing import Any, NamedTuple

import numpy as np

from inference import randomness
from inference.problems import factor_graph, generators

#: What ``vmap`` wants as ``in_axes`` for a stacked graph.
AXES = factor_graph.FactorGraph(None, 0, (factor_graph.FactorGroup(None, 0),), 0, None)
COLUMNS = tuple((f, c) for f in (0.1, 0.2, 1.0) for c in (5.0, 10.0, 50.0))


class Grids(NamedTuple):
    """``couplings`` [B, 2, n, n] to the right and down, 0 past the border; ``fields`` [B, n, n]."""

    couplings: np.ndarray
    fields: np.ndarray


def draw(key: Any, side: int, number: int, field_max: Any, coupling_max: Any) -> Grids:
    """Random attractive grids; the two limits are numbers, or arrays [number]."""
    rng = randomness.generator(key, "ising_grids", side)
    f, c = rng.uniform(size=(2, number)) * np.stack(
        [np.broadcast_to(limit, number) for limit in (field_max, coupling_max)]
    )
    fields = f[:, None, None] * rng.uniform(-1, 1, size=(number, side, side))
    couplings = c[:, None, None, None] * rng.uniform(size=(number, 2, side, side))
    couplings[:, 0, :, -1] = couplings[:, 1, -1, :] = 0.0
    return Grids(couplings, fields)


def draw_mixture(key: Any, side: int, number: int) -> Grids:
    """Training grids: a random one of ``COLUMNS`` each; for half of them c is at most 3.

    Weak couplings, where phases are about to form, are rare in the columns and hard.
    """
    rng = randomness.generator(key, "ising_grids", "mixture")
    limits = np.array(COLUMNS)[rng.integers(len(COLUMNS), size=number)]
    weak = rng.random(number) < 0.5
    return draw(key, side, number, limits[:, 0], np.where(weak, 3.0, limits[:, 1]))


def stacked(grids: Grids) -> factor_graph.FactorGraph:
    """All grids as one graph with a first axis on potentials, built without a loop."""
    side = grids.fields.shape[-1]
    graph = generators.ising_grid(side, side, 1.0)
    spins = np.array([-1.0, 1.0])
    right, down = grids.couplings[:, 0, :, :-1], grids.couplings[:, 1, :-1]
    strengths = np.concatenate([a.reshape(len(a), -1) for a in (right, down)], axis=1)
    tables = strengths[..., None, None] * np.outer(spins, spins)
    groups = tuple(group._replace(log_potentials=tables) for group in graph.groups)
    log_unary = grids.fields.reshape(len(grids.fields), -1, 1) * spins
    return graph._replace(
        log_unary=log_unary, groups=groups, log_constant=np.zeros(len(grids.fields))
    )


def one_of(graph: factor_graph.FactorGraph, index: int) -> factor_graph.FactorGraph:
    """One graph of a stacked one."""
    groups = tuple(g._replace(log_potentials=g.log_potentials[index]) for g in graph.groups)
    constant = graph.log_constant[index]
    return graph._replace(log_unary=graph.log_unary[index], groups=groups, log_constant=constant)


def log_partitions(grids: Grids, block: int = 64) -> np.ndarray:
    """Exact log Z, float64 [B], site by site; time and memory grow with 2**side."""
    number = len(grids.fields)
    blocks = [slice(at, at + block) for at in range(0, number, block)]
    return np.concatenate(
        [np.zeros(0), *(_transfer_matrix(grids.couplings[b], grids.fields[b]) for b in blocks)]
    )


def _transfer_matrix(couplings: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """``weights`` [B, 2**n]: one entry per state of the last n sites, the newest replaces."""
    number, side = fields.shape[:2]
    spins = np.array([-1.0, 1.0])
    bonds = np.exp(couplings[..., None, None] * np.outer(spins, spins))
    sites = np.exp(fields[..., None] * spins)
    weights, log_scale = np.ones((number, 2**side)) / 2**side, np.zeros(number)
    for i in range(side):
        for j in range(side):
            old = weights.reshape(number, 2**j, 2, -1)
            # In the first row nothing is above: the sum over the site that goes.
            down = bonds[:, 1, i - 1, j] if i else np.ones((number, 2, 2))
            new = np.einsum("bpor,bon->bpnr", old, down) * sites[:, i, j][:, None, :, None]
            if j:
                pairs = new.reshape(number, 2 ** (j - 1), 2, 2, -1)
                pairs *= bonds[:, 0, i, j - 1][:, None, :, :, None]
            weights = new.reshape(number, -1)
            largest = weights.max(axis=1)
            weights /= largest[:, None]
            log_scale += np.log(largest)
    return log_scale + np.log(weights.sum(axis=1))
