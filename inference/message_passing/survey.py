"""Survey propagation on random satisfiability, and decimation guided by it.

    >>> formula = generators.random_ksat(0, 2000, 8400)
    >>> found, info = surveys(formula)
    >>> info.converged, 0.0 < found.complexity < 0.02 * 2000
    (True, True)

Solutions of random k-SAT near the threshold fall into many clusters. A survey is the probability,
over clusters, that a clause warns a variable: only you can satisfy me (Braunstein, Mezard and
Zecchina, "Survey propagation: an algorithm for satisfiability", 2005). The complexity estimates the
logarithm of the number of clusters, as the Bethe value of a model of them. No claim is made; a
decimation's assignment is checked by the solver session that completes it.
"""

import dataclasses
import functools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference import answer, randomness
from inference.limits import Deadline
from inference.message_passing import rules
from inference.oracles import sat
from inference.problems import cnf, logical_groups

CHUNK = 100  # updates between looks at the clock
TRIVIAL = 0.01  # biases below it leave nothing to choose by
_MOST = 1.0 - 2.0**-50  # a certain warning; 1 would make zeros that cannot be divided out again


class Surveys(NamedTuple):
    """What was found.

    Attributes:
      warnings: float64 [C, k], the survey of each slot of each clause; padding has 0.
      positive: float64 [n], how likely a variable is forced to be true, over clusters.
      negative: float64 [n], forced to be false; free otherwise.
      complexity: nats, of the whole formula.
    """

    warnings: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    complexity: float


class Info(NamedTuple):
    """How a run ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      converged: whether the last update changed no survey by more than the tolerance.
      iterations: updates of all surveys.
      residual: the largest change in the last update, before damping.
      seconds: wall time, compilation included.
    """

    status: str
    converged: bool
    iterations: int
    residual: float
    seconds: float


class State(NamedTuple):
    """Surveys [C, k], their largest change in the last update, and updates so far."""

    warnings: Any
    residual: Any
    iterations: Any


def surveys(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    rho: float = 0.0,
    damping: float = 0.3,
    tolerance: float = 1e-6,
    max_iterations: int = 2000,
    timeout: float = math.inf,
) -> tuple[Surveys, Info]:
    """A fixed point of survey propagation from random surveys.

    Args:
      formula: clauses alone; weights and the sampling set play no part.
      seed: integer or key for the start.
      rho: 0 for surveys, 1 for belief propagation on models, values between for what lies between
        (Maneva, Mossel and Wainwright, "A new look at survey propagation", 2007).
      damping: share of the old surveys in the new ones.
      tolerance: on the largest change of a survey.
      max_iterations: updates of all surveys.
      timeout: seconds, looked at every ``CHUNK`` updates.

    Raises:
      ValueError: the formula has XORs or an empty clause.
    """
    begun = time.monotonic()
    clauses = _clauses(formula)
    start = randomness.generator(seed, "surveys").random(clauses.mask.shape) * clauses.mask
    limits = damping, tolerance, max_iterations, begun + timeout
    found, info = _run(clauses, start, formula.num_variables, rho, limits)
    return found, info._replace(seconds=time.monotonic() - begun)


def decimate(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    fraction: float = 0.01,
    damping: float = 0.3,
    tolerance: float = 0.01,
    max_iterations: int = 1000,
    attempts: int = 5,
    timeout: float = math.inf,
) -> answer.Answer:
    """A model, by fixing the most biased variables in turn and solving what is left.

    Surveys are run again after each step, from where they were, until they are trivial, do not
    converge or propagation of units fails; a solver then completes what was fixed. An attempt that
    fails is followed by another from other surveys, and the last by the solver alone.

    Args:
      formula: clauses alone.
      seed: integer or key for the starts.
      fraction: of all variables that are fixed in a step.
      damping: as for ``surveys``, like the two that follow.
      tolerance: what suffices for choosing.
      max_iterations: of one step.
      attempts: at most so many.
      timeout: seconds.

    Returns:
      OPTIMAL with ``assignments`` bool [1, n], INFEASIBLE where a solver proved it, else UNKNOWN;
      ``message`` says how many variables were fixed before the solver.

    Raises:
      ValueError: the formula has XORs or an empty clause.
    """
    begun = time.monotonic()
    clauses = _clauses(formula)
    limits = damping, tolerance, max_iterations, begun + timeout
    plain = dataclasses.replace(formula, projection=None, log_weights=None)
    found, message = answer.Answer(answer.Status.UNKNOWN), ""
    with sat.SatSession(plain) as session:
        try:
            for attempt in range(attempts + 1):
                fixed = np.full(formula.num_variables, -1)
                if attempt < attempts:
                    rng = randomness.generator(seed, "decimate", attempt)
                    _fix(clauses, fixed, rng, fraction, limits)
                found, alone = _complete(session, fixed, begun + timeout)
                message = f"{(fixed >= 0).sum()} of {len(fixed)} variables fixed by surveys"
                if found.status is answer.Status.OPTIMAL or alone:
                    break
        except KeyboardInterrupt:
            found, message = answer.Answer(answer.Status.UNKNOWN), "interrupted"
    return dataclasses.replace(found, seconds=time.monotonic() - begun, message=message)


def step(
    clauses: logical_groups.ClauseGroup, num_variables: int, state: State, rho: Any, damping: Any
) -> State:
    """One update of all surveys of a group of clauses; masked slots stay 0."""
    unable = _unable(clauses, num_variables, state.warnings, rho)
    fresh = jnp.minimum(rules.exclusive(jnp.multiply, unable, 1.0), _MOST) * clauses.mask
    moved = jnp.abs(fresh - state.warnings).max(initial=0.0)
    warnings = fresh + damping * (state.warnings - fresh)
    return State(warnings, moved, state.iterations + 1)


def _clauses(formula: cnf.CNF) -> logical_groups.ClauseGroup:
    if len(formula.xors):
        raise ValueError(f"expected a formula of clauses alone, given {len(formula.xors)} XORs")
    rows = [sorted(set(clause), key=abs) for clause in formula.clauses.tolist()]
    if not all(rows):
        raise ValueError("expected clauses of one literal or more, given an empty one")
    return logical_groups.clause_group([row for row in rows if len({*map(abs, row)}) == len(row)])


def _run(
    clauses: logical_groups.ClauseGroup,
    warnings: np.ndarray,
    num_variables: int,
    rho: float,
    limits: tuple[float, float, int, float],
) -> tuple[Surveys, Info]:
    damping, tolerance, max_iterations, deadline = limits
    status = "done"
    with jax.enable_x64(True):
        clauses = jax.tree.map(jnp.asarray, clauses)
        none = jnp.asarray(jnp.inf, warnings.dtype), jnp.asarray(0, jnp.int32)
        state = State(jnp.asarray(warnings), *none)
        try:
            while state.residual > tolerance and state.iterations < max_iterations:
                if time.monotonic() >= deadline:
                    status = "timeout"
                    break
                last = min(int(state.iterations) + CHUNK, max_iterations)
                settings = rho, damping, tolerance, last
                state = _advance(clauses, state, settings, num_variables=num_variables)
        except KeyboardInterrupt:
            status = "interrupted"
        read = _read_out(clauses, state.warnings, rho, num_variables=num_variables)
        positive, negative, complexity = map(np.asarray, read)
        residual, iterations = float(state.residual), int(state.iterations)
    found = Surveys(np.asarray(state.warnings), positive, negative, float(complexity))
    return found, Info(status, residual <= tolerance, iterations, residual, 0.0)


@functools.partial(jax.jit, static_argnames="num_variables")
def _advance(clauses: Any, state: State, settings: tuple, *, num_variables: int) -> State:
    rho, damping, tolerance, last = settings
    return jax.lax.while_loop(
        lambda state: (state.residual > tolerance) & (state.iterations < last),
        lambda state: step(clauses, num_variables, state, rho, damping),
        state,
    )


@functools.partial(jax.jit, static_argnames="num_variables")
def _read_out(clauses: Any, warnings: Any, rho: Any, *, num_variables: int) -> tuple:
    """Biases of the variables, and the complexity: of clauses, plus variables, minus slots.

    In this form it is stationary in the surveys: it errs by the square of what they do.
    """
    log_silent = _log_silent(clauses, warnings, num_variables).reshape(-1, 2)
    negative, positive = jnp.exp(log_silent[:, 0]), jnp.exp(log_silent[:, 1])
    consistent = positive + negative - (1.0 - rho) * positive * negative
    unable = _unable(clauses, num_variables, warnings, rho)
    of_clauses = jnp.where(clauses.mask.any(axis=1), jnp.log1p(-unable.prod(axis=1)), 0.0)
    of_slots = jnp.where(clauses.mask, jnp.log1p(-warnings * unable), 0.0)
    complexity = of_clauses.sum() + jnp.log(consistent).sum() - of_slots.sum()
    true = (1.0 - (1.0 - rho) * positive) * negative / consistent
    false = (1.0 - (1.0 - rho) * negative) * positive / consistent
    return true, false, complexity


def _log_silent(clauses: Any, warnings: Any, num_variables: int) -> Any:
    """For each literal [2 n], 2 v + sign, the log-probability that no clause with it warns."""
    literals = 2 * clauses.variables + clauses.signs
    logs = jnp.log1p(-warnings).ravel()
    return jax.ops.segment_sum(logs, literals.ravel(), 2 * num_variables)


def _unable(clauses: Any, num_variables: int, warnings: Any, rho: Any) -> Any:
    """How likely each variable cannot satisfy each clause, without a warning from it; 1 if masked.

    What other clauses with the same literal say is ``same``, with the opposite one ``opposite``.
    """
    silent = _log_silent(clauses, warnings, num_variables)
    literals = 2 * clauses.variables + clauses.signs
    same = jnp.exp(silent[literals] - jnp.log1p(-warnings))
    opposite = jnp.exp(silent[literals ^ 1])
    forced = same * (1.0 - (1.0 - rho) * opposite)
    total = forced + opposite
    return jnp.where(clauses.mask, forced / jnp.where(total > 0, total, 1.0), 1.0)


def _fix(
    clauses: logical_groups.ClauseGroup,
    fixed: np.ndarray,
    rng: np.random.Generator,
    fraction: float,
    limits: tuple[float, float, int, float],
) -> None:
    """Fixes variables (state or -1, int [n]) in place, as long as surveys say something."""
    n = len(fixed)
    most = max(1, round(fraction * n))
    warnings = rng.random(clauses.mask.shape)
    while True:
        free = _propagate(clauses, fixed)
        if free is None or not free.mask.any():
            return
        found, info = _run(free, warnings * free.mask, n, 0.0, limits)
        bias = np.where(fixed < 0, found.positive - found.negative, 0.0)
        if info.status == "interrupted":
            raise KeyboardInterrupt
        if not info.converged or np.abs(bias).max() < TRIVIAL:
            return
        chosen = np.argsort(-np.abs(bias), kind="stable")[:most]
        chosen = chosen[bias[chosen] != 0.0]
        fixed[chosen] = bias[chosen] > 0
        warnings = found.warnings


def _complete(
    session: sat.SatSession, fixed: np.ndarray, deadline: float
) -> tuple[answer.Answer, bool]:
    """What a solver makes of the rest, and whether nothing was fixed, so that it decides."""
    literals = np.where(fixed == 1, 1, -1) * np.arange(1, len(fixed) + 1)
    assumed = literals[fixed >= 0].tolist()
    now = time.monotonic()
    # Half of what is left, so that there is time for another attempt.
    until = now + (deadline - now) / 2 if assumed else deadline
    return session.solve(assumed, deadline=Deadline(until)), not assumed


def _propagate(
    clauses: logical_groups.ClauseGroup, fixed: np.ndarray
) -> logical_groups.ClauseGroup | None:
    """Units are fixed in place: the clauses with what is open, None where one is violated."""
    while True:
        states = fixed[clauses.variables]
        holds = (clauses.mask & (states == clauses.signs)).any(axis=1, keepdims=True)
        free = clauses.mask & (states < 0) & ~holds
        if not (holds[:, 0] | free.any(axis=1)).all():
            return None
        units = free & (free.sum(axis=1, keepdims=True) == 1)
        if not units.any():
            return clauses._replace(mask=free)
        fixed[clauses.variables[units]] = clauses.signs[units]
