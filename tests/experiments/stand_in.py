"""A stand-in with one column.

Its second paragraph.
"""

import dataclasses

import jax

from experiments.harness import plots, promises, registry
from inference import estimate


@dataclasses.dataclass(frozen=True)
class Config:
    """Fields of the stand-in."""

    n: int = 4
    """how many rows"""
    scale: float = 1.0
    sizes: tuple[int, ...] = (1, 2)
    loud: bool = False


@registry.experiment(
    presets={"smoke": Config(n=2), "default": Config(), "paper": Config(n=9)}, paper="Nobody 1999"
)
def run(config, key):
    if config.loud:
        raise RuntimeError("too\nloud")
    draws = jax.random.bits(key, (config.n,), "uint32")
    return registry.Result(
        columns={"row": range(config.n), "draw": draws, "pair": [[0, 1]] * config.n},
        scalars={"worst": float("-inf"), "scale": config.scale, "word": "yes"},
        estimates={"z": estimate.exact_count(2**200), "zero": estimate.exact_count(0)},
        units={"scale": "volts"},
    )


def check(result):
    """The scale is below 100."""
    scale = result.scalars["scale"]
    promises.expect(scale < 100, f"expected a scale below 100, given {scale:g}")


def plot(result):
    figure, [axes] = plots.new_figure("row", "draw", title="Stand-in")
    axes.plot(result.columns["row"], result.columns["draw"], label="draws")
    return plots.finish(figure)
