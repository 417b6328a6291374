"""`tally density FILE`"""

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from experiments.cli import arguments, output
from experiments.harness import claims
from experiments.solve.info import Info
from inference import files
from inference.problems import cnf, dimacs, factor_graph, uai

RULES = {
    "plain": "flips one variable; the most steps a second",
    "mixture": "half of the flips aim at violated clauses",
    "rejection-free": "never stays where it is; two states a variable",
}
ROWS = 24  # of the table that are printed; --json has all


@dataclasses.dataclass(frozen=True)
class Density:
    """Estimate how many assignments violate 0, 1, 2, ... clauses, or have each energy of a model.

    A flat-histogram walk has the model count, or log Z at every temperature, in one run. Nothing is
    claimed; standard errors and round trips say how far the numbers can be trusted.
    """

    file: Positional[Annotated[str, arg(metavar="FILE")]]
    """DIMACS CNF or UAI model, as its first word says, also packed; - reads standard input."""
    evidence: Annotated[str | None, arg(metavar="FILE")] = None
    """UAI evidence file, for a model."""
    ignore_weights: bool = False
    """Count all assignments of a weighted or projected formula alike."""
    rule: Annotated[str, arg(metavar="NAME")] = "plain"
    """How walkers move, one listed above."""
    highest: int | None = None
    """Levels from this one on are one; by default those far above the mean."""
    seed: int = 0
    """Equal seeds give equal answers."""
    timeout: arguments.Limit = None
    """Stop then, and print what there is."""
    memory: arguments.Mebibytes = None
    """What walkers and tables may take, in units of 2^20 bytes."""
    json: bool = False
    """Print one JSON object on the last line."""
    figure: Annotated[str | None, arg(metavar="FILE.png")] = None
    """Draw the density, and ln Z and the mean energy at all temperatures."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_timeout(self.timeout)
        arguments.check_memory(self.memory)
        arguments.check_seed(self.seed)
        if self.rule not in RULES:
            expected = f"expected one of {', '.join(RULES)}"
            raise arguments.UsageError(f"--rule: {expected}, given {self.rule!r}")
        if self.file == self.evidence == "-":
            raise arguments.UsageError("expected one of file and --evidence as -, given both")


def main(words: Sequence[str], started: float) -> None:
    """Runs the walk, prints the levels and draws them."""
    options = arguments.parse(Density, words, RULES, "Rules")
    arguments.check_files(options.figure)
    begun = time.perf_counter()
    problem = _read(options)
    is_formula = isinstance(problem, cnf.CNF)
    found, told = _walk(problem, options, started)
    seconds = time.perf_counter() - begun
    method = f"flat histogram ({told.rule})"
    info = Info(told.status, seconds, method, seed=options.seed, message=told.message)
    _print(options.file, problem, found, told, info)
    if options.figure is not None:
        from experiments.harness import density_figure, plots  # they take half a second

        drawn = density_figure.draw(found, is_formula, title=Path(options.file).name)
        with files.whole(options.figure) as beside:
            plots.save(drawn, Path(beside))
    if options.json:
        output.print_object(**_fields(options.file, is_formula, found, told, info))
    output.finish(info)


def _read(options: Density) -> cnf.CNF | factor_graph.FactorGraph:
    """The formula, or the model with its evidence."""
    data, name = files.read(options.file), files.name(options.file)
    if data.split(maxsplit=1)[:1] in ([b"MARKOV"], [b"BAYES"]):
        graph = uai.parse(data.decode("ascii", errors="replace"), name)
        if options.evidence is None:
            return graph
        return factor_graph.condition(graph, uai.read_evidence(options.evidence, graph.num_states))
    if options.evidence is not None:
        raise arguments.UsageError("--evidence: expected a UAI model, given a formula")
    formula = dimacs.parse(data, name, ignore_weights=options.ignore_weights)
    return dataclasses.replace(formula, projection=None) if options.ignore_weights else formula


def _walk(
    problem: cnf.CNF | factor_graph.FactorGraph, options: Density, started: float
) -> tuple[Any, Any]:
    """The density and how it came about."""
    from inference.mcmc import flat_histogram, flat_histogram_moves  # they load JAX

    rules = {
        "plain": flat_histogram_moves.plain,
        "mixture": flat_histogram_moves.mixture(0.5),
        "rejection-free": flat_histogram_moves.rejection_free,
    }
    given: dict[str, Any] = {
        "seed": options.seed,
        "timeout": arguments.left(options.timeout, started),
        "memory": options.memory,
        "rule": rules[options.rule],
        "highest": options.highest,
    }
    if isinstance(problem, cnf.CNF):
        return flat_histogram.density_of_states(problem, **given)
    return flat_histogram.density_of_scores(problem, **given)


def _print(
    name: str, problem: cnf.CNF | factor_graph.FactorGraph, found: Any, told: Any, info: Info
) -> None:
    is_formula = isinstance(problem, cnf.CNF)
    print(f"problem   {name}: {str(problem).strip('<>').partition(': ')[2]}")
    output.print_how(output.PLAIN, info, info.status, info.seconds)
    trips = f"{told.round_trips} round trips by {told.round_walkers} of {told.num_walkers} walkers"
    steps = (
        f"{told.adaptive_steps:.3g} steps to learn the weights, {told.fixed_steps:.3g} with them"
    )
    print(f"walk      {steps} fixed, {trips}")
    print("claim     none")
    print("guarantee none; the numbers of states may be anything")
    value, error = _summary(found, is_formula)
    print(f"{'ln count' if is_formula else 'ln Z':<10}{claims.digits(value, 7)} +- {error:.2g}")
    print(f"{'energy':>12}  {'ln count':>12}  {'std. error':>10}  {'log10 count':>12}")
    last = len(found.energies) - 1
    spread = np.linspace(0, last, ROWS // 2).astype(int)  # the lowest, and some of the others
    for row in np.unique([*range(min(ROWS // 2, last)), *spread]):
        above = found.merged and row == last
        energy = "above" if above else claims.digits(found.energies[row], 6)
        log_count, error = found.log_count[row], found.standard_error[row]
        numbers = f"{log_count:12.4f}  {error:10.2g}  {log_count / math.log(10.0):12.4f}"
        print(f"{energy:>12}  {numbers}")


def _summary(found: Any, is_formula: bool) -> tuple[float, float]:
    """ln of the model count, or ln Z, and its standard error, in nats."""
    if not is_formula:
        return found.log_partition(), found.log_partition_error()
    error = found.standard_error[0] if abs(found.energies[0]) < 1e-9 else math.inf
    return found.count().log_value, float(error)


def _fields(name: str, is_formula: bool, found: Any, told: Any, info: Info) -> dict[str, Any]:
    """What the JSON object says; the last level holds all above where they are merged."""
    value, error = _summary(found, is_formula)
    return {
        "problem": name,
        "method": info.method,
        "claim": "none",
        "log2_value": value / claims.LN2,
        "log2_standard_error": error / claims.LN2,
        "energies": found.energies.tolist(),
        "log2_counts": (found.log_count / claims.LN2).tolist(),
        "log2_standard_errors": (found.standard_error / claims.LN2).tolist(),
        "merged": found.merged,
        "round_trips": told.round_trips,
        "seconds": info.seconds,
        "seed": info.seed,
        "status": info.status,
        "note": info.message,
    }
