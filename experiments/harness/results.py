"""Counts on disk, with what it takes to check them again (`tally verify`).

    results.save("count.json", "f.cnf", formula, estimate, info, seconds=0.1)
    fields, found, texts = results.load("count.json")
    assignments = results.unpack(texts, found, formula)

A stored count is the object that ``--json`` prints, with the ``format``, the formula's ``digest``
and a ``witness``: None, or for approxmc what ``hashing.counting.witness`` writes and
``assignments``, for each round those of ``hashing.counting.extensions``, packed.
"""

import base64
import json
import math
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import claims
from hashing.counting import extensions, guarantee, witness
from inference.estimate import Estimate
from inference.problems import cnf

FORMAT = "tally count 2"

# Packed assignments of all models of a count; a default count of 10^5 variables needs 6 MB.
MAX_OCTETS = 1 << 28
_MALFORMED = (*witness.MALFORMED, zlib.error)
_TEXTS = ("problem", "method", "claim", "status", "digest")
_NUMBERS = ("log2_value", "log2_lower", "log2_upper", "failure_lower", "failure_upper")


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
        stored = _plain_witness(formula, found)
        printed = estimate
        estimate = guarantee.estimate_of(found, guarantee.plan(found.epsilon, found.delta))
        if estimate != printed:
            warnings.warn(
                f"{path} holds a weaker claim, on the finished rounds alone", stacklevel=2
            )
    fields = {"format": FORMAT, **claims.fields(problem, estimate, info, seconds)}
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


def unpack(texts: list[str], found: witness.Witness, formula: cnf.CNF) -> dict[int, np.ndarray]:
    """The assignments of each round; never more than the sizes that the witness calls for.

    Raises:
      ValueError: they are damaged, or would take more than 256 MB.
    """
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


def _plain_witness(formula: cnf.CNF, found: witness.Witness) -> dict[str, Any]:
    octets = sum(_shape(formula, found, i)[0] * _shape(formula, found, i)[1] for i in found.rounds)
    if octets > MAX_OCTETS:
        raise ValueError(f"expected at most {MAX_OCTETS} octets of assignments, given {octets}")
    extended = extensions.extend(formula, found)
    texts = [
        base64.b64encode(zlib.compress(extended[index].tobytes(), 9)).decode()
        for index in sorted(found.rounds)
    ]
    return witness.to_plain(found) | {"assignments": texts}


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
