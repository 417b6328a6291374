"""Arrays of a computation kept in a folder, by orbax; ``fit`` and long chains resume from it.

>>> save("folder", (states, draws))
>>> states, draws = restore("folder", (states, draws))
"""

from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

T = TypeVar("T")


def save(folder: str | Path, tree: Any) -> None:
    """Writes the arrays of a pytree, whole or not at all; what was there before is replaced."""
    from orbax import checkpoint  # two seconds, which only who saves pays

    leaves = {str(number): np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(tree))}
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder).absolute(), leaves, force=True)


def restore(folder: str | Path, like: T) -> T:
    """What was saved, in the structure of ``like``; numpy arrays, bit for bit.

    Raises:
      ValueError: the folder holds something else, or arrays of other shapes.
    """
    from orbax import checkpoint

    expected, structure = jax.tree.flatten(like)
    with checkpoint.StandardCheckpointer() as checkpointer:
        try:
            found = checkpointer.restore(Path(folder).absolute())
        except Exception as error:  # orbax raises whatever its back-ends do
            raise ValueError(f"{folder}: expected a saved state, given none that reads") from error
    leaves = [found.get(str(number)) for number in range(len(expected))]
    for leaf, one in zip(leaves, expected):
        if np.shape(leaf) != np.shape(one) or len(found) != len(expected):
            raise ValueError(f"{folder}: expected a saved state of the same kind, given another")
    return jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
