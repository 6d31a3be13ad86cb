"""What must happen before TensorFlow is imported, and the profiles.

TensorFlow reads its environment once, when it is imported, and writes its log lines to file
descriptor 2 before any Python code of its own could stop it. So `import resnet_lib` prepares the
environment first and imports Keras itself, quietly: see `prepare`. The command line does so when a
command needs it, for `--help` need not wait.

A profile says how much work a notebook does: "quick" fits a laptop, "full" trains for real.
"""

import atexit
import functools
import io
import json
import logging
import os
import signal
import sys
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import NoReturn

PROFILES = ("quick", "full")

_TOO_LATE = (
    "resnet_lib: TensorFlow was imported first, so nothing was changed. To have oneDNN on and "
    "TensorFlow's log lines off, restart and import resnet_lib before tensorflow and keras."
)

_chosen_profile: str | None = None


def profile() -> str:
    """Return the profile in force.

    It is the one given to `set_profile`, else the environment's RESNET_LIB_PROFILE, else "quick".
    An empty RESNET_LIB_PROFILE counts as none.

    Raises:
        ValueError: if RESNET_LIB_PROFILE is not a profile.
    """
    if _chosen_profile is not None:
        return _chosen_profile
    name = os.environ.get("RESNET_LIB_PROFILE") or "quick"
    return _checked("RESNET_LIB_PROFILE", name)


def set_profile(name: str) -> None:
    """Choose a profile for the rest of this process, whatever the environment says.

    Args:
        name: "quick" or "full".

    Raises:
        ValueError: if `name` is anything else; the profile in force stays as it was.
    """
    global _chosen_profile
    _chosen_profile = _checked("name", name)


def _checked(what: str, name: str) -> str:
    if name not in PROFILES:
        valid = ", ".join(map(repr, PROFILES))
        raise ValueError(f"Expected `{what}` to be one of {valid}. Received: {name!r}")
    return name


def is_command_line() -> bool:
    """Say whether this process is `python -m resnet_lib` or `resnet-lib`."""
    program, *arguments = getattr(sys, "argv", None) or [""]
    if program == "-m":  # As Python has it until the module is found.
        return sys.orig_argv[-1 - len(arguments)] in ("resnet_lib", "-mresnet_lib")
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)  # Once it is found.
    if spec is not None and spec.name == f"{__package__}.__main__":
        return True
    return Path(program).name == "resnet-lib"


def version() -> str:
    """Return the version of this package, as `rl.__version__` does.

    A checkout that is used without being installed has pyproject.toml beside the package; what that
    file says comes first, for another version may be installed elsewhere. Where there is neither,
    "unknown" and why.
    """
    with suppress(OSError, ValueError, KeyError):
        file = Path(__file__).resolve().parent.parent / "pyproject.toml"
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        if project["name"] == "resnet-lib":
            return project["version"]
    try:
        return installed_version("resnet-lib")
    except PackageNotFoundError:
        return "unknown: not installed, and no pyproject.toml beside the package"


def say(*lines: str, end: str = "\n") -> None:
    """Print lines at once; where nobody reads them any more, as after `| head`, do not mind."""
    try:
        print(*lines, sep="\n", end=end, flush=True)
    except OSError:  # What is still in the buffer must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run a command and end Python with the exit code that it returns, after an interrupt too.

    Python notes an interrupt that leaves text which `exec` runs, as dataclasses do where they are
    imported, and at its very end kills itself by SIGINT for it, even if the interrupt was caught
    outside. So with another code than 0 the last exit handler ends the process before that.
    """

    def leave():
        if code:
            say(end="")
            os._exit(code)

    code = 0
    atexit.register(leave)  # Before those of other modules, so that it is called after them.
    code = main()
    sys.exit(code)


@contextmanager
def held() -> Iterator[None]:
    """Have SIGINT and SIGTERM wait until what runs here, an import, is done; a second one does not.

    An exception that a signal's handler raises within an import may be lost, where the garbage
    collector calls Python, or end the process, where C++ calls it; and a package of which half is
    imported is not imported again. A signal that is ignored, or has no handler, is left so.

    Raises:
        Whatever the usual handler of the signal does: KeyboardInterrupt, as a rule.
    """
    came, usual = [], {}

    def hold(number, frame):
        came.append(number)
        if len(came) > 1:
            usual[number](number, frame)

    if threading.current_thread() is threading.main_thread():  # No other may set a handler.
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        usual = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in usual:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        if came:
            usual[came[0]](came[0], None)


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Have a user's warnings be lines of a command, without the code that they come from."""
    usual = warnings.showwarning

    def show(message, category, *where, **options):
        if issubclass(category, UserWarning):
            print(f"resnet_lib: {message}", file=sys.stderr, flush=True)
        else:
            usual(message, category, *where, **options)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("default", UserWarning)
        yield


@functools.cache
def prepare() -> None:
    """Prepare for TensorFlow and import Keras, once a process; later calls do nothing.

    With the TensorFlow backend, and before TensorFlow is imported:

    - TF_ENABLE_ONEDNN_OPTS becomes 1 and TF_CPP_MIN_LOG_LEVEL becomes 2, each unless it is set;
    - Keras and TensorFlow are imported, and the devices are listed, with file descriptor 2 muted,
      while Python's own warnings, logging and tracebacks still reach the screen;
    - TensorFlow's notes are dropped, and its warning that functions are traced too often: each
      model's functions are traced for each shape of a batch, and a notebook has many models.

    Set TF_CPP_MIN_LOG_LEVEL=0 beforehand to see everything: then nothing is muted. Do so, too, to
    learn why a GPU is not found.

    With another backend neither is imported: TF_CPP_MIN_LOG_LEVEL becomes 2 there too, unless it is
    set, and should TensorFlow be imported later, as Keras does where it is installed when a model
    is saved, that is muted in the same way, and it leaves the GPUs, whose memory it would claim, to
    the backend.

    If TensorFlow is already imported, nothing is changed, and with the TensorFlow backend one line
    on stderr says so.

    Raises:
        Whatever importing Keras and TensorFlow raises; a later call then tries again.
    """
    if "tensorflow" in sys.modules:
        _say_too_late()
    elif keras_backend() == "tensorflow":
        _set_environment()
        with held():
            _import_keras()
        if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
            logger = logging.getLogger("tensorflow")
            logger.addFilter(_says_no_retracing)
            logger.setLevel(logging.WARNING)  # MirroredStrategy tells of each reduction.
    else:
        _quieten_logs()
        if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
            sys.meta_path.insert(0, _QuietTensorFlow())


def _say_too_late() -> None:
    # print, not warnings.warn: a warning takes two lines and a path, and can be an error.
    if keras_backend() == "tensorflow" and sys.stderr is not None:
        print(_TOO_LATE, file=sys.stderr)


def _set_environment() -> None:
    # TensorFlow turns oneDNN on by itself only on some CPUs; convolutions gain on the others too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    _quieten_logs()


def _quieten_logs() -> None:
    # 2 drops notes and warnings. Not 3: that would also drop errors, and some of them, such as a
    # cuDNN version that does not match, say more than the exception that follows.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _import_keras() -> None:
    with ExitStack() as restore:
        if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
            _mute_where_possible(restore)
        import keras  # noqa: F401
        import tensorflow

        # Without a GPU, TensorFlow logs an error when it first looks for one, so it looks now.
        # Listing leaves the runtime uninitialised: devices and threads can still be configured.
        tensorflow.config.list_physical_devices()


def _mute_where_possible(restore: ExitStack) -> None:
    # Where that fails there is no screen, or no safe way: a lost warning is worse than a log line.
    with suppress(OSError, AttributeError, TypeError):
        _mute_fd2(restore)


class _QuietTensorFlow(MetaPathFinder):
    """Where another backend computes: mutes the import of TensorFlow, when it comes."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _muted(spec.loader.exec_module)
        return spec


def _muted(load: Callable) -> Callable:
    def in_silence(tensorflow):
        with ExitStack() as restore:
            _mute_where_possible(restore)
            load(tensorflow)
            tensorflow.config.set_visible_devices([], "GPU")  # It looks for them, too, and logs.

    return in_silence


def _says_no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


def keras_backend() -> str:
    """Return the backend that Keras has, or will have when it is imported.

    Keras cannot be asked without importing it, and that imports the backend.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend()
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    with suppress(OSError, ValueError, AttributeError):
        return json.loads(_keras_config().read_text()).get("backend", "tensorflow")
    return "tensorflow"


def _keras_config() -> Path:
    if "KERAS_HOME" in os.environ:
        return Path(os.path.expanduser(os.environ["KERAS_HOME"]), "keras.json")
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras", "keras.json")


def _mute_fd2(restore: ExitStack) -> None:
    """Discard what is written to file descriptor 2, except by Python's stderr.

    Args:
        restore: its exit undoes everything, also what was done before an error.

    Raises:
        OSError: if descriptor 2 is closed.
        AttributeError, TypeError: if Python's stderr writes to descriptor 2, but not through a
            plain raw file, so that it cannot be led elsewhere.
    """
    raws = _raw_files_on_fd2()
    screen = os.dup(2)
    restore.callback(os.close, screen)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    restore.callback(os.close, nowhere)
    # Python leaves descriptor 2 before it is muted and returns after it is restored, so that no
    # line of another thread is lost in between.
    for raw in raws:
        restore.callback(_point, raw, 2)
        _point(raw, screen)
    restore.callback(os.dup2, screen, 2)
    os.dup2(nowhere, 2)


def _raw_files_on_fd2() -> list[io.FileIO]:
    """Return the raw files through which Python's stderr writes to descriptor 2, if it does.

    In a plain process that is one. A Jupyter kernel's sys.stderr does not write there at all.
    """
    raws = {}
    for stream in (sys.stderr, sys.__stderr__):
        if _fileno(stream) == 2:
            raw = getattr(stream.buffer, "raw", stream.buffer)  # no layer where unbuffered
            if not isinstance(raw, io.FileIO) or raw.closefd:
                raise TypeError(f"expected an io.FileIO that leaves its descriptor open, not {raw}")
            raws[id(raw)] = raw
    return list(raws.values())


def _fileno(stream) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):  # None, no file behind it, closed
        return None


def _point(raw: io.FileIO, fd: int) -> None:
    # The object stays the same: logging handlers hold on to the stream they were made with.
    name = raw.name
    raw.__init__(fd, "wb", closefd=False)
    raw.name = name


DEEPEST = 1202


def allow_depth(depth: int = DEEPEST) -> None:
    """Raise Python's recursion limit, never lower it, to what a network of `depth` layers needs.

    Keras walks through a graph with one Python call inside another for each layer of it, four or
    five for each layer that has weights. It does so when a model is built, cloned and loaded, so
    the limit stays up. To load a saved ResNet-1202 in a new process, call this first.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 5 * depth))
