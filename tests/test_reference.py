"""The references themselves, against answers known by hand."""

import fractions
import math

import reference


def test_counts_known_by_hand():
    clauses = [[1, 2], [-1, 3]]
    assert reference.count_models(3, clauses) == 4
    assert reference.count_models(3, clauses, projection=[1]) == 2
    assert reference.count_models(3, clauses, projection=[]) == 1
    assert reference.count_models(1, [[1], [-1]], projection=[]) == 0
    assert reference.count_models(3, clauses, xors=[([1, 2, 3], 1)]) == 2
    assert reference.count_models(3, clauses, parities=[([1], 0)]) == 2
    assert reference.count_models(0, []) == 1
    assert reference.count_models(0, [[]]) == 0


def test_weights_known_by_hand():
    third = fractions.Fraction(1, 3)
    weights = {1: third, -1: 1 - third, 2: 5}
    assert reference.count_models(2, [[1, 2]], weights=weights) == third * 6 + (1 - third) * 5
    assert reference.count_models(2, [[1, 2]], weights={1: third}, projection=[1]) == third + 1


def test_graph_known_by_hand():
    factors = [([0], [1, 3]), ([0, 1], [[1, 2, 0], [0, 4, 5]])]
    assert math.isclose(reference.log_partition([2, 3], factors), math.log(30))
    first, second = reference.marginals([2, 3], factors)
    assert first == [3 / 30, 27 / 30] and second == [1 / 30, 14 / 30, 15 / 30]
    assert reference.map([2, 3], factors) == ((1, 2), math.log(15))
    assert reference.log_partition([], []) == 0
    assert reference.log_partition([2], [([0], [0, 0])]) == -math.inf
