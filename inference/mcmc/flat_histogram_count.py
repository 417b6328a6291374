"""The number of models of a formula, from the densities of states of what is left of it.

    >>> result, info = count(generators.random_ksat(0, 100, 350), seed=1)
    >>> round(result.log_value, 1), round(info.standard_error, 1)
    (33.1, 0.0)

The formula is reduced (``support``) and split into components first. Circuits and plans, whose
models no single flip connects, often shrink to what a walk can cross.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from inference import estimate, limits, randomness
from inference.mcmc import (
    energy_terms,
    flat_histogram,
    flat_histogram_moves,
    flat_histogram_results,
)
from inference.mcmc.flat_histogram_results import Info
from inference.problems import cnf, trivial
from inference.reduction import components, support, undefined

SMALL = 12  # components of so many variables are enumerated


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    reduce: Callable[..., support.Reduction] = support.reduce,
    rule: flat_histogram_moves.MoveRule = flat_histogram_moves.plain,
    walkers: int = 64,
    final_increment: float = 1e-5,
) -> tuple[estimate.Estimate, Info]:
    """The number of models, also of a sampling set; no claim, and a standard error in ``Info``.

    Energies above the mean are merged, as they play no part. ``-inf`` where no model was seen.

    Args:
      formula: without weights.
      seed: of the walkers and their starts.
      timeout: seconds, shared by the components; where they do not suffice ``trivial.count``.
      memory: mebibytes that walkers and their tables may take.
      reduce: from a formula to one of fewer variables; ``support.unreduced`` leaves it as it is.
      rule, walkers, final_increment: as ``flat_histogram.density_of_states`` takes them.

    Raises:
      ValueError: as there; also where the sampling set leaves other variables open.
    """
    if formula.log_weights is not None:
        raise ValueError("expected a formula without weights, given some")
    options = {"rule": rule, "walkers": walkers, "final_increment": final_increment}
    deadline = limits.Deadline.after(timeout)
    values, infos = list[float](), list[Info]()
    try:
        reduction = reduce(formula, deadline=deadline.part(0.25))
        values.append(len(reduction.free) * math.log(2.0))
        parts = [part.formula for part in components.split(reduction.formula)]
        for number, part in enumerate(parts):
            sizes = [1 + one.num_variables for one in parts[number:]]
            share = sizes[0] / sum(sizes)
            rng = randomness.generator(seed, "flat_histogram_count", number)
            told = _count_part(part, rng, deadline.part(share), memory, options)
            values.append(told[0])
            infos.append(told[1])
            if told[1].status != "done" and not told[1].fixed_steps:
                break
    except (limits.OutOfTime, KeyboardInterrupt) as ended:
        status = "timeout" if isinstance(ended, limits.OutOfTime) else "interrupted"
        infos.append(Info(status, deadline.seconds))
    info = flat_histogram_results.joined(infos, deadline)
    if infos and infos[-1].status != "done" and not infos[-1].fixed_steps:
        return trivial.count(formula), info  # some component was not counted
    return estimate.Estimate(math.fsum(values)), info


def _count_part(
    part: cnf.CNF,
    rng: np.random.Generator,
    deadline: limits.Deadline,
    memory: int | None,
    options: dict[str, Any],
) -> tuple[float, Info]:
    """ln of the number of assignments of a component that hold.

    A walk counts all variables, so those outside the sampling set must be defined by it.
    """
    others = np.setdiff1d(np.arange(1, part.num_variables + 1), part.sampling_set)
    free = undefined.among_those(part, others, deadline=deadline)
    if len(free):
        expected = "expected a sampling set that defines all variables"
        raise ValueError(f"{expected}, given {len(free)} left open")
    part = dataclasses.replace(part, projection=None)
    problem = energy_terms.of_formula(part)
    if len(problem.variables) <= SMALL:
        return _enumerated(problem), Info("done", deadline.seconds)
    given = {"highest": flat_histogram.usual_level(problem, rng, 0.0), **options}
    limited: dict[str, Any] = {"timeout": deadline.timeout, "memory": memory}
    seed = int(rng.integers(2**31))
    found, info = flat_histogram.density_of_states(part, seed=seed, **limited, **given)
    return found.count().log_value, info


def _enumerated(problem: energy_terms.EnergyProblem) -> float:
    """ln of the number of states of energy 0, one by one."""
    number = len(problem.variables)
    states = np.arange(2**number)[:, None] >> np.arange(number)[None] & 1
    zero = energy_terms.energies(problem.terms, states) == 0
    log_count = estimate.log_of_count(int(zero.sum()) if problem.offset == 0 else 0)
    return log_count + problem.log_total - number * math.log(2.0)
