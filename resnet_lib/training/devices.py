"""Many devices at one step: each holds the whole network and takes an equal part of each batch.

Keras and its backends do it: TensorFlow's `tf.distribute.MirroredStrategy` over the devices of one
host, `keras.distribution.DataParallel` on JAX over those of one host or of several. The batch is
the global one: gradients, and the statistics of batch normalisation, are those of all of its
images, so that n devices compute what one does.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import keras

from .. import checks

if TYPE_CHECKING:
    from ..datasets.base import Dataset
    from ..recipes import Recipe

SPREADING = ("tensorflow", "jax")


def available() -> int:
    """Return how many devices there are: the accelerators of all hosts, else their CPU devices.

    A CPU is one device, however many cores it has, unless it was divided into virtual ones.
    """
    return len(_jax_devices() if keras.backend.backend() == "jax" else _tensorflow_devices())


def _jax_devices():
    return keras.distribution.list_devices()


def _tensorflow_devices():
    """Return the names of TensorFlow's GPUs, else of its CPUs."""
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def checked(devices: int | str | None, processes: int = 1) -> int:
    """Return how many devices are meant.

    Args:
        devices: how many of this host, "all" of all hosts, or None: one.
        processes: how many work together.

    Raises:
        ValueError: if there are not so many, the backend cannot use several, or not all devices are
            meant where several hosts work together.
    """
    backend = keras.backend.backend()
    if devices in (None, 1) and processes == 1:
        return 1
    if backend not in SPREADING:
        raise ValueError(
            f"Expected `devices` to be 1 with the {backend} backend. Received: {devices!r}; "
            "KERAS_BACKEND=jax or tensorflow can use several"
        )
    there = available()
    if devices == "all":
        return there
    if processes > 1:
        raise ValueError(
            f"Expected devices='all' where {processes} processes work together, for each of them "
            f"must take part. Received: {devices!r}"
        )
    return _few(checks.count("devices", devices), there, backend)


def _few(devices, there, backend):
    if devices <= there:
        return devices
    virtual = {
        "jax": f"XLA_FLAGS=--xla_force_host_platform_device_count={devices} in the environment",
        "tensorflow": "tf.config.set_logical_device_configuration before anything is computed",
    }
    raise ValueError(
        f"Expected `devices` to be from 1 to {there}, as many as there are. Received: {devices}. "
        f"To try more on a CPU, divide it into virtual devices: {virtual[backend]}"
    )


def check_batches(recipe: "Recipe", data: "Dataset", devices: int) -> None:
    """Refuse batches that cannot be shared out equally.

    The last batch of an epoch is smaller. Where it cannot be shared out equally, JAX computes all
    of it on each device; TensorFlow cannot do so.

    Raises:
        ValueError: with the nearest batch size, or number of images, that can be.
    """
    size, images = recipe.batch_size, len(data.train)
    if size % devices:
        below = size - size % devices
        nearest = [f"batch_size={each}" for each in (below, below + devices) if each]
        raise ValueError(
            f"Expected batches that {devices} devices share out equally. Received: batches of "
            f"{size}; the nearest that do: {' or '.join(nearest)}"
        )
    if keras.backend.backend() == "tensorflow":
        if images % devices:
            raise ValueError(
                f"Expected a number of training images that {devices} devices share out equally, "
                f"with TensorFlow. Received: {images:,}; data.limit({images - images % devices}) "
                "would do, and JAX takes any number"
            )
        even(size, len(data.validation), devices)


def even(size: int, images: int, devices: int) -> int:
    """Return the largest batch size up to `size` in which each device gets a part of each batch.

    TensorFlow hands out equal parts as long as there are images, the last device what is left; the
    parts of the first batch must be equal.
    """
    most = min(size, images)
    for each in range(most - most % devices, 0, -devices):
        last = images % each
        if last == 0 or last > -(-last // devices) * (devices - 1):
            return each
    raise ValueError(
        f"Expected a validation part of which {devices} devices get a share of each batch, with "
        f"TensorFlow. Received: {images:,} images; {images - images % devices} would do"
    )


def spread(devices: int) -> AbstractContextManager:
    """Return the context in which Keras lays networks out over so many devices, the first ones."""
    if devices == 1:
        return nullcontext()
    if keras.backend.backend() == "jax":
        return _data_parallel(devices).scope()
    return _mirrored(devices).scope()


@cache  # A model is fitted under the very object that it was made under.
def _mirrored(devices):
    import tensorflow as tf

    class Mirrored(tf.distribute.MirroredStrategy):
        _collective_key_base = 1000 * devices  # In a process, one key stands for one size of group.

    return Mirrored(_tensorflow_devices()[:devices])


def _data_parallel(devices):
    names = _jax_devices()[:devices]
    return keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)


def placed(array: Any) -> Any:
    """Return an array on JAX's devices: shared out along its first axis where that is possible.

    Args:
        array: NumPy array, the same on each process. In `spread`, each device gets an equal part of
            the first axis; all of it where that cannot be. Elsewhere it goes to the one device.

    Returns:
        `jax.Array` of the array's shape and dtype.
    """
    import jax

    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(array)
    parts = distribution.device_mesh.devices.size
    if array.ndim and len(array) % parts == 0:
        layout = distribution.get_data_layout(array.shape).backend_layout
        return jax.make_array_from_callback(array.shape, layout, lambda place: array[place])
    return everywhere(array)


def everywhere(array: Any) -> Any:
    """Return an array as a whole on each of JAX's devices: see `placed`."""
    import jax

    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(array)
    mesh = distribution.device_mesh.backend_mesh
    layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.make_array_from_callback(array.shape, layout, lambda place: array[place])
