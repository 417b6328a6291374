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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.harness import formulas, graph_methods, graph_runs
from inference import answer, estimate
from inference.problems import barren, cnf, factor_graph, trivial
from inference.workers import process

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
# In auto an exact answer may come later than an approximate one, by this share of its time and at
# most by so many seconds.
EXACT_SHARE, EXACT_SECONDS = 0.1, 0.5
# Up to so many processes that hash, a core for Ganak is worth having while they run.
FEW_JOBS = 4
# What a child process may take at most to return its answer, at Ctrl-C or after its time limit.
GRACE_SECONDS = 3.0


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

    def __str__(self) -> str:
        calls = f", oracle calls {self.oracle_calls}" if self.oracle_calls else ""
        told = f"; {self.message}" if self.message else ""
        return f"{self.method}, {self.status}, {self.seconds:.2f} s{calls}, seed {self.seed}{told}"


def count(
    formula: Any,
    *,
    method: str = "auto",
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
    weights: Mapping[int, float] | None = None,
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
      formula: with weights it is integrated, without them counted. A ``cnf.CNF``, the path of a
        DIMACS file, lists of signed literals, or a formula of PySAT.
      method: a key of ``COUNT_METHODS``.
      epsilon: tolerance of approximate answers.
      delta: their probability of failure.
      assumptions: literals that hold in the models that are counted.
      weights: the weight of literals, in place of those of the formula; rules and errors are those
        of ``formulas.with_weights``.
      seed: equal seeds give equal answers, except where a time limit cuts or, with ``auto``, where
        two methods race: which of their answers comes first is up to the machine.
      timeout: seconds; then the best valid claim so far.
      memory: mebibytes that each process of the count may take beyond what it has when it starts;
        then the best valid claim so far, and the status "failed".
      jobs: processes that hash where it takes longer than a second; the answer does not depend on
        it. A script that asks for more than one needs the guard ``if __name__ == "__main__"``.
      checkpoint: a file for ``approxmc.count`` to resume from.
      reduction: of ``support.reduce``, where it is known already.
      progress: called with a line that says where the count is; not where memory is limited.

    Raises:
      ValueError: unknown method, or one that cannot answer this question; what was given is no
        formula, or the memory too small to start with.
    """
    _check_method(method, COUNT_METHODS)
    if checkpoint is not None and method not in ("auto", "approxmc"):
        raise ValueError(f"expected approxmc or auto for a checkpoint, given {method}")
    process.check_memory(memory)
    start, formula = time.monotonic(), formulas.with_weights(formulas.read(formula), weights)
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    options: dict[str, Any] = {"seed": seed, "epsilon": epsilon, "delta": delta, "jobs": jobs}
    options |= {"assumptions": tuple(assumptions), "checkpoint": checkpoint, "reduction": reduction}
    assumed = formulas.assume(formula, assumptions)
    try:
        if method in ("exact", "ganak") or (method == "auto" and formula.log_weights is not None):
            progress("ganak")
            return _count_exactly(assumed, seed, **limits)
        if method == "auto":
            return _race(formula, assumed, limits, options, progress)
        return _count_within(formula, method, options | limits, progress=progress)
    except KeyboardInterrupt:
        return trivial.count(formula), Info(method, "interrupted", _since(start), 0, seed)


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
      memory: mebibytes the tables may take, by default 2048.

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
    return graph_methods.inside([*bounds, trivial.log_partition(graph)], guess), info


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
        return trivial.marginals(graph), info._replace(converged=False)
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
    return graph_methods.best_of([*answers, trivial.maximize(graph)]), info


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
    from inference.exact import ganak

    start = time.monotonic()
    solved = ganak.count(formula, timeout=timeout, memory=memory, seed=seed % 2**31)
    if solved.status is answer.Status.OPTIMAL:
        return solved.value, Info("ganak", "done", _since(start), 1, seed)
    if solved.status is answer.Status.FAILED:
        raise ValueError(f"ganak failed: {solved.message}")
    why = f"ganak did not finish within {_since(start):.3g} s"
    return trivial.count(formula), Info("ganak", "timeout", _since(start), 1, seed, why)


def _count_within(
    formula: cnf.CNF, method: str, options: dict[str, Any], **watched: Any
) -> tuple[estimate.Estimate, Info]:
    """Counts here or, where a limit could not be kept here, in a child process.

    What takes no time limit is killed. Solvers that run out of memory end their whole process.
    """
    timeout, memory = options["timeout"], options["memory"]
    killed = method in ("exhaustive", "bpnn")
    if memory is None and (timeout is None or not killed):
        return count_here(formula, method, options, **watched)
    start, grace = time.monotonic(), 0.0
    if timeout is not None and not killed:
        grace = min(GRACE_SECONDS, 0.25 + timeout / 8)
    told = process.call(
        count_here,
        *(formula, method, options),
        timeout=None if timeout is None else timeout + grace,
        memory=memory,
        stop=watched.get("stop", lambda: False),
        grace=GRACE_SECONDS,
    )
    if told.status is answer.Status.OPTIMAL:
        return told.value
    if told.message.startswith("ValueError: "):
        raise ValueError(told.message.removeprefix("ValueError: "))
    status = "failed" if told.status is answer.Status.FAILED else "timeout"
    info = Info(method, status, _since(start), 0, options["seed"], told.message)
    return trivial.count(formula), info


def count_here(
    formula: cnf.CNF, method: str, options: dict[str, Any], **watched: Any
) -> tuple[estimate.Estimate, Info]:
    """Counts by any method but Ganak; importable, so that a child process can run it."""
    start, seed = time.monotonic(), options["seed"]
    if method == "approxmc":
        return _hash(formula, **options, **watched)
    if method in ("adaptive", "short_xor"):
        return _bound(method, formula, options, **watched)
    assumed = formulas.assume(formula, options["assumptions"])
    if method == "exhaustive":
        from inference.exact import exhaustive

        return exhaustive.count(assumed), Info(method, "done", _since(start), 0, seed)
    from inference.message_passing.learned import bpnn_sat

    result, how = bpnn_sat.count(assumed)
    return result, Info(method, how.status, _since(start), 0, seed)


def _hash(
    formula: cnf.CNF,
    *,
    seed: int,
    jobs: int,
    memory: int | None,
    reduction: Any,
    on_pool: Callable[[], None] = lambda: None,
    **options: Any,
) -> tuple[estimate.Estimate, Info]:
    """``on_pool`` is called with each round that goes to other processes."""
    from hashing.counting import approxmc

    if reduction is not None:
        options["reduce"] = lambda *_, **__: reduction
    with contextlib.ExitStack() as stack:
        if jobs > 1 or memory is not None:
            from inference.workers import dispatch

            pool = stack.enter_context(dispatch.open_pool(jobs, memory=memory))
            options["executor"] = dispatch.Watched(pool, on_pool)
            options["patience"] = PATIENCE  # workers take a while to start
        result, how = approxmc.count(formula, seed=seed, **options)
    message = how.message
    if memory is not None and message.startswith("out of memory"):  # not what could not be had
        message = f"out of memory at the limit of {memory} MiB"
    return result, Info("approxmc", how.status, how.seconds, how.oracle_calls, seed, message)


def _bound(
    method: str,
    formula: cnf.CNF,
    options: dict[str, Any],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    from hashing.counting import adaptive, short_xor

    entries: dict[str, Callable] = {"adaptive": adaptive.count, "short_xor": short_xor.count}
    given = {name: options[name] for name in ("seed", "timeout", "delta", "assumptions")}
    if options["reduction"] is not None:
        given["reduce"] = lambda *_, **__: options["reduction"]
    result, how = entries[method](formula, progress=progress, **given)
    told = how.status, how.seconds, how.oracle_calls, options["seed"], how.message
    return result, Info(method, *told)


def _race(
    formula: cnf.CNF,
    assumed: cnf.CNF,
    limits: dict[str, Any],
    options: dict[str, Any],
    progress: Callable[[str], None],
) -> tuple[estimate.Estimate, Info]:
    """Ganak in a process of its own against hashing; the first answer wins, the other stops.

    Time decides, not the values, so each answer keeps its own probability of failure. An exact
    answer may come a little later. ``assumed`` is the formula with its assumptions.
    """
    from inference.exact import ganak

    # Plain lists pass what the threads tell each other: Ctrl-C inside a lock could leave it locked.
    start, seed = time.monotonic(), options["seed"]
    over: list[bool] = []
    pooled: list[float] = []  # when each round went to another process
    answers: list[answer.Answer] = []

    def run_ganak() -> None:
        # Ctrl-C is for the thread that hashes.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        watched: dict[str, Any] = {"stop": lambda: bool(over)}
        watched["pause"] = lambda: _stands_aside(pooled, start, options | limits)
        answers.append(ganak.count(assumed, seed=seed % 2**31, **limits, **watched))

    def is_solved() -> bool:
        return bool(answers) and answers[0].status is answer.Status.OPTIMAL

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        while not answers and time.monotonic() < end:
            time.sleep(0.005)

    result, info = trivial.count(formula), Info("auto", "interrupted", 0.0, 0, seed)
    exact = threading.Thread(target=run_ganak)
    exact.start()
    try:
        wait(HEAD_START)
        if not is_solved():
            left = limits | {"timeout": _left(limits["timeout"], start)}
            watched: dict[str, Callable] = {"stop": is_solved, "progress": progress}
            if (os.cpu_count() or 1) <= options["jobs"] <= FEW_JOBS:
                watched["on_pool"] = lambda: pooled.append(time.monotonic())
            result, info = _count_within(formula, "approxmc", options | left, **watched)
            pooled.clear()
            ends = _left(limits["timeout"], start)
            if info.status == "failed":  # what is too large to hash may not be for Ganak
                wait(math.inf if ends is None else ends)
            elif info.status == "done":
                wait(min(EXACT_SHARE * _since(start), EXACT_SECONDS))
    except KeyboardInterrupt:
        info = info._replace(status="interrupted")
    finally:
        over.append(True)
        exact.join()
    if is_solved():
        return answers[0].value, Info("ganak", "done", _since(start), 1, seed)
    why = answers[0].message if answers else ""
    return result, info._replace(message=info.message or why, seconds=_since(start))


def _stands_aside(pooled: list[float], start: float, options: dict[str, Any]) -> bool:
    """Whether Ganak pauses, so that the rounds that went to other processes have every core.

    Their time is known from the rounds before. Ganak goes on where they take half as long again,
    and does not wait where they take much longer than the race so far: it might be done by then.
    """
    began = min(pooled, default=math.inf)
    if began == math.inf:
        return False
    from hashing.counting import guarantee

    elapsed, left = began - start, len(pooled)
    done = max(1, guarantee.plan(options["epsilon"], options["delta"]).rounds - left)
    expected = elapsed / done * math.ceil(left / options["jobs"])
    timeout = math.inf if options["timeout"] is None else options["timeout"]
    if expected > 4 * elapsed or elapsed + expected > timeout:
        return False
    return time.monotonic() < began + 1.5 * expected


def _left(timeout: float | None, start: float) -> float | None:
    return None if timeout is None else max(0.0, timeout - _since(start))


def _check_method(method: str, methods: dict[str, str]) -> None:
    if method not in methods:
        raise ValueError(f"expected a method among {', '.join(methods)}, given {method!r}")


def _since(start: float) -> float:
    return time.monotonic() - start
