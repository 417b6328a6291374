"""The referee acquits exact draws at its level, and convicts wrong kernels, whoever's they are."""

import jax
import numpy as np
import pytest
import single_site

import reference
from experiments.harness import promises, referees
from inference.mcmc import gibbs, referee, swendsen_wang
from inference.problems import factor_graph

TABLES = [((0, 1), [[2.0, 1.0], [0.5, 1.5]]), ((1, 2), [[1, 3, 1], [0.0, 0.5, 2]])]
SIZES = [2, 2, 3]


def target():
    """From the reference, which shares no code."""
    with np.errstate(divide="ignore"):
        factors = [(v, np.log(np.array(table))) for v, table in TABLES]
    graph = factor_graph.build(SIZES, factors)
    z = reference.partition(SIZES, TABLES)
    chances = {x: score / z for x, score in reference.scores(SIZES, TABLES) if score}
    energies = {x: -np.log(chance * z) for x, chance in chances.items()}
    levels = np.unique(np.round(list(energies.values()), 9))
    shares = np.zeros(len(levels))
    for x, chance in chances.items():
        shares[np.abs(levels - energies[x]).argmin()] += chance
    marginals = np.zeros((3, 3))
    for row, found in zip(marginals, reference.marginals(SIZES, TABLES)):
        row[: len(found)] = found
    mean = sum(chance * energies[x] for x, chance in chances.items())
    return referee.ExactTarget("small", graph, mean, marginals, levels, shares)


TARGET = target()
STATES = np.array([x for x, score in reference.scores(SIZES, TABLES)])
WEIGHTS = np.array([score for _, score in reference.scores(SIZES, TABLES)])


def independent(rng, num_chains, num_draws, power=1.0, stay=0.0):
    """Exact draws of a power of the weights, each the same as the one before where it stays."""
    chances = WEIGHTS**power / (WEIGHTS**power).sum()
    drawn = rng.choice(len(STATES), p=chances, size=(num_chains, num_draws))
    for at in range(1, num_draws if stay else 1):
        stays = rng.random(num_chains) < stay
        drawn[stays, at] = drawn[stays, at - 1]
    return STATES[drawn]


@pytest.mark.parametrize(("num_chains", "num_draws", "stay"), [(64, 30, 0.0), (16, 250, 0.5)])
def test_exact_draws_are_convicted_as_rarely_as_the_level_says(num_chains, num_draws, stay):
    rng = np.random.default_rng(0)
    rows = [
        referee.assess("exact", independent(rng, num_chains, num_draws, 1.0, stay), TARGET, 1.0)
        for _ in range(100)
    ]
    for level in (0.05, 0.01):
        convicted = sum(row.p_value < level for row in rows)
        promises.expect_rare(convicted, len(rows), level, "convictions of exact draws")
    found = [row.histogram_p for row in rows], [row.p_value for row in rows]
    assert np.mean(np.array(found[0]) < 0.5) > 0.35  # nor is it blind
    assert not np.isnan(found).any()
    assert {row.outcome for row in rows} <= {"passed", "convicted"}


def test_draws_of_another_density_are_convicted():
    rng = np.random.default_rng(1)
    row = referee.assess("wrong", independent(rng, 8, 1000, 0.85), TARGET, 2.0)
    assert row.outcome == "convicted" and row.p_value < 1e-4
    assert row.ess_per_second == row.ess / 2.0
    assert abs(row.energy_z) > 4 and row.histogram_p < 1e-4 and row.marginal_error > 0.01


def test_each_test_convicts_alone():
    rng = np.random.default_rng(2)
    drawn = independent(rng, 8, 1000)
    found = np.array(TARGET.marginals)
    found[0, :2] += [0.1, -0.1]
    for wrong in (
        TARGET._replace(marginals=found),
        TARGET._replace(mean_energy=TARGET.mean_energy + 0.3),
        TARGET._replace(probabilities=TARGET.probabilities[::-1]),
    ):
        assert referee.assess("exact", drawn, wrong, 1.0).outcome == "convicted"


def test_states_of_no_weight_convict_however_few():
    drawn = independent(np.random.default_rng(3), 8, 1000)
    drawn[3, 7] = [0, 1, 0]
    assert referee.assess("exact", drawn, TARGET, 1.0).p_value == 0.0


def test_chains_that_hardly_move_are_not_judged():
    rng = np.random.default_rng(4)
    still = np.repeat(independent(rng, 8, 1), 400, axis=1)
    slow = independent(rng, 8, 400, 1.0, 0.97)
    for chains in (still, slow, np.repeat(still[:1], 8, axis=0)):
        row = referee.assess("slow", chains, TARGET, 1.0)
        assert row.outcome == "not judged" and np.isnan(row.p_value)
        assert not row.ess >= 640


def test_what_are_no_chains_is_refused():
    drawn = independent(np.random.default_rng(5), 4, 10)
    for wrong in (drawn[0], drawn[:, :0], drawn + 2, drawn * 1.0, drawn[..., :2]):
        with pytest.raises(ValueError, match="^expected") as error:
            referee.assess("x", wrong, TARGET, 1.0)
        assert "\n" not in str(error.value)


def test_kernels_are_judged_in_one_table():
    options = {"num_chains": 64, "num_draws": 100, "warm_up": 30}
    rng = np.random.default_rng(6)
    samplers = {
        "gibbs": referee.of_algorithm(gibbs.gibbs, **options),
        "biased": referee.of_algorithm(lambda graph: single_site.kernel(graph, 0.3), **options),
        "anyone's": lambda graph, key: independent(rng, 8, 1000),
        "clusters": referee.of_algorithm(swendsen_wang.swendsen_wang),
    }
    rows = referee.judge_all(samplers, [TARGET], jax.random.key(0))
    outcomes = {row.sampler: row.outcome for row in rows}
    assert list(outcomes.values()) == ["passed", "convicted", "passed", "refused"]
    assert all(row.seconds > 0 and row.num_chains in (8, 64) for row in rows[:3])
    lines = referee.table(rows).splitlines()
    assert lines[0].split()[:3] == ["sampler", "target", "outcome"] and len(lines) == 5
    assert len({line.index(outcome) for line, outcome in zip(lines[1:], outcomes.values())}) == 1


def test_targets_are_exact():
    counted = referees.ising("x", 3, 4, 0.4)
    listed = referees.enumerated("x", counted.graph)
    through = referees.eliminated("x", counted.graph)
    np.testing.assert_allclose(counted.levels, listed.levels, atol=1e-9)
    np.testing.assert_allclose(counted.probabilities, listed.probabilities, rtol=1e-9)
    for one in (listed, through):
        assert counted.mean_energy == pytest.approx(one.mean_energy, rel=1e-8)
        np.testing.assert_allclose(counted.marginals, one.marginals, atol=1e-9)
    own = referees.enumerated("own", TARGET.graph)
    assert own.mean_energy == pytest.approx(TARGET.mean_energy)
    np.testing.assert_allclose(own.marginals, TARGET.marginals, atol=1e-12)
    np.testing.assert_allclose(own.probabilities, TARGET.probabilities, atol=1e-12)
    assert referees.unequal_pairs(8, 8).sum() == pytest.approx(2.0**64)
    assert referees.unequal_pairs(1, 1).tolist() == [2.0]


@pytest.mark.slow
def test_all_samplers_pass_on_all_targets_and_a_mutant_is_convicted():
    options = {"num_chains": 32, "num_draws": 300, "warm_up": 300, "thin": 4}
    rows = referee.judge_all(
        referees.samplers(**options), referees.targets(), jax.random.key(0), level=1e-4
    )
    print(referee.table(rows))
    assert "convicted" not in {row.outcome for row in rows}
    mutant = referee.of_algorithm(lambda graph: single_site.kernel(graph, 0.2), **options)
    wrong = referee.judge_all({"mutant": mutant}, referees.targets(), jax.random.key(1))
    print(referee.table(wrong))
    assert sum(row.outcome == "convicted" for row in wrong) >= 5
