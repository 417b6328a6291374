"""Counts on disk, and `tally verify`, which checks one again.

    results.save("count.json", "f.cnf", formula, estimate, info, seconds=0.1)
    results.verify(["count.json", "--solver", "cadical153"])  # prints; status 1 when refused

A stored count is the object that ``--json`` prints, with a ``witness``: None, or for approxmc what
``hashing.counting.witness`` writes and ``assignments``, for each round those of
``hashing.counting.verify.extend``, packed.
"""

import base64
import dataclasses
import importlib.resources
import json
import math
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pysat import solvers
from tyro.conf import Positional, arg

from experiments.harness import arguments, output
from hashing.counting import verify as verification
from hashing.counting import witness
from inference import answer
from inference.estimate import Estimate
from inference.oracles import ganak
from inference.problems import cnf, dimacs

# Packed assignments of all models of a count; a default count of 10^5 variables needs 6 MB.
MAX_OCTETS = 1 << 28
_MALFORMED = (*witness.MALFORMED, zlib.error)
_TEXTS = ("problem", "method", "claim", "status")
_NUMBERS = ("log2_value", "log2_lower", "log2_upper", "failure_lower", "failure_upper")


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check a count again that `tally count --save` stored.

    Without a solver the stored models are checked, on which the lower side rests; with one the
    cells are solved again, on which the upper side rests. Ends with status 1 unless all holds.
    """

    file: Positional[Annotated[str, arg(metavar="RESULT.json")]]
    """What `tally count --save` wrote."""
    formula: Annotated[str | None, arg(metavar="FILE")] = None
    """The formula, by default from where it was counted."""
    solver: Annotated[str | None, arg(metavar="NAME")] = None
    """A PySAT solver: cadical153 took no part in counting, cryptominisat5 did, but is quicker where
    parities are long. For exact counts ganak, which counts again."""
    timeout: arguments.Limit = None
    """Stop the solver then; what it did not finish is not checked."""
    json: bool = False
    """Print one JSON object on the last line."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        if self.timeout is not None and not 0.0 < self.timeout < 1e9:
            raise arguments.UsageError(
                f"--timeout: expected seconds between 0 and 1e9, given {self.timeout}"
            )
        if self.solver not in (None, "ganak", *_solver_names()):
            raise arguments.UsageError(
                f"--solver: expected ganak or a PySAT solver, as {verification.SOLVER}, "
                f"given {self.solver!r}"
            )


def verify(words: Sequence[str]) -> None:
    """`tally verify RESULT.json`"""
    options = arguments.parse(Verify, "verify", words)
    fields, found, texts = load(options.file)
    path = _find(options.formula or fields["problem"])
    if found is None:
        formula = dimacs.read(path, ignore_weights=fields["count"] is not None)
        report = recount(formula, fields, options.solver, options.timeout)
    else:
        if options.solver == "ganak":
            raise arguments.UsageError("--solver: expected a PySAT solver for a count by approxmc")
        formula = dimacs.read(path, ignore_weights=True)
        same = formula.digest() == found.digest  # otherwise refused, whatever the assignments
        assignments = _unpacked(texts, found, formula) if same else {}
        limits: dict[str, Any] = {"solver": options.solver, "timeout": options.timeout}
        report = verification.check(formula, fields, found, assignments, **limits)
    _print(options, report)
    if not report.holds:
        sys.stdout.flush()  # what closed pipes raise is for the caller
        raise SystemExit(1)


def save(
    path: str | os.PathLike,
    problem: str,
    formula: cnf.CNF,
    estimate: Estimate,
    info: Any,
    seconds: float,
) -> None:
    """Writes a count with what it takes to check it; whoever is stopped leaves the old file whole.

    Raises:
      RuntimeError: a model is none of the original formula, so the count is wrong.
      ValueError: the assignments would take more than 256 MB.
    """
    fields = output.fields_of(problem, estimate, info, seconds) | {"witness": None}
    if isinstance(estimate.witness, witness.Witness):
        fields["witness"] = _witness(formula, estimate.witness)
    witness.write_json(path, fields)


def load(path: str | os.PathLike) -> tuple[dict[str, Any], witness.Witness | None, list[str]]:
    """The fields of a stored count, its witness, and the text of each round's assignments.

    Raises:
      ValueError: the file is no stored count.
      OSError: it cannot be read.
    """
    try:
        fields = json.loads(Path(path).read_bytes(), parse_int=_integer, parse_constant=_integer)
        claimed = _claimed(fields)
        if fields["witness"] is None:
            return claimed, None, []
        if claimed["method"] != "approxmc":
            raise ValueError(f"no witness for the method {claimed['method']!r}")
        return claimed, *_found(fields["witness"])
    except _MALFORMED as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{path}: expected a count stored by tally count: {reason}") from error


def recount(
    formula: cnf.CNF, claimed: dict[str, Any], solver: str | None, timeout: float | None
) -> verification.Report:
    """Compares a count without witness with another one by Ganak.

    Raises:
      ValueError: the solver is not Ganak.
    """
    if solver is None:
        detail = f"{claimed['method']} leaves nothing to check; --solver ganak counts again"
        return verification.Report((verification.Check("count", None, detail),), "nothing checked")
    if solver != "ganak":
        raise arguments.UsageError(f"--solver: expected ganak, which counts again, given {solver}")
    # Another seed, so another hash of the components in the cache.
    solved = ganak.count(formula, timeout=timeout, seed=(claimed["seed"] + 1) % 2**31)
    if solved.status is not answer.Status.OPTIMAL:
        detail = solved.message or f"not finished within {solved.seconds:.3g} s"
        return verification.Report((verification.Check("count", None, detail),), "nothing checked")
    try:
        detail = _compare(claimed, solved.value)
    except ValueError as error:
        check = verification.Check("count", False, str(error))
        return verification.Report((check,), f"refused: count: {error}")
    return verification.Report((verification.Check("count", True, detail),), "recounted")


def _compare(claimed: dict[str, Any], counted: Estimate) -> str:
    """Raises ValueError where the claim does not fit the new count."""
    if claimed["method"] == "ganak" and claimed["status"] in ("done", "unsatisfiable"):
        verification.compare(claimed, counted)
        return "the same, with another seed"
    value = counted.log_value / math.log(2)
    near = verification.TOLERANCE * max(1.0, abs(value))
    if not claimed["log2_lower"] - near <= value <= claimed["log2_upper"] + near:
        raise ValueError(f"log2 of the count is {value:.12g}, outside the interval")
    if claimed["count"] not in (None, str(counted.count)):
        raise ValueError(f"count: expected {counted.count}, given {claimed['count']}")
    return "inside the interval"


def _print(options: Verify, report: verification.Report) -> None:
    marks = {True: "ok", False: "refused", None: "not checked"}
    for one in report.checks:
        print(f"{marks[one.passed]:<12}{one.what}: {one.detail}")
    print(report.level)
    if options.json:
        checks = [one._asdict() for one in report.checks]
        output.print_object(
            result=options.file, holds=report.holds, level=report.level, checks=checks
        )


def _witness(formula: cnf.CNF, found: witness.Witness) -> dict[str, Any]:
    octets = sum(_shape(formula, found, i)[0] * _shape(formula, found, i)[1] for i in found.rounds)
    if octets > MAX_OCTETS:
        raise ValueError(f"expected at most {MAX_OCTETS} octets of assignments, given {octets}")
    extended = verification.extend(formula, found)
    texts = [
        base64.b64encode(zlib.compress(extended[index].tobytes(), 9)).decode()
        for index in sorted(found.rounds)
    ]
    return witness.to_plain(found) | {"assignments": texts}


def _unpacked(texts: list[str], found: witness.Witness, formula: cnf.CNF) -> dict[int, np.ndarray]:
    """The inverse, one array per round; never more than the sizes that the witness calls for."""
    assignments = {}
    left = MAX_OCTETS
    for index, text in zip(sorted(found.rounds), texts):
        shape = _shape(formula, found, index)
        size = shape[0] * shape[1]
        left -= size
        if left < 0:
            raise ValueError(f"expected at most {MAX_OCTETS} octets of assignments")
        try:
            octets = zlib.decompressobj().decompress(
                base64.b64decode(text, validate=True), size + 1
            )
            assignments[index] = np.frombuffer(octets, dtype=np.uint8).reshape(shape)
        except (ValueError, zlib.error) as error:
            raise ValueError(f"the assignments of round {index} are damaged: {error}") from error
    return assignments


def _shape(formula: cnf.CNF, found: witness.Witness, index: int) -> tuple[int, int]:
    number = len(verification.fixed_bits(found, index))
    return formula.num_variables, -(-number // 8)


def _found(plain: dict[str, Any]) -> tuple[witness.Witness, list[str]]:
    plain = dict(plain)
    texts = plain.pop("assignments")
    found = witness.from_plain(plain)
    if found.support.ndim != 1 or found.free.ndim != 1:
        raise ValueError("expected lists of variables")
    most = 1 << min(len(found.support), 62)
    if any(max(len(one.models), len(one.before)) > most for one in found.rounds.values()):
        raise ValueError("more models than assignments")
    if len(texts) != len(found.rounds) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected a text of assignments for each round")
    return found, texts


def _claimed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that are checked, infinities as numbers."""
    claimed = {name: fields[name] for name in (*_TEXTS, "seed", "count")}
    if not all(isinstance(claimed[name], str) for name in _TEXTS):
        raise ValueError(f"expected texts for {', '.join(_TEXTS)}")
    if type(claimed["seed"]) is not int or not isinstance(claimed["count"], str | None):
        raise ValueError("expected an integer for seed, a text or null for count")
    for name in _NUMBERS:
        value = fields[name]
        if value not in ("inf", "-inf") and type(value) not in (int, float):
            raise ValueError(f"expected a number for {name}, given {value!r}")
        claimed[name] = float(value)
    return claimed


def _integer(text: str) -> int:
    if len(text) > 40:  # a long one would take minutes to read
        raise ValueError(f"expected integers of up to 40 digits, given {len(text)}")
    return int(text)  # NaN is none either


def _find(problem: str) -> str:
    """A path; the name of a shipped formula stands for it, unless there is such a file."""
    shipped = importlib.resources.files("experiments") / "data" / Path(problem).name
    if Path(problem).name == problem and not Path(problem).exists() and shipped.is_file():
        return str(shipped)
    return problem


def _solver_names() -> list[str]:
    aliases = vars(solvers.SolverNames).values()
    return [name for names in aliases if isinstance(names, tuple) for name in names]
