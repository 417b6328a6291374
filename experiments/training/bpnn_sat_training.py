"""Training the network of ``count --method bpnn`` on formulas with known counts.

    >>> parameters, history = train(counted_formulas.read(folder), seed=0)
    >>> training.save(bpnn_sat.WEIGHTS, parameters)

The loss is log(1 + (error / 0.1)^2): it flattens for large errors. With one that grows as the
error, circuits that are off by nats spoil the corrections of everything else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.training import counted_formulas
from inference import randomness, training
from inference.message_passing.learned import bpnn_sat, clause_clusters, formula_batch
from inference.problems import cnf

TRAINING_SEED = 2**40  # of the formulas that are made for training; runs have smaller seeds
_HELD_OUT = 0.2  # of the formulas
_TOGETHER = 16  # formulas in one step
_SCALE = 0.1  # nats, where the loss turns from the square to a logarithm

# Formulas, what is left to explain of each count, and which formulas are there, both [G].
Batch = tuple[formula_batch.FormulaBatch, np.ndarray, np.ndarray]


def train(
    problems: Sequence[counted_formulas.Problem], *, made: int = 100, **options: Any
) -> tuple[bpnn_sat.Network, training.History]:
    """``fit`` on the training split and ``made`` further formulas of each kind."""
    kept = [problem for problem in problems if problem.split == "train"]
    kept += counted_formulas.make(TRAINING_SEED, made)
    values = [problem.log_count for problem in kept]
    return fit([problem.formula for problem in kept], values, **options)


def fit(
    formulas: Sequence[cnf.CNF],
    log_values: Sequence[float],
    *,
    seed: int = 0,
    steps: int = 4000,
    rate: float = 3e-3,
    checkpoint: str | Path | None = None,
    timeout: float | None = None,
) -> tuple[bpnn_sat.Network, training.History]:
    """Fits a network to known counts by Adam; what is best on held-out formulas comes back.

    Args:
      log_values: exact log counts in nats.
      rate: of learning, at its highest; it follows a cosine to zero.
      checkpoint, timeout: as in ``training.fit``.

    Raises:
      ValueError: a count is not finite, or there are fewer than two formulas.
    """
    targets = np.asarray(log_values, dtype=np.float64)
    if len(formulas) < 2 or not np.isfinite(targets).all() or len(targets) != len(formulas):
        raise ValueError(f"expected two or more finite log counts, given {len(formulas)}")
    rng = randomness.generator(seed, "bpnn_sat")
    validation, trained = _split(formulas, targets, rng)
    turns = np.concatenate(
        [rng.permutation(len(trained)) for _ in range(steps // len(trained) + 1)]
    )
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(100, steps // 10), steps)
    return training.fit(
        _loss,
        bpnn_sat.Network(seed),
        lambda step: trained[turns[step]],
        steps,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        validate=lambda network: sum(_loss(network, one) for one in validation) / len(validation),
        validate_every=len(trained),
        checkpoint=checkpoint,
        timeout=timeout,
    )


def _split(
    formulas: Sequence[cnf.CNF], targets: np.ndarray, rng: np.random.Generator
) -> tuple[list[Batch], list[Batch]]:
    """Batches that choose the step, and batches that are trained on, all of one size."""
    order = rng.permutation(len(formulas))
    held, kept = np.split(order, [max(1, round(_HELD_OUT * len(formulas)))])
    groups = [
        part[i : i + _TOGETHER] for part in (held, kept) for i in range(0, len(part), _TOGETHER)
    ]
    clusters = [clause_clusters.build([formulas[i] for i in group]) for group in groups]
    sizes = np.max([formula_batch.needed(one) for one in clusters], axis=0).tolist()
    batches = []
    for one, group in zip(clusters, groups):
        left, there = np.zeros(sizes[1], np.float32), np.zeros(sizes[1], np.float32)
        left[: len(group)] = targets[group] - one.log_constant
        there[: len(group)] = 1.0
        batches.append((formula_batch.pack(one, sizes), left, there))
    first = -(-len(held) // _TOGETHER)
    return batches[:first], batches[first:]


def _loss(network: bpnn_sat.Network, batch: Batch) -> jax.Array:
    formulas, left, there = batch
    messages = bpnn_sat.propagate(formulas, bpnn_sat.start(formulas))
    error = (bpnn_sat.log_counts(network, formulas, messages) - left) * there
    return jnp.log1p((error / _SCALE) ** 2).sum() / there.sum()
