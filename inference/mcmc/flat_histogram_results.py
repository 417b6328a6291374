"""What flat-histogram runs found, and what speaks against it: ``Info`` and the density."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference import answer, limits
from inference.mcmc import density, energy_terms, flat_histogram_runs

FEW_TRIPS = 4  # a walker: with fewer on average the standard errors mean little


class Info(NamedTuple):
    """How a density came about.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, compilation included.
      message: what speaks against the numbers, if anything does.
      rule: the name of the rule that walkers moved by.
      increment: ln F at the end of the first run.
      adaptive_steps: of all walkers while the weights were learnt.
      fixed_steps: of all walkers while they were fixed.
      round_trips: of all walkers then, from the level of most states to the lowest one seen; where
        that is one level, from the one of most others.
      round_walkers: how many walkers made one.
      num_walkers: all of them.
      standard_error: nats, of ln of the number of states at the lowest energy.
    """

    status: str
    seconds: float
    message: str = ""
    rule: str = ""
    increment: float = 1.0
    adaptive_steps: float = 0.0
    fixed_steps: float = 0.0
    round_trips: int = 0
    round_walkers: int = 0
    num_walkers: int = 0
    standard_error: float = 0.0


def constant(problem: energy_terms.EnergyProblem) -> density.DensityOfStates:
    """Where nothing depends on a variable there is one level, and it is known."""
    zero, total = np.zeros(1), np.array([problem.log_total])
    energy, none = np.array([problem.offset]), np.zeros((0, 1))
    return density.DensityOfStates(energy, zero, total, zero, zero, total[0], none, False)


def gather(
    job: flat_histogram_runs.Job,
    learnt: flat_histogram_runs.Learnt,
    held: flat_histogram_runs.Held | None,
    statuses: Sequence[str],
    deadline: limits.Deadline,
) -> tuple[density.DensityOfStates, Info]:
    """The density of the levels that either run saw, and how it came about."""
    visits, sums = np.zeros((0, job.num_levels)), np.zeros((2, job.num_levels))
    trips, steps = np.zeros(0, dtype=int), 0.0
    if held is not None:
        visits, sums = np.asarray(held.counted.visits), np.asarray(held.counted.sums)
        trips, steps = np.asarray(held.counted.trips), held.steps
    seen = np.flatnonzero(learnt.seen | (visits.sum(axis=0) > 0))
    moments = _moments(job, visits.sum(axis=0), sums)[:, seen]
    merged = job.num_levels < job.problem.num_levels
    found = density.from_visits(
        learnt.log_count[seen], visits[:, seen], moments, job.problem.log_total, merged
    )
    number = len(learnt.walkers.position)
    info = Info(
        answer.cut_short(*statuses) or "done",
        deadline.seconds,
        _doubt(found, trips, number),
        job.rule.name,
        learnt.increment,
        learnt.steps,
        steps,
        int(trips.sum()),
        int((trips > 0).sum()),
        number,
        float(found.standard_error[0]),
    )
    return found, info


def joined(infos: Sequence[Info], deadline: limits.Deadline) -> Info:
    """Of a product: steps add up, trips are those of the worst part, errors add in squares."""
    walked = [info for info in infos if info.num_walkers] or [Info("done", 0.0)]
    worst = min(walked, key=lambda info: info.round_trips)
    return worst._replace(
        status=answer.cut_short(*(info.status for info in infos)) or "done",
        seconds=deadline.seconds,
        message="; ".join(dict.fromkeys(info.message for info in infos if info.message)),
        increment=max(info.increment for info in walked),
        adaptive_steps=sum(info.adaptive_steps for info in walked),
        fixed_steps=sum(info.fixed_steps for info in walked),
        standard_error=math.hypot(*(info.standard_error for info in walked)),
    )


def _moments(job: flat_histogram_runs.Job, visits: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Mean and variance [2, L] of the energy in each level; the middle where no step was."""
    problem, shift = job.problem, int(job.problem.terms.shift)
    level, soft = np.arange(job.num_levels), int(problem.terms.soft_levels)
    mean, square = sums / np.where(visits > 0, visits, 1.0)
    mean = np.where(visits > 0, mean, ((1 << shift) - 1) / 2)
    energies = problem.offset + problem.unit * ((level << shift) + mean)
    variances = problem.unit**2 * np.maximum(square - mean**2, 0.0)
    hard = level >= soft
    if job.num_levels < problem.num_levels > soft:
        hard[-1] = True  # merged with levels that are
    return np.stack([np.where(hard, math.inf, energies), np.where(hard, 0.0, variances)])


def _doubt(found: density.DensityOfStates, trips: np.ndarray, number: int) -> str:
    """What a reader must know before trusting the numbers."""
    if not found.visits.any():
        return "no steps with fixed weights, so no standard errors"
    came, times = int((trips > 0).sum()), int(trips.sum())
    if len(found.energies) == 1 or times >= FEW_TRIPS * number and 2 * came > number:
        return ""
    went = f"{came} of {number} walkers came down to energy {found.energies[0]:g}"
    return f"{went}, {times} times in all: errors may be far above the standard errors"
