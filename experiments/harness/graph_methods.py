"""Questions about graphical models: what each method answers, and how it is asked.

    >>> value, told = ask("log_partition", graph, "bp", seed=0, timeout=9.0, memory=None)
    >>> value.claim, told.status
    (<Claim.NONE: 'none'>, 'done')

A method is a module of ``inference``; what a module does not answer itself is refused, except that
a most probable assignment is always decoded from marginals. ``graph_runs`` asks within limits, for
``experiments.solve``.
"""

import dataclasses
import importlib
import math
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, randomness
from inference.problems import factor_graph

EXACT = ("elimination", "exhaustive")
#: What each method says to a question, for the help texts. Without JAX, which takes a second.
METHODS = {
    "log_partition": {
        "auto": "elimination where it fits, else belief propagation and certain bounds",
        "elimination": "exact by variable elimination, certain; time and memory grow with width",
        "exhaustive": "exact by enumeration, certain; up to 2^24 joint states",
        "bp": "an estimate by belief propagation; no guarantee",
        "gbp": "an estimate by generalised belief propagation on short loops; mostly closer",
        "bpnn": "an estimate from ordered fixed points and learned corrections; no guarantee",
        "mean_field": "a lower bound, certain",
        "trw": "an upper bound by trees, certain",
        "mini_bucket": "bounds on both sides by weighted mini-buckets, certain",
    },
    "marginals": {
        "auto": "elimination where it fits, else belief propagation",
        "elimination": "exact by variable elimination, certain; time and memory grow with width",
        "exhaustive": "exact by enumeration, certain; up to 2^24 joint states",
        "bp": "belief propagation; no guarantee",
        "gbp": "generalised belief propagation on short loops; no guarantee, mostly closer",
        "bpnn": "ordered fixed points and learned corrections; no guarantee",
        "mean_field": "of the distribution behind the best lower bound; no guarantee",
        "trw": "averages over trees; no guarantee",
        "mini_bucket": "averages over mini-buckets; no guarantee",
    },
    "maximize": {
        "auto": "elimination where it fits, else the best of max-product and mini-buckets",
        "elimination": "a maximiser by variable elimination; time and memory grow with width",
        "exhaustive": "a maximiser by enumeration; up to 2^24 joint states",
        "bp": "an assignment by max-product; no bound",
        "gbp": "decoded from the marginals of gbp, then improved by search; no bound",
        "bpnn": "decoded from the marginals of bpnn, then improved by search; no bound",
        "mean_field": "an assignment by search around cut variables; no bound",
        "trw": "decoded from the marginals of trw, then improved by search; a bound by trees",
        "mini_bucket": "an assignment and a bound of the maximum",
    },
}
MODULES = {
    "elimination": "inference.exact.elimination",
    "exhaustive": "inference.exact.exhaustive",
    "gbp": "inference.message_passing.gbp",
    "bpnn": "inference.message_passing.learned.bpnn",
}  # where it is not that of the name in ``inference.message_passing``
# Where a method draws, and what it calls its seed; a decoded assignment is always searched for.
SEEDS = {
    "log_partition": {"mean_field": "key", "trw": "key"},
    "marginals": {"mean_field": "key", "trw": "key"},
    "maximize": {"bp": "seed", "mean_field": "key", "trw": "key", "mini_bucket": "key"},
}
DECODED = ("gbp", "bpnn", "trw")
# Few rounds, so that an early answer is there; of what compiles, the kernels are then ready.
QUICK = {
    "bp": {"iterations": 8},
    "gbp": {"max_iterations": 1},
    "bpnn": {"iterations": 8},
    "mini_bucket": {"i_bound": 1, "iterations": 0},
}
# What fits bounds goes on until it settles, where the user says how long.
PATIENT = {"mini_bucket": {"iterations": 10**4}, "trw": {"iterations": 10**4}}
#: What auto asks where nothing exact fits; with a time limit one process for each row.
FALL_BACKS = {
    "log_partition": (("bp",), ("mean_field", "mini_bucket")),
    "marginals": (("bp",),),
    "maximize": (("bp",), ("mini_bucket",)),
}


class Told(NamedTuple):
    """How an answer came about.

    Attributes:
      status: "done", "timeout", "interrupted", or "failed": no answer, ``message`` says why.
      message: what else there is to know.
      converged: of what iterates, None where nothing does.
      error: bound on the error of each marginal, inf where there is none.
    """

    status: str
    message: str = ""
    converged: bool | None = None
    error: float = math.inf


Found = tuple[Any, Told]  # an answer, None where the method failed, and how it came about


def answers(
    question: str,
    graph: factor_graph.FactorGraph,
    methods: Sequence[str],
    *,
    seed: int,
    memory: int | None,
    deadline: float,
    is_limited: bool = False,
) -> Iterator[dict[str, Found]]:
    """Asks several methods in turn; yields what each has found so far.

    Args:
      deadline: a reading of ``time.monotonic()``; the methods share what is left until then.
      is_limited: the deadline is the user's: ask what may take long for a few rounds first, so that
        something is there early, and use all the time.
    """
    found: dict[str, Found] = {}
    for at, method in enumerate(methods):
        end = time.monotonic() + (deadline - time.monotonic()) / (len(methods) - at)
        rounds: list[tuple[float, dict[str, Any]]] = [(1.0, {})]
        if is_limited:
            quick = [(0.1, QUICK[method])] if method in QUICK else []
            rounds = [*quick, (1.0, PATIENT.get(method, {}))]
        for share, options in rounds:
            timeout = max(0.0, share * (end - time.monotonic()))
            limits: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory}
            try:
                value, told = ask(question, graph, method, **limits, **options)
            except (ValueError, MemoryError) as error:  # a clause too long for a table, say
                found[method] = None, Told("failed", str(error) or "out of memory")
                break
            if method in found:
                value = _better(question, found[method][0], value)
            found[method] = value, told
            yield dict(found)
            if told.status == "interrupted":
                return
        yield dict(found)


def ask(
    question: str,
    graph: factor_graph.FactorGraph,
    method: str,
    *,
    seed: int,
    timeout: float,
    memory: int | None,
    **options: Any,
) -> tuple[Any, Told]:
    """The answer of one method to "log_partition", "marginals" or "maximize".

    Args:
      timeout: seconds, which exact methods overrun.
      memory: mebibytes of tables, or None for the method's own limit.
      options: of the method itself.

    Raises:
      ValueError: the method does not fit this model.
    """
    end, module = time.monotonic() + timeout, _module(method)
    if method in EXACT:
        limit = {"memory": memory} if method == "elimination" and memory is not None else {}
        return _told(getattr(module, question)(graph, **limit))
    is_decoded = question == "maximize" and method in DECODED
    options["timeout"] = timeout / 2 if is_decoded else timeout
    if method in SEEDS[question]:
        options[SEEDS[question][method]] = seed
    if method == "mini_bucket" and memory is not None:
        options["memory"] = memory
    if is_decoded and not hasattr(module, question):
        probabilities, told = _told(module.marginals(graph, **options))
        value, guess = None, np.argmax(probabilities, axis=1)
    else:
        value, told = _told(getattr(module, question)(graph, **options))
        guess = value.assignments[0] if is_decoded and value.assignments is not None else None
    if guess is None:
        return value, told
    found = decode(graph, guess, seed, end)
    told = told._replace(status=answer.cut_short(told.status, found.message) or "done")
    return found if value is None else best_of([value, found]), told


def draws(question: str, method: str) -> bool:
    """Whether the answer depends on the seed."""
    return method in SEEDS[question] or (question == "maximize" and method in DECODED)


def inside(
    answers: Sequence[estimate.Estimate], value: estimate.Estimate | None = None
) -> estimate.Estimate:
    """The intersection of all intervals, with the value of one that claims nothing moved inside."""
    both = estimate.intersect(answers if value is None else [*answers, value])
    log_value = both.log_value if value is None else value.log_value
    log_value = min(max(log_value, both.log_lower), both.log_upper)
    return estimate.bounded(log_value, both.log_lower, both.log_upper, 0.0, 0.0)


def best_of(answers: Sequence[answer.Answer]) -> answer.Answer:
    """The assignment of the highest score, with the lowest bound."""
    # What is proven first: another score can be larger by rounding alone.
    proven = (answer.Status.OPTIMAL, answer.Status.INFEASIBLE)
    best = max(answers, key=lambda one: (one.status in proven, one.value))
    return dataclasses.replace(best, bound=min(one.bound for one in answers))


def _better(question: str, old: Any, new: Any) -> Any:
    """Of one method's two answers to a question; what claims nothing is better the later it is."""
    if question == "maximize":
        return best_of([old, new])
    if question == "log_partition" and new.claim is not estimate.Claim.NONE:
        return inside([old], new)
    return new


def decode(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, seed: int, deadline: float
) -> answer.Answer:
    """An assignment of the most probable states [V], improved as far as searches can.

    First by single changes, then, where the model fits into tables, by ``feasible.search``. Ties,
    which symmetric models have at every variable, make the first guess alone a bad one.
    """
    start = time.monotonic()
    assignment, status = _climb(graph, assignment, deadline)
    searched, ended = _search(graph, assignment, seed, deadline)
    scores = [factor_graph.score(graph, one) for one in (assignment, searched)]
    value, seconds = max(scores), time.monotonic() - start
    message = answer.cut_short(status, ended)
    if value == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, value, seconds=seconds, message=message)
    found = (assignment if scores[0] == value else searched)[None].astype(np.int32)
    return answer.Answer(answer.Status.FEASIBLE, value, math.inf, found, seconds, message)


def _climb(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, deadline: float
) -> tuple[np.ndarray, str]:
    """The best single changes until none helps."""
    score = float(factor_graph.log_score(graph, assignment))
    improved = True
    while improved:
        improved = False
        for variable, size in enumerate(np.asarray(graph.num_states).tolist()):
            if time.monotonic() > deadline:
                return assignment, "timeout"
            others = np.repeat(assignment[None], size, axis=0)
            others[:, variable] = np.arange(size)
            scores = factor_graph.log_score(graph, others)
            if scores.max() > score:
                assignment, score = others[int(np.argmax(scores))], float(scores.max())
                improved = True
    return assignment, "done"


def _search(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, seed: int, deadline: float
) -> tuple[np.ndarray, str]:
    """The assignment improved by exact maxima around cut variables; as it is without tables."""
    from inference.bounds import feasible
    from inference.exact import bucket_tree, orders

    try:
        model = bucket_tree.prepare(factor_graph.tabulate(graph), orders.min_size)
    except ValueError:  # a clause too long for a table
        return assignment, "done"
    chosen = [int(assignment[v]) for v in model.plan.order]
    left = [model.states[v].tolist() for v in model.plan.order]
    start = [states.index(s) if s in states else 0 for s, states in zip(chosen, left, strict=True)]
    rng = randomness.generator(seed, "decode")
    found = feasible.search(model, rng, start=np.array(start, dtype=np.int64), deadline=deadline)
    if found.states is None:
        return assignment, found.status
    return feasible.assignment(model, found.states), found.status


def _told(result: Any) -> tuple[Any, Told]:
    """An answer and how it came about, from what the modules return."""
    if isinstance(result, estimate.Estimate):
        return result, Told("done")
    if isinstance(result, answer.Answer):
        return result, Told(result.message or "done")
    value, info = result
    status, error = getattr(info, "status", "done"), getattr(info, "error", math.inf)
    converged = getattr(info, "converged", None)
    if converged is None:
        return value, Told(status, error=error)
    end = "converged" if converged else "not converged"
    return value, Told(status, f"{end} after {info.iterations} sweeps", bool(converged))


def _module(method: str) -> ModuleType:
    return importlib.import_module(MODULES.get(method, f"inference.message_passing.{method}"))
