"""`tally count [FILE]`"""

import contextlib
import dataclasses
import importlib.resources
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Annotated, Any

from tyro.conf import Positional, arg

from experiments import solve
from experiments.cli import arguments, each, literals, output
from experiments.harness import claims
from experiments.solve import methods
from inference import answer, files
from inference.estimate import Claim, Estimate
from inference.problems import cnf, dimacs
from inference.workers import process

SHIPPED = "domino_tilings_8x8.cnf"  # counted when no file is given
MAX_JOBS = 1024
LN10 = math.log(10.0)
_WIDE = Context(prec=20, Emax=MAX_EMAX, Emin=MIN_EMIN)


@dataclasses.dataclass(frozen=True)
class Count:
    """Count the models of a CNF formula: plain, projected or weighted, as its file says.

    Prints the answer in the format of the Model Counting Competition, with what is guaranteed.
    """

    file: Positional[Annotated[str | None, arg(metavar="[FILE]")]] = None
    """DIMACS CNF, also .gz, .xz or .bz2; - reads standard input; without it, a shipped formula."""
    method: Annotated[str, arg(metavar="NAME")] = "auto"
    """A method listed above."""
    epsilon: float | None = None
    """Approximate answers: within a factor 1 + epsilon either way, by default 0.8 ..."""
    delta: float | None = None
    """... except with this probability, by default 0.2."""
    assume: Annotated[str, arg(metavar="NAME,-NAME")] = ""
    """Literals that hold in the models that are counted, by name or number, as 3 -7 or NET,-USB."""
    condition: Annotated[str | None, arg(metavar="FILE")] = None
    """The same from a file; lines of # or c are comments."""
    each: bool = False
    """Count the models with each variable on, exactly; a table as comments, and in --json."""
    figure: Annotated[str | None, arg(metavar="FILE.png")] = None
    """Draw the shares that --each found, sorted, with the options that are least free."""
    seed: int = 0
    """Equal seeds give equal answers; only where methods race in auto, either may be first."""
    timeout: arguments.Limit = None
    """Stop then, and print the best valid answer so far."""
    memory: arguments.Mebibytes = None
    """What each process may take, in units of 2^20 bytes, beyond what it has when it starts."""
    jobs: int = dataclasses.field(default_factory=lambda: min(os.cpu_count() or 1, MAX_JOBS))
    """Processes that hash where it takes seconds, one per core; the answer does not change."""
    checkpoint: Annotated[str | None, arg(metavar="FILE")] = None
    """Keep the finished rounds of hashing there, and go on from them where it exists."""
    save: Annotated[str | None, arg(metavar="RESULT.json")] = None
    """Write the answer there, with what `tally verify` checks."""
    write_support: Annotated[str | None, arg(metavar="FILE")] = None
    """Write `c ind` lines of an independent support, whose count is the same."""
    ignore_weights: bool = False
    """Count the models of a weighted formula."""
    json: bool = False
    """Print one JSON object on the last line."""
    quiet: bool = False
    """No progress on standard error."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_timeout(self.timeout)
        arguments.check_memory(self.memory, process.LEAST_MEMORY)
        arguments.check_seed(self.seed)
        if self.epsilon is not None and not 0.0 < self.epsilon < math.inf:
            raise arguments.UsageError(
                f"--epsilon: expected a number above 0, given {self.epsilon}"
            )
        if self.delta is not None and not 0.0 < self.delta < 1.0:
            raise arguments.UsageError(
                f"--delta: expected a number between 0 and 1, given {self.delta}"
            )
        if not 1 <= self.jobs <= MAX_JOBS:
            raise arguments.UsageError(
                f"--jobs: expected 1 to {MAX_JOBS} processes, given {self.jobs}"
            )
        if self.condition == "-" == self.file:
            raise arguments.UsageError("expected one of formula and --condition as -, given both")
        for name in ("save", "write_support"):
            for held in ("assume", "condition"):
                if getattr(self, held) and getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise arguments.UsageError(f"expected --{held} or {option}, given both")
        each.check(self)


def main(words: Sequence[str], started: float) -> None:
    """Counts, prints and saves."""
    options = arguments.parse(Count, literals.joined(words), methods.lines("count"))
    arguments.check_files(options.save, options.checkpoint, options.write_support, options.figure)
    with process.limited(options.memory), _progress_line(options.quiet) as progress:
        _count(options, started, progress)


def _count(options: Count, started: float, progress: Callable[[str], None]) -> None:
    begun = time.perf_counter()
    file = options.file or str(importlib.resources.files("experiments") / "data" / SHIPPED)
    formula = dimacs.read(file, ignore_weights=options.ignore_weights)
    held = literals.from_words(formula, options.assume)
    if options.condition is not None:
        held += literals.from_file(formula, options.condition)
    left = arguments.left(options.timeout, started)
    limits: dict[str, Any] = {"timeout": left, "memory": options.memory}
    if options.each:
        progress("each variable")
        estimate, info, shares = each.count(formula, held, seed=options.seed, **limits)
    else:
        estimate, info = _ask(formula, options, held, limits, progress)
        shares = None
    progress("")
    problem, seconds = options.file or SHIPPED, time.perf_counter() - begun
    _print(problem, formula, estimate, info, seconds)
    if shares is not None:
        each.show(shares, options.figure, problem)
    if options.json:
        fields = claims.fields(problem, estimate, info, seconds)
        output.print_object(**fields, **each.fields(formula, options.each, shares))
    if options.save is not None:
        from experiments.harness import results

        results.save(options.save, problem, formula, estimate, info, seconds)
    output.finish(info)


def _ask(
    formula: cnf.CNF,
    options: Count,
    held: Sequence[int],
    limits: dict[str, Any],
    progress: Callable[[str], None],
) -> tuple[Estimate, Any]:
    """The count by the method that was asked for."""
    reduction = _write_support(formula, options)
    return solve.count(
        formula,
        method=options.method,
        epsilon=options.epsilon,
        delta=options.delta,
        assumptions=held,
        seed=options.seed,
        jobs=options.jobs,
        checkpoint=options.checkpoint,
        witness=options.save is not None,
        reduction=reduction if options.method in methods.taking("reduce") else None,
        progress=progress,
        **limits,
    )


def _write_support(formula: cnf.CNF, options: Count) -> Any:
    """Writes `c ind` lines and returns the reduction they come from, if there is a path."""
    if options.write_support is None:
        return None
    from inference.reduction import support

    if options.memory is None and options.timeout is None:
        reduction = support.reduce(formula)
    else:  # in a child, as a reduction that is cut short here would be no support to keep
        half = None if options.timeout is None else options.timeout / 2
        solved = process.call(support.reduce, formula, memory=options.memory, timeout=half)
        if solved.status is not answer.Status.OPTIMAL:
            why = solved.message or f"not finished within {solved.seconds:.3g} s"
            raise ValueError(f"--write-support: {why}")
        reduction = solved.value
    variables = sorted([*reduction.support.tolist(), *reduction.free.tolist()])
    rows = [variables[i : i + 20] for i in range(0, len(variables), 20)] or [[]]
    with files.whole(options.write_support) as beside:
        beside.write_text("".join(f"{' '.join(['c ind', *map(str, row), '0'])}\n" for row in rows))
    return reduction


@contextlib.contextmanager
def _progress_line(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Shows what is being done and for how long on a terminal, and nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    import tqdm

    with tqdm.tqdm(bar_format="{desc} [{elapsed}]", leave=False) as line:
        yield line.set_description_str


def _print(problem: str, formula: cnf.CNF, estimate: Estimate, info: Any, seconds: float) -> None:
    """Prints a count with its guarantee, in the competition's format."""
    weighted, projected = formula.log_weights is not None, formula.projection is not None
    size = f"{formula.num_variables} variables, {formula.num_clauses} clauses"
    size += f", {len(formula.xors)} XORs" if len(formula.xors) else ""
    size += f", {len(formula.sampling_set)} sampled" if projected else ""
    what = "weight" if weighted else "count"
    print(f"c o problem {problem}: {size}")
    output.print_how(output.COMMENT, info, claims.status(estimate, info), seconds)
    print(f"c o claim {estimate.claim.value}")
    print(f"c o guarantee: {claims.guarantee(estimate, info.method, what)}")
    print(f"s {claims.satisfiable(estimate, info)}")
    print(f"c s type {'p' * projected}{'w' * weighted}mc")
    if _is_answer(estimate, info):
        print(f"c s log10-estimate {claims.digits(estimate.log_value / LN10)}")
        print(f"c s {_value_line(estimate, weighted)}")


def _is_answer(estimate: Estimate, info: Any) -> bool:
    """Whether programs may take the value for the count.

    One that did not end, or was bounded on one side only, has a claim but no answer.
    """
    if info.status != "done":
        return False
    if estimate.claim is Claim.NONE:
        return estimate.log_value > -math.inf
    return estimate.log_upper < math.inf and claims.satisfiable(estimate, info) != "UNKNOWN"


def _value_line(estimate: Estimate, weighted: bool) -> str:
    if weighted:
        how = "exact" if claims.is_exact(estimate) else "approx"
        return f"{how} double prec-sci {_scientific(estimate)}"
    if estimate.count is not None:
        return f"exact arb int {estimate.count}"
    return f"approx arb int {_rounded(estimate.log_value)}"


def _scientific(estimate: Estimate) -> str:
    """Digits of exp(log_value) at any magnitude: as many as hold where they are exact.

    Floats end at 1e-308 and 1e308.
    """
    if estimate.log_value == -math.inf:
        return "0"
    digits = 10
    if claims.is_exact(estimate):
        digits = min(16, math.floor(-math.log10(max(estimate.log_width, 1e-16))))
    return f"{Decimal(estimate.log_value).exp(_WIDE):.{digits}e}"


def _rounded(log_value: float) -> int:
    """The integer nearest to exp(log_value), as far as a double knows it."""
    if log_value == -math.inf:
        return 0
    exponent = max(0, math.floor(log_value / claims.LN2) - 60)
    return round(math.exp(log_value - exponent * claims.LN2)) << exponent
