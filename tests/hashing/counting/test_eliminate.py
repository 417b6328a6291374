import itertools

import numpy as np
import pytest

from hashing.counting import eliminate


def shown(num_variables, clauses, held):
    """The models over the held variables, by listing."""
    return {
        tuple(x[v - 1] for v in sorted(held))
        for x in itertools.product([False, True], repeat=num_variables)
        if all(any(x[abs(y) - 1] == (y > 0) for y in clause) for clause in clauses)
    }


@pytest.mark.parametrize("length", [2, 3])
def test_the_models_over_what_is_held_stay(length):
    rng, sizes = np.random.default_rng(length), []
    for _ in range(100):
        n, number = 9, int(rng.integers(0, 25))
        names = [rng.choice(n, length, replace=False) + 1 for _ in range(number)]
        clauses = [(x * rng.choice([-1, 1], length)).tolist() for x in names]
        clauses += [[1, -1]] if rng.random() < 0.2 else []
        held = set((rng.choice(n, 4, replace=False) + 1).tolist())
        left = eliminate.eliminate(clauses, held, set(range(1, n + 1)))
        assert shown(n, left, held) == shown(n, clauses, held)
        assert len(left) <= len(clauses)
        sizes.append(len(left) - len(clauses))
    assert min(sizes) < -5


def test_gates_go_and_what_is_not_connected_stays():
    gates = [[-3, 1, 2], [3, -1], [3, -2], [-4, 3], [4, -3], [5, 6], [-6, 7]]
    assert eliminate.eliminate(gates, {1, 2}, {1}) == [[5, 6], [-6, 7]]
    left = eliminate.eliminate(gates, {1, 2}, {7})
    assert sorted(map(sorted, left)) == sorted(map(sorted, gates[:5]))


def test_contradictions_stay():
    assert [] in eliminate.eliminate([[1], [-1], [2, 3]], {3}, {1})


def test_the_effort_is_bounded(monkeypatch):
    monkeypatch.setattr(eliminate, "MAX_ALL_PAIRS", 0)
    clauses = [[1, 2], [-2, 3]]
    assert eliminate.eliminate(clauses, {1, 3}, {1}) == clauses
