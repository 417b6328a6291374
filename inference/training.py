"""Fitting parameters by gradient descent: checkpoints, resuming, limits, weights on disk.

    >>> parameters, history = fit(lambda p, x: (p - x) ** 2, np.float32(0), lambda step: 3.0, 500,
    ...                           optimizer=optax.adam(0.1))
    >>> round(float(parameters), 2), history.status
    (3.0, 'done')

Parameters are any pytree: arrays in dictionaries, or a flax nnx module. The batch of a step is a
function of its number alone, so a run that was stopped and resumed gives the same parameters, bit
for bit, as one that was not. All runs in the precision the caller has set.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
from jax.typing import ArrayLike

from inference import files, limits

CHECKPOINT_SECONDS = 30.0
P = TypeVar("P")  # parameters, any pytree
B = TypeVar("B")  # a batch, likewise


class History(NamedTuple):
    """How a fit went.

    Attributes:
      loss: float64 [N], before each step taken, those of resumed runs included.
      validation: float64 [M], one value per ``validate_every`` steps; empty without validation.
      status: "done", "timeout" or "interrupted".
      seconds: wall time of this call, compilation included.
    """

    loss: np.ndarray
    validation: np.ndarray
    status: str
    seconds: float


class State(NamedTuple):
    """What the next step needs; ``best`` are the parameters of least validation loss so far."""

    parameters: Any
    optimizer: Any
    best: Any
    loss: np.ndarray
    validation: np.ndarray


def fit(
    loss: Callable[[P, B], ArrayLike],
    parameters: P,
    batches: Callable[[int], B],
    steps: int,
    *,
    optimizer: optax.GradientTransformation,
    validate: Callable[[P], ArrayLike] | None = None,
    validate_every: int = 50,
    checkpoint: str | Path | None = None,
    timeout: float | None = None,
    progress: str = "training",
) -> tuple[P, History]:
    """Minimises ``loss(parameters, batch)`` over ``batches(0), ..., batches(steps - 1)``.

    With ``validate``, what comes back are the parameters of least validation loss among those
    after every ``validate_every``-th step. At a time limit or Ctrl-C it is the best so far.

    Args:
      loss: a scalar, differentiable in its first argument; jitted here.
      batches: the batch of a step, a pytree of arrays (or a key), by the number of the step.
      checkpoint: a file that holds the state, written now and then and at the end; where it
        exists, the fit goes on from there.
      timeout: seconds.
      progress: label of the bar, which is shown on terminals only.

    Raises:
      ValueError: the checkpoint is of other parameters, or ``steps`` is negative.
    """
    if steps < 0:
        raise ValueError(f"expected steps >= 0, given {steps}")
    began, deadline = time.monotonic(), limits.Deadline.after(timeout)
    state = _resume(checkpoint, _init(parameters, optimizer))
    step = _jitted(loss, optimizer)
    judge = None if validate is None else jax.jit(validate)
    saved = time.monotonic()
    bar = tqdm.tqdm(total=steps, initial=len(state.loss), desc=progress, leave=False, disable=None)

    def advance(state: State) -> State:
        nonlocal saved
        batch = batches(len(state.loss))
        parameters, chosen, value = step(state.parameters, state.optimizer, batch)
        loss = np.append(state.loss, float(value))
        state = state._replace(parameters=parameters, optimizer=chosen, loss=loss)
        if judge is not None and len(state.loss) % validate_every == 0:
            state = _validated(state, float(judge(state.parameters)))
        bar.set_postfix(loss=f"{state.loss[-1]:.4g}", refresh=False)
        bar.update()
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save(checkpoint, state)
            saved = time.monotonic()
        return state

    with bar:
        state, status = limits.run_until(advance, state, lambda s: len(s.loss) >= steps, deadline)
    if checkpoint is not None:
        save(checkpoint, state)
    chosen = state.best if len(state.validation) else state.parameters
    return chosen, History(state.loss, state.validation, status, time.monotonic() - began)


def save(path: str | Path, tree: Any) -> None:
    """Writes the arrays of a pytree as one npz file, whole or not at all."""
    arrays = {_name(where): np.asarray(leaf) for where, leaf in _leaves(tree)}
    with files.whole(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: str | Path, like: P, *, free: tuple[str, ...] = ()) -> P:
    """Reads what ``save`` wrote into the structure of ``like``; leaves become numpy arrays.

    Args:
      free: names of fields of ``like`` whose arrays may have any length.

    Raises:
      ValueError: the file holds other names, or arrays of other shapes.
      OSError: it cannot be read.
    """
    with Path(path).open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    leaves = _leaves(like)
    expected = {_name(where): np.shape(leaf) for where, leaf in leaves}
    if set(arrays) != set(expected):
        differing = ", ".join(sorted(set(arrays) ^ set(expected)))
        raise ValueError(f"{path}: expected other arrays than given, differing: {differing}")
    for name, shape in expected.items():
        if arrays[name].shape != shape and name.removeprefix("tree.") not in free:
            raise ValueError(f"{path}: expected {name} of {shape}, given {arrays[name].shape}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[_name(at)] for at, _ in leaves])


def _init(parameters: Any, optimizer: optax.GradientTransformation) -> State:
    parameters = jax.tree.map(jnp.asarray, parameters)
    empty = np.zeros(0)
    return State(parameters, optimizer.init(parameters), parameters, empty, empty)


def _resume(checkpoint: str | Path | None, state: State) -> State:
    if checkpoint is None or not Path(checkpoint).exists():
        return state
    loaded = load(checkpoint, state, free=("loss", "validation"))
    fields = ("parameters", "optimizer", "best")
    arrays = {name: jax.tree.map(jnp.asarray, getattr(loaded, name)) for name in fields}
    return loaded._replace(**arrays)


def _jitted(loss: Callable[[P, B], ArrayLike], optimizer: optax.GradientTransformation) -> Callable:
    @jax.jit
    def step(parameters: P, optimizer_state: Any, batch: B) -> tuple[P, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(parameters, batch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, parameters)
        return optax.apply_updates(parameters, updates), optimizer_state, value

    return step


def _validated(state: State, value: float) -> State:
    better = not value >= state.validation.min(initial=np.inf)
    best = state.parameters if better and value == value else state.best
    return state._replace(best=best, validation=np.append(state.validation, value))


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _name(path: Any) -> str:
    # The prefix names a bare array, and keeps a field "file" apart from numpy's own argument.
    return "tree" + jax.tree_util.keystr(path)
