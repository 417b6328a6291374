"""Formulas with their exact counts, read or made: what learned counters are trained on.

>>> problems = make(0, 3)  # three of each kind, counted by Ganak; those with models
>>> {problem.family for problem in problems}
{'3sat', 'diagnosis'}
"""

import csv
import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm

from experiments.harness import peers
from inference import randomness
from inference.problems import cnf, dimacs, generators


class Problem(NamedTuple):
    """A formula with its exact log count in nats."""

    name: str
    family: str
    split: str
    formula: cnf.CNF
    log_count: float


def read(folder: Path) -> list[Problem]:
    """The formulas that ``counts.csv`` names, weights and sampling sets dropped."""
    with (folder / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    problems = []
    for row in tqdm.tqdm(rows, "reading", leave=False, disable=None):
        with warnings.catch_warnings():  # some headers of the collection miscount the clauses
            warnings.simplefilter("ignore", dimacs.DimacsWarning)
            formula = dimacs.read(folder / row["file"], ignore_weights=True)
        formula = dataclasses.replace(formula, projection=None)
        value = float(row["ln_count"])
        problems.append(Problem(row["file"], row["family"], row["split"], formula, value))
    return problems


def make(key: Any, number: int) -> list[Problem]:
    """Random 3-SAT and noisy diagnoses (networks of OR gates), counted by Ganak."""
    problems = []
    for family, draw in (("3sat", _random_3sat), ("diagnosis", _diagnosis)):
        for index in range(number):
            formula = draw(randomness.generator(key, "bpnn_counting", family, index))
            value = math.log(2) * peers.ganak(formula, seed=0)
            problems.append(Problem(f"{family}-{index}", family, "test", formula, value))
    return [problem for problem in problems if problem.log_count > -math.inf]


def _random_3sat(rng: np.random.Generator) -> cnf.CNF:
    """Of 20 to 40 variables, well below the density where models end."""
    variables, density = int(rng.integers(20, 41)), rng.uniform(0.5, 3.0)
    return generators.random_ksat(int(rng.integers(2**31)), variables, int(density * variables))


def _diagnosis(rng: np.random.Generator, size: int = 30) -> cnf.CNF:
    """As many causes, and findings that are ORs of three of them; every other finding is known."""
    clauses, truth = [], rng.random(size) < 0.3
    for finding in range(size + 1, 2 * size + 1):
        inputs = (1 + rng.choice(size, 3, replace=False)).tolist()
        clauses += [[finding, -cause] for cause in inputs] + [[-finding, *inputs]]
        if finding % 2:
            clauses.append([finding if truth[np.array(inputs) - 1].any() else -finding])
    return cnf.from_clauses(clauses)
