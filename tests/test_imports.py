"""Who may import whom: docs/architecture.md, "Imports", checked against the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("inference", "hashing", "experiments")
# Loading JAX takes a second, so only what computes with it does.
WITH_JAX = """
inference.training inference.message_passing inference.exact.exhaustive inference.exact.truth_table
inference.mcmc
hashing.parity.gf2 hashing.parity.families hashing.parity.affine hashing.parity.encode
""".split()


def modules() -> Iterator[tuple[str, str]]:
    """Names and sources of all our modules."""
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path.read_text(encoding="utf-8")


def imported(node: ast.AST) -> list[str]:
    """What one import statement may import: packages, and names that may be modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "expected absolute imports"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def layer(module: str) -> str:
    """The package or family of a module: inference, inference.exact, hashing.counting, ..."""
    parts = module.split(".")
    if parts[0] == "experiments":
        return "experiments"
    return ".".join(parts[:2]) if (ROOT / parts[0] / "".join(parts[1:2])).is_dir() else parts[0]


CORE = ["inference", *(f"inference.{x}" for x in ("problems", "workers", "oracles", "reduction"))]
HASHING = ["hashing.parity", "hashing.cells"]


def allowed(source: str, target: str) -> bool:
    """Whether one layer may import another."""
    if source == target or source == "experiments":
        return True
    if target == "experiments":
        return False
    if source in CORE:
        return target in CORE[: CORE.index(source)]
    if source.startswith("inference."):
        return target in CORE or (source, target) == ("inference.bounds", "inference.exact")
    if source in HASHING:
        return target in CORE or target in HASHING[: HASHING.index(source)]
    return target.startswith("inference") or target in HASHING


def violations(module: str, source: str) -> list[str]:
    """Imports of a module that its place does not allow."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for target in imported(node):
            if target.split(".")[0] in OURS and not allowed(layer(module), layer(target)):
                found.append(f"{module} imports {target}")
    return found


def test_layers():
    assert [line for name, source in modules() for line in violations(name, source)] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("inference.exact.elimination", "from hashing.parity import draws"),
        ("inference.exact.elimination", "def f():\n    import hashing"),
        ("inference.problems.cnf", "from inference.oracles import sat"),
        ("inference.estimate", "import inference.problems.cnf"),
        ("inference.oracles.sat", "from inference.exact import elimination"),
        ("inference.oracles.sat", "from inference import exact"),
        ("inference.exact.elimination", "from inference.message_passing import bp"),
        ("inference.oracles.sat", "from inference.reduction import support"),
        ("inference.message_passing.bp", "from inference.bounds import trw"),
        ("hashing.parity.draws", "from hashing.counting import approxmc"),
        ("hashing.parity.draws", "from hashing.cells import levels"),
        ("hashing.cells.levels", "from hashing.counting import approxmc"),
        ("hashing.sampling.unigen", "from hashing.counting import approxmc"),
        ("hashing.counting.approxmc", "from experiments import solve"),
        ("inference.problems.uai", "import experiments.harness.cli"),
    ],
)
def test_the_layer_check_can_fail(module, line):
    assert len(violations(module, line)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hashing.counting.approxmc", "from inference.oracles import sat"),
        ("hashing.counting.approxmc", "from hashing.parity import draws"),
        ("hashing.parity.gf2", "from inference import randomness"),
        ("inference.exact.elimination", "from inference.exact import orders"),
        ("inference.bounds.mini_bucket", "from inference.exact import orders"),
        ("inference.exact.ganak", "import numpy, jax"),
        ("experiments.solve", "from hashing.counting import approxmc"),
    ],
)
def test_the_layer_check_can_pass(module, line):
    assert violations(module, line) == []


def loads_jax(*names: str) -> bool:
    """Whether importing modules brings jax along, in a fresh interpreter."""
    code = f"import {', '.join(names)}, sys; print('jax' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout == "True\n"


HARNESS_WITH_JAX = {
    f"experiments.harness.{name}"
    for name in (
        "message_passing_peers",
        "discrete_kernels",
        "continuous_targets",
        "sampler_peers",
        "population_peers",
        "tempering_peers",
        "independence_peer",
        "nice_peer",
        "peer_runs",
        "referees",
        "training_figure",
    )
}


def without_jax() -> list[str]:
    """The library without those modules, and the command line."""
    found = []
    for name, _ in modules():
        in_library = name.startswith(("inference", "hashing"))
        is_front = name.startswith(("experiments.cli", "experiments.solve", "experiments.harness"))
        is_peer = name in HARNESS_WITH_JAX
        with_jax = any(name == one or name.startswith(f"{one}.") for one in WITH_JAX)
        if (in_library or is_front) and not with_jax and not is_peer:
            found.append(name)
    return found


def test_modules_that_must_start_fast_load_no_jax():
    names = without_jax()
    assert {"hashing.counting.approxmc", "experiments.cli.main", "inference.bounds.trw"} <= {*names}
    culprits = [name for name in names if loads_jax(name)] if loads_jax(*names) else []
    assert culprits == []
    assert loads_jax("hashing.parity.gf2")
