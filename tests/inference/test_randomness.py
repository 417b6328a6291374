import subprocess
import sys

import jax
import numpy as np
import pytest

from inference import randomness


def test_distinct_seeds_have_distinct_words():
    seeds = [0, 1, 255, 256, 2**64, 2**64 + 1, 2**3000, jax.random.key(0), jax.random.key(1)]
    assert len({randomness.seed_words(seed) for seed in seeds}) == len(seeds)


def test_words_do_not_depend_on_the_form_of_the_seed():
    key = jax.random.key(5)
    raw = jax.random.key_data(key)
    assert randomness.seed_words(key) == randomness.seed_words(raw)
    assert randomness.seed_words(key) == randomness.seed_words(np.asarray(raw))
    assert randomness.seed_words(7) == randomness.seed_words(np.int32(7)) == b"i\x07"


@pytest.mark.parametrize("bad", [-1, 1.5, "7", None, True, np.zeros(2), np.zeros((3, 2), "u4")])
def test_refuses_what_is_no_seed(bad):
    with pytest.raises(ValueError, match="expected .* given"):
        randomness.seed_words(bad)


def test_refuses_a_batch_of_keys():
    with pytest.raises(ValueError, match="one JAX key"):
        randomness.seed_words(jax.random.split(jax.random.key(0), 3))


def test_streams_depend_on_seed_and_labels():
    def draw(*arguments):
        return tuple(randomness.generator(*arguments).integers(2**62, size=2))

    streams = [draw(0), draw(1), draw(0, "a"), draw(0, "a", "b"), draw(0, "ab"), draw(0, 1)]
    streams += [draw(0, "1"), draw(0, 1, 1), draw(0, 11), draw(jax.random.key(0))]
    assert len(set(streams)) == len(streams)
    assert draw(3, "x", 2) == draw(3, "x", 2)


def test_stream_is_stable_across_processes_and_imports_no_jax():
    code = (
        "import sys; from inference import randomness;"
        "print(randomness.generator(2**70, 'a', 3).integers(2**62), 'jax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = randomness.generator(2**70, "a", 3).integers(2**62)
    assert run.stdout.split() == [str(here), "False"]


def test_small_seeds_are_the_lowest_bits_of_integers():
    assert [randomness.small(n) for n in (0, 7, 2**31 - 1, 2**31, 2**31 + 5, 2**70 + 9)] == [
        *(0, 7, 2**31 - 1, 0, 5, 9)
    ]
    assert randomness.small(np.int64(300), 8) == 44 and type(randomness.small(np.int64(3))) is int


def test_small_seeds_are_drawn_from_keys_and_bytes():
    typed, words = jax.random.key(5), randomness.seed_words(jax.random.key(5))
    forms = [typed, jax.random.key_data(typed), np.asarray(jax.random.key_data(typed)), words]
    seeds = {randomness.small(form) for form in forms}
    assert len(seeds) == 1 and 0 <= seeds.pop() < 2**31
    others = [jax.random.key(6), b"", b"seed", b"seeds"]
    assert len({randomness.small(one) for one in [*others, typed]}) == 5
    assert all(0 <= randomness.small(b"%d" % n, 3) < 8 for n in range(50))
    assert len({randomness.small(b"%d" % n, 3) for n in range(50)}) == 8


def test_jax_keys_of_every_kind_of_seed():
    def data(seed):
        key = randomness.jax_key(seed)
        assert key.shape == () and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(key).tolist()

    key = jax.random.key(5)
    raw = jax.random.key_data(key)
    assert data(5) == data(np.int32(5)) == data(key) == data(raw) == data(np.asarray(raw))
    assert data(5) == raw.tolist()
    assert data(b"seed") == data(b"seed") != data(b"seeds")


@pytest.mark.parametrize("function", [randomness.small, randomness.jax_key])
def test_what_is_no_seed_is_none_of_the_small_ones(function):
    with pytest.raises(ValueError, match="expected an integer seed or one JAX key, given '7'"):
        function("7")
