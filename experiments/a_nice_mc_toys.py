"""A-NICE-MC and today's samplers on densities with modes far apart.

The four densities of the paper, sampled by chains that learned to jump, by maximum likelihood and
by the paper's adversary in equal time, and by samplers of other libraries and ours, all from the
log density alone: none is told where the modes are.

    tally run a_nice_mc_toys

The reference ESS is the paper's, of one chain, at most its length. Evaluations are of the density
or its gradient; training counts its own, its checks and its tempering. Of populations, which have
no ESS, every particle counts as an effective draw, which flatters them. Expected of chains trained
by likelihood: the reference ESS that ``promised_ess`` says, the paper's or more, but on the ring
850 of 1000 before training is long; every chain visits every mode; masses within 0.02. Expected of
all that learn: none whose chains agree is off by more than 0.05 in a mass without a warning.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import (
    continuous_targets,
    nice_peer,
    peer_runs,
    plots,
    population_peers,
    promises,
    registry,
    sampler_peers,
)
from inference.mcmc import adversarial, diagnostics, likelihood, objectives

LIKELIHOOD, ADVERSARIAL = "A-NICE-MC, likelihood", "A-NICE-MC, adversarial"
OURS = (LIKELIHOOD, ADVERSARIAL)
TEMPERING = "parallel tempering"
# Made once, for equal densities compile once.
TARGETS: dict[str, Callable[[], continuous_targets.Target]] = {
    "ring": functools.cache(continuous_targets.ring),
    "mog2": functools.cache(continuous_targets.mog2),
    "mog6": functools.cache(continuous_targets.mog6),
    "ring5": functools.cache(continuous_targets.ring5),
}
MASS, GROSS = 0.02, 0.05  # errors of masses that are allowed, and that no check may miss
AMORTISED = tuple(10.0**power for power in range(4, 8))
MOST_ROUNDS = 2000  # of the adversary, which its time cuts earlier


@dataclasses.dataclass(frozen=True)
class Config:
    """Which densities and samplers, how long they train and how long they draw."""

    targets: tuple[str, ...] = tuple(TARGETS)
    """Names of the densities."""
    samplers: tuple[str, ...] = (*OURS, *sampler_peers.PEERS)
    """Names of the samplers; the adversary has the training time of the likelihood."""
    promised: tuple[float, ...] = (850.0, 355.0, 320.0, 155.0)
    """Reference ESS expected on each density of chains trained by likelihood."""
    seeds: int = 1
    """Independent runs of each sampler."""
    chains: int = 32
    """Chains that run side by side."""
    draws: int = 1000
    """Draws of each chain."""
    num_rounds: int = 50
    """Rounds of training by likelihood."""
    steps_per_round: int = 100
    """Steps of the optimizer a round."""
    layers: int = 6
    """Couplings of the flow."""
    hidden: int = 64
    """Units of each of the two hidden layers of a coupling."""
    particles: int = 4096
    """Chains that train side by side."""
    local_share: float = 0.01
    """Share of the draws that are steps of a random walk."""


class Cost(NamedTuple):
    """What a sampler takes, in evaluations or seconds: at first, and an effective draw."""

    before: float
    each: float

    def amortised(self, number: Any) -> Any:
        """What each of so many effective draws takes, all told."""
        return self.each + self.before / number


@registry.experiment(
    presets={
        "smoke": Config(
            ("mog2",),
            (LIKELIHOOD, "independence Metropolis"),
            (20.0,),
            chains=8,
            draws=400,
            num_rounds=10,
            steps_per_round=50,
            layers=3,
            hidden=32,
            particles=512,
        ),
        "default": Config(),
        "paper": Config(promised=(1000.0, 355.0, 320.0, 155.0), seeds=3, num_rounds=100),
    },
    paper="Song, Zhao and Ermon, A-NICE-MC: Adversarial Training for MCMC (NIPS 2017)",
)
def run(config: Config, key: Any) -> registry.Result:
    """Runs every sampler on every density from every seed."""
    if len(config.promised) != len(config.targets):
        given = f"{len(config.promised)} for {len(config.targets)}"
        raise ValueError(f"expected a promise for each density, given {given}")
    rows: list[dict[str, Any]] = []
    total = len(config.targets) * config.seeds * len(config.samplers)
    with tqdm.tqdm(total=total, desc="samplers", leave=False, disable=None) as bar:
        for name, promised in zip(config.targets, config.promised, strict=True):
            for row in _rows(config, jax.random.fold_in(key, list(TARGETS).index(name)), name):
                learned = row["sampler"] == LIKELIHOOD
                rows.append(row | {"promised_ess": promised if learned else np.nan})
                bar.update()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars, units = _scalars(columns, "mog6" if "mog6" in config.targets else config.targets[-1])
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """Chains trained by likelihood mix as promised; none that learned is silently wrong."""
    columns = result.columns
    mine = np.isfinite(columns["promised_ess"])
    short = mine & ~(columns["reference_ess"] >= columns["promised_ess"])
    told = [
        f"{columns['reference_ess'][k]:.4g} on {columns['target'][k]}" for k in short.nonzero()[0]
    ]
    promises.expect(not told, f"expected a reference ESS as promised, given {', '.join(told)}")
    missed = mine & ~(columns["modes_of_a_chain"] >= columns["modes"])
    what = f"expected every chain to visit every mode, given {missed.sum()} runs that do not"
    promises.expect(not missed.any(), what)
    error = columns["mass_error"][mine].max(initial=0.0)
    promises.expect(
        error <= MASS, f"expected masses within {MASS:g}, given an error of {error:.3g}"
    )
    agree = np.isin(columns["sampler"], OURS) & (columns["rhat"] <= diagnostics.SETTLED)
    silent = agree & ~(columns["mass_error"] <= GROSS) & (columns["warnings"] == 0)
    what = f"expected no learned chains that agree on wrong masses, given {silent.sum()}"
    promises.expect(not silent.any(), what)


def plot(result: registry.Result) -> Figure:
    """Reference ESS by sampler and density; what an effective draw takes, training included."""
    columns = result.columns
    name = "mog6" if "mog6" in columns["target"] else str(columns["target"][-1])
    figure, panels = plots.new_figure(
        ["reference ESS of a chain", *[f"effective draws of {name}"] * 2],
        ["", "evaluations an effective draw", "seconds an effective draw"],
        panels=3,
        title="Modes far apart (hollow: some chain misses a mode)",
    )
    _dots(panels[0], columns)
    for axes, unit in zip(panels[1:], ("evaluations", "seconds"), strict=True):
        _amortisation(axes, columns, name, unit)
    figure.set_figheight(figure.get_figheight() + 0.8)
    return plots.finish(figure)


def _dots(axes: Axes, columns: Any) -> None:
    """A row for each sampler, a colour for each density."""
    drawn = np.isfinite(columns["reference_ess"])
    samplers = list(dict.fromkeys(columns["sampler"][drawn].tolist()))
    names = list(dict.fromkeys(columns["target"].tolist()))
    for number, name in enumerate(names):
        style: dict[str, Any] = plots.style(number) | {"linestyle": "none"}
        for fill, sees in (("full", True), ("none", False)):
            complete = columns["modes_of_a_chain"] == columns["modes"]
            mine = drawn & (columns["target"] == name) & (complete == sees)
            shift = 0.16 * (number - (len(names) - 1) / 2)
            heights = [samplers.index(one) + shift for one in columns["sampler"][mine].tolist()]
            label = name if fill == "full" else "_hollow"
            axes.plot(columns["reference_ess"][mine], heights, fillstyle=fill, label=label, **style)
    axes.set_yticks(range(len(samplers)), samplers)
    axes.set_ylim(len(samplers) - 0.5, -0.5)
    axes.set_xscale("log")


def _amortisation(axes: Axes, columns: Any, name: str, unit: str) -> None:
    """What an effective draw takes, by how many of them there are to be."""
    numbers = np.geomspace(AMORTISED[0], AMORTISED[-1], 50)
    samplers = list(dict.fromkeys(columns["sampler"].tolist()))
    for sampler, cost in _costs(columns, name, unit).items():
        style: dict[str, Any] = plots.style(samplers.index(sampler)) | {"markevery": 7}
        style |= {"linewidth": 2.2 if sampler in OURS else 1.0, "markersize": 4.5}
        axes.plot(numbers, cost.amortised(numbers), label=sampler, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")


def _rows(config: Config, key: Any, name: str) -> Iterator[dict[str, Any]]:
    """A row for each seed and sampler on one density."""
    target = TARGETS[name]()
    options: dict[str, Any] = {"num_chains": config.particles, "local_share": config.local_share}
    objective = _objectives(config, target.dimension)
    for seed in range(config.seeds):
        key_seed, timeout = jax.random.fold_in(key, seed), None
        for number, sampler in enumerate(config.samplers):
            key_train, key_draw = jax.random.split(jax.random.fold_in(key_seed, number))
            told: dict[str, Any] = {"target": name, "sampler": sampler, "seed": seed, "warnings": 0}
            if sampler in OURS:
                options |= {"objective": objective[sampler], "timeout": timeout}
                trained = nice_peer.train(key_train, target, **options)
                one = trained.draw(key_draw, trained.report.starts[: config.chains], config.draws)
                timeout = trained.report.seconds  # which the next has as well
                told["warnings"] = len(trained.report.warnings)
            else:
                starts = population_peers.broad(key_train, config.chains, target.dimension)
                peer = sampler_peers.PEERS[sampler]
                one = peer(key_draw, target, config.chains, config.draws, starts)
            yield told | _row(target, one)


@functools.cache
def _objectives(config: Config, dimension: int) -> dict[str, objectives.Objective]:
    """How ours train; equal ones compile once for all seeds."""
    widths = ((config.hidden, config.hidden),) * config.layers
    likely = likelihood.maximum_likelihood(
        dimension,
        num_rounds=config.num_rounds,
        widths=widths,
        steps_per_round=config.steps_per_round,
    )
    paper = adversarial.pairwise_adversarial(dimension, num_rounds=MOST_ROUNDS)
    return {LIKELIHOOD: likely, ADVERSARIAL: paper}


def _row(target: continuous_targets.Target, one: peer_runs.PeerRun) -> dict[str, Any]:
    """What a run came to and what it took."""
    return peer_runs.judge(target, one) | {
        "modes": len(target.masses),
        "num_draws": one.draws.shape[0] * one.draws.shape[1],
        "length": one.draws.shape[1],
        "is_population": one.is_population,
        "training_evaluations": one.warmup_evaluations,
        "seconds_training": one.seconds_warmup,
        "seconds_compile": one.seconds_compile,
        "seconds_sampling": one.seconds,
        "note": one.note,
    }


def _costs(columns: Any, name: str, unit: str) -> dict[str, Cost]:
    """What samplers that see every mode take on a density, mean over seeds, by sampler."""
    share = np.where(columns["is_population"], 1.0, columns["reference_ess"] / columns["length"])
    before = columns["training_evaluations" if unit == "evaluations" else "seconds_training"]
    drawing = columns["seconds_sampling"]
    if unit == "evaluations":
        drawing = columns["evaluations_a_draw"] * columns["num_draws"]
    each = drawing / (share * columns["num_draws"])
    sees = columns["is_population"] | (columns["modes_of_a_chain"] == columns["modes"])
    found = {}
    for sampler in dict.fromkeys(columns["sampler"].tolist()):
        mine = (columns["target"] == name) & (columns["sampler"] == sampler)
        if sees[mine].all() and not (columns["mass_error"][mine] > GROSS).any():
            found[sampler] = Cost(float(before[mine].mean()), float(each[mine].mean()))
    return found


def _scalars(columns: Any, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Ours by likelihood against tempering, and when its training has paid against all others."""
    scalars: dict[str, Any] = {"density": name}
    none = Cost(np.nan, np.nan)
    units: dict[str, str] = {}
    for unit in ("evaluations", "seconds"):
        costs = _costs(columns, name, unit)
        mine, tempered = costs.get(LIKELIHOOD, none), costs.get(TEMPERING, none)
        scalars[f"ratio_to_tempering_{unit}"] = tempered.each / mine.each
        for number in AMORTISED:
            ratio = tempered.amortised(number) / mine.amortised(number)
            scalars[f"ratio_to_tempering_{unit}_{number:.0e}"] = ratio
        paid = {s: _paid(mine, cost) for s, cost in costs.items() if s not in OURS}
        hardest = max(paid, key=lambda sampler: paid[sampler], default="")
        scalars[f"paid_{unit}"], scalars[f"hardest_{unit}"] = paid.get(hardest, np.nan), hardest
        scalars[f"paid_{unit}_tempering"] = paid.get(TEMPERING, np.nan)
        units |= {f"paid_{unit}{more}": "effective draws" for more in ("", "_tempering")}
    return scalars, units


def _paid(mine: Cost, other: Cost) -> float:
    """From how many effective draws on the first takes less; infinite where it never does."""
    if mine.before <= other.before and mine.each <= other.each:
        return 0.0
    return (
        (mine.before - other.before) / (other.each - mine.each)
        if mine.each < other.each
        else np.inf
    )
