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
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference import answer, limits, randomness
from inference.message_passing import rules
from inference.oracles import sat
from inference.problems import cnf, logical_groups

Scalar = float | jax.Array
CHUNK = 100  # updates between looks at the clock
TRIVIAL = 0.01  # biases below it leave nothing to choose by
OCTETS = 200  # for each slot of a clause, of all arrays together
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


def surveys(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    rho: float = 0.0,
    damping: float = 0.3,
    tolerance: float = 1e-6,
    iterations: int = 2000,
) -> tuple[Surveys, answer.Settled]:
    """A fixed point of survey propagation from random surveys.

    Args:
      formula: clauses alone; weights and the sampling set play no part.
      seed: of the start.
      timeout: seconds, looked at every ``CHUNK`` updates; the first surveys are random.
      memory: mebibytes that surveys may take, at ``OCTETS`` for each slot of a clause.
      rho: 0 for surveys, 1 for belief propagation on models, values between for what lies between
        (Maneva, Mossel and Wainwright, "A new look at survey propagation", 2007).
      damping: share of the old surveys in the new ones.
      tolerance: on the largest change of a survey.
      iterations: updates of all surveys.

    Raises:
      ValueError: the formula has XORs or an empty clause, or more memory is needed.
    """
    begun, deadline = time.monotonic(), limits.Deadline.after(timeout)
    clauses = _clauses(formula, memory)
    start = randomness.generator(seed, "surveys").random(clauses.mask.shape) * clauses.mask
    settings = rho, damping, tolerance, iterations
    found, info = _settle(formula.num_variables, settings, deadline, clauses, start)
    return found, info._replace(seconds=time.monotonic() - begun)


def decimate(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    fraction: float = 0.01,
    damping: float = 0.3,
    tolerance: float = 0.01,
    iterations: int = 1000,
    attempts: int = 5,
) -> tuple[answer.Answer, answer.Info]:
    """A model, by fixing the most biased variables in turn and solving what is left.

    Surveys are run again after each step, from where they were, until they are trivial, do not
    converge or propagation of units fails; a solver then completes what was fixed. An attempt that
    fails is followed by another from other surveys, and the last by the solver alone.

    Args:
      formula: clauses alone.
      seed: of the starts.
      timeout: seconds.
      memory: as for ``surveys``; the solver's own comes on top.
      fraction: of all variables that are fixed in a step.
      damping: as for ``surveys``.
      tolerance: what suffices for choosing.
      iterations: of one step.
      attempts: at most so many.

    Returns:
      OPTIMAL with ``assignments`` bool [1, n], INFEASIBLE where a solver proved it, else UNKNOWN;
      the message of the ``Info`` says how many variables were fixed before the solver.

    Raises:
      ValueError: as for ``surveys``.
    """
    begun, deadline = time.monotonic(), limits.Deadline.after(timeout)
    clauses, num_variables = _clauses(formula, memory), formula.num_variables
    settings = 0.0, damping, tolerance, iterations
    settle = functools.partial(_settle, num_variables, settings, deadline)
    plain = dataclasses.replace(formula, projection=None, log_weights=None)
    starts = (randomness.generator(seed, "decimate", attempt) for attempt in range(attempts))
    found, fixed, status = answer.Answer(answer.Status.UNKNOWN), np.full(num_variables, -1), "done"
    with sat.SatSession(plain) as session:
        try:
            for rng in (*starts, None):
                fixed[:] = -1
                if rng is not None:
                    warnings = rng.random(clauses.mask.shape)
                    _fix(clauses, fixed, warnings, max(1, round(fraction * num_variables)), settle)
                found = _complete(session, fixed, deadline)
                if found.status is not answer.Status.UNKNOWN or deadline.has_passed():
                    break
        except KeyboardInterrupt:
            found, status = answer.Answer(answer.Status.UNKNOWN), "interrupted"
    if found.status is answer.Status.UNKNOWN and status == "done":
        status = "timeout"
    seconds = time.monotonic() - begun
    message = f"{(fixed >= 0).sum()} of {num_variables} variables fixed by surveys"
    return dataclasses.replace(found, seconds=seconds), answer.Info(status, seconds, message)


class State(NamedTuple):
    """Surveys [C, k], their largest change in the last update, and updates so far."""

    warnings: jax.Array
    residual: jax.Array
    iterations: jax.Array


def step(
    clauses: logical_groups.ClauseGroup,
    num_variables: int,
    state: State,
    rho: Scalar,
    damping: Scalar,
) -> State:
    """One update of all surveys of a group of clauses; masked slots stay 0."""
    unable = _unable(clauses, num_variables, state.warnings, rho)
    fresh = jnp.minimum(rules.exclusive(jnp.multiply, unable, 1.0), _MOST) * clauses.mask
    moved = jnp.abs(fresh - state.warnings).max(initial=0.0)
    warnings = fresh + damping * (state.warnings - fresh)
    return State(warnings, moved, state.iterations + 1)


def _clauses(formula: cnf.CNF, memory: int | None) -> logical_groups.ClauseGroup:
    if len(formula.xors):
        raise ValueError(f"expected a formula of clauses alone, given {len(formula.xors)} XORs")
    rows = [sorted(set(clause), key=abs) for clause in formula.clauses.tolist()]
    if not all(rows):
        raise ValueError("expected clauses of one literal or more, given an empty one")
    rows = [row for row in rows if len({*map(abs, row)}) == len(row)]
    slots = len(rows) * max(map(len, rows), default=0)
    limits.require_memory(OCTETS * slots, memory, "surveys")
    return logical_groups.clause_group(rows)


def _settle(
    num_variables: int,
    settings: tuple[float, float, float, int],
    deadline: limits.Deadline,
    clauses: logical_groups.ClauseGroup,
    warnings: np.ndarray,
) -> tuple[Surveys, answer.Settled]:
    """Updates with a rho, a damping, to a tolerance and so many, from given surveys."""
    rho, damping, tolerance, iterations = settings

    def advance(state: State) -> State:
        last = min(int(state.iterations) + CHUNK, iterations)
        chosen = rho, damping, tolerance, last
        return _advance(clauses, state, chosen, num_variables=num_variables)

    def done(state: State) -> bool:
        return not (state.residual > tolerance and state.iterations < iterations)

    with jax.enable_x64(True):
        clauses = jax.tree.map(jnp.asarray, clauses)
        none = jnp.asarray(jnp.inf, warnings.dtype), jnp.asarray(0, jnp.int32)
        start = State(jnp.asarray(warnings), *none)
        state, status = limits.run_until(advance, start, done, deadline)
        read = _read_out(clauses, state.warnings, rho, num_variables=num_variables)
        positive, negative, complexity = map(np.asarray, read)
        residual, made = float(state.residual), int(state.iterations)
    found = Surveys(np.asarray(state.warnings), positive, negative, float(complexity))
    return found, answer.Settled(status, 0.0, residual <= tolerance, made, residual)


@functools.partial(jax.jit, static_argnames="num_variables")
def _advance(
    clauses: logical_groups.ClauseGroup, state: State, settings: tuple, *, num_variables: int
) -> State:
    rho, damping, tolerance, last = settings
    return jax.lax.while_loop(
        lambda state: (state.residual > tolerance) & (state.iterations < last),
        lambda state: step(clauses, num_variables, state, rho, damping),
        state,
    )


@functools.partial(jax.jit, static_argnames="num_variables")
def _read_out(
    clauses: logical_groups.ClauseGroup, warnings: jax.Array, rho: Scalar, *, num_variables: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
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


def _log_silent(
    clauses: logical_groups.ClauseGroup, warnings: jax.Array, num_variables: int
) -> jax.Array:
    """For each literal [2 n], 2 v + sign, the log-probability that no clause with it warns."""
    literals = 2 * clauses.variables + clauses.signs
    logs = jnp.log1p(-warnings).ravel()
    return jax.ops.segment_sum(logs, literals.ravel(), 2 * num_variables)


def _unable(
    clauses: logical_groups.ClauseGroup, num_variables: int, warnings: jax.Array, rho: Scalar
) -> jax.Array:
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
    warnings: np.ndarray,
    most: int,
    settle: Callable[..., tuple[Surveys, answer.Settled]],
) -> None:
    """Fixes variables (state or -1, int [n]) in place, as long as surveys say something."""
    while True:
        free = _propagate(clauses, fixed)
        if free is None or not free.mask.any():
            return
        found, info = settle(free, warnings * free.mask)
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
    session: sat.SatSession, fixed: np.ndarray, deadline: limits.Deadline
) -> answer.Answer:
    """What a solver makes of the rest: where something is fixed, a proof says nothing."""
    literals = np.where(fixed == 1, 1, -1) * np.arange(1, len(fixed) + 1)
    assumed = literals[fixed >= 0].tolist()
    # Half of what is left, so that there is time for another attempt.
    until = deadline.part(0.5) if assumed else deadline
    found = session.solve(assumed, deadline=until)
    is_refuted = found.status is answer.Status.INFEASIBLE and bool(assumed)
    return answer.Answer(answer.Status.UNKNOWN) if is_refuted else found


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
