"""`tally verify RESULT.json`"""

import dataclasses
import importlib.resources
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pysat import solvers
from tyro.conf import Positional, arg

from experiments.cli import arguments, output, recount
from experiments.harness import results
from hashing.counting import extensions, verification, witness
from inference.problems import cnf, dimacs


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check a count again that `tally count --save` stored.

    Without a solver the stored models are checked, on which the lower side rests; with one the
    cells are solved again, on which the upper side rests. That the seed was not chosen to suit
    nobody can see; --reseed counts again with another one.

    Ends with status 0 where both sides were checked, 3 where one side alone (without a solver the
    lower one) or not all that was asked for, 1 where the count is refused or nothing was checked, 2
    for errors.
    """

    file: Positional[Annotated[str, arg(metavar="RESULT.json")]]
    """What `tally count --save` wrote."""
    formula: Annotated[str | None, arg(metavar="FILE")] = None
    """The formula, by default from where it was counted."""
    solver: Annotated[str | None, arg(metavar="NAME")] = None
    """A PySAT solver: cadical153 took no part in counting, cryptominisat5 did, but is quicker where
    parities are long. For exact counts ganak, which counts again."""
    reseed: Annotated[tuple[str, ...] | None, arg(metavar="[N]")] = None
    """Count again by hashing, with the seed N or one that is drawn now. The result is refused where
    the two intervals do not meet."""
    timeout: arguments.Limit = None
    """Stop solver and recount then; what they did not finish is not checked."""
    json: bool = False
    """Print one JSON object on the last line."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        arguments.check_timeout(self.timeout)
        if self.solver not in (None, "ganak", *_solver_names()):
            raise arguments.UsageError(
                f"--solver: expected ganak or a PySAT solver, as {extensions.SOLVER}, "
                f"given {self.solver!r}"
            )
        words = self.reseed or ("0",)
        if len(words) > 1 or not words[0].isdecimal() or int(words[0][:40]) >= arguments.SEEDS:
            raise arguments.UsageError(
                f"--reseed: expected one seed of 0 to {arguments.SEEDS - 1}, or none to draw it, "
                f"given {' '.join(words)}"
            )


def main(words: Sequence[str], _: float) -> None:
    """Prints what was claimed, each check and what they amount to."""
    options = arguments.parse(Verify, words)
    fields, found, texts = results.load(options.file)
    path = _find(options.formula or fields["problem"])
    formula = dimacs.read(path, ignore_weights=True)
    if formula.digest() != fields["digest"]:  # unless the weights were ignored, too
        formula = dimacs.read(path)
    report = _check(options, formula, fields, found, texts)
    print(f"{'result':<12}{_claim_of(fields, formula)}")
    print(f"{'of':<12}{path}")
    _print(options, report)
    sys.stdout.flush()  # what closed pipes raise is for the caller
    if report.sides == "none":
        raise SystemExit(1)
    if report.sides != "both" or not report.holds:
        raise SystemExit(3)


def _check(
    options: Verify,
    formula: cnf.CNF,
    fields: dict[str, Any],
    found: witness.Witness | None,
    texts: list[str],
) -> verification.Report:
    digest, expected = fields["digest"], formula.digest()
    if digest != expected:
        detail = f"expected the digest {expected[:12]}..., given {digest[:12]!r}"
        return recount.refused("formula", detail)
    if found is None:
        if options.reseed is not None:
            raise arguments.UsageError("--reseed: expected a count by approxmc")
        return recount.check(formula, fields, solver=options.solver, timeout=options.timeout)
    if options.solver == "ganak":
        raise arguments.UsageError("--solver: expected a PySAT solver for a count by approxmc")
    return verification.check(
        formula,
        fields,
        found,
        results.unpack(texts, found, formula),
        solver=options.solver,
        reseed=_other_seed(options.reseed, fields["seed"]),
        timeout=options.timeout,
    )


def _other_seed(given: tuple[str, ...] | None, taken: int) -> int | None:
    """The seed to count again with: the one given or, where there is none, one drawn now."""
    if given is None:
        return None
    if not given:
        drawn = secrets.randbelow(arguments.SEEDS - 1)
        return drawn + (drawn >= taken)
    if int(given[0]) == taken:
        raise arguments.UsageError(f"--reseed: expected another seed than the {taken} of the count")
    return int(given[0])


def _claim_of(fields: dict[str, Any], formula: cnf.CNF) -> str:
    """What the file claims, true or not."""
    kind = "projected " if formula.projection is not None else ""
    kind += "weighted " if formula.log_weights is not None else ""
    interval = f"log2 within [{fields['log2_lower']:.6g}, {fields['log2_upper']:.6g}]"
    return f"{kind}count by {fields['method']}, {fields['status']}: {fields['claim']}, {interval}"


def _print(options: Verify, report: verification.Report) -> None:
    marks = {True: "ok", False: "refused", None: "not checked"}
    for one in report.checks:
        print(f"{marks[one.passed]:<12}{one.what}: {one.detail}")
    print(report.level)
    if options.json:
        how = {"holds": report.holds, "sides": report.sides, "level": report.level}
        checks = [one._asdict() for one in report.checks]
        output.print_object(result=options.file, **how, checks=checks)


def _find(problem: str) -> str:
    """A path; the name of a shipped formula stands for it, unless there is such a file."""
    shipped = importlib.resources.files("experiments") / "data" / Path(problem).name
    if Path(problem).name == problem and not Path(problem).exists() and shipped.is_file():
        return str(shipped)
    return problem


def _solver_names() -> list[str]:
    aliases = vars(solvers.SolverNames).values()
    return [name for names in aliases if isinstance(names, tuple) for name in names]
