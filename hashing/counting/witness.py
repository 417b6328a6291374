"""What it takes to check a count by hashing again, and to resume one: plain data, as JSON on disk.

    >>> save("count.ckpt", witness)
    >>> load("count.ckpt").rounds[0].num_hashes
    41

Models are assignments of the support, packed. The parities are not stored: they derive from seed,
digest and round, so nobody can shop for ones that suit.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hashing.parity import draws
from inference import files
from inference.problems import parity_rows

FORMAT = "tally approxmc 2"
# A cell that is not small at so many levels past the number of columns has chance 2^-SPARE_LEVELS.
SPARE_LEVELS = 128
# What reading a file of any content may raise.
MALFORMED = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(OverflowError, RecursionError, MemoryError),
)


class Round(NamedTuple):
    """One finished round.

    Attributes:
      num_hashes: the first level m whose cell is small.
      models: all models in cell(m), uint32 [N, W].
      before: more models than the threshold in cell(m - 1), uint32 [threshold + 1, W]; empty for
        m = 0.
    """

    num_hashes: int
    models: np.ndarray
    before: np.ndarray


class Witness(NamedTuple):
    """The question, what was hashed, and what the rounds found.

    Attributes:
      digest: of the formula, its sampling set included.
      assumptions: literals that were added to it.
      seed: as ``randomness.seed_words`` gives it.
      epsilon, delta: tolerance and probability of failure.
      support: int32 [k], the variables that are hashed, one per column of the parities.
      free: int32 [f], sampling variables that double the count.
      rounds: by number; only an exact count has a round with no hashes, and that one alone.
      level: in a checkpoint, where the search for the first round starts; None where not known.
    """

    digest: str
    assumptions: tuple[int, ...]
    seed: bytes
    epsilon: float
    delta: float
    support: np.ndarray
    free: np.ndarray
    rounds: dict[int, Round]
    level: int | None = None


def draw_key(seed: bytes, digest: str, index: int) -> int:
    """The key from which the parities of round ``index`` derive.

    The digest is part of it, so nobody can shop for a seed that suits a formula.
    """
    return draws.derive(seed, "approxmc", digest, index)


def draw(witness: Witness, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The parities of a finished round, as many as its hashes: uint32 [m, W] and bool [m]."""
    key = draw_key(witness.seed, witness.digest, index)
    return draws.draw_dense(key, witness.rounds[index].num_hashes, len(witness.support))


def save(path: str | os.PathLike, witness: Witness) -> None:
    """Writes a witness; whoever is stopped in between leaves the old file whole."""
    write_json(path, to_plain(witness))


def write_json(path: str | os.PathLike, plain: dict[str, Any]) -> None:
    """Writes an object; whoever is stopped in between leaves the old file whole."""
    with files.whole(path) as beside:
        beside.write_text(json.dumps(plain, allow_nan=False) + "\n")


def load(path: str | os.PathLike) -> Witness:
    """Reads what ``save`` wrote.

    Raises:
      ValueError: the file is no witness.
    """
    try:
        return from_plain(json.loads(Path(path).read_text()))
    except MALFORMED as error:
        reason = " ".join(f"{error}".split())[:200]
        raise ValueError(
            f"{path}: expected a witness in the format {FORMAT!r}: {reason}"
        ) from error


def to_plain(witness: Witness) -> dict[str, Any]:
    """Numbers, strings, lists and dictionaries."""
    width = len(witness.support)
    rounds = [
        {"index": i, "num_hashes": r.num_hashes, "models": _text(r.models, width)}
        | {"before": _text(r.before, width)}
        for i, r in sorted(witness.rounds.items())
    ]
    fields = witness._asdict() | {
        "format": FORMAT,
        "seed": witness.seed.hex(),
        "support": witness.support.tolist(),
        "free": witness.free.tolist(),
        "rounds": rounds,
    }
    if witness.level is None:
        del fields["level"]
    return fields


def from_plain(fields: dict[str, Any]) -> Witness:
    """The inverse of ``to_plain``; errors as they come, ``load`` words them."""
    if fields["format"] != FORMAT:
        raise ValueError(f"given {fields['format']!r}")
    support = np.array(fields["support"], dtype=np.int32)
    rounds = {
        int(r["index"]): Round(
            int(r["num_hashes"]),
            _models(r["models"], len(support)),
            _models(r["before"], len(support)),
        )
        for r in fields["rounds"]
    }
    found = Witness(
        str(fields["digest"]),
        tuple(int(x) for x in fields["assumptions"]),
        bytes.fromhex(fields["seed"]),
        float(fields["epsilon"]),
        float(fields["delta"]),
        support,
        np.array(fields["free"], dtype=np.int32),
        rounds,
        None if fields.get("level") is None else int(fields["level"]),
    )
    for index, one in rounds.items():
        if index < 0 or one.num_hashes < 0 or bool(one.num_hashes) != bool(len(one.before)):
            raise ValueError(f"given an impossible round {index}")
    # What reads leniently must not hide anything: rounds that occur twice, or true for 1.
    if _canonical(to_plain(found)) != _canonical(fields):
        raise ValueError("given another form than is written")
    return found


def _canonical(plain: dict[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, allow_nan=False)


def _text(models: np.ndarray, width: int) -> dict[str, Any]:
    octets = np.packbits(parity_rows.unpack(models, width), axis=-1)
    return {"number": len(models), "bits": base64.b64encode(octets.tobytes()).decode()}


def _models(text: dict[str, Any], width: int) -> np.ndarray:
    octets = np.frombuffer(base64.b64decode(text["bits"], validate=True), dtype=np.uint8)
    octets = octets.reshape(int(text["number"]), -(-width // 8))
    return parity_rows.pack(np.unpackbits(octets, axis=-1, count=width).astype(bool))
