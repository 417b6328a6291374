"""Randomness on the host, from integer seeds or JAX keys.

    >>> rows = generator(7, "random_ksat", 3).integers(2, size=(4, 9))
    >>> len(seed_words(7)), len(seed_words(7 << 200))
    (2, 27)

Kernels take keys; what runs in numpy draws from here, so that one seed means one stream whatever
the precision setting, and nothing imports JAX to draw a number.
"""

import hashlib
from typing import Any

import numpy as np


def seed_words(key: Any) -> bytes:
    """The bytes a seed stands for, equal on every machine and in every process.

    An integer and the key made from it have different bytes; a typed key and its raw form have
    the same. Bytes stand for themselves, so what was stored derives again.

    Args:
      key: an integer of any size, at least 0, one JAX key, typed or raw (uint32 [2] or [4]), or
        the bytes of either.

    Raises:
      ValueError: it is neither.
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        number = int(key)
        if number < 0:
            raise ValueError(f"expected a seed of at least 0, given {number}")
        return b"i" + number.to_bytes((number.bit_length() + 7) // 8 or 1, "little")
    if isinstance(key, bytes):
        return key
    words = _key_data(key)
    if words is None or words.dtype != np.uint32 or words.shape not in ((2,), (4,)):
        raise ValueError(f"expected an integer seed or one JAX key, given {key!r}")
    return b"k" + words.astype("<u4").tobytes()


def generator(key: Any, *labels: str | int) -> np.random.Generator:
    """An independent stream for each pair of a seed and labels: Philox keyed by SHA-256."""
    digest = hashlib.sha256(seed_words(key) + b"\0" + repr(labels).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def small(seed: Any, bits: int = 31) -> int:
    """A seed for what takes small integers: the lowest bits of an integer, else drawn from it."""
    if isinstance(seed, (int, np.integer)):
        return int(seed) % (1 << bits)
    return int(generator(seed, "small").integers(1 << bits))


def jax_key(seed: Any) -> Any:
    """A typed JAX key: of an integer that of ``jax.random.key``, a JAX key itself, else drawn."""
    import jax

    if isinstance(seed, (int, np.integer)):
        return jax.random.key(int(seed))
    words = _key_data(seed)
    if words is None:
        return jax.random.key(small(seed, 32))
    return jax.random.wrap_key_data(jax.numpy.asarray(words))


def _key_data(key: Any) -> np.ndarray | None:
    if isinstance(key, np.ndarray):
        return key
    if not hasattr(key, "dtype"):
        return None
    import jax  # only who passes a JAX array pays for the import

    is_typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if is_typed else key)
