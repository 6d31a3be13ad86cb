"""Reading the pictures of a folder: with a sign of life, and once only.

What takes over half a second to read is kept in the user's folder for caches, one file for each
folder and size: `resnet_lib/pictures` in `$XDG_CACHE_HOME` or `~/.cache`, on macOS in
`~/Library/Caches`. A picture is taken from there as long as its file has the same name, size and
time of change, and is read alike. The cache can be deleted at any time; one that is damaged is
written anew.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from . import images
from .images import Pictures

SECONDS = 0.5  # What is read faster is not worth the room on the disk.
# To be raised with each change of what `images.read` makes of a file.
VERSION = 1

_PATIENCE = 2  # seconds, after which something has to be seen
_COLUMNS = Pictures._fields[:4]


def read_folder(folder: Path, paths: Sequence[Path], size: int, *, cache: bool = True) -> Pictures:
    """Read images of a folder, those that are in the cache from there.

    After two seconds a bar appears, in a terminal or notebook.

    Args:
        folder: for which there is one file in the cache.
        paths: of the images, in the folder.
        size: height and width of what is returned, in pixels.
        cache: False to read every file, and to keep nothing.

    Returns:
        `Pictures`, one a row for each path.
    """
    pictures = Pictures.empty(len(paths), size)
    keys = [_key(path, folder) for path in paths] if cache else []
    rows = _taken(pictures, place(folder, size), keys) if cache else range(len(paths))
    begun = time.perf_counter()
    with _bar(len(paths), len(paths) - len(rows)) as advance:
        images.read_into(pictures, paths, rows, size, advance=advance)
    if cache and time.perf_counter() - begun > SECONDS:
        whole = [
            bool(key) and path not in pictures.unreadable
            for path, key in zip(paths, keys, strict=True)
        ]
        _keep(pictures, place(folder, size), keys, np.flatnonzero(whole))
    return pictures


def place(folder: Path, size: int) -> Path:
    """Return the file in the cache for a folder's images of a size."""
    name = hashlib.sha256(os.fsencode(f"{size} {folder.resolve()}")).hexdigest()
    return _cache_folder() / "resnet_lib" / "pictures" / f"{name[:32]}.npz"


def _cache_folder():
    """Return the folder for a user's caches, by the platform's convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named if os.path.isabs(named) else "~/.cache").expanduser()


def _key(path, folder):
    """Return 16 bytes that are others when the file, or what is made of it, is another."""
    import PIL

    try:
        stat = path.stat()
    except OSError:  # Reading it will say so.
        return b""
    name = path.relative_to(folder).as_posix()
    told = f"{VERSION} {PIL.__version__} {stat.st_size} {stat.st_mtime_ns} {name}"
    return hashlib.sha256(os.fsencode(told)).digest()[:16]


def _taken(pictures, file, keys):
    """Fill rows from the cache; return the rows that are left."""
    # A damaged file makes NumPy raise errors of many types.
    with suppress(Exception), np.load(file, allow_pickle=False) as kept:
        columns = [kept[name] for name in _COLUMNS]
        places = {bytes(key): i for i, key in enumerate(kept["keys"])}
        _check(columns, pictures, len(places))
        rows = [row for row, key in enumerate(keys) if key in places]
        wanted = [places[keys[row]] for row in rows]
        for column, theirs in zip(pictures, columns, strict=False):
            column[rows] = theirs[wanted]
        return sorted(set(range(len(keys))) - set(rows))
    return range(len(keys))


def _check(columns, pictures, n):
    for name, column, ours in zip(_COLUMNS, columns, pictures, strict=False):
        if column.dtype != ours.dtype or column.shape != (n, *ours.shape[1:]):
            raise ValueError(f"Expected {n:,} rows of {ours.dtype} as {name}. Received: others")


def _keep(pictures, file, keys, rows):
    """Write the cache, whole or not at all; where there is no room, there is none."""
    columns = {name: getattr(pictures, name)[rows] for name in _COLUMNS}
    columns["keys"] = np.array([list(keys[row]) for row in rows], np.uint8).reshape(-1, 16)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            try:
                np.savez(part, **columns)
                part.close()
                os.replace(part.name, file)
            except BaseException:
                os.unlink(part.name)
                raise


@contextmanager
def _bar(total: int, begun: int) -> Iterator[Callable[[], None]]:
    """Show a bar, if it takes long; what is yielded moves it on by a picture."""
    if not _is_seen():
        yield lambda: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda: None
        return
    options = {"total": total, "initial": begun, "unit": " pictures", "desc": "reading"}
    with tqdm(**options, delay=_PATIENCE, leave=False, dynamic_ncols=True) as bar:
        yield bar.update


def _is_seen():
    """Say whether somebody looks: errors go to a terminal, or this is a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython and hasattr(ipython.get_ipython(), "kernel"):
        return True
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
