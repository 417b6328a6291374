import numpy as np
import pytest

import reference
from hashing.counting import proofs, repairs, witness
from inference import limits
from inference.problems import cnf

NONE = np.zeros((0, 1), dtype=np.uint32)


def stored(formula, support, free, assumptions=()):
    """A witness with one round, of which nothing but that there is one is read."""
    sides = np.array(support, dtype=np.int32), np.array(free, dtype=np.int32)
    rounds = {0: witness.Round(1, NONE, np.zeros((1, 1), dtype=np.uint32))}
    return witness.Witness(formula.digest(), assumptions, b"i\0", 0.8, 0.2, *sides, rounds)


def is_product(clauses, support, free):
    """Whether the models over both are those over the support times all values, by counting."""
    n = max(abs(x) for clause in clauses for x in clause)
    both = reference.count_models(n, clauses, projection=[*support, *free])
    return both == reference.count_models(n, clauses, projection=list(support)) << len(free)


def test_free_variables_are_proven_where_models_are_a_product():
    rng, answers = np.random.default_rng(1), []
    for _ in range(150):
        sizes = rng.integers(2, 4, rng.integers(2, 8))
        names = [rng.choice(8, size, replace=False) + 1 for size in sizes]
        clauses = [(x * rng.choice([-1, 1], len(x))).tolist() for x in names]
        chosen = (rng.choice(8, 4, replace=False) + 1).tolist()
        support, free = sorted(chosen[:2]), sorted(chosen[2:])
        formula = cnf.from_clauses(clauses, num_variables=8)
        variables = proofs.FreeVariables(formula, stored(formula, support, free))
        try:
            variables.prove("cadical153", limits.NEVER)
            answers.append(True)
        except ValueError:
            answers.append(False)
        assert answers[-1] == is_product([*clauses, [8, -8]], support, free)
        assert answers[-1] or variables.doubtful
    assert 20 < sum(answers) < 130


def test_the_limit_says_how_far_it_went(monkeypatch):
    formula = cnf.from_clauses([[-x for x in range(1, 9)]])
    variables = proofs.FreeVariables(formula, stored(formula, range(1, 8), [8]))
    monkeypatch.setattr(repairs, "MAX_REPAIRS", 0)
    words = "0 in no clause, 0 more proven, 1 more tested on 64 random extensions, not proven"
    with pytest.raises(limits.OutOfTime, match=words):
        variables.prove("cadical153", limits.NEVER)
    assert variables.test() == "0 in no clause, 1 more tested on 64 random extensions, not proven"


def test_assumptions_take_part():
    # Under 1 the clause about 2 and 3 is void; under -1 it binds them.
    formula = cnf.from_clauses([[1, 2, 3]])
    for literal, expected in ((1, "2 in no clause"), (-1, None)):
        variables = proofs.FreeVariables(formula, stored(formula, [], [2, 3], (literal,)))
        if expected is None:
            with pytest.raises(ValueError, match="variable 3 is not free"):
                variables.prove("cadical153", limits.NEVER)
        else:
            assert variables.prove("cadical153", limits.NEVER) == expected
