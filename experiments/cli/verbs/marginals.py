"""`tally marginals FILE`"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

from experiments import solve
from experiments.cli import arguments, graphs, output
from experiments.harness import claims
from experiments.solve import methods
from inference.estimate import Claim
from inference.problems import uai


@dataclasses.dataclass(frozen=True)
class Marginals(graphs.ModelOptions):
    """Compute the marginal distribution of every variable of a graphical model."""


def main(words: Sequence[str], started: float) -> None:
    """Prints the distribution of each variable as a UAI result, optionally as JSON too."""
    options = arguments.parse(Marginals, words, methods.lines("marginals"))
    asked = graphs.ask(solve.marginals, options, started)
    info, num_states = asked.info, asked.graph.num_states
    if info.converged is False:
        warnings.warn(f"not converged ({info.method}): these marginals may be far off")
    graphs.print_head(asked, info.status)
    print(f"claim     {info.claim.value}")
    print(f"guarantee {_guarantee(info)}")
    print(uai.marginals_text(num_states, asked.answer), end="")
    if options.json:
        # What lies past a variable's number of states is padding.
        rows = [row[:size].tolist() for row, size in zip(asked.answer, num_states)]
        how = {"claim": info.claim.value, **graphs.how(asked)}
        output.print_object(problem=asked.problem, **how, error=info.error, marginals=rows)
    output.finish(info)


def _guarantee(info: Any) -> str:
    if info.claim is Claim.NONE:
        return "none; the marginals may be anything"
    return f"exact marginals, each within {claims.digits(info.error, 2)}, certain"
