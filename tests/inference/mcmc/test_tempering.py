import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import site_metropolis
import two_modes

from inference.mcmc import algorithm, discrete_targets, random_walk, tempering

BETAS = [1.0, 0.4, 0.15, 0.05]


def walk(beta):
    return random_walk.random_walk(two_modes.log_density, 0.7 / jnp.sqrt(beta), beta)


def log_density_of(state):
    return state.log_density


def last_positions(key, chain, start, num_chains=1500, num_steps=80):
    """Where so many chains are after so many steps from one start."""

    @jax.jit
    def go(key):
        states = jax.vmap(chain.init)(jnp.tile(start, (num_chains, 1)))
        return algorithm.run(key, chain, states, 1, thin=num_steps)[0].position

    return go(key)


def swapped_the_wrong_way(swaps):
    return lambda key, betas, scores, is_odd: swaps(key, betas, -scores, is_odd)


def test_both_modes_get_their_mass_from_a_start_in_one(getkey, monkeypatch):
    start = jnp.array([-2.0])
    options = {"of_state": log_density_of}
    chain = tempering.parallel_tempering(walk, two_modes.log_density, BETAS, **options)
    assert two_modes.p_value(last_positions(getkey(), chain, start)) > 1e-4
    monkeypatch.setattr(tempering, "swaps", swapped_the_wrong_way(tempering.swaps))
    assert two_modes.p_value(last_positions(getkey(), chain, start)) < 1e-10


def test_discrete_states_with_hard_zeros(getkey):
    log_density = discrete_targets.log_density(site_metropolis.graph())

    def build(beta):
        return site_metropolis.chain(log_density, beta)

    chain = tempering.parallel_tempering(build, log_density, [1.0, 0.5, 0.2, 0.0])
    start = jnp.zeros(site_metropolis.SPINS, int)
    assert site_metropolis.p_value(last_positions(getkey(), chain, start)) > 1e-4


def test_float64_stays(getkey):
    with jax.enable_x64(True):
        chain = tempering.parallel_tempering(walk, two_modes.log_density, BETAS)
        state = jax.eval_shape(chain.init, jnp.zeros(1))
        after, info = jax.eval_shape(chain.step, getkey(), state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert {after.position.dtype, info.swap_acceptance.dtype} == {np.dtype(float)}


def test_states_that_do_not_know_the_temperature_may_change_places(getkey):
    arguments = walk, two_modes.log_density, BETAS
    made_anew = tempering.parallel_tempering(*arguments, num_moves=3)
    as_they_are = tempering.parallel_tempering(*arguments, num_moves=3, of_state=log_density_of)
    states, keys = jax.jit(as_they_are.init)(jnp.array([3.0])), jax.random.split(getkey(), 20)
    ends = [jax.jit(lambda s: jax.lax.scan(lambda s, k: c.step(k, s), s, keys))(states)
            for c in (made_anew, as_they_are)]  # fmt: skip
    chex.assert_trees_all_close(*ends, rtol=1e-5)
    state, info = ends[0]
    np.testing.assert_array_equal(np.sort(info.walkers, axis=1), [[0, 1, 2, 3]] * 20)
    assert info.is_swapped[1::2, ::2].sum() == info.is_swapped[::2, 1::2].sum() == 0
    assert info.is_swapped.sum() > 5
    chex.assert_trees_all_equal(state.position, state.replicas.position[0])


def test_one_trace_for_all_temperatures(getkey):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, betas, state):
        options = {"of_state": log_density_of}
        chain = tempering.parallel_tempering(walk, two_modes.log_density, betas, **options)
        return chain.step(key, state)

    state = tempering.parallel_tempering(walk, two_modes.log_density, BETAS).init(jnp.zeros(1))
    for power in (1, 2, 3):
        state, info = step(getkey(), jnp.asarray(BETAS) ** power, state)
        assert info.swap_acceptance.shape == (3,) and info.local.is_accepted.shape == (4,)


def test_swaps_know_no_nan():
    scores = jnp.array([0.0, -jnp.inf, -jnp.inf, jnp.nan, 1.0])
    betas = jnp.array([1.0, 0.8, 0.6, 0.3, 0.0])
    acceptance, is_swapped = tempering.swaps(jax.random.key(0), betas, scores, jnp.array(False))
    np.testing.assert_array_equal(acceptance, [0, 0, 0, 1])
    np.testing.assert_array_equal(is_swapped, [False] * 4)
    is_swapped = tempering.swaps(jax.random.key(0), betas, scores, jnp.array(True))[1]
    np.testing.assert_array_equal(is_swapped, [False, False, False, True])
    np.testing.assert_array_equal(tempering.permutation(is_swapped), [0, 1, 2, 4, 3])


def test_round_trips_are_there_and_back():
    there, back = [0, 1, 2], [2, 1, 0]
    halfway = [1, 0, 2], [1, 2, 0]
    assert tempering.round_trips([there, there]) == 0
    assert tempering.round_trips([there, halfway[0], halfway[1], back, there]) == 1
    assert tempering.round_trips([back, there]) == 0
    assert tempering.round_trips([there, back, there, back]) == 2
    assert tempering.round_trips(np.zeros((5, 1), int)) == 0


def test_ladders_are_cut_where_neighbours_reject_equally(getkey):
    def normal(beta):  # independent draws, so the rates are those of the densities
        def step(key, state):
            return site_metropolis.Position(jax.random.normal(key, (6,)) / jnp.sqrt(beta)), None

        init = site_metropolis.chain(None, beta).init
        return algorithm.SamplingAlgorithm(init, step)

    def log_density(position):
        return -0.5 * jnp.sum(position**2)

    start = [1.0, 0.9, 0.8, 0.02]
    found = tempering.adapt_ladder(
        getkey(), normal, log_density, start, jnp.zeros((50, 6)), num_draws=60
    )
    assert found.betas[0] == 1.0 and found.betas[-1] == 0.02 and (np.diff(found.betas) < 0).all()
    rng, exact = np.random.default_rng(0), []
    for beta, other in zip(found.betas, found.betas[1:]):
        scores = [-0.5 * rng.chisquare(6, 100_000) / one for one in (beta, other)]
        exact.append(1 - np.minimum(np.exp((beta - other) * (scores[1] - scores[0])), 1).mean())
    np.testing.assert_allclose(found.rejection, exact, atol=0.04)
    assert np.ptp(exact) < 0.06
    assert found.barrier == pytest.approx(sum(found.rejection))
    odds = [r / (1 - r) for r in found.rejection]
    assert found.round_trip_rate == pytest.approx(1 / (2 + 2 * sum(odds)))


@pytest.mark.parametrize("betas", [[0.5, 1.0], [], [1.0, 1.0], [1.0, -0.1], [[1.0]], [np.nan]])
def test_betas_fall(betas):
    with pytest.raises(ValueError, match="expected betas that fall"):
        tempering.parallel_tempering(walk, two_modes.log_density, betas)


def test_moves_are_made():
    with pytest.raises(ValueError, match="expected at least one move a step, given 0"):
        tempering.parallel_tempering(walk, two_modes.log_density, BETAS, num_moves=0)
