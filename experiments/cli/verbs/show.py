"""`tally show NAME`"""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional, arg

from experiments.cli import arguments
from experiments.harness import registry


@dataclasses.dataclass(frozen=True)
class Show:
    """Show what an experiment does, its presets and its paper."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """As listed by `tally list`."""


def main(words: Sequence[str], _: float) -> None:
    """Prints what an experiment says of itself."""
    experiment = registry.load(arguments.parse(Show, words).name)
    print(f"{experiment.name}: {experiment.text}\n")
    if experiment.spec.paper:
        print(f"paper: {experiment.spec.paper}")
    if experiment.check is not None:
        print(f"checked after every run: {inspect.cleandoc(str(experiment.check.__doc__))}")
    for name, config in experiment.spec.presets.items():
        values = dataclasses.asdict(config).items()
        print(f"preset {name}: {', '.join(f'{field}={value}' for field, value in values)}")
