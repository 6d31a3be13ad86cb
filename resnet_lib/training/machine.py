"""How a training step is run on this machine: what changes its speed and not what it computes.

On a GPU: mixed precision, XLA, the images on the device, several steps a call. On a CPU: a step a
call, without XLA, and convolutions in bfloat16 where the CPU has instructions for it.
`benchmarks/train_step.py` compares these on the machine at hand.
"""

import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import keras

from .. import checks

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
        steps_per_execution: steps between two returns to Python. The learning rate changes, and
            a loss that is not a number is seen, as often.
        data_on_device: whether the training images lie in the device's memory as a whole and are
            cropped and flipped there; TensorFlow only.

    Raises:
        ValueError: if the precision is not one of the three, or a step count is below 1.
    """

    precision: str = "float32"
    jit_compile: bool = False
    steps_per_execution: int = 1
    data_on_device: bool = False

    def __post_init__(self):
        """Refuse what would only fail in training."""
        checks.choice("precision", self.precision, PRECISIONS)
        checks.count("steps_per_execution", self.steps_per_execution)
        if self.data_on_device and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "Expected `data_on_device` to be False, for it needs the TensorFlow backend. "
                f"Received: True with {keras.backend.backend()}"
            )

    def as_dict(self) -> dict[str, str | int | bool]:
        """Return the settings as a dict that JSON can hold."""
        return asdict(self)


def best_execution(image_bytes: int = 0) -> Execution:
    """Return the settings that suit this machine.

    Args:
        image_bytes: size of the training images, which go onto a GPU up to 2 GiB.

    Returns:
        Execution. With a GPU: XLA, 16 steps a call, and bfloat16 where the card computes in it
        (compute capability 8.0 or more), else float16 where it has units for it (7.0), else
        float32. Without one: plain steps, in bfloat16 where the CPU computes in it and oneDNN is
        free to, else float32. Several GPUs and other backends than TensorFlow: plain steps in
        float32.
    """
    if keras.backend.backend() != "tensorflow":
        return Execution()
    capabilities = gpu_capabilities()
    if not capabilities:
        return Execution("mixed_bfloat16" if cpu_has_bfloat16() else "float32")
    if len(capabilities) > 1:
        return Execution()
    [(major, _)] = capabilities
    precision = "mixed_bfloat16" if major >= 8 else "mixed_float16" if major >= 7 else "float32"
    return Execution(
        precision,
        jit_compile=True,
        steps_per_execution=16,
        data_on_device=image_bytes <= ON_DEVICE_BYTES,
    )


def gpu_capabilities() -> list[tuple[int, int]]:
    """Return the (major, minor) compute capability of each GPU; (0, 0) where it is not told."""
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [detail.get("compute_capability", (0, 0)) for detail in details]


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


def make_deterministic() -> None:
    """Make TensorFlow choose operations that give the same bits each time, for this process."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


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
        **{name: version(name) for name in ("keras", "numpy", "resnet-lib")},
    }


def _gpus(backend):
    if backend != "tensorflow":
        return None
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
