"""`tally run NAME`"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from experiments.cli import arguments
from experiments.harness import promises, registry, store


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What every run takes besides the fields of its experiment."""

    preset: Annotated[str, arg(metavar="smoke|default|paper")] = "default"
    """Where the values of the fields come from that are not given."""
    seed: int = 0
    """Equal seeds give equal results."""
    out: Annotated[str, arg(metavar="DIR")] = "results"
    """Results go to DIR/NAME/<hash of the fields>-s<seed>."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(RunOptions):
    """Run an experiment and store its result and figure.

    `tally run NAME --help` lists the fields of that experiment as well.
    """

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """As listed by `tally list`."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """The one option that must be known before the others: it sets their defaults."""

    preset: str = "default"


def main(words: Sequence[str], _: float) -> None:
    """Runs, stores, and prints the numbers and where the result is."""
    if not words or words[0].startswith("-"):
        arguments.parse(Run, words)  # prints the help, or refuses for want of a name
        raise arguments.UsageError("expected the experiment's name right after `tally run`")
    experiment = registry.load(words[0])
    options, config = parse(words[1:], experiment)
    out = Path(options.out)
    folder = store.place(out, experiment.name, config, options.seed)
    store.check_writable(folder.parent)
    begun, broken = time.perf_counter(), None
    try:
        result = registry.run(experiment, config, options.seed)
    except promises.BrokenPromise as error:  # what took long is kept
        result, broken = error.result, error
    seconds = time.perf_counter() - begun
    seed, preset = options.seed, options.preset
    store.save(out, experiment, config, seed, result, preset=preset, seconds=seconds)
    print("\n".join([*store.lines(result), str(folder)]))
    if broken is not None:
        raise broken


def parse(words: Sequence[str], experiment: registry.Experiment) -> tuple[RunOptions, Any]:
    """Parses the words after `run NAME`: its options, and the experiment's fields as a config."""
    presets, verb = experiment.spec.presets, f"run {experiment.name}"
    start = Preset()  # the defaults that a help text shows
    if not {"-h", "--help"} & set(words):
        start = arguments.call_tyro(Preset, verb, words, return_unknown_args=True)[0]
    if start.preset not in presets:
        expected = ", ".join(presets)
        raise arguments.UsageError(f"--preset: expected one of {expected}, given {start.preset!r}")
    config = presets[start.preset]
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("options", Annotated[RunOptions, arg(name="")]),
            ("config", Annotated[type(config), arg(name="")], config),
        ],
    )
    parsed = arguments.call_tyro(both, verb, words, description=experiment.text)
    parsed.options.check()
    return parsed.options, parsed.config
