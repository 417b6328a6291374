"""The command line: ``tally VERB ...``, the same as ``python -m experiments VERB ...``.

    cli.main(["count", "formula.cnf", "--epsilon", "0.3"])     # prints; returns the exit status

Results go to standard output, progress and warnings to standard error. Whatever goes wrong ends in
one line there and exit status 2. Nothing imported here loads JAX, so an easy count takes half a
second.
"""

import contextlib
import dataclasses
import difflib
import errno
import importlib.metadata
import importlib.resources
import inspect
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments import solve
from experiments.harness import arguments, output, promises, registry, results, store
from experiments.solve import methods
from experiments.training import trainers
from inference import answer
from inference.problems import cnf, dimacs, factor_graph, uai
from inference.workers import process

SHIPPED = "domino_tilings_8x8.cnf"  # counted when no file is given
TRACEBACK = "TALLY_TRACEBACK"  # set in the environment, errors show where they come from


_started: float | None = None


def main(words: Sequence[str], *, started: float | None = None) -> int:
    """Carries out one command and returns the exit status: 0, 2 for errors, 130 for Ctrl-C.

    Time limits count from ``started``, a reading of ``time.monotonic()``, by default from now.
    """
    global _started
    _started = time.monotonic() if started is None else started
    sys.set_int_max_str_digits(0)  # counts are printed in full
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name must not cost the answer
    try:
        with _one_line_warnings():
            _dispatch(list(words))
            sys.stdout.flush()
        return 0
    except SystemExit as end:  # tyro printed a help text
        return int(end.code or 0)
    except BrokenPipeError:
        # Whoever read our output has gone; without this Python complains again while exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("tally: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"tally: error: {_one_line(error)}", file=sys.stderr)
        return 2


def count(words: Sequence[str]) -> None:
    """`tally count [FILE]`"""
    options = _parse(arguments.Count, "count", words, methods.lines("count"))
    _check_files(options.save, options.checkpoint, options.write_support)
    for name in ("save", "write_support"):
        if options.assume and getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise arguments.UsageError(f"expected --assume or {option}, given both")
    with process.limited(options.memory), _progress_line(options.quiet) as progress:
        _count(options, progress)


def _count(options: arguments.Count, progress: Callable[[str], None]) -> None:
    clock = _clock()
    file = options.file or str(importlib.resources.files("experiments") / "data" / SHIPPED)
    formula = dimacs.read(file, ignore_weights=options.ignore_weights)
    reduction = _write_support(formula, options)
    estimate, info = solve.count(
        formula,
        method=options.method,
        epsilon=options.epsilon,
        delta=options.delta,
        assumptions=options.assume,
        seed=options.seed,
        timeout=_left(options.timeout),
        memory=options.memory,
        jobs=options.jobs,
        checkpoint=options.checkpoint,
        reduction=reduction,
        progress=progress,
    )
    progress("")
    problem, seconds = options.file or SHIPPED, clock()
    output.print_count(problem, formula, estimate, info, seconds, options.json)
    if options.save is not None:
        results.save(options.save, problem, formula, estimate, info, seconds)
    _end(info)


def partition(words: Sequence[str]) -> None:
    """`tally partition FILE`"""
    options = _parse(arguments.Partition, "partition", words, methods.lines("log_partition"))
    clock = _clock()
    graph = _read_graph(options)
    left = _left(options.timeout)
    estimate, info = solve.partition(graph, timeout=left, **_shared(options))
    output.print_partition(options.file, graph, estimate, info, clock(), options.json)
    _end(info)


def marginals(words: Sequence[str]) -> None:
    """`tally marginals FILE`"""
    options = _parse(arguments.Marginals, "marginals", words, methods.lines("marginals"))
    clock = _clock()
    graph = _read_graph(options)
    left = _left(options.timeout)
    probabilities, info = solve.marginals(graph, timeout=left, **_shared(options))
    if info.converged is False:
        warnings.warn(f"not converged ({info.method}): these marginals may be far off")
    output.print_marginals(options.file, graph, probabilities, info, clock(), options.json)
    _end(info)


def maximize(words: Sequence[str]) -> None:
    """`tally map FILE`"""
    options = _parse(arguments.Map, "map", words, methods.lines("maximize"))
    clock = _clock()
    graph = _read_graph(options)
    left = _left(options.timeout)
    best, info = solve.maximize(graph, timeout=left, **_shared(options))
    output.print_map(options.file, graph, best, info, clock(), options.json)
    _end(info)


def train(words: Sequence[str]) -> None:
    """`tally train NAME`"""
    options = _parse(arguments.Train, "train", words, trainers.TRAINERS, "Models")
    out = Path(options.out)
    store.check_writable(out.parent)
    _check_files(options.out, options.checkpoint)
    clock = _clock()
    parameters, history = trainers.train(
        options.name,
        seed=options.seed,
        folder=None if options.folder is None else Path(options.folder),
        steps=options.steps,
        checkpoint=None if options.checkpoint is None else Path(options.checkpoint),
        timeout=options.timeout,
    )
    from inference import training

    training.save(out, parameters)
    output.print_training(history, clock())
    print(out)
    _end(history)


def list_experiments(words: Sequence[str]) -> None:
    """`tally list`"""
    _parse(arguments.List, "list", words)
    entries = registry.find()
    width = max((len(name) for name in entries), default=0)
    for name, entry in sorted(entries.items()):
        print(f"{name:<{width}}  {entry.title}")


def show(words: Sequence[str]) -> None:
    """`tally show NAME`"""
    experiment = registry.load(_parse(arguments.Show, "show", words).name)
    print(f"{experiment.name}: {experiment.text}\n")
    if experiment.spec.paper:
        print(f"paper: {experiment.spec.paper}")
    if experiment.check is not None:
        print(f"checked after every run: {inspect.cleandoc(str(experiment.check.__doc__))}")
    for name, config in experiment.spec.presets.items():
        values = dataclasses.asdict(config).items()
        print(f"preset {name}: {', '.join(f'{field}={value}' for field, value in values)}")


def run(words: Sequence[str]) -> None:
    """`tally run NAME`"""
    if not words or words[0].startswith("-"):
        _parse(arguments.Run, "run", words)  # prints the help, or refuses for want of a name
        raise arguments.UsageError("expected the experiment's name right after `tally run`")
    experiment = registry.load(words[0])
    options, config = arguments.parse_run(words[1:], experiment)
    out = Path(options.out)
    folder = store.place(out, experiment.name, config, options.seed)
    store.check_writable(folder.parent)
    clock, broken = _clock(), None
    try:
        result = registry.run(experiment, config, options.seed)
    except promises.BrokenPromise as error:  # what took long is kept
        result, broken = error.result, error
    seed, preset = options.seed, options.preset
    store.save(out, experiment, config, seed, result, preset=preset, seconds=clock())
    output.print_result(result)
    print(folder)
    if broken is not None:
        raise broken


def plot(words: Sequence[str]) -> None:
    """`tally plot PATH`"""
    options = _parse(arguments.Plot, "plot", words)
    path = Path(options.path)
    folder = path.parent if path.is_file() else path
    stored = store.load(folder)
    experiment = registry.load(stored.experiment)
    figure = Path(options.out) if options.out else folder / "figure.png"
    _check_files(str(figure))
    if not store.draw(experiment, stored.result, figure):
        raise arguments.UsageError(f"{experiment.name} has no figure")
    print(figure)


VERBS: dict[str, tuple[Callable[[Sequence[str]], None], type]] = {
    "count": (count, arguments.Count),
    "partition": (partition, arguments.Partition),
    "marginals": (marginals, arguments.Marginals),
    "map": (maximize, arguments.Map),
    "verify": (results.verify, results.Verify),
    "train": (train, arguments.Train),
    "list": (list_experiments, arguments.List),
    "show": (show, arguments.Show),
    "run": (run, arguments.Run),
    "plot": (plot, arguments.Plot),
}


def _dispatch(words: list[str]) -> None:
    verb = words[0] if words else "--help"
    if verb == "help" and words[1:]:  # `tally help VERB`
        verb, words = words[1], [words[1], "--help"]
    if verb in ("-h", "--help", "help"):
        print(_overview())
    elif verb == "--version":
        print(f"tally {importlib.metadata.version('tally-inference')}")
    elif verb in VERBS:
        VERBS[verb][0](words[1:])
    else:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of: {', '.join(VERBS)}"
        raise arguments.UsageError(f"unknown command {verb!r}, {hint}")


def _overview() -> str:
    lines = [
        f"  {verb:<10} {str(kind.__doc__).splitlines()[0]}" for verb, (_, kind) in VERBS.items()
    ]
    return "\n".join(
        [
            "Tally counts, integrates and maximises over exponentially large discrete spaces,",
            "and says with every number what it guarantees.",
            "",
            "usage: tally COMMAND ...",
            "",
            *lines,
            "",
            "`tally COMMAND --help` explains one; `tally count` alone counts a shipped formula.",
            f"With {TRACEBACK}=1 in the environment errors show where they come from.",
        ]
    )


def _parse(
    kind: type[arguments.T],
    verb: str,
    words: Sequence[str],
    methods: dict[str, str] | None = None,
    title: str = "Methods",
) -> arguments.T:
    """Parses, and checks the method; the help text lists the methods."""
    text = inspect.cleandoc(str(kind.__doc__))
    if methods is not None:
        rows = [f"  {name:<12} {line}" for name, line in methods.items()]
        text = "\n".join([text, "", f"{title}:", *rows])
    options = arguments.parse(kind, verb, words, description=text)
    method = getattr(options, "method", None)
    if method is not None and methods is not None and method not in methods:
        expected = ", ".join(methods)
        raise arguments.UsageError(f"--method: expected one of {expected}, given {method!r}")
    return options


def _read_graph(options: arguments.Marginals) -> factor_graph.FactorGraph:
    if options.file == options.evidence == "-":
        raise arguments.UsageError("expected one of model and evidence as -, given both")
    return uai.read(options.file, options.evidence)


def _write_support(formula: cnf.CNF, options: arguments.Count) -> Any:
    """Writes `c ind` lines and returns the reduction they come from, if there is a path."""
    if options.write_support is None:
        return None
    from inference.reduction import support

    if options.memory is None and options.timeout is None:
        reduction = support.reduce(formula)
    else:  # in a child, as a reduction that is cut short here would be no support to keep
        half = None if options.timeout is None else options.timeout / 2
        solved = process.call(support.reduce, formula, memory=options.memory, timeout=half)
        if solved.status is not answer.Status.OPTIMAL:
            why = solved.message or f"not finished within {solved.seconds:.3g} s"
            raise ValueError(f"--write-support: {why}")
        reduction = solved.value
    variables = sorted([*reduction.support.tolist(), *reduction.free.tolist()])
    lines = [variables[i : i + 20] for i in range(0, len(variables), 20)] or [[]]
    text = "".join(f"c ind {' '.join(map(str, line))} 0\n" for line in lines)
    Path(options.write_support).write_text(text.replace("  ", " "))
    return reduction


def _shared(options: arguments.Marginals) -> dict[str, Any]:
    """What every question about graphs takes."""
    return {"method": options.method, "seed": options.seed, "memory": options.memory}


def _check_files(*paths: str | None) -> None:
    """Raises OSError for files that cannot be written, before the work and not after it."""
    for path in map(Path, filter(None, paths)):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.is_file() or not path.exists():  # no device, no pipe
            try:  # they are written beside and then moved
                with tempfile.TemporaryFile(dir=path.parent):
                    pass
            except OSError as error:
                error.filename = str(path)
                raise


def _end(info: Any) -> None:
    """After the best valid answer is printed: says how it ended, unless all is well."""
    sys.stdout.flush()
    if info.status == "interrupted":
        raise KeyboardInterrupt
    if info.status == "failed":
        raise ValueError(f"{info.method} failed: {info.message}")


def _clock() -> Callable[[], float]:
    started = time.perf_counter()
    return lambda: time.perf_counter() - started


def _left(timeout: float | None) -> float | None:
    """What importing and reading have left of the limit."""
    begun = time.monotonic() if _started is None else _started
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))


@contextlib.contextmanager
def _progress_line(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Shows what is being done and for how long on a terminal, and nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    import tqdm

    with tqdm.tqdm(bar_format="{desc} [{elapsed}]", leave=False) as line:
        yield line.set_description_str


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings meant for users become one line each; those for developers stay quiet."""

    def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"tally: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show_warning
        yield


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror or type(error).__name__
        return f"{error.filename}: {reason[:1].lower()}{reason[1:]}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ValueError | ImportError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} ({TRACEBACK}=1 shows where)"
