"""One question, any method: count, partition, marginals and maximize with ``method="auto"``.

    >>> result, info = count(cnf.from_clauses([[3, 4]], num_variables=7))
    >>> result.count, info.method
    (96, 'ganak')

The one place that knows all families; the command line and the notebooks call it. Whatever stops a
method early (a time limit, Ctrl-C) weakens the claim and shows in ``info.status``.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.harness import graph_methods, graph_runs
from inference import answer, estimate
from inference.problems import barren, cnf, factor_graph

COUNT_METHODS = {
    "auto": "ganak and approxmc race; with weights ganak",
    "exact": "the same as ganak",
    "ganak": "exact by component caching; plain, projected, weighted",
    "exhaustive": "exact by enumeration, certain; up to 26 variables",
    "approxmc": "within (1 + epsilon) with probability 1 - delta, by random parities; no weights",
    "adaptive": "a lower bound with probability 1 - delta, by parities that adapt; no weights",
    "short_xor": "both sides with probability 1 - delta, by sparse parities; no weights",
    "bpnn": "a learned estimate in milliseconds, no guarantee; no weights, no sampling set",
}

PARTITION_METHODS = graph_methods.METHODS["log_partition"]
MARGINALS_METHODS = graph_methods.METHODS["marginals"]
MAP_METHODS = graph_methods.METHODS["maximize"]

# Seconds that the exact counter runs alone in auto; most formulas are easy, and need no race.
HEAD_START = 0.25
# Rounds of hashing that would take more seconds than this here go to other processes.
PATIENCE = 1.0


class Info(NamedTuple):
    """How an answer came about.

    Attributes:
      method: the one that answered.
      status: "done", "timeout", "interrupted" or "failed" (a worker died).
      seconds: wall time.
      oracle_calls: of a solver.
      seed: None where nothing was drawn.
      message: what else there is to know.
      claim: of marginals; an ``Estimate`` carries its own.
      error: of marginals whose claim is certain, how far off each may be at most.
      converged: of what iterates; None where nothing does.
    """

    method: str
    status: str
    seconds: float
    oracle_calls: int
    seed: int | None
    message: str = ""
    claim: estimate.Claim = estimate.Claim.NONE
    error: float = math.inf
    converged: bool | None = None


def count(
    formula: cnf.CNF,
    *,
    method: str = "auto",
    epsilon: float = 0.8,
    delta: float = 0.2,
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
    jobs: int = 1,
    checkpoint: str | os.PathLike | None = None,
    reduction: Any = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The (weighted, projected) model count of a formula.

    Args:
      formula: with weights it is integrated, without them counted.
      method: a key of ``COUNT_METHODS``.
      epsilon: tolerance of approximate answers.
      delta: their probability of failure.
      seed: equal seeds give equal answers.
      timeout: seconds; then the best valid claim so far.
      memory: bytes that each solver process may use.
      jobs: processes that hash where it takes longer than a second; the answer does not depend on
        it. A script that asks for more than one needs the guard ``if __name__ == "__main__"``.
      checkpoint: a file for ``approxmc.count`` to resume from.
      reduction: of ``support.reduce``, where it is known already.
      progress: called with a line that says where the count is.

    Raises:
      ValueError: unknown method, or one that cannot answer this question.
    """
    _check_method(method, COUNT_METHODS)
    if checkpoint is not None and method not in ("auto", "approxmc"):
        raise ValueError(f"expected approxmc or auto for a checkpoint, given {method}")
    start = time.monotonic()
    if method == "exhaustive":
        from inference.oracles import exhaustive

        return exhaustive.count(formula), Info(method, "done", _since(start), 0, seed)
    if method == "bpnn":
        from inference.message_passing import bpnn_sat

        result, how = bpnn_sat.count(formula)
        return result, Info(method, how.status, _since(start), 0, seed)
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    if method in ("exact", "ganak") or (method == "auto" and formula.log_weights is not None):
        progress("ganak")
        return _count_exactly(formula, seed, **limits)
    if method in ("adaptive", "short_xor"):
        return _bound(method, formula, seed, delta, timeout, reduction, progress)
    hashing: dict[str, Any] = {"epsilon": epsilon, "delta": delta, "jobs": jobs}
    hashing |= {"checkpoint": checkpoint, "reduction": reduction, "progress": progress}
    if method == "approxmc":
        return _hash(formula, seed, **limits, **hashing)
    return _race(formula, seed, limits, hashing)


def partition(
    graph: factor_graph.FactorGraph,
    *,
    method: str = "auto",
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
) -> tuple[estimate.Estimate, Info]:
    """The partition function of a graphical model: log Z.

    Args:
      graph: condition it on evidence first. Variables that sum to one are pruned (``barren``).
      method: a key of ``PARTITION_METHODS``.
      seed: for methods that draw.
      timeout: seconds; then the best valid claim so far.
      memory: bytes the tables may take, by default 2 GiB.

    Raises:
      ValueError: unknown method, or the model does not fit; the message says what it would need.
    """
    graph = barren.prune(graph)
    outcome, info = _answer_graph("log_partition", graph, method, seed, timeout, memory)
    if outcome.found and method != "auto":
        return outcome.found[method][0], info
    if "elimination" in outcome.found:
        return outcome.found["elimination"][0], info
    guess = outcome.found.pop("bp", (None,))[0]
    bounds = [bound for bound, _ in outcome.found.values()]
    return graph_methods.inside([*bounds, _trivial_partition(graph)], guess), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    method: str = "auto",
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
) -> tuple[np.ndarray, Info]:
    """The marginal distribution of every variable, float64 [V, S]; arguments as ``partition``.

    ``info.claim`` is CERTAIN where they are exact, within ``info.error`` each, and NONE otherwise.
    Where nothing was found in time they are those of each variable without its neighbours; the
    message says so.

    Raises:
      ValueError: as ``partition``; also where Z = 0, or no assignment of positive weight was found.
    """
    outcome, info = _answer_graph("marginals", graph, method, seed, timeout, memory)
    if not outcome.found:
        return _lonely(graph), info._replace(converged=False)
    [[probabilities, told]] = outcome.found.values()
    sums = probabilities.sum(axis=1)
    if not (np.isfinite(sums).all() and (sums > 0).all()):
        given = "one where every assignment has weight 0"
        if info.method not in graph_methods.EXACT:
            given = f"one where {info.method} finds weight 0 everywhere"
        raise ValueError(f"expected a model with marginals, given {given}")
    if told.error < math.inf:
        info = info._replace(claim=estimate.Claim.CERTAIN, error=told.error)
    return probabilities, info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    method: str = "auto",
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
) -> tuple[answer.Answer, Info]:
    """A most probable assignment; arguments as ``partition``, ``value`` a log-score in nats."""
    outcome, info = _answer_graph("maximize", graph, method, seed, timeout, memory)
    answers = [best for best, _ in outcome.found.values()]
    if len(answers) == 1 and info.method == method:
        return answers[0], info
    if "elimination" in outcome.found:
        return outcome.found["elimination"][0], info
    return graph_methods.best_of([*answers, _trivial_maximum(graph)]), info


def _answer_graph(
    question: str,
    graph: factor_graph.FactorGraph,
    method: str,
    seed: int,
    timeout: float | None,
    memory: int | None,
) -> tuple[graph_runs.Outcome, Info]:
    """What was found within the limits, by method, and how; nothing where time was too short.

    Raises:
      ValueError: the method does not fit.
    """
    methods = graph_methods.METHODS[question]
    _check_method(method, methods)
    start = time.monotonic()
    limits: dict[str, Any] = {"seed": seed, "memory": memory, "timeout": timeout}
    outcome = graph_runs.run(question, graph, method, **limits)
    if not outcome.found and outcome.status == "done" and method != "auto":
        raise ValueError(f"{'; '.join(outcome.notes)}; methods: {', '.join(methods)}")
    notes = list(outcome.notes)
    if not outcome.found:
        marginals = "each variable without its neighbours"
        notes.append(marginals if question == "marginals" else "bounds from single factors alone")
    told = [one for _, one in outcome.found.values()]
    converged = [one.converged for one in told if one.converged is not None]
    drawn = seed if any(graph_methods.draws(question, one) for one in outcome.found) else None
    info = Info(
        "+".join(outcome.found) or method,
        outcome.status,
        _since(start),
        0,
        drawn,
        "; ".join(notes),
        converged=all(converged) if converged else None,
    )
    return outcome, info


def _count_exactly(
    formula: cnf.CNF, seed: int, timeout: float | None, memory: int | None
) -> tuple[estimate.Estimate, Info]:
    from inference.oracles import ganak

    start, status = time.monotonic(), "timeout"
    solved = answer.Answer(answer.Status.UNKNOWN)
    try:
        solved = ganak.count(formula, timeout=timeout, memory=memory, seed=seed % 2**31)
    except KeyboardInterrupt:
        status = "interrupted"
    if solved.status is answer.Status.OPTIMAL:
        return solved.value, Info("ganak", "done", _since(start), 1, seed)
    if solved.status is answer.Status.FAILED:
        raise ValueError(f"ganak failed: {solved.message}")
    why = f"ganak did not finish within {_since(start):.3g} s"
    return _trivial_count(formula), Info("ganak", status, _since(start), 1, seed, why)


def _hash(
    formula: cnf.CNF,
    seed: int,
    *,
    jobs: int,
    memory: int | None,
    reduction: Any,
    **options: Any,
) -> tuple[estimate.Estimate, Info]:
    from hashing.counting import approxmc

    if reduction is not None:
        options["reduce"] = lambda *_, **__: reduction
    with contextlib.ExitStack() as stack:
        if jobs > 1 or memory is not None:
            from inference.oracles import dispatch

            options["executor"] = stack.enter_context(dispatch.open_pool(jobs, memory=memory))
            # Workers take a while to start. A limit of memory holds in workers alone.
            options["patience"] = PATIENCE if memory is None else 0.0
        result, how = approxmc.count(seed, formula, **options)
    info = Info("approxmc", how.status, how.seconds, how.oracle_calls, seed, how.message)
    return result, info


def _bound(
    method: str,
    formula: cnf.CNF,
    seed: int,
    delta: float,
    timeout: float | None,
    reduction: Any,
    progress: Callable[[str], None],
) -> tuple[estimate.Estimate, Info]:
    """What the modules of that name say about the reduced formula."""
    if formula.log_weights is not None:
        raise ValueError(f"{method} counts models: expected no weights, given some")
    from hashing.counting import adaptive, short_xor, support

    start = time.monotonic()
    progress("preprocessing")
    if reduction is None:
        half = start + (math.inf if timeout is None else timeout / 2)
        try:
            reduction = support.reduce(formula, deadline=half)
        except KeyboardInterrupt:
            return _trivial_count(formula), Info(method, "interrupted", _since(start), 0, seed)
    options: dict[str, Any] = {"delta": delta, "timeout": _left(timeout, start)}
    options |= {"progress": progress}
    entries: dict[str, Callable] = {"adaptive": adaptive.count, "short_xor": short_xor.count}
    result, how = entries[method](seed, reduction.formula, **options)
    info = Info(method, how.status, _since(start), how.oracle_calls, seed)
    return estimate.doubled(result, len(reduction.free)), info


def _race(
    formula: cnf.CNF, seed: int, limits: dict[str, Any], hashing: dict[str, Any]
) -> tuple[estimate.Estimate, Info]:
    """Ganak in a process of its own against hashing; the first answer wins, the other stops.

    Time decides, not the values, so each answer keeps its own probability of failure.
    """
    from inference.oracles import ganak

    # Plain lists pass what the threads tell each other: Ctrl-C inside a lock could leave it locked.
    start = time.monotonic()
    over: list[bool] = []
    answers: list[answer.Answer] = []

    def run_ganak() -> None:
        # Ctrl-C is for the thread that hashes.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        limited = {**limits, "stop": lambda: bool(over)}
        answers.append(ganak.count(formula, seed=seed % 2**31, **limited))

    def is_solved() -> bool:
        return bool(answers) and answers[0].status is answer.Status.OPTIMAL

    exact = threading.Thread(target=run_ganak)
    exact.start()
    try:
        while not answers and _since(start) < HEAD_START:
            time.sleep(0.005)
        if not is_solved():
            left = _left(limits["timeout"], start)
            options = {**hashing, **limits, "timeout": left}
            result, info = _hash(formula, seed, stop=is_solved, **options)
            info = info._replace(seconds=_since(start))
    except KeyboardInterrupt:
        result = _trivial_count(formula)
        info = Info("auto", "interrupted", _since(start), 0, seed)
    finally:
        over.append(True)
        exact.join()
    if is_solved():
        return answers[0].value, Info("ganak", "done", _since(start), 1, seed)
    why = answers[0].message if answers else ""
    return result, info._replace(message=info.message or why)


def _left(timeout: float | None, start: float) -> float | None:
    return None if timeout is None else max(0.0, timeout - _since(start))


def _trivial_count(formula: cnf.CNF) -> estimate.Estimate:
    """At most every assignment of the sampling set is a model."""
    weights = np.zeros((len(formula.sampling_set), 2))
    if formula.log_weights is not None:
        weights = formula.log_weights[formula.sampling_set - 1]
    upper = math.fsum(np.logaddexp(weights[:, 0], weights[:, 1])) + _rounding([weights])
    return estimate.bounded(-math.inf, -math.inf, upper, 0.0, 0.0)


def _trivial_partition(graph: factor_graph.FactorGraph) -> estimate.Estimate:
    """From one assignment to every factor at its largest."""
    _, score = _greedy(graph)
    lower = score - _graph_rounding(graph)
    return estimate.bounded(lower, lower, _upper_bound(graph, np.logaddexp), 0.0, 0.0)


def _trivial_maximum(graph: factor_graph.FactorGraph) -> answer.Answer:
    assignment, score = _greedy(graph)
    upper = _upper_bound(graph, np.maximum)
    if upper == -math.inf:
        return answer.Answer(answer.Status.INFEASIBLE, upper, upper)
    if score == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, score, upper)
    return answer.Answer(answer.Status.FEASIBLE, score, upper, assignment[None])


def _lonely(graph: factor_graph.FactorGraph) -> np.ndarray:
    """The distribution of each variable without its neighbours, [V, S]."""
    top = graph.log_unary.max(axis=1, keepdims=True, initial=-math.inf)
    if (top == -math.inf).any():
        raise ValueError("expected a model with marginals, given a variable without states")
    weights = np.exp(graph.log_unary - top)
    return weights / weights.sum(axis=1, keepdims=True)


def _greedy(graph: factor_graph.FactorGraph) -> tuple[np.ndarray, float]:
    """The assignment best for the unaries, [V], and its score, a lower bound up to rounding."""
    assignment = np.argmax(graph.log_unary, axis=1)
    return assignment, factor_graph.score(graph, assignment)


def _upper_bound(graph: factor_graph.FactorGraph, combine: np.ufunc) -> float:
    """Each factor at its largest: above log Z with logaddexp, above any log-score with maximum."""
    terms = [float(graph.log_constant), *combine.reduce(graph.log_unary, axis=1)]
    for table in _tables(graph):
        terms += table.max(axis=1).tolist()
    return math.fsum(terms) + _graph_rounding(graph)


def _graph_rounding(graph: factor_graph.FactorGraph) -> float:
    constant = np.reshape(graph.log_constant, (1, 1))
    return _rounding([constant, graph.log_unary, *_tables(graph)]) + float(graph.log_error)


def _tables(graph: factor_graph.FactorGraph) -> list[np.ndarray]:
    """The tables of each group, a row each; clauses and parities are 0 at most, and exact."""
    groups = [group for group in graph.groups if isinstance(group, factor_graph.FactorGroup)]
    return [group.log_potentials.reshape(len(group.variables), -1) for group in groups]


def _rounding(tables: list[np.ndarray]) -> float:
    """What sums of up to 2^16 terms, one from each row of the tables, may be off by."""
    sizes = [factor_graph.magnitude(table, axis=1) for table in tables]
    return 2.0**-36 * (1.0 + math.fsum(np.concatenate(sizes)))


def _check_method(method: str, methods: dict[str, str]) -> None:
    if method not in methods:
        raise ValueError(f"expected a method among {', '.join(methods)}, given {method!r}")


def _since(start: float) -> float:
    return time.monotonic() - start
