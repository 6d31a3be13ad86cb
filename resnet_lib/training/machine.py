"""How a training step is run on this machine: what changes its speed and not what it computes.

On a GPU or TPU: mixed precision, XLA, the images on the device, many steps a call. On a CPU: a step
a call, and with TensorFlow no XLA, and convolutions in bfloat16 where the CPU has instructions for
it.
`benchmarks/train_step.py` compares these on the machine at hand.
"""

import os
import platform
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import keras

from .. import checks, runtime

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
ON_DEVICE_BYTES = 2 * 2**30
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Execution:
    """How steps are run.

    Attributes:
        precision: "float32", or "mixed_bfloat16" or "mixed_float16": 16-bit convolutions, with
            weights, batch normalisation's statistics, the softmax and the loss in float32.
        jit_compile: whether XLA compiles the step. Under JAX it always does.
        steps_per_execution: steps between two returns to Python. A loss that is not a number and an
            interrupt are seen as often; so does, with TensorFlow, the learning rate change.
        data_on_device: whether the training images lie in the device's memory as a whole and are
            cropped and flipped there; TensorFlow and JAX only.
        devices: how many devices share each batch. TensorFlow then takes plain steps: without XLA,
            one a call, the images from the host.

    Raises:
        ValueError: if the precision is not one of the three, a count is below 1, or the backend or
            the card cannot do what is asked for.
    """

    precision: str = "float32"
    jit_compile: bool = False
    steps_per_execution: int = 1
    data_on_device: bool = False
    devices: int = 1

    def __post_init__(self):
        """Refuse what would only fail in training."""
        checks.choice("precision", self.precision, PRECISIONS)
        checks.count("steps_per_execution", self.steps_per_execution)
        checks.count("devices", self.devices)
        backend = keras.backend.backend()
        if self.data_on_device and backend not in ("tensorflow", "jax"):
            raise ValueError(
                "Expected `data_on_device` to be False, for it needs TensorFlow or JAX. "
                f"Received: True with {backend}"
            )
        if backend == "tensorflow":
            self._check_tensorflow()

    def _check_tensorflow(self):
        if self.devices > 1 and (
            self.jit_compile or self.data_on_device or self.steps_per_execution > 1
        ):
            raise ValueError(
                f"Expected plain steps for {self.devices} devices with TensorFlow: jit_compile and "
                f"data_on_device False, steps_per_execution 1. Received: {self}"
            )
        if self.jit_compile and (told := without_xla()):
            raise ValueError(f"Expected jit_compile=False. Received: True. {told}")

    def as_dict(self) -> dict[str, str | int | bool]:
        """Return the settings as a dict that JSON can hold."""
        return asdict(self)


def best_execution(image_bytes: int = 0, devices: int = 1) -> Execution:
    """Return the settings that suit this machine.

    Args:
        image_bytes: size of the training images, which go onto a device up to 2 GiB.
        devices: how many devices share each batch.

    Returns:
        Execution. With a GPU or TPU: XLA, 16 steps a call, and bfloat16 where the card computes in
        it (compute capability 8.0 or more), else float16 where it has units for it (7.0), else
        float32. Without one: plain steps, in bfloat16 where TensorFlow computes in it on this CPU
        and oneDNN is free to, else float32. With several devices, TensorFlow takes plain steps; so
        it does, and says why, on a card for which it was not built. Other backends than TensorFlow
        and JAX: plain steps in float32.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        return Execution(devices=devices)
    precision = _jax_precision() if backend == "jax" else _tensorflow_precision()
    if precision is None:
        fast = backend == "tensorflow" and cpu_has_bfloat16()
        return Execution("mixed_bfloat16" if fast else "float32", devices=devices)
    if backend == "tensorflow":
        told = without_xla()
        if told:
            checks.warn(told)
        if told or devices > 1:
            return Execution(precision, devices=devices)
    return Execution(
        precision,
        jit_compile=True,
        steps_per_execution=16,
        data_on_device=image_bytes <= ON_DEVICE_BYTES,
        devices=devices,
    )


def _tensorflow_precision():
    """Return in which precision the first GPU is fastest; None without one."""
    capabilities = gpu_capabilities()
    return _precision(capabilities[0][0]) if capabilities else None


def _jax_precision():
    """Return in which precision the first accelerator is fastest; None without one."""
    import jax

    [device, *_] = jax.devices()
    if device.platform == "cpu":
        return None
    if device.platform == "tpu":
        return "mixed_bfloat16"
    capability = re.match(r"(\d+)\.", str(getattr(device, "compute_capability", "")))
    return _precision(int(capability[1]) if capability else 0)


def _precision(major):
    return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major >= 7 else "float32"


def gpu_capabilities() -> list[tuple[int, int]]:
    """Return TensorFlow's GPUs' (major, minor) compute capability; (0, 0) where it is not told."""
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def without_xla() -> str:
    """Return why TensorFlow must not use XLA on this machine's GPUs, and what to do; "" if it may.

    For cards of a later generation than it was built for TensorFlow has no binaries, and XLA's
    compiler ends the process (tensorflow issues 89272 and 111958).
    """
    import tensorflow as tf

    built = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])
    majors = [int(re.search(r"_(\d+)\d$", each)[1]) for each in built]
    later = [each for each in gpu_capabilities() if majors and each[0] > max(majors)]
    if not later:
        return ""
    return (
        f"TensorFlow {tf.__version__} was built for cards up to compute capability "
        f"{max(majors)}.x, this one has {later[0][0]}.{later[0][1]}, and XLA would end the "
        "process. JAX uses the card in full: .venv/bin/pip install -e '.[jax-cuda]', then "
        "KERAS_BACKEND=jax."
    )


def cpu_has_bfloat16() -> bool:
    """Say whether TensorFlow multiplies bfloat16 in this CPU's own instructions.

    Elsewhere bfloat16 works too, but is slower than float32. False where the system does not list
    the CPU's flags, as macOS and Windows, or the environment limits oneDNN.
    """
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or "ONEDNN_MAX_CPU_ISA" in os.environ
    return not off and not BFLOAT16_FLAGS.isdisjoint(cpu_flags())


def cpu_flags() -> set[str]:
    """Return the names of what the CPU can do, a set; empty where Linux does not tell."""
    return set(cpuinfo("flags").split())


def cpuinfo(field: str) -> str:
    """Return what Linux tells about the first CPU in /proc/cpuinfo; "" where there is no such."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(field)).partition(": ")[2]
    return ""


DETERMINISTIC_FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Make the backend choose operations that give the same bits each time, for this process.

    Raises:
        ValueError: under JAX with a GPU, where only the environment can say so.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "jax" and _gpus(backend):
        flags = os.environ.get("XLA_FLAGS", "")
        if DETERMINISTIC_FLAG not in flags:
            raise ValueError(
                f"Expected {DETERMINISTIC_FLAG} in XLA_FLAGS, set before Python starts, for "
                f"`deterministic` under JAX on a GPU. Received: {flags!r}"
            )


def environment() -> dict[str, object]:
    """Return what a record says of the machine and the software: a dict that JSON can hold."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": cpuinfo("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "gpus": _gpus(backend),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "keras_backend": backend,
        "backend_version": import_module(backend).__version__,
        **{name: version(name) for name in ("keras", "numpy")},
        "resnet-lib": runtime.version(),
    }


def _gpus(backend):
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend != "tensorflow":
        return None
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
