"""`tally plot PATH`"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from experiments.cli import arguments
from experiments.harness import registry, store


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the figure of a stored result again, from its data."""

    path: Positional[Annotated[str, arg(metavar="PATH")]]
    """A result folder, or a file in it."""
    out: Annotated[str | None, arg(metavar="FILE")] = None
    """Where to, as .png, .pdf or .svg; by default figure.png in the folder."""


def main(words: Sequence[str], _: float) -> None:
    """Draws, and prints where the figure is."""
    options = arguments.parse(Plot, words)
    path = Path(options.path)
    folder = path.parent if path.is_file() else path
    stored = store.load(folder)
    experiment = registry.load(stored.experiment)
    figure = Path(options.out) if options.out else folder / "figure.png"
    arguments.check_files(str(figure))
    if not store.draw(experiment, stored.result, figure):
        raise arguments.UsageError(f"{experiment.name} has no figure")
    print(figure)
