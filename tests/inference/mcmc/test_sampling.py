"""Draws from graphs by any kernel: exact frequencies, limits, and doubts where they are due."""

import functools
import importlib
import itertools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import single_site
from scipy import stats

import reference
from experiments.solve import methods
from inference import limits, samples
from inference.mcmc import algorithm, dobrushin, gibbs, rank_statistics, sampling, swendsen_wang
from inference.problems import factor_graph, generators

TABLES = [
    ((0, 1), [[2.0, 1.0], [0.5, 1.5]]),
    ((1, 2), [[1.0, 3.0], [0.0, 0.5]]),
    ((2, 3), [[1.0, 2.0], [3.0, 1.0]]),
]


def build(tables, num_states):
    with np.errstate(divide="ignore"):
        return factor_graph.build(num_states, [(v, np.log(np.array(t))) for v, t in tables])


GRAPH = build(TABLES, [2] * 4)
EXACT = np.array([score for _, score in reference.scores([2] * 4, TABLES)]).reshape(2, 2, 2, 2)


def p_value(drawn, exact):
    """Of the frequencies of joint states, by chi-square; draws have to be independent."""
    counts = np.zeros(exact.shape)
    np.add.at(counts, tuple(drawn.T), 1)
    expected = exact / exact.sum() * len(drawn)
    if counts[expected == 0].any():
        return 0.0
    return stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue


def thinned(drawn, info):
    """As many of the samples as they are worth."""
    step = int(np.ceil(2 * info.num_records / info.ess))
    return drawn.assignments[::step]


@functools.cache
def drawn_by_gibbs():
    return gibbs.sample(GRAPH, seed=1, num_samples=2048)


def test_samples_have_the_frequencies_of_the_model_and_say_what_they_claim():
    drawn, info = drawn_by_gibbs()
    assert drawn.claim is samples.SampleClaim.ASYMPTOTIC and not drawn.independent
    assert drawn.assignments.shape == (2048, 4) and drawn.assignments.dtype == np.int8
    assert info.converged and info.status == "done" and info.rhat <= 1.01 and info.ess >= 400
    assert (info.num_chains, info.num_records, info.num_frozen) == (8, 2048, 0)
    assert p_value(thinned(drawn, info), EXACT) > 1e-4


def test_a_wrong_kernel_has_other_frequencies():
    wrong = functools.partial(single_site.prepare, excess=0.7)
    drawn, info = sampling.draw(GRAPH, wrong, seed=1, num_samples=2048)
    assert info.converged and p_value(thinned(drawn, info), EXACT) < 1e-4
    right, info = sampling.draw(GRAPH, single_site.prepare, seed=1, num_samples=2048)
    assert 0.3 < info.acceptance < 0.9 and p_value(thinned(right, info), EXACT) > 1e-4


def test_rounds_double_until_chains_agree():
    lazy = functools.partial(single_site.prepare, moves=0.05)  # most steps do nothing
    drawn, info = sampling.draw(GRAPH, lazy, num_samples=9, num_chains=5)
    assert drawn.assignments.shape == (9, 4) and info.converged
    rounds = np.log2(info.iterations / sampling.RECORDS + 1)
    assert rounds == int(rounds) and rounds > 3 and info.num_records == 5 * sampling.RECORDS
    few, told = sampling.draw(GRAPH, lazy, num_samples=9, num_chains=5, iterations=0)
    assert not told.converged and told.iterations == 3 * sampling.RECORDS
    assert told.rhat > 1.01 and told.ess < info.ess and len(few.assignments) == 9


def test_chains_that_cannot_reach_each_other_do_not_agree():
    parity = build([((0, 1), [[0, 1], [1, 0]]), ((1, 2), [[0, 1], [1, 0]])], [2] * 3)
    drawn, info = gibbs.sample(parity, seed=2, num_samples=40, iterations=0)
    assert not info.converged and info.rhat == np.inf and info.num_frozen == 0
    assert {tuple(row) for row in drawn.assignments.tolist()} == {(0, 1, 0), (1, 0, 1)}


def test_variables_that_never_move_are_counted():
    implied = build([((0, 1), [[1, 0], [0, 0]]), ((1, 2), [[1, 2], [1, 1]])], [2] * 3)
    drawn, info = gibbs.sample(implied, num_samples=20, iterations=0)
    assert info.num_frozen == 2 and info.converged and "2 of the variables" in info.message
    one = build([((0, 1), [[1, 0], [0, 0]])], [2] * 2)
    drawn, info = gibbs.sample(one, num_samples=20, iterations=0)
    assert not info.converged and np.isnan(info.rhat) and not drawn.assignments.any()


def test_where_nothing_is_free_there_is_one_sample_as_often_as_asked():
    fixed = factor_graph.condition(GRAPH, {v: 0 for v in range(4)})
    for graph in (fixed, factor_graph.build([], []), factor_graph.build([1, 1], [])):
        drawn, info = gibbs.sample(graph, num_samples=30)
        assert drawn.assignments.shape == (30, graph.num_variables) and info.converged
        assert info.iterations == 0 and not drawn.assignments.any()


def test_energies_that_are_not_finite_settle_nothing():
    def prepare(graph, key, positions):
        """Jumps anywhere, to states of weight 0 too."""
        kernel = single_site.prepare(graph, key, positions)

        def step(key, state):
            drawn = jax.random.randint(key, state.position.shape, 0, 2, state.position.dtype)
            return single_site.State(drawn, state.log_density), single_site.Info(jnp.ones(()))

        return kernel._replace(step=step)

    _, info = sampling.draw(GRAPH, prepare, iterations=0)
    assert not info.converged and info.rhat == np.inf


class Clock:
    """A deadline that passes after so many looks."""

    def __init__(self, looks):
        self.looks = looks

    def __call__(self):
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize(("looks", "expected"), [(0, 0), (12, 72), (300, 100)])
def test_time_that_runs_out_leaves_what_was_recorded(looks, expected, monkeypatch):
    clock = Clock(looks)
    after = limits.Deadline.after
    monkeypatch.setattr(limits.Deadline, "after", lambda timeout: after(None, clock))
    drawn, info = sampling.draw(GRAPH, single_site.prepare, num_samples=100, timeout=1.0)
    assert info.status == "timeout" and not info.converged
    assert abs(len(drawn.assignments) - expected) <= 16
    assert (np.asarray(factor_graph.log_score(GRAPH, drawn.assignments)) > -np.inf).all()
    assert len(drawn.assignments) or "nothing drawn" in info.message


def test_ctrl_c_leaves_what_was_recorded(monkeypatch):
    recorder, calls = sampling._recorder, itertools.count()

    def interrupted(*given):
        record = recorder(*given)

        def call(*given):
            if next(calls) == 40:
                signal.raise_signal(signal.SIGINT)
            return record(*given)

        return call

    monkeypatch.setattr(sampling, "_recorder", interrupted)
    drawn, info = sampling.draw(GRAPH, single_site.prepare, num_samples=10)
    assert info.status == "interrupted" and len(drawn.assignments) == 10
    assert info.num_records == 40 * 8


def test_memory_and_numbers_are_checked():
    grid = generators.ising_grid(40, 40, 0.1)
    with pytest.raises(ValueError, match="expected tables and records of at most 1 MiB, given"):
        gibbs.sample(grid, memory=1)
    with pytest.raises(ValueError, match="expected num_samples of at least 0, given -1"):
        gibbs.sample(grid, num_samples=-1)
    with pytest.raises(ValueError, match="expected num_chains of at least 1, given 0"):
        gibbs.sample(grid, num_chains=0)
    assert len(gibbs.sample(GRAPH, num_samples=0, iterations=0)[0].assignments) == 0


def test_a_run_is_traced_once(monkeypatch):
    traces = []

    def prepare(graph, key, positions):
        kernel = single_site.prepare(graph, key, positions)

        def step(key, state):
            traces.append(1)
            return kernel.step(key, state)

        return kernel._replace(step=step)

    _, info = sampling.draw(GRAPH, prepare, num_samples=10)
    assert len(traces) == 1 and info.iterations > 3 * sampling.RECORDS - 1


def test_large_models_are_watched_in_part():
    grid = generators.ising_grid(30, 40, 0.1)
    assert len(sampling._watched(grid, 2048)) == 600 and len(sampling._watched(grid, 10**6)) == 16
    assert sampling._watched(GRAPH, 2048).tolist() == [0, 1, 2, 3]
    fixed = factor_graph.condition(GRAPH, {1: 0})
    assert sampling._watched(fixed, 2048).tolist() == [0, 2, 3]


CHAINS = [name for name in methods.answering("sample")]
FERROMAGNET = generators.ising_grid(2, 2, 0.7, 0.2)  # which tempering heats
SCORES = np.exp(
    [float(factor_graph.log_score(FERROMAGNET, np.array(x))) for x in np.ndindex(2, 2, 2, 2)]
)


@pytest.mark.parametrize("name", CHAINS)
def test_every_method_draws_from_the_model(name):
    module = importlib.import_module(methods.answering("sample")[name].module)
    drawn, info = module.sample(FERROMAGNET, seed=5, num_samples=2048, iterations=2000)
    assert info.status == "done" and info.rhat < 1.1
    assert np.isnan(info.acceptance) == (name in ("gibbs", "swendsen_wang"))
    assert p_value(thinned(drawn, info), SCORES.reshape(2, 2, 2, 2)) > 1e-4


def test_tempered_gibbs_draws_from_a_power():
    for graph in (FERROMAGNET, build([*TABLES, ((0, 1, 2), np.ones((2, 2, 2)))], [2] * 4)):
        scores = np.array([float(factor_graph.log_score(graph, x)) for x in np.ndindex(*[2] * 4)])
        kernel = gibbs.tempered(graph)(0.4)
        states = jax.vmap(kernel.init)(jnp.zeros((2000, 4), int))
        last, _ = jax.jit(lambda key: algorithm.run(key, kernel, states, 1, thin=30))(
            jax.random.key(0)
        )
        assert p_value(np.asarray(last.position), np.exp(0.4 * scores).reshape([2] * 4)) > 1e-4
        exact = factor_graph.log_score(graph, np.asarray(last.position))
        np.testing.assert_allclose(last.log_density, exact, rtol=1e-5, atol=1e-5)


def test_clusters_fit_where_nothing_is_frustrated():
    def triangle(*couplings):
        pairs = zip(((0, 1), (1, 2), (2, 0)), couplings)
        tables = [(scope, [[k, -k], [-k, k]]) for scope, k in pairs]
        return factor_graph.build([2] * 3, tables)

    grids = [generators.ising_grid(3, 3, k) for k in (0.4, -0.4)]  # either colours alike
    for graph in (*grids, generators.potts_grid(3, 3, 3, 0.5), triangle(1, -1, -1)):
        assert swendsen_wang.fits(graph)
    glass = generators.spin_glass_grid(0, 4, 4, 1.0)
    for graph in (triangle(1, 1, -1), triangle(-1, -1, -1), glass, GRAPH):
        assert not swendsen_wang.fits(graph)
    assert swendsen_wang.fits(triangle(1, 1, 0))


def test_dobrushins_condition():
    assert dobrushin.influence(generators.ising_grid(4, 4, 0.2)) == pytest.approx(4 * np.tanh(0.2))
    assert dobrushin.influence(GRAPH) > 1.0  # a hard zero
    strong = generators.spin_glass_grid(0, 4, 4, 2.0)
    beta = dobrushin.mixing_beta(strong)
    assert dobrushin.influence(strong, beta) == pytest.approx(1.0, abs=1e-3)
    assert dobrushin.mixing_beta(generators.ising_grid(4, 4, 0.2)) == 1.0
    assert dobrushin.mixing_beta(factor_graph.build([], [])) == 1.0


def test_influence_bounds_what_a_variable_can_do_to_another():
    rng = np.random.default_rng(0)
    for size in (2, 3):
        tables = [((0, 1, 2), rng.normal(size=(size,) * 3)), ((1, 0), rng.normal(size=(size,) * 2))]
        graph = factor_graph.build([size] * 3, tables)
        scores = np.zeros((size,) * 3)
        for states in np.ndindex(*scores.shape):
            scores[states] = factor_graph.score(graph, np.array(states))
        rows = []
        for own in range(3):
            given = np.moveaxis(scores, own, 0)
            chances = np.exp(given) / np.exp(given).sum(axis=0)
            total = 0.0
            for other in range(2):
                moved = np.moveaxis(chances, other + 1, 1)
                pairs = itertools.combinations(range(size), 2)
                total += max(np.abs(moved[:, a] - moved[:, b]).sum(0).max() / 2 for a, b in pairs)
            rows.append(total)
        assert max(rows) <= dobrushin.influence(graph) < 6 * max(rows)


def test_quality_is_that_of_the_statistics():
    rng = np.random.default_rng(0)
    states, energies = rng.integers(0, 2, (50, 4, 3)).astype(np.int8), rng.normal(size=(50, 4))
    records = sampling.Records(states, energies, np.ones(50), 50)
    rhat, ess = sampling._quality(records, np.arange(3))
    chains = np.concatenate([states, energies[..., None]], axis=2).swapaxes(0, 1)
    assert rhat == rank_statistics.rhat(chains).max()
    assert ess == rank_statistics.ess_bulk(chains).min()
