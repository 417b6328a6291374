"""`tally list`"""

import dataclasses
from collections.abc import Sequence

from experiments.cli import arguments
from experiments.harness import registry


@dataclasses.dataclass(frozen=True)
class List:
    """List the experiments."""


def main(words: Sequence[str], _: float) -> None:
    """Prints each experiment's name and title."""
    arguments.parse(List, words)
    entries = registry.find()
    width = max((len(name) for name in entries), default=0)
    for name, entry in sorted(entries.items()):
        print(f"{name:<{width}}  {entry.title}")
