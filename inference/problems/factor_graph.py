"""Factor graphs: log p(x) = log_constant + sum of unary and table log-potentials - log Z.

    >>> graph = build([2, 2], [((0, 1), [[0.5, 0.0], [0.0, 0.5]])])
    >>> float(log_score(graph, np.array([1, 1])))
    0.5

Variables and states are numbered from 0. All ``log_*`` are in nats, a hard zero is -inf. Problems
hold numpy float64; they are pytrees, so they pass through ``jit`` and ``vmap``.
"""

from typing import Any, NamedTuple


class FactorGroup(NamedTuple):
    """All table factors of one exact table shape.

    Attributes:
      variables: int32 [F, k].
      log_potentials: float [F, s1, ..., sk]; axis j + 1 belongs to ``variables[:, j]``.
    """

    variables: Any
    log_potentials: Any


class FactorGraph(NamedTuple):
    """A graphical model; make one with ``build`` or read it with ``problems.uai``.

    Attributes:
      num_states: int32 [V].
      log_unary: float [V, S], padded with -inf past ``num_states``.
      groups: table factors of two or more variables, one group per table shape.
      log_constant: float scalar, the factors of no variable.
    """

    num_states: Any
    log_unary: Any
    groups: tuple[FactorGroup, ...]
    log_constant: Any
