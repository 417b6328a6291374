"""Counters: how the methods of the table are asked for a count, one at a time."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from experiments.solve import formulas
from experiments.solve.info import Info
from inference import answer, estimate
from inference.problems import cnf, trivial
from inference.workers import process

# Rounds of hashing that would take more seconds than this here go to other processes.
PATIENCE = 1.0
# What a child process may take at most to return its answer, at Ctrl-C or after its time limit.
GRACE_SECONDS = 3.0


def exactly(
    formula: cnf.CNF, seed: int, timeout: float | None, memory: int | None
) -> tuple[estimate.Estimate, Info]:
    from inference.exact import ganak

    start = time.monotonic()
    result, how = ganak.count(formula, seed=seed, timeout=timeout, memory=memory)
    if how.status == "failed":
        raise ValueError(f"ganak failed: {how.message}")
    seconds = time.monotonic() - start
    why = "" if how.status == "done" else f"ganak did not finish within {seconds:.3g} s"
    return result, Info(how.status, seconds, "ganak", 1, seed, why)


def within(
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
    info = Info(status, time.monotonic() - start, method, 0, options["seed"], told.message)
    return trivial.count(formula), info


def count_here(
    formula: cnf.CNF, method: str, options: dict[str, Any], **watched: Any
) -> tuple[estimate.Estimate, Info]:
    """Counts by any method but Ganak; importable, so that a child process can run it."""
    start, seed = time.monotonic(), options["seed"]
    if method == "approxmc":
        return _hash(formula, **options, **watched)
    assumed = formulas.assume(formula, options["assumptions"])
    if method in ("adaptive", "short_xor"):
        return _bound(method, assumed, options, **watched)
    if method == "exhaustive":
        from inference.exact import exhaustive

        return exhaustive.count(assumed)[0], Info("done", time.monotonic() - start, method, 0, seed)
    from inference.message_passing.learned import bpnn_sat

    result, how = bpnn_sat.count(assumed)
    return result, Info(how.status, time.monotonic() - start, method, 0, seed)


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
        result, how = approxmc.count(seed, formula, **options)
    message = how.message
    if memory is not None and message.startswith("out of memory"):  # not what could not be had
        message = f"out of memory at the limit of {memory} MiB"
    return result, Info(how.status, how.seconds, "approxmc", how.oracle_calls, seed, message)


def _bound(
    method: str,
    formula: cnf.CNF,
    options: dict[str, Any],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """What the modules of that name say about the reduced formula."""
    if formula.log_weights is not None:
        raise ValueError(f"{method} counts models: expected no weights, given some")
    from hashing.counting import adaptive, short_xor
    from inference.reduction import support

    start, seed, reduction = time.monotonic(), options["seed"], options["reduction"]
    if reduction is not None and options["assumptions"]:
        raise ValueError(f"expected a reduction or assumptions for {method}, given both")
    progress("preprocessing")
    if reduction is None:
        timeout = math.inf if options["timeout"] is None else options["timeout"] / 2
        reduction = support.reduce(formula, deadline=start + timeout)
    entries: dict[str, Callable] = {"adaptive": adaptive.count, "short_xor": short_xor.count}
    limits = {"delta": options["delta"], "timeout": left(options["timeout"], start)}
    result, how = entries[method](seed, reduction.formula, progress=progress, **limits)
    info = Info(how.status, time.monotonic() - start, method, how.oracle_calls, seed)
    return estimate.doubled(result, len(reduction.free)), info


def left(timeout: float | None, start: float) -> float | None:
    """What is left of a time limit that began at ``start``; None without one."""
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - start))
