"""Many steps a call, on JAX: a loop that is compiled as a whole, inside of Keras' `fit`.

Keras' own `steps_per_execution` is, on JAX, a Python loop over the compiled step: it saves
callbacks and no dispatches. Here one call to the device computes that many steps, each with its own
batch and its own learning rate, and the next call is on its way before the numbers of this one are
looked at. `fit` stays Keras': its epochs, callbacks, validation and metrics.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..augment import covered
from . import devices

if TYPE_CHECKING:
    from .batches import Batches

RATE = "learning_rate"  # the name of the optimizer's variable


def feed_training(
    model: keras.Model, batches: "Batches", rates: Callable[[int], float] | None = None
) -> None:
    """Make a compiled model's `fit` take its steps from a loop on the device.

    Args:
        model: compiled `keras.Model`, its optimizer and metrics built, on the JAX backend. What it
            saves stays as it was.
        batches: those that `fit` is given. Of `Places`, the images are copied to the device.
        rates: function of a step of the run, counted from 0, that returns its learning rate; None:
            the rate is the optimizer's.
    """
    step = partial(type(model).train_step, model)
    place = None
    if rates is not None:
        names = [variable.path.rpartition("/")[2] for variable in model.optimizer.variables]
        place = names.index(RATE)
    model.train_function = _Calls(batches, step, model.steps_per_execution, rates, place)


def feed_test(model: keras.Model, batches: "Batches") -> None:
    """Make a compiled model's `evaluate` of these batches take its steps from such a loop."""
    step = partial(type(model).test_step, model)
    model.test_function = _Calls(batches, step, model.steps_per_execution)


class _Calls:
    """Stands in for Keras' function that computes `steps_per_execution` steps.

    Keras calls it, in an epoch, as often as that takes, with the state and an iterator over the
    batches. The iterator is left alone: the batches of a call go to the device together.
    """

    def __init__(self, batches, step, size, rates=None, place=None):
        self.batches, self.rates = batches, rates
        self.whole = len(batches.split) // batches.batch_size  # steps of whole batches
        self.size = min(size, max(self.whole, 1))
        self.per_call, self.done, self.before = size, 0, None
        self.images = ()
        if batches.by_place:
            self.images = devices.everywhere(batches.split.images)
        self.compiled, self.state = None, None
        self.loop = partial(_loop, step, _pictures_of(batches), place)

    def __call__(self, state, iterator):
        """Compute the next steps; return the numbers of the call before, and the state.

        The device has its next work before it is waited for. Only the last call of an epoch returns
        its own numbers, and so does the first.
        """
        if state is not self.state:
            state = _bound(state)
        first, last = self.done, min(self.done + self.per_call, len(self.batches))
        for start, end, size in self._runs(first, last):
            logs, state = self._run(state, *self._block(start, end, size))
        ended = last == len(self.batches)
        told = logs if ended or self.before is None else self.before
        self.state = state
        self.done, self.before = (0, None) if ended else (last, logs)
        return told, state

    def _runs(self, first, last):
        """Yield the first and the last step, and the size of a block, for batches of one size."""
        if first < self.whole:
            yield first, min(last, self.whole), self.size
        if last > self.whole:
            yield self.whole, last, 1

    def _run(self, state, *block):
        import jax

        if self.compiled is None:
            # What comes back lies on the devices as what went in; that is given away.
            layouts = (None, jax.tree.map(lambda each: each.sharding, state))
            self.compiled = jax.jit(self.loop, donate_argnums=0, out_shardings=layouts)
        return self.compiled(state, self.images, *block)

    def _block(self, first, last, size):
        """Return the batches of some steps, arrays (images, size, …), their rates and count.

        A block of fewer steps is filled up with its first one, to which the loop does not come.
        """
        batches = [self.batches[step] for step in range(first, last)]
        batches += batches[:1] * (size - len(batches))
        block = keras.tree.map_structure(
            lambda *each: devices.placed(np.stack(each, axis=1)), *batches
        )
        rates = np.zeros(size, "float32")
        if self.rates is not None:
            before = self.batches.epoch * len(self.batches)
            rates[: last - first] = [self.rates(before + step) for step in range(first, last)]
        return block, devices.everywhere(rates), devices.everywhere(np.int32(last - first))


def _bound(state):
    """Bind a state to where it lies, as what a loop returns is: else it would be compiled anew."""
    import jax

    return jax.device_put(state, jax.tree.map(lambda each: each.sharding, state))


def _loop(step, pictures, place, state, images, block, rates, count):
    """Compute `count` steps; return the numbers of the last one, and the state.

    Args:
        step: function (state, data) -> (numbers, state).
        pictures: function (images, what stands for the pictures of a batch) -> pictures.
        place: which of the optimizer's variables is the learning rate; None: it stays as it is.
        state: tuple of lists of arrays, as Keras' steps take it.
        images: array (n, height, width, channels), or ().
        block: (pictures or what stands for them, labels), arrays (images, steps, …).
        rates: array (steps,).
        count: how many of the steps to compute.
    """
    import jax

    @jax.jit  # So it is traced once for what it returns and once for the loop, not twice.
    def one(number, state):
        some, labels = keras.tree.map_structure(
            lambda each: jax.lax.dynamic_index_in_dim(each, number, axis=1, keepdims=False), block
        )
        if place is not None:
            state = _with_rate(state, place, rates[number])
        return step(state, (pictures(images, some), labels))

    numbers, _ = jax.eval_shape(one, 0, state)
    numbers = jax.tree.map(lambda each: jax.numpy.zeros(each.shape, each.dtype), numbers)
    return jax.lax.fori_loop(0, count, lambda number, now: one(number, now[1]), (numbers, state))


def _with_rate(state, place, rate):
    """Return a training step's state with another learning rate."""
    training, fixed, optimizer, metrics = state
    optimizer = [*optimizer[:place], rate, *optimizer[place + 1 :]]
    return training, fixed, optimizer, metrics


def _pictures_of(batches):
    """Return the function that makes a batch's pictures of the images and what stands for them."""
    if not batches.by_place:
        return lambda images, pictures: pictures
    how = batches.cutting()
    return lambda images, places: cut(images[places["index"]], places, **how)


def cut(
    images: Any,
    places: dict,
    *,
    pad: int,
    mode: str,
    hole: int = 0,
    colour: np.ndarray | None = None,
) -> Any:
    """Pad, crop, flip and cut out as the functions of `resnet_lib.augment` do, in JAX.

    Args:
        images: array (n, height, width, channels).
        places: as `resnet_lib.training.batches.Places` has them.
        pad: pixels added on each side.
        mode: "constant" or "reflect".
        hole: side of the square that is painted over, in pixels; 0: none is.
        colour: of the square, array (channels,) of the dtype of `images`.

    Returns:
        Array of the shape and dtype of `images`.
    """
    import jax
    import jax.numpy as jnp

    height, width = images.shape[1:3]
    padded = jnp.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)], mode)

    def window(image, top, left, flip):
        columns = jnp.where(flip, jnp.arange(width)[::-1], jnp.arange(width))
        return image[top + jnp.arange(height)[:, None], left + columns]

    windows = jax.vmap(window)(padded, places["top"], places["left"], places["flip"])
    if not hole:
        return windows
    over = covered(places["hole_top"], places["hole_left"], side=hole, shape=(height, width))
    return jnp.where(over, colour, windows)
