"""Models of the original formula that extend the stored ones, free variables set at random.

    >>> assignments = extend(formula, found)
    >>> assignments[0].shape  # of round 0: variables, packed assignments
    (98, 27)

The random bits derive from the seed, the digest, the round, the model itself and the number of the
copy, so no order of the models suits them better than another. They still are a test and no proof:
a variable that is seldom bound may pass, and whoever counts chooses the seed. ``repairs`` proves.
"""

import dataclasses

import numpy as np

from hashing.counting import witness
from hashing.parity import draws
from inference.oracles import sat
from inference.problems import cnf, parity_rows

# One solver counts and another one reduces; this is neither.
SOLVER = "cadical153"
# Random extensions of the models of a round, so that few models test free variables as well.
MIN_EXTENSIONS = 64


def extend(formula: cnf.CNF, found: witness.Witness, solver: str = SOLVER) -> dict[int, np.ndarray]:
    """Assignments of all variables that extend the stored models, by number of the round.

    Returns:
      uint8 [n, ceil(N / 8)]: bit i (from the high end) of row v is variable v + 1 in assignment i,
      which agrees with row i of ``fixed_bits``.

    Raises:
      RuntimeError: there is none, so the formula was reduced wrongly.
    """
    everything = dataclasses.replace(formula, projection=None, log_weights=None)
    columns = np.concatenate([found.support, found.free])
    extended = {}
    with sat.SatSession(everything, solver=solver) as session:
        for index in sorted(found.rounds):
            bits = fixed_bits(found, index)
            full = np.zeros((len(bits), formula.num_variables), dtype=bool)
            for row, fixed in enumerate(np.where(bits, columns, -columns).tolist()):
                model = session.solve([*found.assumptions, *fixed]).assignments
                if model is None:
                    raise RuntimeError(
                        f"the count is wrong: assignment {row} of round {index} is no model of the "
                        "formula, so it was reduced wrongly; please report formula and seed"
                    )
                full[row] = model[0]
            extended[index] = np.packbits(full.T, axis=1)
    return extended


def number(found: witness.Witness, index: int) -> int:
    """How many extensions a round has."""
    models = len(_distinct(found.rounds[index]))
    return models * _copies(found, models)


def fixed_bits(found: witness.Witness, index: int) -> np.ndarray:
    """What the assignments of a round agree with, bool [N, k + f]: its models, then free bits.

    These are the models of cell(m), then those of cell(m - 1) that are not among them, all of them
    repeated up to ``MIN_EXTENSIONS`` where variables are free; the free bits are random.
    """
    distinct = _distinct(found.rounds[index])
    copies, width = _copies(found, len(distinct)), len(found.free)
    models = np.tile(distinct, (copies, 1))
    free = np.zeros((len(models), parity_rows.num_words(width)), dtype=np.uint32)
    for row, model in enumerate(models if width else ()):
        labels = index, model.astype("<u4").tobytes().hex(), row // len(distinct)
        key = draws.derive(found.seed, "free variables", found.digest, *labels)
        free[row] = draws.draw_dense(key, 1, width)[0][0]
    bits = [(models, len(found.support)), (free, width)]
    return np.concatenate([parity_rows.unpack(words, columns) for words, columns in bits], axis=1)


def _distinct(one: witness.Round) -> np.ndarray:
    """The models of a round, those of cell(m) first: uint32 [N, W]."""
    known = {model.tobytes() for model in one.models}
    new = np.array([model.tobytes() not in known for model in one.before], dtype=bool)
    return np.concatenate([one.models, one.before[new]])


def _copies(found: witness.Witness, models: int) -> int:
    return -(-MIN_EXTENSIONS // models) if models and len(found.free) else 1
