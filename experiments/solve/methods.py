"""All methods: what each answers, what it claims and needs, and the module where it lives.

    >>> lines("count")["exhaustive"]
    'certain, by enumeration; up to 26 variables'

A new method is a file, its test, one row here and one in ``tests/test_contracts.py``. Rows name
their modules, which are imported when they are asked: JAX takes a second.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

#: What ``auto`` does.
AUTO = {
    "count": "elimination, ganak and hashing race",
    "log_partition": "elimination where it fits, else belief propagation and certain bounds",
    "marginals": "elimination where it fits, else belief propagation",
    "maximize": "elimination where it fits, else the best of max-product and mini-buckets",
    "sample": "swendsen_wang where clusters help, tempering where couplings are strong, else gibbs",
}
#: Which race for a count in ``auto``, without weights and with them.
RACERS = {False: ("elimination", "ganak", "approxmc"), True: ("elimination", "ganak", "approxwmc")}
#: Other names of methods.
ALIASES = {"count": {"exact": "ganak"}}
#: What any exact method keeps, whatever is asked for.
_KEPT_BY_EXACT = ("epsilon", "delta")
_GRAPHS = ("log_partition", "marginals", "maximize")
# What all samplers by Markov chains have in common.
_CHAINS: dict[str, Any] = {
    "claims": {"sample": "asymptotic"},
    "draws": ("sample",),
    "patient": {"iterations": 10**8},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table.

    Attributes:
      name: what users call it.
      module: where it lives, as a dotted path.
      line: how it works.
      claims: what each question that it answers is told: "count", "log_partition", "marginals",
        "maximize", "sample".
      formulas: what it needs of a formula.
      graphs: what it needs of a graphical model.
      draws: the questions whose answers depend on the seed.
      options: those of its ``count`` beyond the contract of all entries that ``solve.count`` uses.
      is_exact: answers have no error but rounding; such a method answers in full or not at all.
      in_child: a count under limits runs in a child process that is killed at them.
      oracle_calls: what a count takes where its ``Info`` does not say.
      quick: options of few rounds, for an early answer; of what compiles, kernels are then ready.
      patient: options of many, where the user says how long.
      decoded: the question whose answer is decoded into a most probable assignment, then improved
        by a search; empty where "maximize" itself says all.
    """

    name: str
    module: str
    line: str
    claims: Mapping[str, str]
    formulas: str = ""
    graphs: str = ""
    draws: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    is_exact: bool = False
    in_child: bool = False
    oracle_calls: int = 0
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    patient: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    decoded: str = ""

    def help(self, question: str) -> str:
        """The line that a help text shows."""
        needs = self.formulas if question == "count" else self.graphs
        decoded = ", then a search" if question == "maximize" and self.decoded else ""
        return f"{self.claims[question]}, by {self.line}{decoded}" + (f"; {needs}" if needs else "")


METHODS = (
    Method(
        name="ganak",
        module="inference.exact.ganak",
        line="component caching; plain, projected, weighted",
        claims={"count": "exact, probable at 1e-6"},
        draws=("count",),
        options=("stop", "pause"),
        is_exact=True,
        oracle_calls=1,
    ),
    Method(
        name="elimination",
        module="inference.exact.elimination",
        line="variable elimination",
        claims=dict.fromkeys(_GRAPHS, "certain"),
        graphs="small treewidth",
        is_exact=True,
    ),
    Method(
        name="elimination",
        module="inference.exact.bucket_count",
        line="reduction, then variable elimination; plain, projected, weighted",
        claims={"count": "certain"},
        formulas="small treewidth once reduced",
        options=("reduce", "stop", "budget"),
        is_exact=True,
    ),
    Method(
        name="exhaustive",
        module="inference.exact.exhaustive",
        line="enumeration",
        claims=dict.fromkeys(("count", *_GRAPHS), "certain"),
        formulas="up to 26 variables",
        graphs="up to 2^24 joint states",
        is_exact=True,
        in_child=True,
    ),
    Method(
        name="approxmc",
        module="hashing.counting.approxmc",
        line="random parities",
        claims={"count": "within 1 + epsilon with probability 1 - delta"},
        formulas="no weights",
        draws=("count",),
        options=(
            *("epsilon", "delta", "assumptions", "reduce", "checkpoint"),
            *("executor", "patience", "split", "stop", "progress"),
        ),
    ),
    Method(
        name="approxwmc",
        module="hashing.counting.approxwmc",
        line="random parities over bits of weights",
        claims={"count": "within 1 + epsilon with probability 1 - delta"},
        formulas="weights or none",
        draws=("count",),
        options=(
            *("epsilon", "delta", "assumptions", "reduce"),
            *("executor", "patience", "stop", "progress"),
        ),
    ),
    Method(
        name="adaptive",
        module="hashing.counting.adaptive",
        line="parities that adapt",
        claims={"count": "a lower bound with probability 1 - delta"},
        formulas="no weights",
        draws=("count",),
        options=("delta", "assumptions", "reduce", "progress"),
    ),
    Method(
        name="short_xor",
        module="hashing.counting.short_xor",
        line="sparse parities",
        claims={"count": "both sides with probability 1 - delta"},
        formulas="no weights",
        draws=("count",),
        options=("delta", "assumptions", "reduce", "progress"),
    ),
    Method(
        name="bp",
        module="inference.message_passing.bp",
        line="belief propagation",
        claims=dict.fromkeys(_GRAPHS[:2], "no guarantee") | {"maximize": "no bound"},
        draws=("maximize",),
        quick={"iterations": 8},
    ),
    Method(
        name="gbp",
        module="inference.message_passing.gbp",
        line="generalised belief propagation on short loops",
        claims=dict.fromkeys(_GRAPHS[:2], "no guarantee") | {"maximize": "no bound"},
        draws=("maximize",),
        quick={"iterations": 1},
        decoded="marginals",
    ),
    Method(
        name="bpnn",
        module="inference.message_passing.learned.bpnn",
        line="fixed points and learned corrections",
        claims=dict.fromkeys(("count", *_GRAPHS[:2]), "no guarantee") | {"maximize": "no bound"},
        formulas="no weights, no sampling set",
        graphs="variables of two states",
        draws=("maximize",),
        in_child=True,
        quick={"iterations": 8},
        decoded="marginals",
    ),
    Method(
        name="mean_field",
        module="inference.bounds.mean_field",
        line="elimination around independent cut variables",
        claims={
            "log_partition": "certain below",
            "marginals": "no guarantee",
            "maximize": "no bound",
        },
        draws=_GRAPHS,
    ),
    Method(
        name="trw",
        module="inference.bounds.trw",
        line="trees of every edge",
        claims={
            "log_partition": "certain above",
            "marginals": "no guarantee",
            "maximize": "a certain bound",
        },
        draws=_GRAPHS,
        patient={"iterations": 10**4},
        decoded="maximize",
    ),
    Method(
        name="mini_bucket",
        module="inference.bounds.mini_bucket",
        line="weighted mini-buckets",
        claims={
            "log_partition": "certain on both sides",
            "marginals": "no guarantee",
            "maximize": "a certain bound",
        },
        draws=("maximize",),
        quick={"i_bound": 1, "iterations": 0},
        patient={"iterations": 10**4},
    ),
    Method(
        name="gibbs",
        module="inference.mcmc.gibbs",
        line="Gibbs sampling, variables of a colour at once",
        **_CHAINS,
    ),
    Method(
        name="dmala",
        module="inference.mcmc.informed",
        line="discrete Langevin proposals, all variables at once",
        **_CHAINS,
    ),
    Method(
        name="swendsen_wang",
        module="inference.mcmc.swendsen_wang",
        line="clusters that change together",
        graphs="Ising and Potts models",
        **_CHAINS,
    ),
    Method(
        name="tempering",
        module="inference.mcmc.tempering",
        line="Gibbs sampling at several temperatures that swap",
        **_CHAINS,
    ),
)


def answering(question: str) -> dict[str, Method]:
    """The methods that answer a question, by name."""
    return {method.name: method for method in METHODS if question in method.claims}


def lines(question: str) -> dict[str, str]:
    """What may be asked for by name, with the line that a help text shows."""
    aliases = {name: f"the same as {of}" for name, of in ALIASES.get(question, {}).items()}
    rows = {name: method.help(question) for name, method in answering(question).items()}
    return {"auto": AUTO[question], **aliases, **rows}


def taking(option: str, weighted: bool = False) -> list[str]:
    """The names that ``solve.count`` may be asked by together with an option."""
    taken = [name for name, one in answering("count").items() if _takes(one, option)]
    auto = ["auto"] if any(name in taken for name in RACERS[weighted]) else []
    aliases = [name for name, of in ALIASES["count"].items() if of in taken]
    return [*auto, *aliases, *taken]


def _takes(method: Method, option: str) -> bool:
    return option in method.options or (method.is_exact and option in _KEPT_BY_EXACT)


def find(question: str, name: str) -> Method | None:
    """The method of a name, None for "auto".

    Raises:
      ValueError: no method of that name answers the question.
    """
    if name == "auto":
        return None
    found = answering(question).get(ALIASES.get(question, {}).get(name, name))
    if found is None:
        raise ValueError(f"expected a method among {', '.join(lines(question))}, given {name!r}")
    return found
