"""Fixtures for every test; JAX is imported by those that use it."""

import itertools

import pytest


@pytest.fixture
def getkey():
    """A function that returns a fresh typed key at each call."""
    import jax

    seeds = itertools.count()
    return lambda: jax.random.key(next(seeds))
