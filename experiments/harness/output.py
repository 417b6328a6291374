"""How answers are printed: the Model Counting Competition's lines, UAI results, JSON.

    output.print_count("f.cnf", formula, estimate, info, seconds=0.1, as_json=True)

Values go in as the nats of an ``Estimate`` and come out in the units the formats ask for.
"""

import json
import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

from experiments.harness import registry
from inference import answer
from inference.estimate import Claim, Estimate
from inference.problems import cnf, uai

LN2, LN10 = math.log(2.0), math.log(10.0)
# log2 of a double resolves no relative error below this, so a narrower interval is one number.
EXACT_WIDTH = 1e-9
COMMENT, PLAIN = "c o {} {}", "{:<9} {}"  # a name and a text, in the competition's lines and ours
_WIDE = Context(prec=20, Emax=MAX_EMAX, Emin=MIN_EMIN)


def print_count(
    problem: str, formula: cnf.CNF, estimate: Estimate, info: Any, seconds: float, as_json: bool
) -> None:
    """Prints a count with its guarantee, in the competition's format."""
    weighted, projected = formula.log_weights is not None, formula.projection is not None
    size = f"{formula.num_variables} variables, {formula.num_clauses} clauses"
    size += f", {len(formula.xors)} XORs" if len(formula.xors) else ""
    size += f", {len(formula.sampling_set)} sampled" if projected else ""
    print(f"c o problem {problem}: {size}")
    _print_how(COMMENT, info, status(estimate, info), seconds)
    print(f"c o claim {estimate.claim.value}")
    print(f"c o guarantee: {guarantee(estimate, info.method, 'weight' if weighted else 'count')}")
    print(f"s {satisfiable(estimate, info)}")
    print(f"c s type {'p' * projected}{'w' * weighted}mc")
    if _is_answer(estimate, info):
        print(f"c s log10-estimate {_digits(estimate.log_value / LN10)}")
        print(f"c s {_value_line(estimate, weighted)}")
    if as_json:
        print_json(problem, estimate, info, seconds)


def _is_answer(estimate: Estimate, info: Any) -> bool:
    """Whether programs may take the value for the count.

    One that did not end, or was bounded on one side only, has a claim but no answer.
    """
    if info.status != "done":
        return False
    if estimate.claim is Claim.NONE:
        return estimate.log_value > -math.inf
    return estimate.log_upper < math.inf and satisfiable(estimate, info) != "UNKNOWN"


def print_partition(
    problem: str, graph: Any, estimate: Estimate, info: Any, seconds: float, as_json: bool
) -> None:
    """Prints log Z with its interval in three units."""
    _print_model(problem, graph)
    _print_how(PLAIN, info, status(estimate, info), seconds)
    for unit, name in ((1.0, "ln Z"), (LN2, "log2 Z"), (LN10, "log10 Z")):
        low, value, high = (
            _digits(x / unit) for x in (estimate.log_lower, estimate.log_value, estimate.log_upper)
        )
        print(f"{name:<10}{value} in [{low}, {high}]")
    print(f"claim     {estimate.claim.value}, width {_digits(estimate.log_width, 3)} nats")
    print(f"guarantee {guarantee(estimate, info.method, 'Z')}")
    if as_json:
        print(uai.partition_text(estimate.log_value), end="")
        print_object(**fields_of(problem, estimate, info, seconds), **_notes(info))


def print_marginals(
    problem: str, graph: Any, marginals: Any, info: Any, seconds: float, as_json: bool
) -> None:
    """Prints the distribution of each variable as a UAI result, optionally as JSON too."""
    _print_model(problem, graph)
    _print_how(PLAIN, info, info.status, seconds)
    print(f"claim     {info.claim.value}")
    print(f"guarantee {_marginals_guarantee(info)}")
    print(uai.marginals_text(graph.num_states, marginals), end="")
    if as_json:
        # What lies past a variable's number of states is padding.
        rows = [row[:size].tolist() for row, size in zip(marginals, graph.num_states)]
        how = {"claim": info.claim.value, **_how(info, seconds), **_notes(info)}
        print_object(problem=problem, **how, error=info.error, marginals=rows)


def print_map(
    problem: str, graph: Any, best: answer.Answer, info: Any, seconds: float, as_json: bool
) -> None:
    """Prints a maximiser with its log-score and bound, then as a UAI result."""
    value = -math.inf if best.value is None else float(best.value)
    _print_model(problem, graph)
    _print_how(PLAIN, info, info.status, seconds)
    print(f"ln score  {_digits(value)}, proven at most {_digits(best.bound)}")
    print(f"answer    {best.status.value}")
    states = None
    if best.assignments is not None and len(best.assignments):
        states = best.assignments[0].tolist()
        print(uai.assignment_text(best.assignments[0]), end="")
    if as_json:
        bounds = {"log2_value": value / LN2, "log2_upper": float(best.bound) / LN2}
        how = {**_how(info, seconds), **_notes(info), "answer": best.status.value}
        print_object(problem=problem, **how, **bounds, assignment=states)


def print_result(result: registry.Result) -> None:
    """Prints the scalars and estimates of an experiment."""
    for line in result_lines(result):
        print(line)


def result_lines(result: registry.Result) -> list[str]:
    """One line per scalar and estimate: name, value, unit."""
    lines = []
    for name, value in result.scalars.items():
        text = _digits(value, 6) if isinstance(value, float) else str(value)
        lines.append(f"{name} {text} {result.units.get(name, '')}".rstrip())
    for name, one in result.estimates.items():
        lines.append(f"{name} 2^{_digits(one.log_value / LN2, 6)}: {guarantee(one, '', 'value')}")
    return lines


def print_training(history: Any, seconds: float) -> None:
    """Prints how a training went."""
    print(PLAIN.format("training", f"{history.status}, {seconds:.1f} s, {len(history.loss)} steps"))
    if len(history.loss):
        print(PLAIN.format("loss", f"{_digits(history.loss[-1], 6)} at the last step"))
    if len(history.validation):
        best = _digits(history.validation.min(), 6)
        print(PLAIN.format("held out", f"{best} at the best step, whose weights are kept"))


def print_json(problem: str, estimate: Estimate, info: Any, seconds: float) -> None:
    """Prints one JSON object about an estimate on one line."""
    print_object(**fields_of(problem, estimate, info, seconds))


def fields_of(problem: str, estimate: Estimate, info: Any, seconds: float) -> dict[str, Any]:
    """What a JSON object says about an estimate; infinities are the strings "inf" and "-inf"."""
    fields = {
        "problem": problem,
        "method": info.method,
        "claim": estimate.claim.value,
        "log2_value": estimate.log_value / LN2,
        "log2_lower": estimate.log_lower / LN2,
        "log2_upper": estimate.log_upper / LN2,
        "failure_lower": estimate.failure_lower,
        "failure_upper": estimate.failure_upper,
        "count": None if estimate.count is None else str(estimate.count),
        "seconds": seconds,
        "oracle_calls": info.oracle_calls,
        "seed": info.seed,
        "status": status(estimate, info),
    }
    return {name: _plain(value) for name, value in fields.items()}


def print_object(**fields: Any) -> None:
    """Prints one JSON object on one line; infinities become the strings "inf" and "-inf"."""
    print(json.dumps({name: _plain(value) for name, value in fields.items()}, allow_nan=False))


def status(estimate: Estimate, info: Any) -> str:
    """What became of the call; a finished count of 0 is ``unsatisfiable``."""
    zero = estimate.log_upper == -math.inf
    return "unsatisfiable" if zero and info.status == "done" else info.status


def satisfiable(estimate: Estimate, info: Any) -> str:
    """The competition's word for whether there is a model (of weight above 0)."""
    if estimate.log_upper == -math.inf:
        return "UNSATISFIABLE"
    found = estimate.log_lower > -math.inf
    # A value that claims nothing proves no model either.
    claims = estimate.claim is not Claim.NONE
    answered = info.status == "done" and claims and estimate.log_value > -math.inf
    return "SATISFIABLE" if found or answered else "UNKNOWN"


def guarantee(estimate: Estimate, method: str, what: str) -> str:
    """The claim in plain words."""
    if estimate.claim is Claim.NONE:
        return f"none; the {what} may be anything"
    low, high = (_digits(x / LN2, 6) for x in (estimate.log_lower, estimate.log_upper))
    if estimate.claim is Claim.EXPECTED:
        return f"in expectation over the seed, log2 of the {what} lies in [{low}, {high}]"
    exact = is_exact(estimate)
    rounded = "" if estimate.count is not None else " up to rounding"
    where = f"exact {what}{rounded}" if exact else f"the {what} lies within [2^{low}, 2^{high}]"
    where = where.replace("2^-inf", "0").replace("2^inf", "inf")
    if estimate.claim is Claim.CERTAIN:
        return f"{where}, certain"
    risks = [(estimate.failure_lower, "below"), (estimate.failure_upper, "above")]
    named = [f"{side} with probability at most {risk:.3g}" for risk, side in risks if risk]
    if exact and estimate.failure_lower == estimate.failure_upper:
        named = [f"on either side with probability at most {estimate.failure_lower:.3g}"]
    reason = " (hashed component cache)" if method == "ganak" else ""
    return f"{where}; wrong {' and '.join(named)}{reason}"


def is_exact(estimate: Estimate) -> bool:
    """Whether the interval is one number up to rounding."""
    return estimate.count is not None or estimate.log_width <= EXACT_WIDTH


def _print_model(problem: str, graph: Any) -> None:
    factors = sum(len(group.variables) for group in graph.groups)
    states = max((int(size) for size in graph.num_states), default=0)
    print(
        f"problem   {problem}: {len(graph.num_states)} variables of up to {states} states, "
        f"{factors} factors of two or more variables"
    )


def _print_how(line: str, info: Any, outcome: str, seconds: float) -> None:
    calls = f", oracle calls {info.oracle_calls}" if info.oracle_calls else ""
    seed = "nothing drawn" if info.seed is None else f"seed {info.seed}"
    text = f"{info.method}, {outcome}, {seconds:.2f} s{calls}, {seed}"
    print(line.format("method", text))
    if info.message:
        print(line.format("note", " ".join(info.message.split())))


def _how(info: Any, seconds: float) -> dict[str, Any]:
    return {
        "method": info.method,
        "seconds": seconds,
        "oracle_calls": info.oracle_calls,
        "seed": info.seed,
        "status": info.status,
    }


def _notes(info: Any) -> dict[str, Any]:
    return {"converged": info.converged, "note": info.message}


def _marginals_guarantee(info: Any) -> str:
    if info.claim is Claim.NONE:
        return "none; the marginals may be anything"
    return f"exact marginals, each within {_digits(info.error, 2)}, certain"


def _value_line(estimate: Estimate, weighted: bool) -> str:
    if weighted and is_exact(estimate):
        return f"exact double prec-sci {_scientific(estimate)}"
    if weighted:
        return f"approx double prec-sci {_scientific(estimate)}"
    if estimate.count is not None:
        return f"exact arb int {estimate.count}"
    return f"approx arb int {_rounded(estimate.log_value)}"


def _scientific(estimate: Estimate) -> str:
    """Digits of exp(log_value) at any magnitude: as many as hold where they are exact.

    Floats end at 1e-308 and 1e308.
    """
    if estimate.log_value == -math.inf:
        return "0"
    digits = 10
    if is_exact(estimate):
        digits = min(16, math.floor(-math.log10(max(estimate.log_width, 1e-16))))
    return f"{Decimal(estimate.log_value).exp(_WIDE):.{digits}e}"


def _rounded(log_value: float) -> int:
    """The integer nearest to exp(log_value), as far as a double knows it."""
    if log_value == -math.inf:
        return 0
    exponent = max(0, math.floor(log_value / LN2) - 60)
    return round(math.exp(log_value - exponent * LN2)) << exponent


def _digits(value: float, digits: int = 15) -> str:
    return f"{value:.{digits}g}"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and math.isinf(value) else value
