"""Every layout keeps the protocol: its methods, their arguments, and the types of its fields."""

import dataclasses
import inspect
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import jaxtyped

from inference.message_passing import edge_graph, schedules
from inference.message_passing.layouts import general, protocol
from inference.problems import factor_graph, generators, logical_groups

RNG = np.random.default_rng(0)
PATHS = [((a, b), RNG.normal(size=(2, 2))) for a, b in ((0, 1), (0, 2), (3, 0), (0, 4), (5, 0))]
ZERO = ((0, 1), np.array([[0.0, -np.inf], [0.3, 0.1]]))
# The layout that is chosen for each.
MODELS = {
    "Stencil": generators.spin_glass_grid(0, 3, 4, 1.0),
    "Pairwise": factor_graph.build([2] * 6, PATHS),
    "Binary": factor_graph.build([2] * 6, [*PATHS, ZERO]),
    "Tables": factor_graph.build([2, 3, 2], [((0, 1, 2), RNG.normal(size=(2, 3, 2)))]),
    "General": factor_graph.build(
        [2] * 3, [], logical=[logical_groups.clause_group([[1, -2], [2, 3]])]
    ),
}
METHODS = [name for name, one in vars(protocol.Layout).items() if inspect.isfunction(one)]
METHODS = [name for name in METHODS if not name.startswith("_")]
LAYOUTS = pytest.mark.parametrize("layout", protocol.LAYOUTS, ids=lambda one: one.__name__)


def made(name):
    model = edge_graph.prepare(MODELS[name])
    return model, jax.tree.map(jnp.asarray, protocol.choose(model))


def test_the_protocol_is_what_rounds_call():
    assert METHODS == ["enter", "leave", "collect", "send", "mix", "change", "keep"]
    assert [one.__name__ for one in protocol.LAYOUTS] == list(MODELS)


@LAYOUTS
def test_methods_and_their_arguments(layout):
    assert isinstance(layout.cuts, bool)
    for name in METHODS:
        expected = inspect.signature(getattr(protocol.Layout, name)).parameters
        assert list(inspect.signature(getattr(layout, name)).parameters) == list(expected)
        assert getattr(layout, name).__doc__


def fits(value, hint):
    """Whether a field holds what its annotation names; shapes and dtypes included."""
    origin = typing.get_origin(hint)
    if origin is typing.ClassVar:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if origin is tuple:
        inner = typing.get_args(hint)[0]
        return isinstance(value, tuple) and all(fits(one, inner) for one in value)
    if dataclasses.is_dataclass(hint):
        return isinstance(value, hint) and fields_fit(value)
    return isinstance(value, hint)


def fields_fit(value):
    """Sizes of one name are equal within one object."""
    hints = typing.get_type_hints(type(value))
    with jaxtyped("context"):
        return all(fits(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(value))


@LAYOUTS
def test_fields_are_what_their_types_say(layout):
    with jax.enable_x64(True):
        model, found = made(layout.__name__)
    assert type(found) is layout and isinstance(found, protocol.Layout)
    assert fields_fit(model) and fields_fit(found)
    first = dataclasses.fields(found)[0].name
    assert not fields_fit(dataclasses.replace(found, **{first: jnp.zeros((1, 1, 1, 1), bool)}))


@LAYOUTS
def test_each_method_does_what_the_protocol_says(layout):
    with jax.enable_x64(True):
        model, found = made(layout.__name__)
        given = np.asarray(schedules.noise(0.5)(0, model))
        old = found.enter(given)
        np.testing.assert_allclose(found.leave(old), given, atol=1e-12)
        new = found.send(old, found.collect(old))
        plain = general.prepare(model)
        expected = plain.send(given, plain.collect(given))
        np.testing.assert_allclose(found.leave(new), expected, atol=1e-9)
        ends = found.mix(old, new, 0.0), found.keep(np.array([True]), old, new)
        for got, want in zip(ends, (new, old), strict=True):
            np.testing.assert_allclose(found.leave(got), found.leave(want), atol=1e-12)
        assert found.change(old, old, 1).tolist() == [0.0]
        assert found.change(old, new, 1).shape == (1,) and found.change(old, new, 1)[0] > 0
