"""The learned models that ship with Tally, and how each is trained again.

    parameters, history = train("bpnn_sat", seed=0, folder=Path("formulas"), steps=None,
                                checkpoint=None, timeout=600.0)

Importing this loads no JAX; training does.
"""

from pathlib import Path
from typing import Any

TRAINERS = {
    "bpnn_d": "the 24 numbers of BPNN-D, on the published attractive Ising grids",
    "bpnn_b": "the readout of BPNN-B, on a mixture of Ising grids",
    "bpnn_phases": "the readout of two corrected phases, on a mixture of Ising grids",
    "gnn": "the graph network that they are compared with",
    "bpnn_sat": "the network of count --method bpnn, on the formulas of --folder",
}


def train(
    name: str,
    *,
    seed: int,
    folder: Path | None,
    steps: int | None,
    checkpoint: Path | None,
    timeout: float | None,
) -> tuple[Any, Any]:
    """Parameters and history of one of ``TRAINERS``; None for steps takes those of the shipped.

    Raises:
      ValueError: the name is unknown, or a folder is given where none is needed or the reverse.
    """
    if name not in TRAINERS:
        raise ValueError(f"expected one of {', '.join(TRAINERS)}, given {name!r}")
    options: dict[str, Any] = {"seed": seed, "checkpoint": checkpoint, "timeout": timeout}
    if steps is not None:
        options["steps"] = steps
    if name != "bpnn_sat":
        from experiments.training import bpnn_training

        if folder is not None:
            raise ValueError(f"{name} makes its own training data, given a folder")
        return bpnn_training.train(name, **options)
    from experiments.training import bpnn_sat_training, counted_formulas

    if folder is None:
        raise ValueError("bpnn_sat: expected --folder with formulas and their counts.csv")
    return bpnn_sat_training.train(counted_formulas.read(folder), **options)
