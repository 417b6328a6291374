"""Slow, obvious answers by enumeration; shares no code with the packages it checks.

Formulas are given as lists: clauses of signed literals, XORs as pairs (variables, side), the
projection as a list of variables (None for all), weights as a dictionary from literals to numbers
(missing literals weigh 1; use fractions for exact sums). Graphs are given as the list of their
numbers of states and pairs (variables, table), tables as nested lists in the linear domain.
"""

import decimal
import itertools
import math

DIGITS = decimal.Context(prec=90, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def models(num_variables, clauses, xors=()):
    """All models, as tuples of 0 and 1, in lexicographic order."""
    found = []
    for x in itertools.product([0, 1], repeat=num_variables):
        clauses_hold = all(
            any(x[abs(literal) - 1] == (literal > 0) for literal in c) for c in clauses
        )
        xors_hold = all(sum(x[v - 1] for v in vs) % 2 == side for vs, side in xors)
        if clauses_hold and xors_hold:
            found.append(x)
    return found


def count_models(num_variables, clauses, xors=(), projection=None, weights=None, parities=()):
    """The number of models, of their projections, or the sum of the projections' weights.

    ``parities`` are further XORs, kept apart so that a cell of a hash can be counted.
    """
    if projection is None:
        projection = range(1, num_variables + 1)
    variables = sorted(set(projection))
    all_models = models(num_variables, clauses, [*xors, *parities])
    projected = {tuple(x[v - 1] for v in variables) for x in all_models}
    if weights is None:
        return len(projected)
    total = 0
    for x in projected:
        literals = [v if value else -v for v, value in zip(variables, x)]
        total += math.prod(weights.get(literal, 1) for literal in literals)
    return total


def _entry(table, states):
    for state in states:
        table = table[state]
    return table


def scores(num_states, factors):
    """Pairs of an assignment and its product of table entries."""
    for x in itertools.product(*(range(s) for s in num_states)):
        yield x, math.prod(_entry(table, [x[v] for v in vs]) for vs, table in factors)


def partition(num_states, factors):
    """Z, the sum over all assignments."""
    return math.fsum(score for _, score in scores(num_states, factors))


def log_partition(num_states, factors):
    """log Z in nats; -inf where Z = 0."""
    z = partition(num_states, factors)
    return math.log(z) if z else -math.inf


def marginals(num_states, factors):
    """One list of probabilities for each variable; needs Z > 0."""
    z = partition(num_states, factors)
    table = list(scores(num_states, factors))
    return [
        [math.fsum(score for x, score in table if x[v] == state) / z for state in range(size)]
        for v, size in enumerate(num_states)
    ]


def map(num_states, factors):
    """The best assignment (the first one among equals) and its log-score in nats."""
    best, score = max(scores(num_states, factors), key=lambda pair: pair[1])
    return best, math.log(score) if score else -math.inf


def exact_log_scores(num_states, log_factors):
    """By assignment: the sum of its log-table entries as a decimal, without impossible ones."""
    found = {}
    for x in itertools.product(*(range(s) for s in num_states)):
        entries = [float(_entry(table, [x[v] for v in vs])) for vs, table in log_factors]
        if -math.inf not in entries:
            with decimal.localcontext(DIGITS):
                found[x] = sum((decimal.Decimal(e) for e in entries), decimal.Decimal(0))
    return found


def exact_log_partition(scores):
    """log Z of ``exact_log_scores`` to some 90 digits; None where Z = 0."""
    if not scores:
        return None
    with decimal.localcontext(DIGITS):
        top = max(scores.values())
        return top + sum((score - top).exp() for score in scores.values()).ln()
