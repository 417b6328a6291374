"""What the verbs about graphical models share: their options, asking, and the first lines printed.

asked = graphs.ask(solve.marginals, options, started)
graphs.print_head(asked, asked.info.status)
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from tyro.conf import Positional, arg

from experiments.cli import arguments, output
from inference.problems import factor_graph, uai


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What every question about a graphical model takes."""

    file: Positional[Annotated[str, arg(metavar="FILE")]]
    """UAI model, MARKOV or BAYES, also .gz, .xz or .bz2; - reads standard input."""
    evidence: Annotated[str | None, arg(metavar="FILE")] = None
    """UAI evidence file."""
    method: Annotated[str, arg(metavar="NAME")] = "auto"
    """A method listed above."""
    seed: int = 0
    """Equal seeds give equal answers."""
    timeout: arguments.Limit = None
    """Stop then, and print the best valid answer so far."""
    memory: arguments.Mebibytes = None
    """What tables may take, in units of 2^20 bytes; by default 2048."""
    json: bool = False
    """Print one JSON object on the last line."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_timeout(self.timeout)
        arguments.check_memory(self.memory)
        arguments.check_seed(self.seed)


class Asked(NamedTuple):
    """A question about a graph with its answer, how it came about, and seconds with reading."""

    problem: str
    graph: factor_graph.FactorGraph
    answer: Any
    info: Any
    seconds: float


def ask(
    entry: Callable[..., tuple[Any, Any]], options: ModelOptions, started: float, **own: Any
) -> Asked:
    """Reads the model and answers by an entry of ``experiments.solve``, with options of its own.

    Raises:
      UsageError: model and evidence are both to come from standard input.
      ValueError: the files are no model and evidence, or the method does not fit.
    """
    if options.file == options.evidence == "-":
        raise arguments.UsageError("expected one of model and evidence as -, given both")
    begun = time.perf_counter()
    graph = uai.read(options.file, options.evidence)
    answer, info = entry(
        graph,
        method=options.method,
        seed=options.seed,
        timeout=arguments.left(options.timeout, started),
        memory=options.memory,
        **own,
    )
    return Asked(options.file, graph, answer, info, time.perf_counter() - begun)


def print_head(asked: Asked, outcome: str) -> None:
    """Prints the size of the model and how the answer came about; ``outcome`` is its status."""
    graph = asked.graph
    factors = sum(len(group.variables) for group in graph.groups)
    states = max((int(size) for size in graph.num_states), default=0)
    print(
        f"problem   {asked.problem}: {len(graph.num_states)} variables of up to {states} states, "
        f"{factors} factors of two or more variables"
    )
    output.print_how(output.PLAIN, asked.info, outcome, asked.seconds)


def how(asked: Asked) -> dict[str, Any]:
    """What a JSON object says about how an answer without an ``Estimate`` came about."""
    info = asked.info
    told = {"method": info.method, "seconds": asked.seconds, "oracle_calls": info.oracle_calls}
    return {**told, "seed": info.seed, "status": info.status, **notes(info)}


def notes(info: Any) -> dict[str, Any]:
    """What a JSON object says about an answer on a graph alone."""
    return {"converged": info.converged, "note": info.message}
