"""Questions about graphical models: log Z, marginals, a most probable assignment, samples.

>>> result, info = partition(generators.ising_grid(3, 3, 0.4))
>>> result.claim, info.method
(<Claim.CERTAIN: 'certain'>, 'elimination')
"""

import math
import time
from typing import Any

import numpy as np

from experiments.solve import graph_methods, graph_runs, methods
from experiments.solve.info import Info
from inference import answer, estimate, limits, samples
from inference.problems import barren, factor_graph, trivial

# What there is where a method has found nothing in time.
_NOTHING = {"marginals": "each variable without its neighbours", "sample": "nothing drawn"}


def partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
) -> tuple[estimate.Estimate, Info]:
    """The partition function of a graphical model: log Z.

    Args:
      graph: condition it on evidence first. Variables that sum to one are pruned (``barren``).
      method: a key of ``methods.lines("log_partition")``.
      seed: for methods that draw.
      timeout: seconds; then the best valid claim so far.
      memory: mebibytes the tables may take, by default 2048.

    Raises:
      ValueError: unknown method, or the model does not fit; the message says what it would need.
    """
    graph = barren.prune(graph)
    gathered, info = _answer_graph("log_partition", graph, method, seed, timeout, memory)
    if gathered.found and method != "auto":
        return gathered.found[method][0], info
    if "elimination" in gathered.found:
        return gathered.found["elimination"][0], info
    guess = gathered.found.pop("bp", (None,))[0]
    bounds = [bound for bound, _ in gathered.found.values()]
    return graph_methods.inside([*bounds, trivial.log_partition(graph)], guess), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
) -> tuple[np.ndarray, Info]:
    """The marginal distribution of every variable, float64 [V, S]; arguments as ``partition``.

    ``info.claim`` is CERTAIN where they are exact, within ``info.error`` each, and NONE otherwise.
    Where nothing was found in time they are those of each variable without its neighbours; the
    message says so.

    Raises:
      ValueError: as ``partition``; also where Z = 0, or no assignment of positive weight was found.
    """
    gathered, info = _answer_graph("marginals", graph, method, seed, timeout, memory)
    if not gathered.found:
        probabilities = trivial.marginals(graph)
        if (probabilities.sum(axis=1) == 0).any():
            raise ValueError("expected a model with marginals, given a variable without states")
        return probabilities, info._replace(converged=False)
    [[probabilities, told]] = gathered.found.values()
    sums = probabilities.sum(axis=1)
    if not (np.isfinite(sums).all() and (sums > 0).all()):
        given = "one where every assignment has weight 0"
        if not methods.answering("marginals")[info.method].is_exact:
            given = f"one where {info.method} finds weight 0 everywhere"
        raise ValueError(f"expected a model with marginals, given {given}")
    if told.error < math.inf:
        info = info._replace(claim=estimate.Claim.CERTAIN, error=told.error)
    return probabilities, info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
) -> tuple[answer.Answer, Info]:
    """A most probable assignment; arguments as ``partition``, ``value`` a log-score in nats."""
    gathered, info = _answer_graph("maximize", graph, method, seed, timeout, memory)
    answers = [best for best, _ in gathered.found.values()]
    if len(answers) == 1 and info.method == method:
        return answers[0], info
    if "elimination" in gathered.found:
        return gathered.found["elimination"][0], info
    return graph_methods.best_of([*answers, trivial.maximize(graph)]), info


def sample(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
    num_samples: int = 1000,
) -> tuple[samples.Samples, Info]:
    """Assignments drawn by Markov chains, with a claim of ASYMPTOTIC; arguments as ``partition``.

    ``info.converged`` says whether the chains agree, ``info.rhat`` and ``info.ess`` how far: those
    of all states that chains have recorded, of which the samples are a part. Where time runs out
    there are fewer samples, none at worst.

    Raises:
      ValueError: as ``partition``; also where every assignment has weight 0.
    """
    methods.find("sample", method)
    deadline = limits.Deadline.after(timeout)  # which the choice takes a part of
    chosen = _kernel(graph) if method == "auto" else method
    limited = (seed, deadline.timeout, memory)
    gathered, info = _answer_graph("sample", graph, chosen, *limited, num_samples=num_samples)
    info = info._replace(seconds=deadline.seconds)
    if not gathered.found:
        nothing = np.zeros((0, graph.num_variables), np.int8)
        claim = samples.SampleClaim.ASYMPTOTIC
        drawn = samples.Samples(nothing, claim, independent=False)
        return drawn, info._replace(converged=False)
    drawn, told = gathered.found[chosen]
    return drawn, info._replace(ess=told.ess, rhat=told.rhat)


def _kernel(graph: factor_graph.FactorGraph) -> str:
    """The name of the method that auto draws by."""
    from inference.mcmc import dobrushin, swendsen_wang

    if swendsen_wang.fits(graph):
        return "swendsen_wang"
    # Hard zeros hold at any temperature, so where they alone couple variables heat is of no use.
    return "tempering" if dobrushin.mixing_beta(graph) < 1.0 else "gibbs"


def _answer_graph(
    question: str,
    graph: factor_graph.FactorGraph,
    method: str,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    **options: Any,
) -> tuple[graph_runs.Gathered, Info]:
    """What was found within the limits, by method, and how; nothing where time was too short.

    Raises:
      ValueError: the method does not fit.
    """
    methods.find(question, method)
    start = time.monotonic()
    given: dict[str, Any] = {"seed": seed, "memory": memory, "timeout": timeout, **options}
    gathered = graph_runs.run(question, graph, method, **given)
    if not gathered.found and gathered.status == "done" and method != "auto":
        named = ", ".join(methods.lines(question))
        raise ValueError(f"{'; '.join(gathered.notes)}; methods: {named}")
    notes = list(gathered.notes)
    if not gathered.found:
        notes.append(_NOTHING.get(question, "bounds from single factors alone"))
    told = [one for _, one in gathered.found.values()]
    converged = [one.converged for one in told if one.converged is not None]
    info = Info(
        gathered.status,
        time.monotonic() - start,
        "+".join(gathered.found) or method,
        seed=seed if any(one.seed is not None for one in told) else None,
        message="; ".join(notes),
        converged=all(converged) if converged else None,
    )
    return gathered, info
