"""Fitting: what it finds, resuming bit for bit, limits, files."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from inference import training

ADAM = optax.adam(0.1)


def batches(step):
    return jax.random.normal(jax.random.fold_in(jax.random.key(3), step), (8, 2), jnp.float32)


def loss(weights, batch):
    return jnp.mean((batch @ weights["w"] - batch @ jnp.array([1.0, -2.0]) + weights["b"]) ** 2)


def start():
    return {"w": np.zeros(2, np.float32), "b": np.float32(1.0)}


def test_it_finds_the_minimum():
    found, history = training.fit(loss, start(), batches, 200, optimizer=ADAM)
    np.testing.assert_allclose(found["w"], [1.0, -2.0], atol=1e-2)
    assert len(history.loss) == 200 and history.loss[-1] < 1e-3 * history.loss[0]
    assert history.status == "done" and len(history.validation) == 0


def test_a_resumed_run_equals_one_without_a_break(tmp_path):
    file = tmp_path / "state.npz"
    options = {"optimizer": ADAM, "validate": lambda p: jnp.sum(p["w"] ** 2), "validate_every": 3}
    whole, history = training.fit(loss, start(), batches, 17, **options)
    training.fit(loss, start(), batches, 8, **options, checkpoint=file)
    resumed, after = training.fit(loss, start(), batches, 17, **options, checkpoint=file)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    np.testing.assert_array_equal(history.loss, after.loss)
    np.testing.assert_array_equal(history.validation, after.validation)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_the_best_by_validation_comes_back():
    wanted = 0.5  # passed on the way from 1 to the minimum at 0

    def parabola(p, _):
        return p**2

    found, history = training.fit(
        parabola,
        np.float32(1.0),
        int,
        30,
        optimizer=optax.sgd(0.05),
        validate=lambda p: (p - wanted) ** 2,
        validate_every=1,
    )
    assert abs(float(found) - wanted) < 0.06
    assert history.validation.argmin() < 15 and len(history.validation) == 30


def test_a_validation_that_is_not_a_number_is_never_the_best():
    found, _ = training.fit(
        lambda p, _: p**2,
        np.float32(1.0),
        int,
        4,
        optimizer=optax.sgd(0.1),
        validate=lambda p: jnp.where(p < 0.7, jnp.nan, p),
        validate_every=1,
    )
    assert float(found) == pytest.approx(0.8)


def test_no_time_no_steps():
    found, history = training.fit(loss, start(), batches, 10, optimizer=ADAM, timeout=0.0)
    assert history.status == "timeout" and len(history.loss) == 0
    jax.tree.map(np.testing.assert_array_equal, found, start())


def test_interrupted_keeps_what_it_has(tmp_path):
    def interrupting(step):
        if step == 5:
            raise KeyboardInterrupt
        return batches(step)

    file = tmp_path / "state.npz"
    found, history = training.fit(loss, start(), interrupting, 10, optimizer=ADAM, checkpoint=file)
    assert history.status == "interrupted" and len(history.loss) == 5
    expected, _ = training.fit(loss, start(), batches, 5, optimizer=ADAM)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    _, resumed = training.fit(loss, start(), batches, 10, optimizer=ADAM, checkpoint=file)
    assert len(resumed.loss) == 10


def test_modules_are_parameters_and_files(tmp_path):
    class Model(nnx.Module):
        def __init__(self, seed):
            self.layers = nnx.List([nnx.Linear(2, 1, rngs=nnx.Rngs(seed))])

        def __call__(self, x):
            return self.layers[0](x)

    def error(model, batch):
        return jnp.mean((model(batch) - 1.0) ** 2)

    found, history = training.fit(error, Model(0), batches, 100, optimizer=ADAM)
    assert isinstance(found, Model) and history.loss[-1] < 1e-2
    training.save(tmp_path / "weights.npz", found)
    read = training.load(tmp_path / "weights.npz", Model(1))
    np.testing.assert_array_equal(read(batches(0)), found(batches(0)))


def test_bare_arrays_and_fields_called_file(tmp_path):
    for tree in (np.arange(3.0), {"file": np.int32(2)}):
        training.save(tmp_path / "tree.npz", tree)
        jax.tree.map(
            np.testing.assert_array_equal, training.load(tmp_path / "tree.npz", tree), tree
        )


def test_refused(tmp_path):
    file = tmp_path / "weights.npz"
    training.save(file, {"w": np.zeros(3)})
    with pytest.raises(ValueError, match=r"expected tree\['w'\] of \(2,\), given \(3,\)"):
        training.load(file, {"w": np.zeros(2)})
    with pytest.raises(ValueError, match="differing"):
        training.load(file, {"v": np.zeros(3)})
    with pytest.raises(ValueError, match="differing"):
        training.fit(loss, start(), batches, 1, optimizer=ADAM, checkpoint=file)
    with pytest.raises(ValueError, match="expected steps >= 0, given -1"):
        training.fit(loss, start(), batches, -1, optimizer=ADAM)
