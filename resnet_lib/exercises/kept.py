"""The reader's own file: what they answered and predicted, in JSON, on this machine only.

The environment variable RESNET_LIB_PROGRESS says where it is; `off` means that nothing is read or
written. Unset or empty, it is `progress.json` in the user's data folder. It can be deleted at any
moment. Several processes may write to it at once. Nothing here imports Keras.
"""

import functools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import checks
from ..datasets.download import alone

EXERCISES, PREDICTIONS = "exercises", "predictions"
_ABOUT = "Your answers to the exercises of resnet_lib and your predictions. Delete it to forget."


def place() -> Path | None:
    """Return the path of the file, whether it is there or not; None if nothing is to be kept.

    Raises:
        ValueError: if RESNET_LIB_PROGRESS is no absolute path, or its ~ of no user of this machine.
    """
    named = os.environ.get("RESNET_LIB_PROGRESS")
    if named and named.casefold() == "off":
        return None
    if named:
        path = checks.path("RESNET_LIB_PROGRESS", named)
        if not path.is_absolute():  # Each folder of notebooks would have a file of its own.
            raise ValueError(
                "Expected RESNET_LIB_PROGRESS to be an absolute path, or `off`. Received: "
                f"{named!r}; for the file in this folder, {path.absolute()}"
            )
        return path
    return checks.path("HOME", _data_folder()) / "resnet_lib" / "progress.json"


def _data_folder():
    """Return the folder for a user's data, by the platform's convention."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    if sys.platform == "darwin":
        return "~/Library/Application Support"
    named = os.environ.get("XDG_DATA_HOME", "")
    return named if os.path.isabs(named) else "~/.local/share"


def entries(kind: str) -> dict[str, dict]:
    """Return {name: entry} of what is kept; nothing if that cannot be read, which one line says.

    Args:
        kind: EXERCISES or PREDICTIONS.
    """
    with _one_line_for_trouble():
        if (path := place()) and os.path.lexists(path):
            with alone(path.resolve().parent):
                return _read(path.resolve())[kind]
    return {}


def update(kind: str, name: str, change: Callable[[dict], dict]) -> None:
    """Change an entry and leave all others as they are, whoever wrote them.

    Where the file cannot be written, one line says so.

    Args:
        kind: EXERCISES or PREDICTIONS.
        name: name of the exercise or prediction.
        change: function of the entry, {} if there is none, that returns the new one.
    """
    with _one_line_for_trouble():
        if path := place():
            path = path.resolve()  # Of a link, the file behind it is written.
            with alone(path.parent):
                content = _read(path)
                content[kind][name] = change(content[kind].get(name, {}))
                _write(path, content)


def set_aside() -> tuple[Path, Path] | None:
    """Rename the file, so that the next answer begins a new one.

    Returns:
        The path that it had and the one that it has now; None if there is no file.

    Raises:
        OSError: if it cannot be renamed.
    """
    path = place()
    if path is None or not os.path.lexists(path):
        return None
    if path.exists() and not path.is_file():  # A folder, say, with more in it than answers.
        raise OSError(f"{path} is not a file")
    with alone(path.resolve().parent):
        return path, _renamed(path, "forgotten")


def _read(path):
    """Return the file's content, with both kinds; a damaged file is set aside."""
    empty = {"about": _ABOUT, EXERCISES: {}, PREDICTIONS: {}}
    if not path.exists():
        return empty
    if not path.is_file():  # Not /dev/null, which a rename would replace.
        raise OSError(f"{path} is not a file")
    try:
        content = empty | json.loads(path.read_text(encoding="utf-8"))
        kinds = [content[kind] for kind in (EXERCISES, PREDICTIONS)]
        if all(isinstance(entry, dict) for kind in kinds for entry in kind.values()):
            return content
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    _say(f"{path} is damaged. It is now {_renamed(path, 'damaged')}, and a new one is begun.")
    return empty


def _renamed(path, why):
    """Give a file a name that no other has, and return it."""
    stamp = time.strftime(f"{why}-%Y-%m-%d-%H%M%S")
    number = 1
    while os.path.lexists(new := path.with_name(f"{path.name}.{stamp}-{number}")):
        number += 1
    os.rename(path, new)
    return new


def _write(path, content):
    """Write the file in one step: a process that dies leaves the old one or the new one."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.copymode(path, part)
    os.replace(part, path)


@contextmanager
def _one_line_for_trouble() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # The last for a link to itself.
        _say(f"your answers and predictions are not kept: {error}")


@functools.cache
def _say(line):
    """Print a line on stderr, once a process."""
    print(f"resnet_lib: {line}", file=sys.stderr)


def today() -> str:
    """Return the date of today, such as "2027-03-01"."""
    return time.strftime("%Y-%m-%d")
