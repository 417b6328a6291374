import jax
import jax.numpy as jnp
import numpy as np

from inference.mcmc import algorithm


def walk(step_size):
    def init(position, rng_key=None):
        return position

    def step(key, state):
        return state + step_size * jax.random.normal(key), state

    return algorithm.SamplingAlgorithm(init, step)


def test_chains_lie_along_the_first_axis_and_are_independent(getkey):
    last, kept = algorithm.run(
        getkey(), walk(1.0), jnp.zeros(5), 40, collect=lambda state, before: (state, before)
    )
    assert kept[0].shape == (5, 40)
    np.testing.assert_array_equal(kept[0][:, -1], last)
    np.testing.assert_array_equal(kept[0][:, :-1], kept[1][:, 1:])
    assert len(np.unique(kept[0])) == 200


def test_thinned_draws_are_so_many_steps_apart(getkey):
    count = algorithm.SamplingAlgorithm(lambda x, rng_key=None: x, lambda key, x: (x + 1, x))
    last, kept = algorithm.run(
        getkey(), count, jnp.zeros(2, int), 4, thin=3, collect=lambda state, _: state
    )
    np.testing.assert_array_equal(kept, [[3, 6, 9, 12]] * 2)
    np.testing.assert_array_equal(last, [12, 12])
