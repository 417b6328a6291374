"""Counters: how one method of the table is asked for a count.

>>> chosen = methods.find("count", "exhaustive")
>>> ask(chosen, formula, seed=0, timeout=None, memory=None)[0].count
96
"""

import functools
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from experiments.solve import methods
from experiments.solve.info import Info
from inference import estimate
from inference.problems import cnf
from inference.reduction import support
from inference.workers import within

# Rounds of hashing that would take more seconds than this here go to other processes.
PATIENCE = 1.0


def ask(
    method: methods.Method,
    formula: cnf.CNF,
    *,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    assumptions: Sequence[int] = (),
    reduce: Any = None,
    jobs: int = 1,
    on_pool: Callable[[], None] = lambda: None,
    **options: Any,
) -> tuple[estimate.Estimate, Info]:
    """The count by one method.

    Args:
      seed: and the other limits and options as for ``solve.count``; those that the method does not
        take are left out, so check them first.
      reduce: what the formula was reduced to already.
      on_pool: called with each round that goes to other processes; not where memory is limited.
      options: what else the method may take, as ``stop``.
    """
    start, entry = time.monotonic(), importlib.import_module(method.module).count
    given = {name: one for name, one in options.items() if name in method.options} | {"seed": seed}
    assumed = support.conditioned(formula, assumptions)
    if "assumptions" in method.options:
        given["assumptions"] = tuple(assumptions)
    else:
        formula = assumed
    if reduce is not None:
        given["reduce"] = functools.partial(_known, reduce)
    if "progress" in options and "progress" not in given:
        options["progress"](method.name)
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    if "executor" in method.options:
        result, how = _hash(entry, formula, jobs, on_pool, **limits, **given)
    elif method.in_child and (timeout is not None or memory is not None):
        result, how = within.count(entry, formula, grace=0.0, **limits, **given)
    else:
        result, how = entry(formula, **limits, **given)
    calls, message = getattr(how, "oracle_calls", method.oracle_calls), how.message
    seconds = time.monotonic() - start
    if method.is_exact and how.status == "timeout":
        message = f"{method.name} did not finish within {seconds:.3g} s"
    return result, Info(how.status, seconds, method.name, calls, seed, message)


def _hash(
    counter: Callable,
    formula: cnf.CNF,
    jobs: int,
    on_pool: Callable[[], None],
    *,
    timeout: float | None,
    memory: int | None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str], None] = lambda _: None,
    **given: Any,
) -> tuple[estimate.Estimate, Any]:
    """Here or, with a limit of memory, in a child, whose workers have the same limit each."""
    given |= {"counter": counter, "timeout": timeout, "jobs": jobs}
    if memory is None:
        return _hash_here(formula, on_pool=on_pool, stop=stop, progress=progress, **given)
    return within.count(
        _hash_here, formula, memory=memory, worker_memory=memory, stop=stop, **given
    )


def _hash_here(
    formula: cnf.CNF,
    *,
    counter: Callable,
    jobs: int,
    worker_memory: int | None = None,
    on_pool: Callable[[], None] = lambda: None,
    **given: Any,
) -> tuple[estimate.Estimate, Any]:
    if jobs == 1 and worker_memory is None:
        return counter(formula, **given)
    from inference.workers import dispatch

    with dispatch.open_pool(jobs, memory=worker_memory) as pool:
        given["patience"] = PATIENCE  # workers take a while to start
        return counter(formula, executor=dispatch.Watched(pool, on_pool), **given)


def _known(reduction: Any, *_: Any, **__: Any) -> Any:
    """Stands for ``support.reduce``, in other processes too."""
    return reduction
