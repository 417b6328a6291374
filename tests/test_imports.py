"""Who may import whom: docs/architecture.md, "Imports", checked against the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("inference", "hashing", "experiments")
NO_JAX = """
inference inference.estimate inference.answer inference.randomness inference.problems.cnf
inference.problems.dimacs inference.problems.factor_graph inference.problems.uai
inference.oracles.sat inference.exact.ganak inference.workers.process inference.workers.dispatch
inference.reduction.preprocess
hashing inference.problems.parity_rows hashing.counting.approxmc inference.reduction.support
hashing.counting.rounds hashing.counting.witness hashing.counting.verify hashing.counting.adaptive
hashing.counting.short_xor hashing.counting.extensions hashing.counting.repairs
hashing.counting.proofs hashing.counting.eliminate
experiments.__main__ experiments.solve experiments.solve.methods experiments.solve.counting
experiments.solve.graph_questions experiments.solve.graph_methods experiments.solve.graph_runs
experiments.harness.cli experiments.harness.output
experiments.harness.arguments experiments.harness.registry experiments.harness.store
experiments.harness.results experiments.harness.recount experiments.harness.peers
experiments.harness.commands
experiments.training.trainers inference.problems.logical_groups
""".split()


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


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


def at_module_level(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run on import: not those in functions or under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_module_level(child)


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


def imports_jax(source: str) -> bool:
    nodes = at_module_level(ast.parse(source))
    return any(name.split(".")[0] in ("jax", "jaxlib") for node in nodes for name in imported(node))


@pytest.mark.parametrize("module", NO_JAX)
def test_modules_that_must_start_fast_name_no_jax(module):
    assert not imports_jax(file_of(module).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import jax", True),
        ("try:\n    from jax import numpy\nexcept ImportError:\n    pass", True),
        ("class A:\n    import jax.numpy as jnp", True),
        ("def f():\n    import jax", False),
        ("if TYPE_CHECKING:\n    import jax", False),
        ("import jaxtyping_like", False),
    ],
)
def test_the_jax_check_can_fail(source, expected):
    assert imports_jax(source) is expected


def loads_jax(*names: str) -> bool:
    """Whether importing modules brings jax along, in a fresh interpreter."""
    code = f"import {', '.join(names)}, sys; print('jax' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout == "True\n"


def test_modules_that_must_start_fast_load_no_jax():
    assert not loads_jax(*NO_JAX)
    assert loads_jax("hashing.parity.gf2")
