import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from inference.mcmc import (
    adversarial,
    algorithm,
    likelihood,
    nice,
    nice_checks,
    nice_fit,
    nice_seeds,
    regions,
    saved_states,
)

CENTRES = jnp.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]])
WEIGHTS = np.array([0.2, 0.3, 0.5])
OBJECTIVE = likelihood.maximum_likelihood(2, widths=((16,),) * 4, num_rounds=8)


def three_modes(position):
    squares = jnp.sum((position[None] - CENTRES) ** 2, axis=1)
    return jax.nn.logsumexp(-2.0 * squares, b=jnp.asarray(WEIGHTS, squares.dtype))


FIT = functools.partial(nice_fit.fit, log_density=three_modes, dimension=2, objective=OBJECTIVE)


@pytest.fixture(scope="module")
def fitted():
    return FIT(jax.random.key(0), num_chains=512)


def test_what_was_fitted_mixes_and_is_told(fitted):
    sampler, report = fitted
    assert (report.status, report.warnings) == ("done", ())
    assert len(report.losses) == 800 and len(report.acceptance) == 8
    assert report.losses[-100:].mean() < report.losses[:100].mean() - 0.3
    assert report.starts.shape == (512, 2) and report.masses.shape[0] == 9
    assert report.density_evaluations > 512 * 8
    np.testing.assert_allclose(report.masses.sum(axis=1), 1.0)
    states = jax.vmap(sampler.init)(jnp.tile(CENTRES[:1], (64, 1)))  # all in one mode
    run = jax.jit(lambda key: algorithm.run(key, sampler, states, 400))
    draws = np.asarray(run(jax.random.key(1))[1])
    nearest = np.argmin(
        np.linalg.norm(draws[:, 100:, None] - np.asarray(CENTRES), axis=-1), axis=-1
    )
    shares = np.bincount(nearest.ravel(), minlength=3) / nearest.size
    np.testing.assert_allclose(shares, WEIGHTS, atol=0.03)


def test_a_stopped_fit_goes_on_to_the_same_end(fitted, tmp_path):
    folder = tmp_path / "state"
    _, cut = FIT(jax.random.key(0), num_chains=512, checkpoint=folder, timeout=0.0)
    assert cut.status == "timeout" and len(cut.losses) == 0
    rounds = []

    def interrupted(state):
        if len(rounds) == 3:
            raise KeyboardInterrupt
        rounds.append(state)
        return train(state)

    real = nice_fit._rounds
    with pytest.MonkeyPatch.context() as patch:

        def some_rounds(*arguments):
            nonlocal train
            train = real(*arguments)
            return interrupted

        train = None
        patch.setattr(nice_fit, "_rounds", some_rounds)
        _, cut = FIT(jax.random.key(0), num_chains=512, checkpoint=folder)
    assert cut.status == "interrupted" and len(cut.acceptance) == 3
    _, resumed = FIT(jax.random.key(0), num_chains=512, checkpoint=folder)
    for one, other in zip(jax.tree.leaves(resumed[3:9]), jax.tree.leaves(fitted[1][3:9])):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="of the same kind"):
        FIT(jax.random.key(0), num_chains=256, checkpoint=folder)


def test_starts_in_one_mode_are_warned_of(fitted):
    starts = np.asarray(CENTRES[1]) + 0.5 * np.random.default_rng(0).normal(size=(32, 2))
    _, report = FIT(jax.random.key(2), num_chains=512, starts=starts)
    assert len(report.warnings) == 1 and "all chains share a start" in report.warnings[0]
    for wrong in (np.zeros((3, 5)), np.zeros(2)):
        with pytest.raises(ValueError, match=r"expected starts \[C, 2\], given"):
            FIT(jax.random.key(0), starts=wrong)


def test_a_density_that_is_zero_is_refused():
    with pytest.raises(ValueError, match="a density above zero near the starts"):
        nice_seeds.temper(
            jax.random.key(0), lambda x: jnp.full((), -jnp.inf), jnp.zeros(1), 1.0, 16
        )


def checks(
    ends=None, tempered=None, acceptance=0.5, log_normalizers=(0.0, 0.1), finished=True, num_nan=0
):
    even = np.full((2, 32, 4), 0.25)
    return nice_checks.Checks(
        even if ends is None else ends,
        even[0, :4] if tempered is None else tempered,
        np.full(4, acceptance),
        np.asarray(log_normalizers),
        np.array([True, finished]),
        num_nan,
    )


SHIFTED = np.array([0.45, 0.05, 0.25, 0.25])


@pytest.mark.parametrize(
    ("done", "history", "starts", "line"),
    [
        ({"acceptance": 0.01}, None, None, "learned moves are accepted"),
        ({"log_normalizers": (0.0, 1.0)}, None, None, "differ by 1 nats in log Z"),
        ({"num_nan": 3}, None, None, "NaN at 3 proposals"),
        ({"tempered": np.tile(SHIFTED, (4, 1))}, None, None, "2 masses of regions by temp"),
        ({"ends": np.stack([np.tile(SHIFTED, (32, 1)), np.full((32, 4), 0.25)])}, None, None,
         "chains from opposite ends differ in the masses of 2 regions"),
        ({"finished": False}, None, None, "did not reach the target"),
        ({}, [[0.25] * 4, [0.5, 0.0, 0.25, 0.25]], None, "1 regions were lost"),
        ({}, None, [[0.0, 0.1], [0.0, -0.1]], "all chains share a start"),
    ],
)  # fmt: skip
def test_each_doubt_is_a_warning(done, history, starts, line):
    chains = np.random.default_rng(0).normal(size=(100, 2))
    history = np.array(history or [[0.25] * 4] * 2)
    told = nice_checks.warnings(checks(**done), history, starts, chains)
    assert any(line in one for one in told) and all("\n" not in one for one in told)
    even = np.full((2, 4), 0.25)
    assert nice_checks.warnings(checks(), even, chains[:20], chains) == ()


def test_masses_of_equal_samples_seldom_differ():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        first, second = rng.multinomial(300, [0.1] * 10, size=(2, 16)) / 300
        alarms += regions.differ(first, second, least=0.0).any()
    assert alarms <= 15  # each of ten regions at four standard errors of 32 runs
    second[:, 0] += 0.05
    assert regions.differ(first, second)[0]


def test_regions_part_far_modes_and_single_points():
    rng = np.random.default_rng(0)
    draws = np.concatenate([rng.normal(size=(300, 3)) + shift for shift in (0, 20, 80)])
    found = regions.find(draws, 6)
    modes = np.repeat(np.arange(3), 300)
    assert all(len(set(modes[found.of(draws) == k])) == 1 for k in range(6))
    assert found.masses(draws.reshape(3, 300, 3)).shape == (3, 6)
    assert regions.widths(found, draws).max() < 2.0
    single = regions.find(np.ones((5, 2)))
    assert single.masses(np.ones((5, 2))).tolist() == [1.0]
    assert np.isfinite(regions.widths(single, np.ones((5, 2)))).all()


def test_adversarial_training_goes_on_and_keeps_the_target(getkey):
    objective = adversarial.pairwise_adversarial(
        2, widths=((16,),) * 3, critic_widths=(16,), num_rounds=2, steps_per_round=4
    )
    buffer = jax.random.normal(getkey(), (200, 2)) * jnp.array([[3.0, 0.0]])
    state = objective.init(getkey(), buffer)
    new, losses = objective.advance(getkey(), state, buffer)
    assert losses.shape == (4,) and np.isfinite(losses).all()
    moved = jax.tree.map(lambda a, b: jnp.any(a != b), state.generator, new.generator)
    assert all(jax.tree.leaves(moved))
    kernel = nice.nice(lambda x: -jnp.sum(x**2) / 2, objective.bijection(new))
    states = jax.vmap(kernel.init)(jax.random.normal(getkey(), (2000, 2)))
    last, _ = jax.jit(lambda key: algorithm.run(key, kernel, states, 20))(getkey())
    assert stats.kstest(np.ravel(last.position), "norm").pvalue > 1e-4


def test_saved_states_are_whole_and_of_their_kind(tmp_path):
    tree = {"a": jnp.arange(3), "b": (np.float64(1.5), np.zeros((2, 1)))}
    saved_states.save(tmp_path / "one", tree)
    saved_states.save(tmp_path / "one", tree)
    found = saved_states.restore(tmp_path / "one", jax.tree.map(jnp.zeros_like, tree))
    jax.tree.map(np.testing.assert_array_equal, found, tree)
    with pytest.raises(ValueError, match="of the same kind, given another"):
        saved_states.restore(tmp_path / "one", {"a": jnp.arange(4), "b": tree["b"]})
    with pytest.raises(ValueError, match="given none that reads"):
        saved_states.restore(tmp_path / "none", tree)
