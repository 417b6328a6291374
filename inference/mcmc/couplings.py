"""Bijections of a position and an auxiliary, made of coupling layers.

    >>> bijection = Couplings(2, 2, [(16,), (16,), (16,)], rngs=nnx.Rngs(0))
    >>> moved = bijection.forward(jnp.ones(2), jnp.zeros(2))
    >>> float(moved.log_determinant)
    0.0

NICE (Dinh, Krueger and Bengio 2014) adds, and keeps volume; with scales, as in Real NVP (Dinh,
Sohl-Dickstein and Bengio 2016), a bijection fits densities that are not flat. All in the precision
of what comes in.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array
#: Largest logarithm by which one layer may stretch a coordinate.
MOST_STRETCH = 3.0


class Moved(NamedTuple):
    """Where a bijection takes a point: position [D], auxiliary [M], and log |det| in nats."""

    position: Array
    auxiliary: Array
    log_determinant: Array


class Bijection(Protocol):
    """What ``nice`` asks of a bijection of position [D] and auxiliary [``num_auxiliary``]."""

    num_auxiliary: int

    def move(self, position: Array, auxiliary: Array, is_forward: Array) -> Moved:
        """The image where ``is_forward`` is true, else the preimage."""
        ...


class Couplings(nnx.Module):
    """Layers that change the auxiliary given the position, then the position, in turn.

    Args:
      dimension: D, of the position.
      num_auxiliary: M.
      widths: of the hidden layers of each coupling; the first changes the auxiliary.
      is_affine: whether couplings scale as well; without it volume is kept.
      location, scale: what positions are standardised by, [D] each; by default not.
      activation: of hidden layers.
      rngs: of the weights.
    """

    def __init__(
        self,
        dimension: int,
        num_auxiliary: int,
        widths: Sequence[Sequence[int]],
        *,
        is_affine: bool = False,
        location: Any = None,
        scale: Any = None,
        activation: Callable[[Array], Array] = nnx.relu,
        rngs: nnx.Rngs,
    ):
        self.num_auxiliary, self.is_affine = num_auxiliary, is_affine
        zeros = jnp.zeros(dimension)
        self.location = Constant(zeros if location is None else jnp.asarray(location))
        self.scale = Constant(zeros + 1.0 if scale is None else jnp.asarray(scale))
        sizes = [(dimension, num_auxiliary), (num_auxiliary, dimension)]
        self.layers = nnx.List(
            CouplingNetwork(given, changed * (1 + is_affine), hidden, activation, rngs)
            for (given, changed), hidden in zip(sizes * len(widths), widths)
        )
        if is_affine:
            self.stretch = nnx.Param(jnp.zeros(dimension + num_auxiliary))

    def forward(self, position: Array, auxiliary: Array) -> Moved:
        """The image of a point, its position in units of ``scale``."""
        pair = [(position - self.location[...]) / self.scale[...], auxiliary]
        total = jnp.zeros((), position.dtype)
        for number, layer in enumerate(self.layers):
            given, changed = number % 2, 1 - number % 2
            shift, stretch = self._coupling(layer, pair[given])
            pair[changed] = pair[changed] * jnp.exp(stretch) + shift
            total += stretch.sum()
        last, more = self._last(position.dtype)
        moved = jnp.concatenate(pair) * jnp.exp(last)
        at = len(position)
        return Moved(moved[:at], moved[at:], total + more)

    def inverse(self, position: Array, auxiliary: Array) -> Moved:
        """The point whose image this is."""
        last, more = self._last(position.dtype)
        at, joined = len(position), jnp.concatenate([position, auxiliary]) * jnp.exp(-last)
        pair = [joined[:at], joined[at:]]
        total = jnp.zeros((), position.dtype)
        for number, layer in reversed(list(enumerate(self.layers))):
            given, changed = number % 2, 1 - number % 2
            shift, stretch = self._coupling(layer, pair[given])
            pair[changed] = (pair[changed] - shift) * jnp.exp(-stretch)
            total -= stretch.sum()
        position = pair[0] * self.scale[...] + self.location[...]
        return Moved(position, pair[1], total - more)

    def move(self, position: Array, auxiliary: Array, is_forward: Array) -> Moved:
        """The image, positions in their own units again, or the preimage."""
        scale, location = self.scale[...], self.location[...]
        ahead = self.forward(position, auxiliary)
        ahead = ahead._replace(position=ahead.position * scale + location)
        back = self.inverse((position - location) / scale, auxiliary)
        return jax.tree.map(lambda a, b: jnp.where(is_forward, a, b), ahead, back)

    def _coupling(self, layer: Any, given: Array) -> tuple[Array, Array]:
        """Shift and logarithm of the stretch of the part that is changed."""
        told = layer(given)
        if not self.is_affine:
            return told, jnp.zeros_like(told)
        shift, stretch = jnp.split(told, 2)
        return shift, MOST_STRETCH * jnp.tanh(stretch / MOST_STRETCH)

    def _last(self, dtype: Any) -> tuple[Array, Array]:
        """Logarithms by which all coordinates are stretched at the end, and their sum."""
        if not self.is_affine:
            return jnp.zeros((), dtype), jnp.zeros((), dtype)
        return self.stretch[...], self.stretch[...].sum()


class Constant(nnx.Variable):
    """An array of a module that training leaves alone."""


class CouplingNetwork(nnx.Module):
    """A perceptron from [given] to [outputs] that begins near zero."""

    def __init__(
        self,
        given: int,
        outputs: int,
        hidden: Sequence[int],
        activation: Callable[[Array], Array],
        rngs: nnx.Rngs,
    ):
        sizes = [given, *hidden]
        he = nnx.initializers.he_normal()
        self.hidden = nnx.List(
            nnx.Linear(a, b, kernel_init=he, rngs=rngs) for a, b in zip(sizes, sizes[1:])
        )
        small = nnx.initializers.variance_scaling(1e-4, "fan_in", "normal")
        self.last = nnx.Linear(sizes[-1], outputs, kernel_init=small, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.last(x)


class LatentRotation:
    """A quarter turn among the latents of a flow: position and auxiliary (v, w) are (z, w) there.

    With z = flow(x, v) and w of as many normal coordinates, (z, w) goes to (w, -z): if the flow
    made z normal, the new position would be independent of the old one and always accepted. The
    composition is a bijection with a known Jacobian whatever the flow; it keeps volume where the
    flow does. A turn backwards differs by the sign of w alone.
    """

    def __init__(self, flow: Couplings, dimension: int):
        self.flow, self.dimension = flow, dimension
        self.num_auxiliary = 2 * flow.num_auxiliary + dimension

    def move(self, position: Array, auxiliary: Array, is_forward: Array) -> Moved:
        """Turns the latents forwards or backwards."""
        v, w = jnp.split(auxiliary, [self.flow.num_auxiliary])
        sign = jnp.where(is_forward, 1.0, -1.0).astype(position.dtype)
        ahead = self.flow.forward(position, v)
        turned = sign * w
        back = self.flow.inverse(turned[: self.dimension], turned[self.dimension :])
        latent = -sign * jnp.concatenate([ahead.position, ahead.auxiliary])
        return Moved(
            back.position,
            jnp.concatenate([back.auxiliary, latent]),
            ahead.log_determinant + back.log_determinant,
        )
