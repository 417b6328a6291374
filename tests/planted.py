"""Small random formulas with gates of all kinds, for tests of the reduction."""

import itertools

from inference.problems import cnf


def function_clauses(output, inputs, table):
    """Clauses over all of the variables: the output is the table's entry for the inputs."""
    clauses = []
    for values in itertools.product([False, True], repeat=len(inputs)):
        others = [-x if value else x for x, value in zip(inputs, values)]
        clauses.append([*others, output if table[values] else -output])
    return clauses


def gate_clauses(rng, literal):
    """Clauses of one gate; ``literal`` draws one."""
    kind = rng.choice(["and", "xor", "ite", "equal", "function", "one", "majority"])
    o, a, b, c = (literal() for _ in range(4))
    if kind == "and":
        inputs = [literal() for _ in range(rng.randint(1, 4))]
        return [[o, *(-x for x in inputs)], *([-o, x] for x in inputs)]
    if kind == "xor":
        inputs = [literal() for _ in range(rng.randint(1, 3))]
        signs = itertools.product([1, -1], repeat=len(inputs) + 1)
        odd = [s for s in signs if s.count(-1) % 2]
        return [[sign * x for sign, x in zip(s, [o, *inputs])] for s in odd]
    if kind == "ite":
        return [[-c, -a, o], [-c, a, -o], [c, -b, o], [c, b, -o]]
    if kind == "equal":
        return [[o, -a], [-o, a]]
    if kind == "one":
        return cnf.exactly_one([o, a, b, c][: rng.randint(2, 4)])
    if kind == "majority":
        pairs = [(a, b), (a, c), (b, c)]
        return [[-x, -y, o] for x, y in pairs] + [[x, y, -o] for x, y in pairs]
    inputs = [a, b, c][: rng.randint(1, 3)]
    table = {v: rng.random() < 0.5 for v in itertools.product([False, True], repeat=len(inputs))}
    return function_clauses(o, inputs, table)


def formula(rng, most=7):
    """Clauses, gates, units, repeats, tautologies, native XORs, projections, unused variables."""
    n = rng.randint(1, most)

    def literal():
        return rng.choice([-1, 1]) * rng.randint(1, n)

    clauses = [
        [literal() for _ in range(rng.choice([2, 3, 3, 4]))] for _ in range(rng.randint(0, 5))
    ]
    for _ in range(rng.randint(0, 4)):
        gate = gate_clauses(rng, literal)
        clauses += gate[: len(gate) - (rng.random() < 0.2)]
    clauses += [[literal()] for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    clauses += rng.sample(clauses, min(len(clauses), rng.choice([0, 0, 1, 3])))
    clauses += [[]] * (rng.random() < 0.02)
    rng.shuffle(clauses)
    xors = [
        ([abs(literal()) for _ in range(rng.randint(0, 6))], rng.random() < 0.5)
        for _ in range(rng.choice([0, 0, 1, 2, 3]))
    ]
    n += rng.choice([0, 0, 2])
    sampled = rng.choice([None, None, [], rng.sample(range(1, n + 1), rng.randint(0, n))])
    return cnf.from_clauses(clauses, num_variables=n, xors=xors, projection=sampled)
