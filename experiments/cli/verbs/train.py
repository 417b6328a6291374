"""`tally train NAME`"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from experiments.cli import arguments, output
from experiments.harness import claims, store
from experiments.training import trainers


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a learned model again, and write its weights.

    A run that was stopped goes on from its checkpoint to the same weights."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """A model listed above."""
    out: Annotated[str, arg(metavar="FILE")] = "weights.npz"
    """Where the weights go."""
    folder: Annotated[str | None, arg(metavar="DIR")] = None
    """Formulas with counts.csv (columns file, family, ln_count, split), for bpnn_sat."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Of the optimiser, by default as many as the shipped weights took."""
    checkpoint: Annotated[str | None, arg(metavar="FILE")] = None
    """Keep the state there, and go on from it."""
    timeout: arguments.Limit = None
    """Stop then, and write the best weights so far."""
    seed: int = 0
    """Equal seeds give equal weights."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_timeout(self.timeout)
        arguments.check_seed(self.seed)
        if self.steps is not None and self.steps < 1:
            raise arguments.UsageError(f"--steps: expected at least 1, given {self.steps}")


def main(words: Sequence[str], _: float) -> None:
    """Trains, writes the weights and prints how it went."""
    options = arguments.parse(Train, words, trainers.TRAINERS, "Models")
    out = Path(options.out)
    store.check_writable(out.parent)
    arguments.check_files(options.out, options.checkpoint)
    begun = time.perf_counter()
    parameters, history = trainers.train(
        options.name,
        seed=options.seed,
        folder=None if options.folder is None else Path(options.folder),
        steps=options.steps,
        checkpoint=None if options.checkpoint is None else Path(options.checkpoint),
        timeout=options.timeout,
    )
    from inference import training

    training.save(out, parameters)
    _print(history, time.perf_counter() - begun)
    print(out)
    output.finish(history)


def _print(history: Any, seconds: float) -> None:
    told = f"{history.status}, {seconds:.1f} s, {len(history.loss)} steps"
    print(output.PLAIN.format("training", told))
    if len(history.loss):
        last = claims.digits(history.loss[-1], 6)
        print(output.PLAIN.format("loss", f"{last} at the last step"))
    if len(history.validation):
        best = claims.digits(history.validation.min(), 6)
        print(output.PLAIN.format("held out", f"{best} at the best step, whose weights are kept"))
