"""What each verb of the command line takes: one dataclass per verb, parsed by tyro.

    arguments.parse(arguments.Count, "count", ["formula.cnf", "--epsilon", "0.3"]).epsilon   # 0.3

The docstrings below are the help texts. Whatever cannot be parsed raises ``UsageError`` with one
line, where tyro itself would print a box.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import Positional, arg

from experiments.harness import registry
from inference.workers import process

T = TypeVar("T")
MAX_JOBS = 1024
SEEDS = 2**32  # without 64-bit integers JAX makes one key of s and s + 2**32
Limit = Annotated[float | None, arg(metavar="SECONDS")]
Mebibytes = Annotated[int | None, arg(metavar="MIB")]


class UsageError(ValueError):
    """A command that cannot be carried out as given; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Count:
    """Count the models of a CNF formula: plain, projected or weighted, as its file says.

    Prints the answer in the format of the Model Counting Competition, with what is guaranteed.
    """

    file: Positional[Annotated[str | None, arg(metavar="[FILE]")]] = None
    """DIMACS CNF, also .gz, .xz or .bz2; - reads standard input; without it, a shipped formula."""
    method: Annotated[str, arg(metavar="NAME")] = "auto"
    """A method listed above."""
    epsilon: float = 0.8
    """Approximate answers: within a factor 1 + epsilon either way ..."""
    delta: float = 0.2
    """... except with this probability."""
    assume: tuple[int, ...] = ()
    """Literals that hold in the models that are counted, as 3 -7."""
    seed: int = 0
    """Equal seeds give equal answers; only where methods race in auto, either may be first."""
    timeout: Limit = None
    """Stop then, and print the best valid answer so far."""
    memory: Mebibytes = None
    """What each process may take, in units of 2^20 bytes, beyond what it has when it starts."""
    jobs: int = dataclasses.field(default_factory=lambda: min(os.cpu_count() or 1, MAX_JOBS))
    """Processes that hash where it takes seconds, one per core; the answer does not change."""
    checkpoint: Annotated[str | None, arg(metavar="FILE")] = None
    """Keep the finished rounds of hashing there, and go on from them where it exists."""
    save: Annotated[str | None, arg(metavar="RESULT.json")] = None
    """Write the answer there, with what `tally verify` checks."""
    write_support: Annotated[str | None, arg(metavar="FILE")] = None
    """Write `c ind` lines of an independent support, whose count is the same."""
    ignore_weights: bool = False
    """Count the models of a weighted formula."""
    json: bool = False
    """Print one JSON object on the last line."""
    quiet: bool = False
    """No progress on standard error."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        _check_limits(self.timeout, self.memory, self.seed, process.LEAST_MEMORY)
        if not 0.0 < self.epsilon < math.inf:
            raise UsageError(f"--epsilon: expected a number above 0, given {self.epsilon}")
        if not 0.0 < self.delta < 1.0:
            raise UsageError(f"--delta: expected a number between 0 and 1, given {self.delta}")
        if not 1 <= self.jobs <= MAX_JOBS:
            raise UsageError(f"--jobs: expected 1 to {MAX_JOBS} processes, given {self.jobs}")


@dataclasses.dataclass(frozen=True)
class Marginals:
    """Compute the marginal distribution of every variable of a graphical model."""

    file: Positional[Annotated[str, arg(metavar="FILE")]]
    """UAI model, MARKOV or BAYES, also .gz, .xz or .bz2; - reads standard input."""
    evidence: Annotated[str | None, arg(metavar="FILE")] = None
    """UAI evidence file."""
    method: Annotated[str, arg(metavar="NAME")] = "auto"
    """A method listed above."""
    seed: int = 0
    """Equal seeds give equal answers."""
    timeout: Limit = None
    """Stop then, and print the best valid answer so far."""
    memory: Mebibytes = None
    """What tables may take, in units of 2^20 bytes; by default 2048."""
    json: bool = False
    """Print one JSON object on the last line."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        _check_limits(self.timeout, self.memory, self.seed)


@dataclasses.dataclass(frozen=True)
class Partition(Marginals):
    """Compute log Z of a graphical model, with what is guaranteed."""


@dataclasses.dataclass(frozen=True)
class Map(Marginals):
    """Find a most probable assignment of a graphical model."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a learned model again, and write its weights.

    A run that was stopped goes on from its checkpoint to the same weights."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """A model listed above."""
    out: Annotated[str, arg(metavar="FILE")] = "weights.npz"
    """Where the weights go."""
    folder: Annotated[str | None, arg(metavar="DIR")] = None
    """Formulas with counts.csv (columns file, family, ln_count, split), for bpnn_sat."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """Of the optimiser, by default as many as the shipped weights took."""
    checkpoint: Annotated[str | None, arg(metavar="FILE")] = None
    """Keep the state there, and go on from it."""
    timeout: Limit = None
    """Stop then, and write the best weights so far."""
    seed: int = 0
    """Equal seeds give equal weights."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        _check_limits(self.timeout, None, self.seed)
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps: expected at least 1, given {self.steps}")


@dataclasses.dataclass(frozen=True)
class List:
    """List the experiments."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Show what an experiment does, its presets and its paper."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """As listed by `tally list`."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What every run takes besides the fields of its experiment."""

    preset: Annotated[str, arg(metavar="smoke|default|paper")] = "default"
    """Where the values of the fields come from that are not given."""
    seed: int = 0
    """Equal seeds give equal results."""
    out: Annotated[str, arg(metavar="DIR")] = "results"
    """Results go to DIR/NAME/<hash of the fields>-s<seed>."""

    def check(self) -> None:
        """Raises UsageError for values outside their range."""
        _check_limits(None, None, self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(RunOptions):
    """Run an experiment and store its result and figure.

    `tally run NAME --help` lists the fields of that experiment as well.
    """

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """As listed by `tally list`."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the figure of a stored result again, from its data."""

    path: Positional[Annotated[str, arg(metavar="PATH")]]
    """A result folder, or a file in it."""
    out: Annotated[str | None, arg(metavar="FILE")] = None
    """Where to, as .png, .pdf or .svg; by default figure.png in the folder."""


def parse(kind: type[T], verb: str, words: Sequence[str], *, description: str = "") -> T:
    """Parses the words after the verb.

    Raises:
      UsageError: they do not fit; one line, with the help command to call.
      SystemExit: help was asked for, and printed.
    """
    parsed = _call_tyro(kind, verb, words, description=description or None)
    if hasattr(parsed, "check"):
        parsed.check()
    return parsed


def parse_run(words: Sequence[str], experiment: registry.Experiment) -> tuple[RunOptions, Any]:
    """Parses the words after `run NAME`: its options, and the experiment's fields as a config."""
    presets, verb = experiment.spec.presets, f"run {experiment.name}"
    start = Preset()  # the defaults that a help text shows
    if not {"-h", "--help"} & set(words):
        start = _call_tyro(Preset, verb, words, return_unknown_args=True)[0]
    if start.preset not in presets:
        raise UsageError(f"--preset: expected one of {', '.join(presets)}, given {start.preset!r}")
    config = presets[start.preset]
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("options", Annotated[RunOptions, arg(name="")]),
            ("config", Annotated[type(config), arg(name="")], config),
        ],
    )
    parsed = _call_tyro(both, verb, words, description=experiment.text)
    parsed.options.check()
    return parsed.options, parsed.config


@dataclasses.dataclass(frozen=True)
class Preset:
    """The one option that must be known before the others: it sets their defaults."""

    preset: str = "default"


def _call_tyro(kind: Any, verb: str, words: Sequence[str], **options: Any) -> Any:
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            return tyro.cli(
                kind,
                prog=f"tally {verb}",
                args=list(words),
                config=(tyro.conf.FlagCreatePairsOff,),
                **options,
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        message = _in_plain_words(_first_rows(written.getvalue()), kind)
        raise UsageError(f"{message} (see tally {verb} --help)") from end


def _first_rows(box: str) -> str:
    """The message in tyro's box: what stands between its title and the first line across.

    Where the terminal has no box characters, lines across are made of hyphens.
    """
    rows: list[str] = []
    across = 0
    for line in box.splitlines():
        text = line.strip("│╭╮╰╯ ")
        if re.match("─|-{9}", text):
            across += 1
            if across == 2:
                break
            rows = []  # the title
        else:
            rows.append(text)
    message = " ".join(" ".join(rows).split()).removeprefix("Error parsing ")
    return message[:1].lower() + message[1:].rstrip(".")


def _in_plain_words(message: str, kind: Any) -> str:
    """A message of tyro's as `expected ..., given ...`, where it is one that users meet."""
    option = message.split(":", 1)[0]
    if found := re.search(r"literal for int\(\) with base 10: ('.*?')", message):
        return f"{option}: expected an integer, given {found[1]}"
    if found := re.search(r"could not convert string to float: ('.*?')", message):
        return f"{option}: expected a number, given {found[1]}"
    if found := re.search(r"valid parse for arguments: \[(.*?)\]", message):
        return f"{option}: expected numbers, given {found[1]}"
    if found := re.match(r"missing value for argument '(--[\w-]+)'", message):
        return f"{found[1]}: expected a value, given none"
    if found := re.match(r"missing from tally .*?: (\S+)", message):
        return f"expected {found[1]}, given none"
    if found := re.match(r"unrecognized options: ([^-].*)", message):
        fields = {field.name for field in dataclasses.fields(kind)}
        takes = next((name for name in ("file", "name", "path") if name in fields), "")
        takes = "name" if "config" in fields else takes  # of an experiment
        expected = f"one {takes}, given a second" if takes else "no more words, given"
        return f"expected {expected}: {found[1]}"
    return message.replace("unrecognized options", "unknown options")


def _check_limits(timeout: float | None, memory: int | None, seed: int, least: int = 1) -> None:
    # Beyond these, 30 years and 2^60 bytes, system calls refuse the numbers.
    if timeout is not None and not 0.0 < timeout < 1e9:
        raise UsageError(f"--timeout: expected seconds between 0 and 1e9, given {timeout}")
    if memory is not None and not least <= memory < 2**40:
        raise UsageError(f"--memory: expected {least} to 2^40 mebibytes, given {memory}")
    if not 0 <= seed < SEEDS:
        raise UsageError(f"--seed: expected 0 to {SEEDS - 1}, given {seed}")
