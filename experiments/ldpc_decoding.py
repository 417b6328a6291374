"""Belief propagation decodes regular (3, 6) LDPC codes up to their threshold.

Gallager's random codes: every bit in three checks, every check over six bits, rate 1/2. Batches of
received words share one graph of parity factors and differ in what the channel says of each bit.
Long codes fail above a threshold that density evolution predicts: a crossover probability of 0.084
on the binary symmetric channel, a standard deviation of 0.88 with Gaussian noise (Richardson and
Urbanke, "The capacity of low-density parity-check codes under message-passing decoding", 2001).

    tally run ldpc_decoding

Expected: curves that steepen with the length and cross near the threshold; with 1000 bits and more
hardly an error at four fifths of it. The default takes a minute, the paper preset a quarter of an
hour.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from inference import randomness
from inference.message_passing import edge_graph
from inference.problems import factor_graph, logical_groups

THRESHOLDS = {"symmetric": 0.0840, "gaussian": 0.8809}
CHECKED = ("channel", "length", "level", "bits", "bit_error_rate", "channel_error_rate")


@dataclasses.dataclass(frozen=True)
class Config:
    """Which codes, and what the channels do to them."""

    lengths: tuple[int, ...] = (204, 1002, 6000)
    """Bits of a code, multiples of 6."""
    crossovers: tuple[float, ...] = (0.05, 0.06, 0.07, 0.075, 0.08, 0.085, 0.09, 0.1)
    """Binary symmetric channel: probability that a bit is flipped."""
    deviations: tuple[float, ...] = (0.7, 0.75, 0.8, 0.825, 0.85, 0.875, 0.9, 0.95)
    """Gaussian channel: standard deviation of the noise on -1 and 1."""
    bits: int = 100_000
    """At least so many bits are sent at each level, in words that are decoded together."""
    iterations: int = 100
    """Where the decoder gives up."""


@registry.experiment(
    presets={
        "smoke": Config((120,), (0.02, 0.12), (0.6, 1.1), bits=1000, iterations=30),
        "default": Config(),
        "paper": Config(lengths=(204, 1002, 6000, 30_000), bits=1_000_000, iterations=300),
    },
    paper="Richardson and Urbanke, The capacity of low-density parity-check codes (2001)",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per channel, length and level; rates are shares of the bits and words sent."""
    levels = {"symmetric": config.crossovers, "gaussian": config.deviations}
    points = [(n, one, level) for n in config.lengths for one in levels for level in levels[one]]
    codes = {n: make_code(key, n) for n in config.lengths}
    rows = [
        _measure(codes[n], n, channel, level, config, key)
        for n, channel, level in tqdm.tqdm(points, "codes", leave=False, disable=None)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars = _summary(columns)
    kinds = {"symmetric": "crossover probability", "gaussian": "standard deviation"}
    units = {name: kinds[name.split("_")[0]] for name in scalars}
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """The channels err as said; below the threshold decoding corrects, long codes nearly all."""
    for row in zip(*(result.columns[name] for name in CHECKED), strict=True):
        channel, length, level, bits, decoded, received = row
        rate = level if channel == "symmetric" else math.erfc(1 / level / math.sqrt(2)) / 2
        deviation = math.sqrt(rate * (1 - rate) / bits)
        where = f"{length} bits, {channel} {level:g}"
        # Dozens of points are checked: a quarter more standard errors than for a single mean.
        promises.expect_mean(received, 1.25 * deviation, rate, f"a channel error rate, {where},")
        share = level / THRESHOLDS[channel]
        if share <= 0.9 and length >= 100:
            what = f"expected no more errors than {received:.4g}, {where}, given {decoded:.4g}"
            promises.expect(decoded <= received, what)
        if share <= 0.8 and length >= 1000:
            what = f"expected a bit error rate below 0.005, {where}, given {decoded:.4g}"
            promises.expect(decoded < 0.005, what)


def plot(result: registry.Result) -> Figure:
    """Bit error rates (none seen is drawn as half an error) with the thresholds."""
    columns = result.columns
    figure, axes = plots.new_figure(
        ["crossover probability", "standard deviation of the noise"],
        "bit error rate",
        panels=2,
        title="Regular (3, 6) LDPC codes, belief propagation",
    )
    for panel, (channel, threshold) in zip(axes, THRESHOLDS.items(), strict=True):
        for length in np.unique(columns["length"]):
            here = (columns["channel"] == channel) & (columns["length"] == length)
            rate = columns["bit_error_rate"][here]
            floor = 0.5 / columns["bits"][here]
            panel.plot(columns["level"][here], np.maximum(rate, floor), label=f"{length} bits")
        panel.axvline(threshold, color="grey", linestyle="--", label=f"threshold {threshold:.3g}")
        panel.set_yscale("log")
        panel.locator_params(axis="x", nbins=6)
    return plots.finish(figure)


def make_code(key: Any, length: int) -> np.ndarray:
    """The six bits of each check, int32 [length / 2, 6]: three partitions of all bits.

    Raises:
      ValueError: the length is no positive multiple of six.
    """
    if length <= 0 or length % 6:
        raise ValueError(f"expected a length divisible by 6, given {length}")
    rng = randomness.generator(key, "ldpc_code", length)
    partitions = [rng.permutation(length) for _ in range(3)]
    return np.concatenate(partitions).astype(np.int32).reshape(-1, 6)


def log_ratios(rng: np.random.Generator, sent: np.ndarray, channel: str, level: float) -> Any:
    """What a channel says of bits sent [...]: ln Pr(received | 1) - ln Pr(received | 0)."""
    if channel == "symmetric":
        flipped = rng.random(sent.shape) < level
        return np.where(sent ^ flipped, 1.0, -1.0) * np.log((1.0 - level) / level)
    received = np.where(sent, 1.0, -1.0) + level * rng.normal(size=sent.shape)
    return 2.0 * received / level**2


@jax.jit
def decode(model: edge_graph.EdgeModel, ratios: Any, iterations: Any) -> tuple[Any, Any]:
    """Bits [B, n] from channel log ratios [B, n], and the iterations until all checks held.

    Flooding without damping; stops where the bits of every word satisfy their checks. Words are
    the last axis inside, where neighbours in memory go through one operation together.
    """
    group, ratios = model.groups[0], ratios.T
    assert isinstance(group, logical_groups.ParityGroup)

    def of_words(function: Callable) -> Callable:
        def of_one(messages: Any, word: Any) -> Any:
            unary = jnp.stack([jnp.zeros_like(word), word], axis=1)
            return function(dataclasses.replace(model, log_unary=unary), messages)

        return jax.vmap(of_one, in_axes=-1, out_axes=-1)

    def update(state: tuple) -> tuple:
        messages = of_words(edge_graph.update)(state[0], ratios)
        beliefs = of_words(edge_graph.beliefs)(messages, ratios)
        return messages, beliefs[:, 1] > 0.5, state[2] + 1

    def wrong(state: tuple) -> Any:
        odd = state[1][group.variables].sum(axis=1) % 2 == 1
        return (odd != jnp.asarray(group.rhs)[:, None]).any() & (state[2] < iterations)

    start = jnp.zeros((group.variables.size, ratios.shape[1]), ratios.dtype), ratios > 0, 0
    _, bits, iteration = jax.lax.while_loop(wrong, update, start)
    return bits.T, iteration


def _measure(
    code: np.ndarray, length: int, channel: str, level: float, config: Config, key: Any
) -> dict[str, Any]:
    rng = randomness.generator(key, "ldpc_decoding", length, channel, str(level))
    # A random word and the code's coset around it: as good as a random word of the code.
    sent = rng.integers(2, size=length).astype(bool)
    sides = np.logical_xor.reduce(sent[code], axis=1)
    checks = logical_groups.ParityGroup(code, sides, np.ones(code.shape, bool))
    graph = factor_graph.build(np.full(length, 2), [], logical=[checks])
    model = edge_graph.prepare(graph, dtype=np.float32)
    words = -(-config.bits // length)
    ratios = log_ratios(rng, np.broadcast_to(sent, (words, length)), channel, level)
    ratios = ratios.astype(np.float32)
    jax.block_until_ready(decode(model, np.zeros_like(ratios), 1))  # compiles
    begun = time.perf_counter()
    bits, iterations = decode(model, ratios, config.iterations)
    errors = np.asarray(bits) != sent
    seconds = time.perf_counter() - begun
    return {
        "channel": channel,
        "length": length,
        "level": level,
        "bits": words * length,
        "bit_error_rate": errors.mean(),
        "word_error_rate": errors.any(axis=1).mean(),
        "channel_error_rate": ((ratios > 0) != sent).mean(),
        "iterations": int(iterations),
        "seconds_per_megabit": 1e6 * seconds / (words * length),
    }


def _summary(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Where the longest code's word error rate crosses one half, by channel; NaN if it does not."""
    found = {}
    for channel, threshold in THRESHOLDS.items():
        here = (columns["channel"] == channel) & (columns["length"] == columns["length"].max())
        level, rate = columns["level"][here], columns["word_error_rate"][here]
        crossed = rate.min() <= 0.5 <= rate.max()
        found[f"{channel}_half_of_words"] = float(
            np.interp(0.5, rate, level) if crossed else np.nan
        )
        found[f"{channel}_threshold"] = threshold
    return found
