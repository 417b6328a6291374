"""Gates of no known kind: variables that their own clauses determine, asked for one by one.

    >>> clauses = [[-1, -2, 4], [-1, -3, 4], [-2, -3, 4], [1, 2, -4], [1, 3, -4], [2, 3, -4]]
    >>> formula = cnf.from_clauses(clauses)  # 4 is the majority of the others
    >>> mine(formula, [4], gates.NONE, questions.Budget(1000)).variables.tolist()
    [[4, 1, 2, 3]]

Without the variable its clauses have no common model: then one of its values is always excluded.
The clauses that were needed name the inputs.

Fleury and Biere, Mining Definitions in Kissat with Kittens (Formal Methods in System Design 2022).
"""

from collections.abc import Iterator

import numpy as np
from pysat import solvers

from inference import limits
from inference.problems import cnf
from inference.reduction import gates, questions

MOST_CLAUSES = 100  # of one variable, short ones first
CONFLICTS = 50
_TRIMS = 3  # fewer clauses may do, when only those needed before are there


def mine(
    formula: cnf.CNF,
    variables: list[int],
    known: gates.Gates,
    budget: questions.Budget,
    deadline: limits.Deadline = limits.NEVER,
) -> gates.Gates:
    """At most one gate for each of the variables.

    Args:
      formula: without XORs and repeats.
      variables: the outputs to look for.
      known: clauses over the variables of one of these are left out, so that another is found.
      budget: once it is spent, no more are looked for.
      deadline: when to raise OutOfTime.
    """
    groups = _by_output(known, set(variables))
    found: list[list[int]] = []
    for variable, clauses in zip(variables, _clauses_of(formula.clauses, variables)):
        deadline.check()
        budget.left -= 10 * sum(map(len, clauses))
        if budget.is_spent:
            break
        seen = groups.get(variable, [])
        new = [c for c in clauses if not any(g.issuperset(map(abs, c)) for g in seen)]
        inputs = _inputs(variable, sorted(new, key=len)[:MOST_CLAUSES], budget, deadline)
        if inputs is not None:
            found.append([variable, *inputs])
    is_output = [place == 0 for group in found for place in range(len(group))]
    return gates.Gates(cnf.ragged(found), np.array(is_output, dtype=bool))


def _by_output(known: gates.Gates, wanted: set[int]) -> dict[int, list[set[int]]]:
    """The groups that have a variable as an output, for those that are wanted."""
    offsets = known.variables.offsets
    owner = np.repeat(np.arange(len(known.variables)), np.diff(offsets))[known.is_output]
    groups: dict[int, list[set[int]]] = {}
    sets: dict[int, set[int]] = {}
    for gate, output in zip(owner.tolist(), known.variables.values[known.is_output].tolist()):
        if output in wanted:
            if gate not in sets:
                members = known.variables.values[offsets[gate] : offsets[gate + 1]]
                sets[gate] = set(members.tolist())
            groups.setdefault(output, []).append(sets[gate])
    return groups


def _clauses_of(clauses: cnf.Ragged, variables: list[int]) -> Iterator[list[list[int]]]:
    """For each of the variables the clauses that it is in."""
    place = np.argsort(np.abs(clauses.values), kind="stable")
    owner = np.repeat(np.arange(len(clauses)), np.diff(clauses.offsets))[place]
    mentioned = np.abs(clauses.values)[place]
    starts = np.searchsorted(mentioned, variables, side="left").tolist()
    ends = np.searchsorted(mentioned, variables, side="right").tolist()
    offsets = clauses.offsets
    for first, last in zip(starts, ends):
        chosen = owner[first : min(last, first + 10 * MOST_CLAUSES)].tolist()
        yield [clauses.values[offsets[c] : offsets[c + 1]].tolist() for c in chosen]


def _inputs(
    variable: int, clauses: list[list[int]], budget: questions.Budget, deadline: limits.Deadline
) -> list[int] | None:
    """The variables of the clauses that determine it, None where they do not."""
    if not any(variable in c for c in clauses) or not any(-variable in c for c in clauses):
        return None
    others = [[x for x in c if abs(x) != variable] for c in clauses]
    numbers = {v: i for i, v in enumerate(sorted({abs(x) for c in others for x in c}), 1)}
    switches = range(len(numbers) + 1, len(numbers) + 1 + len(others))
    with solvers.Solver(name="minisat22") as solver:
        for switch, clause in zip(switches, others):
            solver.add_clause([-switch, *(numbers[abs(x)] * (1, -1)[x < 0] for x in clause)])
        needed = list(switches)
        for _ in range(_TRIMS):
            answer = questions.ask(solver, needed, budget, conflicts=CONFLICTS, deadline=deadline)
            if answer is not False:
                return None
            before, needed = needed, sorted(solver.get_core() or [])
            if len(needed) == len(before):
                break
    used = (others[switch - switches[0]] for switch in needed)
    return sorted({abs(x) for clause in used for x in clause})
