"""Other model counters as commands that answer like `tally count --json`.

    python -m experiments.harness.peers approxmc formula.cnf 0.8 0.2 1
    {"method": "approxmc", "log2_value": 23.6, "log2_lower": 22.8, "log2_upper": 24.5, ...

For comparisons only. Weights in the file are ignored, and the file is read by the reader that
`tally count` uses. The words are the counter, the file, epsilon, delta and the seed; Ganak, being
exact, makes no use of epsilon and delta.
"""

import ctypes
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from inference.problems import cnf, dimacs, xor_clauses


def main(words: Sequence[str]) -> None:
    """Counts the models of one file and prints one JSON object."""
    sys.set_int_max_str_digits(0)  # counters write counts of any size as text
    tool, file, epsilon, delta, seed = words
    formula = dimacs.read(file, ignore_weights=True)
    if tool == "approxmc":
        value = approxmc(formula, float(epsilon), float(delta), int(seed))
        width = math.log2(1 + float(epsilon))
    elif tool == "ganak":
        value, width = ganak(formula, int(seed)), 0.0
    else:
        raise ValueError(f"expected approxmc or ganak, given {tool!r}")
    bounds = {"log2_value": value, "log2_lower": value - width, "log2_upper": value + width}
    print("\n" + json.dumps({"method": tool, **bounds, "status": "done"}))


def approxmc(formula: cnf.CNF, epsilon: float, delta: float, seed: int) -> float:
    """log2 of the count by ApproxMC, with the sampling variables it forgets put back.

    Its Python package drops the factor 2^k of the k sampling variables that its preprocessing
    finds free, and prints k; it refuses sampling variables above the largest in the clauses.
    """
    import pyapproxmc

    clauses = _clauses(formula)
    largest = int(np.abs(clauses.values).max(initial=0))
    sampled = formula.sampling_set[formula.sampling_set <= largest].tolist()
    counter = pyapproxmc.Counter(verbosity=1, seed=seed, epsilon=epsilon, delta=delta)
    if len(clauses):
        counter.add_clauses(np.insert(clauses.values, clauses.offsets[1:], 0))
    (cells, hashes), printed = _capture(lambda: counter.count(sampled))
    free = [int(number) for number in re.findall(r"total empties now: (\d+)", printed)]
    unmentioned = len(formula.sampling_set) - len(sampled)
    return _log2(cells) + hashes + (free[-1] if free else 0) + unmentioned


def ganak(formula: cnf.CNF, seed: int) -> float:
    """log2 of the count by Ganak."""
    import pyganak

    clauses = _clauses(formula)
    counter = pyganak.Counter(verbose=0, seed=seed)
    counter.new_vars(int(np.abs(clauses.values).max(initial=formula.num_variables)))
    counter.add_clauses(clauses.tolist())
    if formula.projection is not None:
        counter.set_sampling_set(formula.projection.tolist())
    return _log2(counter.count())


def _clauses(formula: cnf.CNF) -> cnf.Ragged:
    """The clauses, with XORs turned into clauses, and with two in place of an empty one.

    Neither counter takes an empty clause for a contradiction.
    """
    more, fresh = xor_clauses.encode_formula(formula)
    if not more and np.diff(formula.clauses.offsets).all():
        return formula.clauses
    clauses = formula.clauses.tolist() + more
    contradiction = [] if all(clauses) else [[fresh], [-fresh]]
    return cnf.ragged([*filter(None, clauses), *contradiction])


def _capture(function: Callable) -> tuple:
    """The result of a call and what solvers print meanwhile on the process's standard output."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as printed:
        before = os.dup(1)
        os.dup2(printed.fileno(), 1)
        try:
            result = function()
            ctypes.CDLL(None).fflush(None)
        finally:
            os.dup2(before, 1)
            os.close(before)
        printed.seek(0)
        return result, printed.read().decode(errors="replace")


def _log2(count: int) -> float:
    return math.log2(count) if count else -math.inf


if __name__ == "__main__":
    main(sys.argv[1:])
