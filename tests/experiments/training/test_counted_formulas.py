"""Formulas with counts: those made have models, and equal keys make equal ones."""

from experiments.training import counted_formulas


def test_made_formulas_have_models_and_known_findings():
    made = counted_formulas.make(5, 3)
    assert {problem.family for problem in made} == {"3sat", "diagnosis"}
    assert all(problem.log_count >= 0 for problem in made)
    again = counted_formulas.make(5, 3)
    assert [p.formula.digest() for p in made] == [p.formula.digest() for p in again]
    other = counted_formulas.make(6, 3)
    assert {p.formula.digest() for p in made}.isdisjoint(p.formula.digest() for p in other)
