"""`tally map FILE`"""

import dataclasses
import math
from collections.abc import Sequence

from experiments import solve
from experiments.cli import arguments, graphs, output
from experiments.harness import claims
from experiments.solve import methods
from inference.problems import uai


@dataclasses.dataclass(frozen=True)
class Map(graphs.ModelOptions):
    """Find a most probable assignment of a graphical model."""


def main(words: Sequence[str], started: float) -> None:
    """Prints a maximiser with its log-score and bound, then as a UAI result."""
    options = arguments.parse(Map, words, methods.lines("maximize"))
    asked = graphs.ask(solve.maximize, options, started)
    best, info = asked.answer, asked.info
    value = -math.inf if best.value is None else float(best.value)
    graphs.print_head(asked, info.status)
    print(f"ln score  {claims.digits(value)}, proven at most {claims.digits(best.bound)}")
    print(f"answer    {best.status.value}")
    states = None
    if best.assignments is not None and len(best.assignments):
        states = best.assignments[0].tolist()
        print(uai.assignment_text(best.assignments[0]), end="")
    if options.json:
        bounds = {"log2_value": value / claims.LN2, "log2_upper": float(best.bound) / claims.LN2}
        how = {**graphs.how(asked), "answer": best.status.value}
        output.print_object(problem=asked.problem, **how, **bounds, assignment=states)
    output.finish(info)
