import itertools

import jax
import jax.numpy as jnp
import numpy as np

from inference.mcmc import discrete_targets
from inference.problems import factor_graph, logical_groups


def mixed_graph():
    rng = np.random.default_rng(0)
    factors = [((0, 1), rng.normal(size=(3, 2))), ((2, 0, 1), rng.normal(size=(2, 3, 2)))]
    factors += [((0,), rng.normal(size=3)), ((1, 2), np.array([[0.3, -np.inf], [0.0, 1.0]]))]
    return factor_graph.build([3, 2, 2], factors, log_constant=0.7)


def test_both_forms_agree_and_the_gradient_holds_every_change():
    graph = mixed_graph()
    score = discrete_targets.log_density(graph)
    relaxed = discrete_targets.relaxed_log_density(graph)
    for states in itertools.product(range(3), range(2), range(2)):
        states = np.array(states)
        indicators = jax.nn.one_hot(states, 3)
        expected = max(factor_graph.score(graph, states), discrete_targets.FLOOR)
        if expected > -1000:
            np.testing.assert_allclose(score(jnp.asarray(states)), expected, rtol=1e-5)
            np.testing.assert_allclose(relaxed(indicators), expected, rtol=1e-5)
        gradient = jax.grad(relaxed)(indicators)
        assert np.isfinite(gradient).all()
        for variable, state in itertools.product(range(3), range(2)):
            moved = states.copy()
            moved[variable] = state
            change = gradient[variable, state] - gradient[variable, states[variable]]
            exact = factor_graph.score(graph, moved) - factor_graph.score(graph, states)
            if np.isfinite(exact):
                np.testing.assert_allclose(change, exact, rtol=1e-4, atol=1e-4)


def test_clauses_count_as_tables():
    clauses = [logical_groups.clause_group([[1, -2], [2, 3]])]
    graph = factor_graph.build([2, 2, 2], [], logical=clauses)
    relaxed = discrete_targets.relaxed_log_density(graph)
    inside, outside = jnp.array([1, 1, 0]), jnp.array([0, 1, 0])
    assert relaxed(jax.nn.one_hot(inside, 2)) == 0.0
    assert relaxed(jax.nn.one_hot(outside, 2)) == discrete_targets.FLOOR
    assert discrete_targets.log_density(graph)(outside) == -np.inf
