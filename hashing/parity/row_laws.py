"""Laws of the rows of parities with few ones: dense, biregular, adaptive.

    >>> adaptive(np.random.default_rng(0), 10, frequencies=np.full(40, 0.5)).sum(axis=1)
    array([4, 4, 4, 4, 4, 4, 4, 4, 4, 4])

Kuck, Dao, Zhao, Bartan, Sabharwal and Ermon, Adaptive Hashing for Model Counting (UAI 2019).
"""

from collections.abc import Callable

import numpy as np

# From a generator, the number of rows and, per column, the part of ones among the models found so
# far: rows bool [m, k].
RowLaw = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]

# Above this part of ones in a column, rows are dense, as in the authors' program.
LARGEST_DENSITY = 0.4


def dense(generator: np.random.Generator, num_rows: int, frequencies: np.ndarray) -> np.ndarray:
    """Every bit a fair coin: bool [m, k]."""
    rows = np.zeros((num_rows, len(frequencies)), dtype=bool)
    for row in rows:  # all at once they would take eight bytes a bit
        row[:] = generator.integers(2, size=len(frequencies))
    return rows


def biregular(
    generator: np.random.Generator, num_rows: int, frequencies: np.ndarray, degree: float = 1.0
) -> np.ndarray:
    """About equally many ones in every row, ``degree`` on average in every column: bool [m, k]."""
    return adaptive(generator, num_rows, np.full(len(frequencies), 0.5), degree)


def adaptive(
    generator: np.random.Generator, num_rows: int, frequencies: np.ndarray, degree: float = 1.0
) -> np.ndarray:
    """Biregular rows that share the columns evenly, those of most varied bits first: bool [m, k].

    Columns, ordered by |frequency - 1/2| with ties at random, are dealt out to the rows in blocks
    of m, one to each row, and over again until there are ``degree`` ones per column. Dense rows
    where m is so small that columns would be more than ``LARGEST_DENSITY`` ones.
    """
    num_columns = len(frequencies)
    if degree > LARGEST_DENSITY * num_rows:
        return dense(generator, num_rows, frequencies)
    shuffled = generator.permutation(num_columns)
    order = shuffled[np.argsort(np.abs(frequencies[shuffled] - 0.5), kind="stable")]
    dealt = np.resize(order, round(degree * num_columns))
    rows = np.zeros((num_rows, num_columns), dtype=bool)
    for start in range(0, len(dealt), num_rows):
        block = dealt[start : start + num_rows]
        for _ in range(100):  # then a column keeps fewer ones
            targets = generator.permutation(num_rows)[: len(block)]
            if not rows[targets, block].any():
                break
        rows[targets, block] = True
    return rows
