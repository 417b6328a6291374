"""Fixtures for every test; JAX is imported by those that use it."""

import itertools
import os

import pytest

# Silent broadcasting hides wrong shapes. JAX reads this when a test imports it.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Tests compile for most of their time, and run what they compiled once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture
def getkey():
    """A function that returns a fresh typed key at each call."""
    import jax

    seeds = itertools.count()
    return lambda: jax.random.key(next(seeds))
