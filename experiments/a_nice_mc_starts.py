"""A-NICE-MC from adverse starts: right, warned, or silently wrong.

All chains begin in one mode of six, the sixth of which weighs as much as the others together; in 10
and 20 dimensions in one mode of four; and in the wide one of two modes whose widths differ by ten.
Good runs begin everywhere, to see how often there is a warning without a reason.

    tally run a_nice_mc_starts

A run is right if all masses of modes are within 0.03. That all chains share a start is said as
well, but is no warning here: it would excuse every run. Expected on the six modes: nothing
silently wrong, and at most one good run of twenty with a warning. Where widths differ or there are
more dimensions nothing is promised: the figure shows where it stops working.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import continuous_targets, nice_peer, peer_runs, plots, promises, registry
from inference.mcmc import likelihood, objectives

GOOD, SIX = "mog6, from everywhere", "mog6, from one mode"
ERROR = 0.03  # of a mass in a run that is right
SHARED = "all chains share a start"  # how the note begins that is no warning here
VERDICTS = ("right", "warned", "silently wrong")


class StartCase(NamedTuple):
    """A density, and the mode in which all chains begin; None for everywhere."""

    target: continuous_targets.Target
    start: int | None


def sphere(dimension: int) -> StartCase:
    """Four narrow modes at random places of a sphere of radius 6."""
    places = np.random.default_rng(dimension).normal(size=(4, dimension))
    centres = 6.0 * places / np.linalg.norm(places, axis=1, keepdims=True)
    return StartCase(continuous_targets.gaussian_mixture(centres, 0.5, [1, 2, 3, 4]), 0)


def widths(dimension: int) -> StartCase:
    """Two equal modes, ten apart, with standard deviations 1 and 0.1."""
    centres = np.zeros((2, dimension))
    centres[:, 0] = -5.0, 5.0
    return StartCase(continuous_targets.gaussian_mixture(centres, [1.0, 0.1]), 0)


def mog6(start: int | None) -> StartCase:
    """The six modes of the paper, of unequal weights."""
    return StartCase(_six(), start)


@functools.cache
def _six() -> continuous_targets.Target:
    """Made once, for equal densities compile once."""
    return continuous_targets.mog6([1, 1, 1, 1, 1, 5])


CASES: dict[str, Callable[[], StartCase]] = {
    SIX: lambda: mog6(0),
    GOOD: lambda: mog6(None),
    "4 modes, 10 dimensions": lambda: sphere(10),
    "4 modes, 20 dimensions": lambda: sphere(20),
    "widths 1:10, 2 dimensions": lambda: widths(2),
    "widths 1:10, 10 dimensions": lambda: widths(10),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which cases, how often, and how long they train and draw."""

    cases: tuple[str, ...] = tuple(CASES)
    """Names of the cases."""
    seeds: int = 2
    """Runs of each case with an adverse start."""
    good_runs: int = 4
    """Runs from everywhere."""
    chains: int = 32
    """Chains that run side by side."""
    draws: int = 1000
    """Draws of each chain; the first tenth is dropped."""
    num_rounds: int = 30
    """Rounds of training."""
    steps_per_round: int = 100
    """Steps of the optimizer a round."""
    layers: int = 6
    """Couplings of the flow."""
    hidden: int = 64
    """Units of each of the two hidden layers of a coupling."""
    particles: int = 4096
    """Chains that train side by side."""


@registry.experiment(
    presets={
        "smoke": Config(
            (SIX, GOOD),
            1,
            1,
            draws=3000,
            num_rounds=10,
            steps_per_round=50,
            layers=3,
            hidden=32,
            particles=512,
        ),
        "default": Config(),
        "paper": Config(seeds=10, good_runs=20),
    },
    paper="Song, Zhao and Ermon, A-NICE-MC: Adversarial Training for MCMC (NIPS 2017)",
)
def run(config: Config, key: Any) -> registry.Result:
    """Trains from each start, draws from it, and looks at masses and warnings."""
    total = sum(_number(config, name) for name in config.cases)
    rows = []
    with tqdm.tqdm(total=total, desc="starts", leave=False, disable=None) as bar:
        for row in _rows(config, key):
            rows.append(row)
            bar.update()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars: dict[str, Any] = {"false_warnings": int(_false_warnings(columns).sum())}
    for verdict in VERDICTS:
        scalars[verdict.replace(" ", "_")] = int((columns["verdict"] == verdict).sum())
    return registry.Result(columns, scalars)


def check(result: registry.Result) -> None:
    """On the six modes nothing is silently wrong, and good runs are hardly ever warned of."""
    columns = result.columns
    here = np.isin(columns["case"], (SIX, GOOD))
    silent = here & ~(columns["mass_error"] <= ERROR) & (columns["warnings"] == 0)
    what = f"expected nothing silently wrong on six modes, given {silent.sum()} of {here.sum()}"
    promises.expect(not silent.any(), what)
    alarms, runs = int(_false_warnings(columns).sum()), int((columns["case"] == GOOD).sum())
    what = f"expected at most one false warning in twenty, given {alarms} of {runs}"
    promises.expect(alarms <= max(1, runs // 20), what)


def plot(result: registry.Result) -> Figure:
    """Errors of masses by case, with a colour for the verdict."""
    columns = result.columns
    names = list(dict.fromkeys(columns["case"].tolist()))
    title = "Learned jumps from adverse starts"
    figure, [axes] = plots.new_figure("largest error of a mass", "", title=title)
    for number, (verdict, fill) in enumerate([("right", ""), ("right", ", with a warning")]):
        _points(axes, columns, names, verdict, number, fill)
    for number, verdict in enumerate(VERDICTS[1:], start=2):
        _points(axes, columns, names, verdict, number, "")
    axes.axvline(ERROR, color="0.5", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    figure.set_figwidth(figure.get_figwidth() + 2.0)
    return plots.finish(figure)


def _points(
    axes: Any, columns: Any, names: list[str], verdict: str, number: int, more: str
) -> None:
    """The runs of one verdict, spread a little."""
    mine = columns["verdict"] == verdict
    if verdict == "right":
        mine &= (columns["warnings"] > 0) == bool(more)
    spread = 0.25 * np.sin(2.4 * columns["seed"][mine])
    heights = spread + [names.index(one) for one in columns["case"][mine].tolist()]
    errors = np.maximum(columns["mass_error"][mine], 1e-4)
    axes.plot(errors, heights, linestyle="none", label=verdict + more, **plots.style(number))


def _rows(config: Config, key: Any) -> Iterator[dict[str, Any]]:
    """A row for each case and seed; equal densities and objectives compile once."""
    for name in config.cases:
        target, mode = CASES[name]()
        objective = _objective(config, target.dimension)
        for seed in range(_number(config, name)):
            key_run = jax.random.fold_in(jax.random.fold_in(key, list(CASES).index(name)), seed)
            key_start, key_train, key_draw = jax.random.split(key_run, 3)
            starts = _starts(key_start, target, mode, config.chains)
            options = {"starts": starts, "num_chains": config.particles}
            trained = nice_peer.train(key_train, target, objective, **options)
            one = trained.draw(key_draw, starts, config.draws)
            told = {"case": name, "seed": seed}
            yield told | _row(target, one, trained.report, config.draws // 10)


@functools.cache
def _objective(config: Config, dimension: int) -> objectives.Training:
    """How all cases of a dimension train."""
    return likelihood.maximum_likelihood(
        dimension,
        num_rounds=config.num_rounds,
        widths=((config.hidden, config.hidden),) * config.layers,
        steps_per_round=config.steps_per_round,
    )


def _starts(
    key: Any, target: continuous_targets.Target, mode: int | None, number: int
) -> jax.Array:
    """Draws of the target, those of one mode alone where one is named: [number, D]."""
    if mode is None:
        return target.sample(key, number)
    many = target.sample(key, 40 * number * len(target.masses))
    return many[jnp.nonzero(target.mode(many) == mode)[0][:number]]


def _row(
    target: continuous_targets.Target, one: peer_runs.PeerRun, report: Any, dropped: int
) -> dict[str, Any]:
    """Whether a run is right, and what was said of it."""
    told = peer_runs.judge(target, one._replace(draws=one.draws[:, dropped:]))
    others = [line for line in report.warnings if not line.startswith(SHARED)]
    is_right = told["mass_error"] <= ERROR
    verdict = VERDICTS[0] if is_right else VERDICTS[1 if others else 2]
    return {
        "mass_error": told["mass_error"],
        "verdict": verdict,
        "warnings": len(others),
        "shares_start": len(others) < len(report.warnings),
        "text": "; ".join(others),
        "reference_ess": told["reference_ess"],
        "rhat": told["rhat"],
        "modes_of_a_chain": told["modes_of_a_chain"],
        "modes": len(target.masses),
        "training_evaluations": one.warmup_evaluations,
        "seconds_training": one.seconds_warmup,
        "seconds_compile": one.seconds_compile,
    }


def _number(config: Config, name: str) -> int:
    return config.good_runs if name == GOOD else config.seeds


def _false_warnings(columns: Any) -> np.ndarray:
    """Which good runs are right and have a warning: bool, by row."""
    is_right = columns["mass_error"] <= ERROR
    return (columns["case"] == GOOD) & is_right & (columns["warnings"] > 0)
