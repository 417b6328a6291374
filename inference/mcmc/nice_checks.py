"""What there is to doubt about a trained sampler: independent starts, masses, acceptance.

Chains from the two ends of the draws must come to the same masses of all regions, and these to the
masses that tempering found; the chains are exact, tempering is only consistent, so where the two
ends agree the chains are believed, and the warning says what tempering said.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from inference.mcmc import nice, nice_seeds, regions

Array = jax.Array
ENDS = 32  # chains from each end
DRAWS = 300  # of each; the first third is not counted
LEAST_ACCEPTANCE = 0.05
_LEAST_NARROW = 0.5
_NATS = 0.7  # by which runs of tempering may differ in log Z: a factor of two


class Checks(NamedTuple):
    """What frozen chains from both ends did.

    Attributes:
      ends: masses of the regions by chain, float64 [2, ENDS, K].
      tempered: by run of tempering, float64 [R, K].
      acceptance: of the learned moves, from each region, float64 [K]; NaN where none began.
      log_normalizers: of the runs of tempering, in nats.
      is_finished: whether each run came to the target.
      num_nan: proposals at which the density was NaN.
    """

    ends: np.ndarray
    tempered: np.ndarray
    acceptance: np.ndarray
    log_normalizers: np.ndarray
    is_finished: np.ndarray
    num_nan: int


def check(
    rng_key: Array,
    draw: Callable[[Array, Array], tuple[Array, nice.Info]],
    chains: Array,
    seeds: nice_seeds.Seeds,
    found: regions.Voronoi,
) -> Checks:
    """Runs the frozen sampler from both ends of the chains [N, D].

    ``draw(rng_key, starts [C, D])`` gives positions [C, DRAWS, D] and what each step told.
    """
    number = min(ENDS, len(chains) // 2)
    centred = np.asarray(chains) / found.scale
    along = np.linalg.svd(centred - centred.mean(axis=0), full_matrices=False)[2][0]
    order = np.argsort(centred @ along)
    both = np.concatenate([order[:number], order[-number:]])
    drawn, infos = draw(rng_key, chains[both])
    positions = np.asarray(drawn)
    inside = found.of(positions)
    tried = ~np.asarray(infos.is_local)[:, 1:]
    rates = np.asarray(infos.acceptance_rate)[:, 1:]
    acceptance = np.full(len(found.centres), np.nan)
    for region in range(len(acceptance)):
        here = tried & (inside[:, :-1] == region)
        acceptance[region] = rates[here].mean() if here.any() else np.nan
    masses = found.masses(positions[:, DRAWS // 3 :])
    return Checks(
        masses.reshape(2, number, -1),
        found.masses(np.asarray(seeds.runs)),
        acceptance,
        np.asarray(seeds.log_normalizers),
        np.asarray(seeds.is_finished),
        int(np.asarray(infos.is_nan).sum()),
    )


def warnings(done: Checks, history: np.ndarray, starts: Any, chains: np.ndarray) -> tuple[str, ...]:
    """A line for each reason to doubt; ``history`` are masses [rounds, K], tempering's first."""
    ends, tempered = done.ends, done.tempered
    learned = ends.reshape(-1, ends.shape[-1])
    lost = (history[0] > 0.02) & (history[-1] < history[0] / 4)
    spread = np.ptp(done.log_normalizers)
    least = np.nanmin(done.acceptance, initial=1.0)
    unequal, unlike = regions.differ(ends[0], ends[1]), regions.differ(learned, tempered)
    shared = _shared(starts, chains)
    told = {
        shared: bool(shared),
        "tempering did not reach the target; seeds are of a flatter density": not (
            done.is_finished.all()
        ),
        f"runs of tempering differ by {spread:.2g} nats in log Z: modes may be missing": not (
            spread < _NATS
        ),
        f"{lost.sum()} regions were lost between refills": lost.any(),
        f"learned moves are accepted with probability {least:.2g} from some region: chains leave "
        "it by local steps alone": not least >= LEAST_ACCEPTANCE,
        f"chains from opposite ends differ in the masses of {unequal.sum()} regions": unequal.any(),
        f"{unlike.sum()} masses of regions by tempering and by the chains differ": unlike.any(),
        f"the density was NaN at {done.num_nan} proposals": done.num_nan > 0,
    }
    return tuple(line for line, holds in told.items() if holds)


def _shared(starts: Any, chains: np.ndarray) -> str:
    """Whether the caller's chains begin in a small part of the target, in words."""
    if starts is None:
        return ""
    narrow = np.std(starts, axis=0) / np.maximum(np.std(chains, axis=0), 1e-30)
    if np.min(narrow) >= _LEAST_NARROW:
        return ""
    return f"all chains share a start: their spread is {np.min(narrow):.2g} of the target's"
