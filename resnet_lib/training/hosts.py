"""Processes that train together, one or more a host: how they are joined, and what they tell.

JAX only. `jax.distributed` joins them, `jax.experimental.multihost_utils` carries what they tell
each other, and process 0 has the run's folder. Where there is one process, nothing here needs JAX.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import randbits
from typing import Any

import keras
import numpy as np

from .. import checks

# Keras' own, which keras.distribution.initialize reads.
ADDRESSES, COUNT, NUMBER = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
HEARTBEAT_SECONDS = 30  # A lost process is noticed after so long; in JAX it is 100.
JOIN_SECONDS = 300
LOST = os.EX_UNAVAILABLE  # The exit code of a process that is left without another: 69.

# What the errors of a collective operation say when another process is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed")
_GONE += ("coordination service", "heartbeat", "ncclRemoteError", "remote process exited")


class LostError(ConnectionError):
    """Another process of the run is gone, or never came."""


def processes() -> int:
    """Return how many processes train together; 1 without JAX, and where none were joined."""
    return sys.modules["jax"].process_count() if _joined() else 1


def is_first() -> bool:
    """Say whether this is process 0, which has the run's folder, or the only one."""
    return not _joined() or sys.modules["jax"].process_index() == 0


def _joined():
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.distributed.is_initialized()


def join_hosts(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = JOIN_SECONDS,
) -> None:
    """Join this process with the others of its job, before anything is computed.

    Each process calls this, or has the environment variables that `keras.distribution.initialize`
    reads: then `import resnet_lib` does so. Where there are neither, JAX finds the others by itself
    on Slurm and on TPU pods. All then start with the same weights, as `keras.utils.set_random_seed`
    was called on all or on none. Once joined, a further call does nothing.

    Args:
        job_addresses: "host:port" of process 0, or those of all, with commas, process 0 first;
            None: the environment's KERAS_DISTRIBUTION_JOB_ADDRESSES.
        num_processes: how many there are; None: KERAS_DISTRIBUTION_NUM_PROCESSES.
        process_id: number of this process, from 0; None: KERAS_DISTRIBUTION_PROCESS_ID.
        timeout: seconds to wait for the others.

    Raises:
        ValueError: if the three do not fit together or some are missing, if JAX finds no others, or
            Keras' backend is not JAX.
        RuntimeError: if JAX has computed something already.
        ConnectionError: if process 0 does not answer in time. If another process does not come,
            JAX ends this one; the last line on stderr then says so, and the exit code is 69.
    """
    _check_backend()
    if _joined():
        return
    given = _given(job_addresses, num_processes, process_id)
    if given is not None:
        address, number, process = given
        if number == 1:
            return
        _wait_for_first(address, process, timeout)
    _speak_before_abort(
        f"Not all processes of the job came within {timeout:g} seconds. Expected as many as "
        f"{COUNT} says, each with a {NUMBER} of its own, and process 0 where {ADDRESSES} says."
    )
    _initialize(given or (None, None, None), timeout)
    _speak_before_abort(_left_alone())
    _seed_alike()


def _check_backend():
    backend = keras.backend.backend()
    if backend == "jax":
        return
    reason = ""
    if backend == "tensorflow":
        reason = (
            ". TensorFlow's MultiWorkerMirroredStrategy is not offered, for Keras' `fit` fails "
            "under it (github.com/keras-team/keras/issues/20585)"
        )
    raise ValueError(
        "Expected KERAS_BACKEND=jax for several processes, or none of KERAS_DISTRIBUTION_* in the "
        f"environment. Received: {backend}{reason}"
    )


def _given(addresses, number, process):
    """Return (address of process 0, how many, which is this) as checked; None if none is given."""
    values = {
        ADDRESSES: os.environ.get(ADDRESSES) if addresses is None else addresses,
        COUNT: os.environ.get(COUNT) if number is None else number,
        NUMBER: os.environ.get(NUMBER) if process is None else process,
    }
    if all(value is None for value in values.values()):
        return None
    if missing := [name for name, value in values.items() if value is None]:
        raise ValueError(
            f"Expected all of {ADDRESSES}, {COUNT} and {NUMBER}, or the arguments in their place. "
            f"Received: no {', no '.join(missing)}"
        )
    hosts = [_address(each) for each in str(values[ADDRESSES]).split(",")]
    number = checks.count(COUNT, _whole(values[COUNT]))
    if len(hosts) not in (1, number):
        raise ValueError(
            f"Expected `{ADDRESSES}` to hold one address, that of process 0, or {number}, as many "
            f"as {COUNT} says. Received: {len(hosts)}"
        )
    return hosts[0], number, checks.count(NUMBER, _whole(values[NUMBER]), 0, number - 1)


def _whole(value):
    """Return what a variable of the environment says as an int, if it is one."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _address(text):
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"Expected `{ADDRESSES}` as host:port, such as 10.0.0.1:1234, or several with commas. "
            f"Received: {text!r}"
        )
    return text.strip()


def _wait_for_first(address, process, timeout):
    """Wait until process 0 answers; on process 0, see that its port is free.

    JAX would end the process where it waits in vain.
    """
    host, _, port = address.rpartition(":")
    if process == 0:
        if _answers("localhost", port):
            raise LostError(f"Another program listens at port {port}. Take another for {address}.")
        return
    deadline = time.monotonic() + timeout
    while not _answers(host.strip("[]"), port):
        if time.monotonic() > deadline:
            raise LostError(
                f"Process 0 did not answer at {address} within {timeout:g} seconds. Expected it "
                f"there, with {NUMBER}=0.{_proxies()}"
            )
        time.sleep(0.2)


def _answers(host, port):
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def _proxies():
    """Return a sentence about the proxies that the environment sets, for JAX goes through them."""
    found = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy")]
    return f" ({', '.join(found)} may stand in the way.)" if found else ""


def _initialize(given, timeout):
    import jax

    address, number, process = given
    try:
        jax.distributed.initialize(
            address,
            number,
            process,
            initialization_timeout=round(timeout),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:  # It has found no others.
        raise ValueError(
            f"Expected {ADDRESSES}, {COUNT} and {NUMBER}, for neither Slurm's srun nor a TPU pod "
            f"has started this process. Received: none of them ({error})"
        ) from None
    except RuntimeError as error:
        if "before any JAX" not in str(error):
            raise
        raise RuntimeError(f"{_too_late()} Received: JAX has computed already") from None


def _too_late():
    return (
        "Expected the processes to be joined before anything is computed: set "
        "KERAS_DISTRIBUTION_* before `import resnet_lib`, or call "
        "resnet_lib.training.join_hosts() right after it, in a new process."
    )


def check_joined() -> None:
    """Refuse to go on alone where the environment speaks of several processes.

    Raises:
        ValueError: if there are variables KERAS_DISTRIBUTION_* that tell of several, and these were
            not joined.
    """
    if not is_cluster() or _joined():
        return
    given = _given(None, None, None)
    if given[1] > 1:
        _check_backend()
        raise ValueError(f"{_too_late()} Received: {COUNT}={given[1]}, and no others are joined")


def is_cluster() -> bool:
    """Say whether the environment speaks of several processes in Keras' words."""
    return any(name in os.environ for name in (ADDRESSES, COUNT, NUMBER))


def _seed_alike():
    """Let all processes draw alike, as keras.distribution.initialize does."""
    from keras.src.utils.rng_utils import get_random_seed

    with _quiet_stdout():  # Where JAX connects CPUs, a library writes "[Gloo] Rank 0 is …" there.
        seed = shared(randbits(32))
    if get_random_seed() is None:
        keras.utils.set_random_seed(seed)


@contextmanager
def _quiet_stdout():
    """Discard what is written to file descriptor 1, if it is open."""
    try:
        screen = os.dup(1)
    except OSError:
        yield
        return
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(screen, 1)
        os.close(nowhere)
        os.close(screen)


# What process 0 has, on all.


def shared(value: Any) -> Any:
    """Return on every process what process 0 gives: anything that JSON can hold.

    Args:
        value: on process 0, what is told; of no effect elsewhere.
    """
    if processes() == 1:
        return value
    content = json.dumps(value).encode() if is_first() else b""
    length = int(_from_first(np.array([len(content)], "int32"))[0])
    # Padded, so that few lengths are compiled for.
    padded = np.zeros(1 << max(length - 1, 63).bit_length(), "uint8")
    padded[: len(content)] = np.frombuffer(content, "uint8")
    return json.loads(_from_first(padded)[:length].tobytes())


def share_arrays(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return on every process what arrays process 0 has, to the bit.

    Args:
        arrays: NumPy arrays, of the same shapes and dtypes on each process.

    Raises:
        ValueError: on every process, if they are of other shapes or dtypes on some.
    """
    if processes() == 1:
        return list(arrays)
    arrays = [np.asarray(each) for each in arrays]
    agree("arrays", [[list(each.shape), each.dtype.name] for each in arrays])
    # As bytes: JAX would make 32 bits of 64.
    content = b"".join(each.tobytes() for each in arrays)
    told, start, found = _from_first(np.frombuffer(content, "uint8")).tobytes(), 0, []
    for each in arrays:
        part = told[start : start + each.nbytes]
        found.append(np.frombuffer(part, each.dtype).reshape(each.shape).copy())
        start += each.nbytes
    return found


def _from_first(array):
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(array))


@contextmanager
def alone() -> Iterator[None]:
    """Lay out what Keras creates in here on this process's own device.

    What is laid out over several processes is only changed by all of them together: JAX compares
    what they write.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def agree(what: str, value: Any) -> None:
    """Refuse to go on where processes differ.

    Args:
        what: name of what must be the same.
        value: anything that JSON can hold.

    Raises:
        ValueError: on every process, if process 0 has another value than some.
    """
    if processes() == 1:
        return
    mine = json.loads(json.dumps(value))
    first = shared(mine)
    others = np.flatnonzero(_from_all(mine != first))
    if not len(others):
        return
    received = f"another one on process {', '.join(map(str, others))}"
    if mine != first:
        received = ", where process 0 has ".join(_difference(mine, first))
    raise ValueError(f"Expected the same `{what}` on every process. Received: {received}")


def _difference(mine, first):
    """Return what two values do not have in common, as text: of dicts, only the fields."""
    if isinstance(mine, Mapping) and isinstance(first, Mapping):
        keys = [key for key in {**mine, **first} if mine.get(key) != first.get(key)]
        mine, first = ({key: each.get(key) for key in keys} for each in (mine, first))
    return f"{mine!r:.200}", f"{first!r:.200}"


def _from_all(flag):
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.array([flag])).reshape(-1)


def first_only(function: Callable[[], Any]) -> Any:
    """Call a function on process 0; return on every process what it returns.

    Args:
        function: function without arguments; what it returns must be what JSON can hold.

    Raises:
        Whatever the function raises, on process 0; RuntimeError elsewhere, so that nobody waits.
    """
    if processes() == 1:
        return function()
    if not is_first():
        told = shared(None)
        if "error" in told:
            raise RuntimeError(f"Process 0: {told['error']}")
        return told["value"]
    try:
        value = function()
        json.dumps(value)
    except BaseException as error:
        shared({"error": f"{error}" or type(error).__name__})
        raise
    shared({"value": value})
    return value


# When they stop.

_looked = 0


def is_time_to_stop() -> bool:
    """Say, at the same step on all processes, whether one of them was sent SIGTERM.

    Each process asks before each step, or whatever else all of them do in the same order. JAX hands
    the notice on, within seconds, and settles which step it is.
    """
    if processes() == 1:
        return False
    from jax.experimental import multihost_utils

    global _looked
    _looked += 1  # JAX counts through all trainings of the process.
    return multihost_utils.reached_preemption_sync_point(_looked)


def lost(error: BaseException) -> str | None:
    """Return what to say, if an error tells that another process is gone; else None."""
    if isinstance(error, LostError):
        return str(error)
    if processes() == 1:
        return None
    while error is not None:
        if any(words in str(error) for words in _GONE):
            return _left_alone()
        error = error.__cause__ or error.__context__
    return None


def _left_alone():
    return (
        f"Another of the {processes()} processes is gone, so this one ends. To go on from the "
        "last finished epoch, start all of them again with resume=True (--resume)."
    )


_last_words = None


def _speak_before_abort(words):
    """Have the process say a sentence, and exit with LOST, where it would be aborted.

    JAX aborts where another process does not come, sends no heartbeat any more, or was process 0
    and is gone. No exception is raised then, and a handler of Python's `signal` would run after the
    abort, which is never; so the C library calls this one.
    """
    global _last_words

    def speak(number):
        os.write(2, f"resnet_lib: {words}\n".encode())
        os._exit(LOST)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(speak)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    _last_words = handler  # It must outlive this call, and the one before it the change.
