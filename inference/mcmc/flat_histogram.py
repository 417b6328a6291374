"""Densities of states by flat histograms: how many assignments violate 0, 1, 2, ... clauses.

    >>> density, info = density_of_states(cnf.from_clauses([[1, 2], [-1, 3]]), seed=1)
    >>> np.exp(density.log_count).round(2)
    array([4., 4.])

Walkers that prefer levels in proportion to 1 / n(E) see every level equally often, so they pass
from typical assignments to models and back, and how often they were let in says how many there are
(Wang and Landau, 2001). One run has the model count, log Z at every temperature and what lies
between. Nothing is claimed: no level that was not seen is counted, and of what walkers cannot reach
by single changes the standard errors know nothing. ``Info`` tells how often walkers went all the
way, and says so where that was too seldom.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from inference import estimate, limits, randomness
from inference.mcmc import (
    density,
    energy_terms,
    flat_histogram_moves,
    flat_histogram_results,
    flat_histogram_runs,
    flat_histogram_starts,
)
from inference.mcmc.flat_histogram_results import Info
from inference.problems import cnf, factor_graph

FEW_LEVELS = 64  # all are kept; of more those beyond the usual are merged
LEAST_WALKERS = 8  # fewer make no standard error
DEVIATIONS = 4.0  # the usual: up to so many standard deviations above the mean
Starts = Callable[[cnf.CNF, np.random.Generator, int, limits.Deadline], np.ndarray]


def density_of_states(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    rule: flat_histogram_moves.MoveRule = flat_histogram_moves.plain,
    starts: Starts = flat_histogram_starts.half_models,
    costs: np.ndarray | None = None,
    highest: int | None = None,
    walkers: int = 64,
    flatness: float = 0.9,
    final_increment: float = 1e-5,
    fixed_steps: float | None = None,
) -> tuple[density.DensityOfStates, Info]:
    """How many assignments of all variables violate 0, 1, 2, ... clauses and XORs; no claim.

    Args:
      formula: without weights and sampling set.
      seed: of the walkers and their starts.
      timeout: seconds; half of it for the weights at most, the rest with the weights fixed.
      memory: mebibytes that walkers and their tables may take.
      rule: ``plain``, ``rejection_free`` or ``mixture(share)`` of ``flat_histogram_moves``.
      starts: where walkers start, bool [walkers, n]: by default half of them at models.
      costs: what violating each clause, then each XOR, costs, in place of one each.
      highest: levels from this one on are one. By default all levels are kept where there are at
        most ``FEW_LEVELS``, else those up to four standard deviations above the mean energy.
      walkers: they share log g; standard errors tell them apart.
      flatness: the share of the mean visits that the rarest level has when ln F is halved.
      final_increment: ln F that ends the first run.
      fixed_steps: of all walkers with fixed weights; by default as many as it took to learn them.

    Raises:
      ValueError: the formula has weights or a sampling set, an option is out of range, or more
        memory is needed.
    """
    if formula.log_weights is not None or formula.projection is not None:
        given = "weights" if formula.log_weights is not None else "a sampling set"
        raise ValueError(f"expected a formula whose assignments all count alike, given {given}")
    deadline = limits.Deadline.after(timeout)
    problem = energy_terms.of_formula(formula, costs)

    def begin(rng: np.random.Generator, number: int) -> np.ndarray:
        states = starts(formula, rng, number, deadline.part(0.2))
        return np.asarray(states)[:, problem.variables]

    options = (rule, highest, walkers, flatness, final_increment, fixed_steps)
    return _run(problem, begin, seed, deadline, memory, *options)


def density_of_scores(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    rule: flat_histogram_moves.MoveRule = flat_histogram_moves.plain,
    width: float | None = None,
    highest: int | None = None,
    walkers: int = 64,
    flatness: float = 0.9,
    final_increment: float = 1e-5,
    fixed_steps: float | None = None,
) -> tuple[density.DensityOfStates, Info]:
    """How many states of a model have each energy, minus their log-score in nats; no claim.

    ``log_partition(beta)`` of what is returned is log Z of the model at every inverse temperature,
    1 for its own.

    Args:
      graph: of any factors. Hard zeros are priced above all else, one level for each that holds.
      width: nats of a level; by default as ``energy_terms.of_graph`` has it: every energy for
        itself where there are few of them, else 1 nat.

    Other arguments, and errors, are those of ``density_of_states``.
    """
    deadline = limits.Deadline.after(timeout)
    problem = energy_terms.of_graph(graph, width)
    sizes = problem.terms.num_states

    def begin(rng: np.random.Generator, number: int) -> np.ndarray:
        return rng.integers(sizes[None], size=(number, len(sizes)))

    options = (rule, highest, walkers, flatness, final_increment, fixed_steps)
    return _run(problem, begin, seed, deadline, memory, *options)


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    **options: Any,
) -> tuple[estimate.Estimate, Info]:
    """log Z in nats, a claim of NONE; options are those of ``density_of_scores``."""
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory, **options}
    found, info = density_of_scores(graph, **given)
    return estimate.Estimate(found.log_partition(1.0)), info


def _run(
    problem: energy_terms.EnergyProblem,
    begin: Callable[[np.random.Generator, int], np.ndarray],
    seed: Any,
    deadline: limits.Deadline,
    memory: int | None,
    rule: flat_histogram_moves.MoveRule,
    highest: int | None,
    walkers: int,
    flatness: float,
    final_increment: float,
    fixed_steps: float | None,
) -> tuple[density.DensityOfStates, Info]:
    _check(highest, walkers, flatness, final_increment, fixed_steps)
    rule.check(problem.terms)
    if not problem.terms.arities.any():
        return flat_histogram_results.constant(problem), Info(
            "done", deadline.seconds, rule=rule.name
        )
    rng = randomness.generator(seed, "flat_histogram")
    num_levels = _num_levels(problem, rng, highest)
    limits.require_memory(_octets(problem, walkers, num_levels), memory, "walkers and tables")
    states = begin(rng, walkers)
    with jax.enable_x64(True):
        terms = jax.tree.map(jax.numpy.asarray, problem.terms)
        key = randomness.jax_key(seed)
        job = flat_histogram_runs.Job(rule, problem, terms, num_levels, key)
        learnt = flat_histogram_runs.start(job, states, 1.0)
        learnt, held, *ended = _both_runs(
            job, learnt, flatness, final_increment, fixed_steps, deadline
        )
        return flat_histogram_results.gather(job, learnt, held, ended, deadline)


def _both_runs(
    job: flat_histogram_runs.Job,
    learnt: flat_histogram_runs.Learnt,
    flatness: float,
    final: float,
    fixed_steps: float | None,
    deadline: limits.Deadline,
) -> tuple[flat_histogram_runs.Learnt, flat_histogram_runs.Held | None, str, str]:
    """What was learnt, what was counted with it unless Ctrl-C came first, and how each ended."""
    runs = flat_histogram_runs
    is_ready, status = limits.run_until(lambda _: runs.compiled(job, learnt), False, bool, deadline)
    if is_ready:
        options: dict[str, Any] = {"flatness": flatness, "final": final}
        learnt, status = runs.adapt(job, learnt, deadline=deadline.part(0.5), **options)
    if status == "interrupted" or deadline.has_passed():
        return learnt, None, status, status
    steps = learnt.steps if fixed_steps is None else fixed_steps
    held, ended = runs.hold(job, learnt, steps=steps, deadline=deadline)
    return learnt, held, status, ended


def _check(
    highest: int | None,
    walkers: int,
    flatness: float,
    final_increment: float,
    fixed_steps: float | None,
) -> None:
    if highest is not None and highest < 1:
        raise ValueError(f"expected a highest level of at least 1, given {highest}")
    if walkers < LEAST_WALKERS:
        raise ValueError(f"expected at least {LEAST_WALKERS} walkers, given {walkers}")
    if not 0 < flatness < 1:
        raise ValueError(f"expected a flatness between 0 and 1, given {flatness}")
    if not 0 < final_increment < 1:
        raise ValueError(f"expected a final increment between 0 and 1, given {final_increment}")
    if fixed_steps is not None and not 0 <= fixed_steps < math.inf:
        raise ValueError(f"expected at least 0 fixed steps, given {fixed_steps}")


def _num_levels(
    problem: energy_terms.EnergyProblem, rng: np.random.Generator, highest: int | None
) -> int:
    """Levels that are told apart, with the one of all that lie above."""
    if highest is None:
        if problem.num_levels <= FEW_LEVELS:
            return problem.num_levels
        highest = max(usual_level(problem, rng, DEVIATIONS), FEW_LEVELS)
    return min(problem.num_levels, highest + 1)


def usual_level(
    problem: energy_terms.EnergyProblem, rng: np.random.Generator, deviations: float
) -> int:
    """The level so many standard deviations above the mean of random states, at least 1."""
    sizes = problem.terms.num_states
    drawn = energy_terms.energies(problem.terms, rng.integers(sizes, size=(64, len(sizes))))
    found = energy_terms.levels(problem.terms, drawn, problem.num_levels)
    return max(1, math.ceil(found.mean() + deviations * found.std()))


def _octets(problem: energy_terms.EnergyProblem, walkers: int, num_levels: int) -> int:
    """Of the terms, and of walkers twice: those before and after a chunk."""
    tables = sum(np.asarray(part).nbytes for part in problem.terms)
    variables, places = problem.terms.num_states.size, problem.terms.origins.size
    # states, places, changes; visits; random numbers
    one = 4 * variables + 4 * places + 8 * variables + 16 * num_levels
    drawn = 4 * 8 * flat_histogram_runs.DRAWN_STEPS
    return tables + walkers * (2 * one + drawn)
