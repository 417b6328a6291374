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
