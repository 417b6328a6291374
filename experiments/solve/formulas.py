"""What users call a formula, as a ``cnf.CNF``: a path, lists of clauses, a formula of PySAT.

>>> formula = with_weights(read([[1, 2], [-1, 3]]), {1: 0.3, -2: 2.0, 2: 0.5})
>>> np.exp(formula.log_weights[0])  # of -1 and of 1
array([0.7, 0.3])
"""

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from inference.problems import cnf, dimacs


def read(given: Any) -> cnf.CNF:
    """The formula in what was given.

    Args:
      given: a ``cnf.CNF``; the path of a DIMACS file, "-" for standard input; a ``CNF`` of PySAT,
        whose comments count as in a file; or lists of signed literals.

    Raises:
      ValueError: it is none of these, or has soft or cardinality constraints.
      OSError: the file cannot be read.
    """
    if isinstance(given, cnf.CNF):
        return given
    if isinstance(given, str | os.PathLike):
        return dimacs.read(os.fspath(given))
    if hasattr(given, "soft") or getattr(given, "atmosts", []):
        what = "soft clauses" if hasattr(given, "soft") else "cardinality constraints"
        raise ValueError(f"expected a formula of clauses alone, given {what}")
    if hasattr(given, "clauses") and hasattr(given, "nv"):
        lines = [*given.comments, f"p cnf {given.nv} {len(given.clauses)}"]
        lines += [" ".join(map(str, [*clause, 0])) for clause in given.clauses]
        return dimacs.parse("\n".join(lines).encode(), type(given).__name__)
    if not isinstance(given, Iterable):
        expected = "expected a CNF, a path or lists of literals"
        raise ValueError(f"{expected}, given {type(given).__name__}")
    clauses = [_literals(clause) for clause in given]
    if any(0 in clause for clause in clauses):
        raise ValueError("expected literals other than 0 in clauses, given 0")
    return cnf.from_clauses(clauses)


def with_weights(formula: cnf.CNF, weights: Mapping[int, float] | None) -> cnf.CNF:
    """The formula with the weights of some literals, in place of its own; None leaves them.

    As in the Model Counting Competition, a literal whose negation alone has a weight w gets 1 - w,
    and a variable without weights gets 1 and 1.

    Raises:
      ValueError: a weight is not finite or below 0, a literal is none of the formula, w is above 1
        where the other literal has no weight, or a variable outside the sampling set has weights
        other than 1.
    """
    if weights is None:
        return formula
    table = np.zeros((formula.num_variables, 2))
    for literal, given in weights.items():
        weight, other = float(given), -literal
        if not 0.0 <= weight < math.inf:
            raise ValueError(f"expected a weight of at least 0 for {literal}, given {given}")
        if not 1 <= abs(literal) <= formula.num_variables:
            variables = f"variables 1..{formula.num_variables}"
            raise ValueError(f"expected a literal of the {variables}, given {literal}")
        table[abs(literal) - 1, int(literal > 0)] = math.log(weight) if weight else -math.inf
        if other not in weights:
            if weight > 1:
                raise ValueError(f"expected a weight for {other} too: that of {literal} is {given}")
            rest = math.log1p(-weight) if weight < 1 else -math.inf
            table[abs(literal) - 1, int(other > 0)] = rest
    return dataclasses.replace(formula, log_weights=table)


def literals(formula: cnf.CNF, given: Iterable[int | str]) -> list[int]:
    """Literals by number or by name, as numbers; a sign before a name negates it.

    Raises:
      ValueError: a literal is none of the formula; the message has names that are close.
    """
    numbers = {name: variable for variable, name in (formula.names or {}).items()}
    return [_literal(one, numbers, formula.num_variables) for one in given]


def _literals(clause: Any) -> list[int]:
    if isinstance(clause, str) or not isinstance(clause, Iterable):
        raise ValueError(f"expected lists of literals as clauses, given {clause!r}")
    return list(clause)


def _literal(given: int | str, numbers: Mapping[str, int], num_variables: int) -> int:
    text = str(given)
    name = text.removeprefix("-")
    if name in numbers:
        return -numbers[name] if text.startswith("-") else numbers[name]
    if re.fullmatch(r"-?\d{1,18}", text):
        _check_literal(int(text), num_variables)
        return int(text)
    if not numbers:
        raise ValueError(f"expected numbers in a formula without names, given {text!r}")
    close = difflib.get_close_matches(name, numbers, 3, 0.6)
    close = close or difflib.get_close_matches(name.upper(), numbers, 3, 0.6)
    hint = f" (close: {', '.join(close)})" if close else ""
    raise ValueError(f"expected the name or number of a variable, given {text!r}{hint}")


def _check_literal(literal: int, num_variables: int) -> None:
    if not 1 <= abs(literal) <= num_variables:
        raise ValueError(f"expected a literal of the variables 1..{num_variables}, given {literal}")
