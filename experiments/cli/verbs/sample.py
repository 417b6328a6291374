"""`tally sample FILE`"""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from tyro.conf import arg

from experiments import solve
from experiments.cli import arguments, graphs, output
from experiments.solve import methods
from inference import files


@dataclasses.dataclass(frozen=True)
class Sample(graphs.ModelOptions):
    """Draw assignments of a graphical model by Markov chains."""

    num_samples: Annotated[int, arg(aliases=["-n"], metavar="N")] = 10
    """How many samples; chains run until they agree, however few are asked for."""
    out: Annotated[str | None, arg(metavar="FILE")] = None
    """Write the samples to a file in place of standard output."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        super().check()
        if not 1 <= self.num_samples <= 10**9:
            raise arguments.UsageError(f"-n: expected 1 to 10^9 samples, given {self.num_samples}")


def main(words: Sequence[str], started: float) -> None:
    """Prints how well the chains agree, then one sample a line: the states, blanks between them."""
    options = arguments.parse(Sample, words, methods.lines("sample"))
    arguments.check_files(options.out)
    asked = graphs.ask(solve.sample, options, started, num_samples=options.num_samples)
    drawn, info = asked.answer, asked.info
    number = len(drawn.assignments)
    if number and not info.converged:
        warnings.warn(f"not converged ({info.method}): these samples may be far off")
    graphs.print_head(asked, info.status)
    print(f"claim     {drawn.claim.value}")
    print("guarantee none at any length; the distribution tends to that of the model")
    print(f"ESS       {_number(info.ess, 0)}, the least of a variable or the energy")
    print(f"R-hat     {_number(info.rhat, 3)}, the largest; up to 1.01 where chains agree")
    print(f"samples   {number} of {options.num_samples}")
    if options.out is not None:
        with files.whole(options.out) as beside:
            beside.write_text(_text(drawn.assignments), encoding="ascii")
    else:
        print(_text(drawn.assignments), end="")
    if options.json:
        told = {"claim": drawn.claim.value, **graphs.how(asked), "ess": info.ess, "rhat": info.rhat}
        rows = {} if options.out is not None else {"samples": drawn.assignments.tolist()}
        output.print_object(problem=asked.problem, **told, **rows)
    output.finish(info)


def _number(value: float, digits: int) -> str:
    return "unknown" if math.isnan(value) else f"{value:.{digits}f}"


def _text(assignments: np.ndarray) -> str:
    """One line a sample."""
    return "".join(" ".join(map(str, row)) + "\n" for row in assignments.tolist())
