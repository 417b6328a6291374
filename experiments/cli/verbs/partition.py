"""`tally partition FILE`"""

import dataclasses
import math
from collections.abc import Sequence

from experiments import solve
from experiments.cli import arguments, graphs, output
from experiments.harness import claims
from experiments.solve import methods
from inference.problems import uai

UNITS = {"ln Z": 1.0, "log2 Z": math.log(2.0), "log10 Z": math.log(10.0)}


@dataclasses.dataclass(frozen=True)
class Partition(graphs.ModelOptions):
    """Compute log Z of a graphical model, with what is guaranteed."""


def main(words: Sequence[str], started: float) -> None:
    """Prints log Z with its interval in three units."""
    options = arguments.parse(Partition, words, methods.lines("log_partition"))
    asked = graphs.ask(solve.partition, options, started)
    _print(asked)
    if options.json:
        _print_json(asked)
    output.finish(asked.info)


def _print(asked: graphs.Asked) -> None:
    found, info = asked.answer, asked.info
    graphs.print_head(asked, claims.status(found, info))
    for name, unit in UNITS.items():
        sides = found.log_lower, found.log_value, found.log_upper
        low, value, high = (claims.digits(side / unit) for side in sides)
        print(f"{name:<10}{value} in [{low}, {high}]")
    print(f"claim     {found.claim.value}, width {claims.digits(found.log_width, 3)} nats")
    print(f"guarantee {claims.guarantee(found, info.method, 'Z')}")


def _print_json(asked: graphs.Asked) -> None:
    problem, _, found, info, seconds = asked
    print(uai.partition_text(found.log_value), end="")
    output.print_object(**claims.fields(problem, found, info, seconds), **graphs.notes(info))
