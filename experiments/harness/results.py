"""Counts on disk, and `tally verify`, which checks one again.

    results.save("count.json", "f.cnf", formula, estimate, info, seconds=0.1)
    results.verify(["count.json", "--solver", "cadical153"])  # prints; status 0, 3, 1

A stored count is the object that ``--json`` prints, with the ``format``, the formula's ``digest``
and a ``witness``: None, or for approxmc what ``hashing.counting.witness`` writes and
``assignments``, for each round those of ``hashing.counting.extensions``, packed.
"""

import base64
import dataclasses
import importlib.resources
import json
import math
import os
import secrets
import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pysat import solvers
from tyro.conf import Positional, arg

from experiments.harness import arguments, output, recount
from hashing.counting import extensions, guarantee, verification, witness
from inference.estimate import Estimate
from inference.problems import cnf, dimacs

FORMAT = "tally count 2"

# Packed assignments of all models of a count; a default count of 10^5 variables needs 6 MB.
MAX_OCTETS = 1 << 28
_MALFORMED = (*witness.MALFORMED, zlib.error)
_TEXTS = ("problem", "method", "claim", "status", "digest")
_NUMBERS = ("log2_value", "log2_lower", "log2_upper", "failure_lower", "failure_upper")


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
        if self.timeout is not None and not 0.0 < self.timeout < 1e9:
            raise arguments.UsageError(
                f"--timeout: expected seconds between 0 and 1e9, given {self.timeout}"
            )
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


def verify(words: Sequence[str]) -> None:
    """`tally verify RESULT.json`"""
    options = arguments.parse(Verify, "verify", words)
    fields, found, texts = load(options.file)
    path = _find(options.formula or fields["problem"])
    formula = dimacs.read(path, ignore_weights=True)
    if formula.digest() != fields["digest"]:  # unless the weights were ignored, too
        formula = dimacs.read(path)
    if formula.digest() != fields["digest"]:
        report = _other_formula(formula, fields["digest"])
    elif found is None:
        if options.reseed is not None:
            raise arguments.UsageError("--reseed: expected a count by approxmc")
        report = recount.check(formula, fields, solver=options.solver, timeout=options.timeout)
    else:
        if options.solver == "ganak":
            raise arguments.UsageError("--solver: expected a PySAT solver for a count by approxmc")
        report = verification.check(
            formula,
            fields,
            found,
            _unpacked(texts, found, formula),
            solver=options.solver,
            reseed=_other_seed(options.reseed, fields["seed"]),
            timeout=options.timeout,
        )
    print(f"{'result':<12}{_claim_of(fields, formula)}")
    print(f"{'of':<12}{path}")
    _print(options, report)
    sys.stdout.flush()  # what closed pipes raise is for the caller
    if report.sides == "none":
        raise SystemExit(1)
    if report.sides != "both" or not report.holds:
        raise SystemExit(3)


def _other_formula(formula: cnf.CNF, digest: str) -> verification.Report:
    detail = f"expected the digest {formula.digest()[:12]}..., given {digest[:12]!r}"
    refused = verification.Check("formula", False, detail)
    return verification.Report((refused,), f"refused: formula: {detail}", "none")


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


def save(
    path: str | os.PathLike,
    problem: str,
    formula: cnf.CNF,
    estimate: Estimate,
    info: Any,
    seconds: float,
) -> None:
    """Writes a count with what it takes to check it; whoever is stopped leaves the old file whole.

    Where hashing stopped before most rounds had finished, the claim that is written is the weaker
    one that follows from the finished rounds, as only they are stored; a warning says so.

    Raises:
      RuntimeError: a model is none of the original formula, so the count is wrong.
      ValueError: the assignments would take more than 256 MB.
    """
    found, stored = estimate.witness, None
    if isinstance(found, witness.Witness):
        stored = _witness(formula, found)
        printed = estimate
        estimate = guarantee.estimate_of(found, guarantee.plan(found.epsilon, found.delta))
        if estimate != printed:
            warnings.warn(
                f"{path} holds a weaker claim, on the finished rounds alone", stacklevel=2
            )
    fields = {"format": FORMAT, **output.fields_of(problem, estimate, info, seconds)}
    witness.write_json(path, fields | {"digest": formula.digest(), "witness": stored})


def load(path: str | os.PathLike) -> tuple[dict[str, Any], witness.Witness | None, list[str]]:
    """The fields of a stored count, its witness, and the text of each round's assignments.

    Raises:
      ValueError: the file is no stored count.
      OSError: it cannot be read.
    """
    try:
        fields = json.loads(
            Path(path).read_bytes(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_number,
        )
        claimed = _claimed(fields)
        if fields["witness"] is None:
            return claimed, None, []
        if claimed["method"] != "approxmc":
            raise ValueError(f"no witness for the method {claimed['method']!r}")
        return claimed, *_found(fields["witness"])
    except _MALFORMED as error:
        name = "" if type(error) is ValueError else f"{type(error).__name__}: "
        reason = " ".join(f"{name}{error}".split())[:200]
        raise ValueError(f"{path}: expected a count stored by tally count: {reason}") from error


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
        checks = [one._asdict() for one in report.checks]
        output.print_object(
            result=options.file,
            holds=report.holds,
            sides=report.sides,
            level=report.level,
            checks=checks,
        )


def _witness(formula: cnf.CNF, found: witness.Witness) -> dict[str, Any]:
    octets = sum(_shape(formula, found, i)[0] * _shape(formula, found, i)[1] for i in found.rounds)
    if octets > MAX_OCTETS:
        raise ValueError(f"expected at most {MAX_OCTETS} octets of assignments, given {octets}")
    extended = extensions.extend(formula, found)
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
    return formula.num_variables, -(-extensions.number(found, index) // 8)


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
    if fields.get("format") != FORMAT:
        raise ValueError(
            f"expected the format {FORMAT!r}, given {fields.get('format')!r}: count again"
        )
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two equal names readers take one or the other, so there must be none."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("expected each name once")
    return dict(pairs)


def _integer(text: str) -> int:
    if len(text) > 40:  # a long one would take minutes to read
        raise ValueError(f"expected integers of up to 40 digits, given {len(text)}")
    return int(text)


def _number(text: str) -> float:
    if not math.isfinite(float(text)):  # 1e999 is infinite, too
        raise ValueError(f"expected finite numbers, given {text[:40]}")
    return float(text)


def _find(problem: str) -> str:
    """A path; the name of a shipped formula stands for it, unless there is such a file."""
    shipped = importlib.resources.files("experiments") / "data" / Path(problem).name
    if Path(problem).name == problem and not Path(problem).exists() and shipped.is_file():
        return str(shipped)
    return problem


def _solver_names() -> list[str]:
    aliases = vars(solvers.SolverNames).values()
    return [name for names in aliases if isinstance(names, tuple) for name in names]
