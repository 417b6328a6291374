"""A-NICE-MC on logistic regressions, where NUTS is the better choice.

The posterior of a bias and a coefficient per column, all N(0, 1) before, of a generated data set or
of those in a folder, by A-NICE-MC, NumPyro's NUTS, and BlackJAX's NUTS and LAPS where installed.

    tally run a_nice_mc_regression --folder FOLDER

Errors are the largest over the coefficients, of means and of variances, in Monte Carlo standard
errors from the effective sample size, those of the reference values included. A-NICE-MC and NUTS
stay within 4. With D coefficients that is the largest of 2 D numbers, which chance alone takes
further in at most 0.007 % of the runs times 2 D: 0.35 % at D = 25. The limit is not widened for it.
Expected: with one mode and cheap gradients NUTS wins, as it needs no training.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import (
    continuous_targets,
    nice_peer,
    peer_runs,
    plots,
    promises,
    registry,
    sampler_peers,
)
from inference.mcmc import diagnostics, likelihood

OURS = "A-NICE-MC"
PEERS = ("NumPyro NUTS", "BlackJAX NUTS", "LAPS")
EXACT = (OURS, *PEERS[:2])  # LAPS is adjusted in its last phase alone
SCALE = 1.0  # of the prior, from which tempering starts
MOST_RHAT = 1.01  # of the chains that give reference values


@dataclasses.dataclass(frozen=True)
class Config:
    """Which data, which samplers, and how long they run."""

    folder: str = ""
    """Folder of NAME/data.npy, NAME/labels.npy and ref_NAME.npz; without it data are generated."""
    names: tuple[str, ...] = ("heart", "australian", "german")
    """Data sets in the folder."""
    samplers: tuple[str, ...] = (OURS, *PEERS)
    """Names of the samplers."""
    observations: int = 300
    """Rows of the generated data."""
    columns: int = 8
    """Columns of the generated data."""
    reference_draws: int = 4000
    """Draws of each chain of NUTS that gives the reference values of generated data."""
    chains: int = 32
    """Chains of each sampler, side by side."""
    draws: int = 1000
    """Draws of each chain."""
    rounds: int = 100
    """Rounds of training, of 100 steps each."""
    training_chains: int = 4096
    """Chains that fill the buffer of training."""
    width: int = 64
    """Width of the two hidden layers of each coupling."""


GRID_DIMENSIONS = 3  # up to which moments are integrated


class Reference(NamedTuple):
    """Means and variances [D] with standard errors of their own."""

    mean: np.ndarray
    variance: np.ndarray
    mean_error: np.ndarray
    variance_error: np.ndarray


@registry.experiment(
    presets={
        "smoke": Config("", (), (OURS,), 60, 2, 300, 16, 300, 5, 256, 16),
        "default": Config(),
        "paper": Config(draws=5000),
    },
    paper="Song, Zhao and Ermon, A-NICE-MC: Adversarial Training for MCMC (2017), section 5.3",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per data set and sampler; rates are effective draws a second of all chains."""
    rows = []
    problems = _problems(config, jax.random.fold_in(key, 0))
    jobs = [(problem, name) for problem in problems for name in config.samplers]
    for number, (problem, name) in enumerate(tqdm.tqdm(jobs, "runs", leave=False, disable=None)):
        target, reference = problem
        key_start, key_run = jax.random.split(jax.random.fold_in(key, number + 1))
        starts = 0.1 * jax.random.normal(key_start, (config.chains, target.dimension))
        if name == OURS:
            found, warned = fitted(key_run, target, config)
        else:
            peer = sampler_peers.PEERS[name]
            found, warned = peer(key_run, target, config.chains, config.draws, starts), ()
        rows.append({"data": target.name, "sampler": name} | measure(target, reference, found))
        rows[-1]["warnings"] = "; ".join(warned)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return registry.Result(columns, {"worst": _worst(columns)}, units={"worst": "standard errors"})


def check(result: registry.Result) -> None:
    """Means and variances of A-NICE-MC and NUTS are those of the reference up to chance."""
    worst = _worst(result.columns)
    what = f"expected errors within {promises.ERRORS:g} standard errors, given {worst:.3g}"
    promises.expect(worst <= promises.ERRORS, what)


def plot(result: registry.Result) -> Figure:
    """Errors and effective draws a second, a row of dots for each data set."""
    columns = result.columns
    figure, panels = plots.new_figure(
        ["largest error [standard errors]", "effective draws per second"],
        "",
        panels=2,
        title="Logistic regression (hollow: left of variances, right with training and warm-up)",
    )
    names = list(dict.fromkeys(columns["data"].tolist()))
    full, hollow = ("mean_error", "seconds_rate"), ("variance_error", "seconds_rate_in_all")
    samplers = list(dict.fromkeys(columns["sampler"].tolist()))
    for axes, *pair in zip(panels, full, hollow, strict=True):
        for number, sampler in enumerate(samplers):
            mine = columns["sampler"] == sampler
            # Samplers stand a little apart, so that none hides another.
            offset = 0.5 * ((number + 0.5) / len(samplers) - 0.5)
            heights = [names.index(name) + offset for name in columns["data"][mine].tolist()]
            style: dict[str, Any] = plots.style(number) | {"linestyle": "none"}
            for column, fill in zip(pair, ("full", "none"), strict=True):
                label = sampler if fill == "full" else "_hollow"
                axes.plot(columns[column][mine], heights, fillstyle=fill, label=label, **style)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
    panels[0].axvline(promises.ERRORS, color="0.5", linestyle="--", label="promised limit")
    panels[0].set_xlim(left=0.0)
    panels[1].set_xscale("log")
    return plots.finish(figure)


def fitted(
    key: jax.Array, target: continuous_targets.Target, config: Config
) -> tuple[peer_runs.PeerRun, tuple[str, ...]]:
    """A-NICE-MC, trained and then run, with the warnings of its training."""
    key_fit, key_draw = jax.random.split(key)
    widths = ((config.width, config.width),) * 6
    objective = likelihood.maximum_likelihood(
        target.dimension, widths=widths, num_rounds=config.rounds
    )
    options = {"scale": SCALE, "num_chains": config.training_chains}
    trained = nice_peer.train(key_fit, target, objective, **options)
    starts = trained.report.starts[: config.chains]
    return trained.draw(key_draw, starts, config.draws), trained.report.warnings


def measure(
    target: continuous_targets.Target, reference: Reference, found: peer_runs.PeerRun
) -> dict[str, Any]:
    """Errors, effective draws and what they took; NaN without draws.

    Particles of a population are taken for independent.
    """
    draws = np.asarray(found.draws, np.float64)
    told: dict[str, Any] = dict.fromkeys(("mean_error", "variance_error"), np.nan)
    told |= {"reference_ess": np.nan, "rhat": np.nan, "ess_bulk": np.nan}
    if draws.size:
        squares = (draws - reference.mean) ** 2
        told["mean_error"] = _error(draws, found, reference.mean, reference.mean_error)
        told["variance_error"] = _error(
            squares, found, reference.variance, reference.variance_error
        )
        told["ess_bulk"] = float(_effective(draws, found).min())
    if draws.size and not found.is_population:
        moments = reference.mean, reference.variance
        told["reference_ess"] = diagnostics.reference_ess(draws, *moments)
        told["rhat"] = float(diagnostics.rhat(draws).max())
    evaluations = found.density_evaluations + found.gradient_evaluations
    told |= {"evaluations": evaluations, "evaluations_training": found.warmup_evaluations}
    told |= {"seconds": found.seconds, "seconds_training": found.seconds_warmup}
    spent = np.array([found.seconds, found.seconds + found.seconds_warmup])
    rates = told["ess_bulk"] / np.where(spent > 0, spent, np.nan)
    told |= {"seconds_rate": rates[0], "seconds_rate_in_all": rates[1], "note": found.note}
    return told


def _error(draws: Any, found: peer_runs.PeerRun, truth: np.ndarray, known: np.ndarray) -> float:
    """The largest error of means over draws [C, T, D] in standard errors."""
    variance = draws.var(axis=(0, 1)) / _effective(draws, found) + known**2
    return float(np.max(np.abs(draws.mean(axis=(0, 1)) - truth) / np.sqrt(variance)))


def _effective(draws: np.ndarray, found: peer_runs.PeerRun) -> np.ndarray:
    if found.is_population:
        return np.full(draws.shape[2], float(draws.shape[0] * draws.shape[1]))
    return diagnostics.ess_bulk(draws)


def _worst(columns: Any) -> float:
    """The largest error of samplers that are exact and ran; NaN counts as infinite."""
    mine = np.isin(columns["sampler"], EXACT) & (columns["evaluations"] > 0)
    errors = np.array([columns[name][mine] for name in ("mean_error", "variance_error")])
    return float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0))


def _problems(config: Config, key: Any) -> list[tuple[continuous_targets.Target, Reference]]:
    if not config.folder:
        return [_generated(config, key)]
    return [_stored(Path(config.folder), name) for name in config.names]


def _stored(folder: Path, name: str) -> tuple[continuous_targets.Target, Reference]:
    features, labels = (np.load(folder / name / f"{part}.npy") for part in ("data", "labels"))
    with np.load(folder / f"ref_{name}.npz") as kept:
        # The files have the bias last, our target has it first.
        mean, variance, error = (np.roll(kept[part], 1) for part in ("mean", "var", "mcse"))
        bulk = float(kept["bulk"])
        # Of the variances no error is stored: that of normal draws, of the least effective number.
        reference = Reference(mean, variance, error, variance * np.sqrt(2 / bulk))
    moments = mean, np.sqrt(variance)
    return continuous_targets.logistic_regression(
        features, labels.reshape(-1), *moments, name=name
    ), reference


def _generated(config: Config, key: Any) -> tuple[continuous_targets.Target, Reference]:
    """Normal columns, labels by the model, and reference values by NUTS."""
    key_columns, key_truth, key_labels, key_chains = jax.random.split(key, 4)
    features = jax.random.normal(key_columns, (config.observations, config.columns))
    truth = jax.random.normal(key_truth, (config.columns,))
    labels = jax.random.bernoulli(key_labels, jax.nn.sigmoid(features @ truth)).astype(int)
    target = continuous_targets.logistic_regression(features, labels, name="generated")
    if target.dimension <= GRID_DIMENSIONS:
        return target, _integrated(target)
    starts = jnp.zeros((config.chains, target.dimension))
    size = config.chains, config.reference_draws
    found = sampler_peers.PEERS["NumPyro NUTS"](key_chains, target, *size, starts)
    draws = np.asarray(found.draws, np.float64)
    rhat = float(diagnostics.rhat(draws).max())
    promises.expect(rhat < MOST_RHAT, f"expected reference chains that agree, given R-hat {rhat:g}")
    mean = draws.mean(axis=(0, 1))
    squares = (draws - mean) ** 2
    errors = [np.sqrt(x.var(axis=(0, 1)) / diagnostics.ess_bulk(x)) for x in (draws, squares)]
    return target, Reference(mean, squares.mean(axis=(0, 1)), *errors)


def _integrated(target: continuous_targets.Target) -> Reference:
    """Moments by the trapezoidal rule on a grid that the prior N(0, I) hardly leaves."""
    axis = np.linspace(-5.0, 5.0, 65)
    grid = np.stack(np.meshgrid(*[axis] * target.dimension), axis=-1)
    points = grid.reshape(-1, target.dimension)
    logs = np.asarray(jax.jit(jax.vmap(target.log_density))(points), np.float64)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = weights @ points
    exact = np.zeros(target.dimension)
    return Reference(mean, weights @ (points - mean) ** 2, exact, exact)
