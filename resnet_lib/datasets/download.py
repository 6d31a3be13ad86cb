"""Finding a data set, fetching its archive, checking it, and unpacking it whole or not at all."""

import errno
import fcntl
import gzip
import hashlib
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import checks

_BLOCK = 2**16
_SECONDS = 30  # without a byte, after which a connection counts as broken
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_folder() -> Path:
    """Return the folder in which Keras keeps data sets: `$KERAS_HOME` or `~/.keras`, `datasets`."""
    return checks.path("KERAS_HOME", os.environ.get("KERAS_HOME", "~/.keras")) / "datasets"


def find(name: str, data_dir: Path | str | None, mend: str) -> Path | None:
    """Return where the folder `name` is, or None.

    It is looked for in `data_dir` if that is given, and then nowhere else; else in the folder named
    by the environment variable RESNET_LIB_DATA, and in Keras' cache.

    Raises:
        FileNotFoundError: `data_dir` is given and holds none; the message ends with `mend`.
        ValueError: what should be a path is none.
    """
    if data_dir is not None:
        return _given(name, data_dir, mend)
    named = _named()
    if named is not None and inside(named, name).is_dir():
        return inside(named, name)
    cached = cache_folder() / name
    return cached if cached.is_dir() else None


def not_found(
    title: str, name: str, loader: str, elsewhere: str, why: Exception
) -> FileNotFoundError:
    """Return the error of a data set that is nowhere: what was looked for, and the ways on.

    Args:
        title: the data set's.
        name: of its folder.
        loader: the function that was called.
        elsewhere: how to come by the folder without this package.
        why: what kept it from being downloaded.
    """
    folder = _named()
    told = "RESNET_LIB_DATA is not set"
    if folder is not None:
        lacks = f"holds no {name}" if folder.is_dir() else "is no folder"
        told = f"RESNET_LIB_DATA={os.environ['RESNET_LIB_DATA']!r} {lacks}"
    return FileNotFoundError(
        f"{title} is not on this computer ({told}; {why}). Any of these helps: call again, which "
        f"goes on where a download stopped; call {loader}(data_dir=...) with a folder that holds "
        f"{name}; set RESNET_LIB_DATA to such a folder; or {elsewhere} there."
    )


def _named():
    """Return the folder that RESNET_LIB_DATA names; empty counts as not set."""
    named = os.environ.get("RESNET_LIB_DATA")
    return checks.path("RESNET_LIB_DATA", named) if named else None


def inside(folder: Path | str, name: str) -> Path:
    """Return `folder / name`, or `folder` itself where that is its name."""
    folder = Path(folder)
    return folder if folder.name == name else folder / name


def _given(name, data_dir, mend):
    folder = inside(checks.path("data_dir", data_dir), name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected `data_dir` to be a folder that holds {name}. Received: {str(data_dir)!r}. "
            f"{mend}"
        )
    return folder


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url: str, sha256: str) -> Path:
    """Return the path of a downloaded file, from Keras' cache where it is there already.

    Args:
        url: where the file is; its last part names it in the cache.
        sha256: what the file must hash to; a cached file that does not is downloaded again.

    Raises:
        ValueError: what was downloaded has another hash; it is removed.
        Exception: as `resume` says.
    """
    path = cache_folder() / url.rsplit("/", 1)[-1]
    with alone(path.parent):
        if path.is_file() and sha256_of(path) == sha256:
            return path
        resume(url, path)
        if (found := sha256_of(path)) != sha256:
            path.unlink()
            raise ValueError(f"Expected the SHA-256 {sha256} of {url}. Received: {found}")
    return path


def resume(url: str, path: Path) -> Path:
    """Download `url` to `path` with a bar, going on where an interrupted call stopped.

    `keras.utils.get_file` does not go on, which matters with 170 MB over a bad connection.
    What has arrived is kept beside `path`, as `.part`, and continued with an HTTP Range request; a
    server that ignores that sends everything, and the file starts anew. The content is not checked.

    Raises:
        OSError: no connection, one that broke off, or a full disk.
        http.client.HTTPException: the connection broke off within a chunk.
    """
    part = path.with_name(f"{path.name}.part")
    begun = part.stat().st_size if part.is_file() else 0
    try:
        with (
            _room(path.parent),
            _answer(url, begun) as answer,
            open(part, "ab" if answer.status == 206 else "wb") as file,
        ):
            _copy(answer, file)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not begun:
            raise
        part.unlink()  # It is longer than what is offered, so it is something else.
        return resume(url, path)
    return part.replace(path)


def _answer(url, begun):
    headers = {"Range": f"bytes={begun}-"} if begun else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS)


def _copy(answer, file):
    begun, length = file.tell(), answer.headers["Content-Length"]
    total = begun + int(length) if length else None
    with _bar(begun, total) as advance:
        while block := answer.read(_BLOCK):
            file.write(block)
            advance(len(block))
    if total and file.tell() != total:
        raise ConnectionError(f"it broke off after {file.tell():,} of {total:,} bytes")


@contextmanager
def _bar(begun, total):
    """Show a bar; what is yielded moves it on by so many bytes. Without tqdm there is none."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda size: None
        return
    with tqdm(initial=begun, total=total, unit="B", unit_scale=True, desc="download") as bar:
        yield bar.update


@contextmanager
def _room(folder):
    """Say how to mend a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        mend = f"{error.strerror}: make room on the disk of {folder} and call again"
        raise OSError(error.errno, mend) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is at work in `folder`, made if missing; keep others waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # There are file systems without locks.
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def unpack(
    archive: Path,
    name: str,
    into: Path,
    *,
    packed_as: str | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Unpack the folder `name` of a tar archive to `into / name`, whole or not at all.

    It is unpacked in a temporary folder beside its place and renamed at the end, so an interrupted
    run leaves nothing that looks complete. A folder that is already there is left as it is.

    Args:
        archive: path of a .tar or .tar.gz file.
        name: the one folder wanted.
        into: where to put it; made if missing.
        packed_as: the folder's name in the archive, if it is another.
        check: called with the unpacked folder before it gets its name; whatever it raises leaves
            nothing behind.

    Returns:
        The path `into / name`.

    Raises:
        ValueError: the archive is damaged, holds a member that would land outside its folder or
            is otherwise unsafe, or has no folder `name`.
        OSError: the disk is full, or the folder cannot be written to.
    """
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("unpacking safely needs Python 3.11.4 or later")
    target = Path(into) / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _room(target.parent),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch,
    ):
        _extract(archive, scratch)
        found = Path(scratch) / (packed_as or name)
        if not found.is_dir() or found.is_symlink():
            raise ValueError(f"Expected a folder {found.name} in {archive}. Received: none")
        if check:
            check(found)
        _rename(found, target)
    return target


def _extract(archive, folder):
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(
            f"Expected an archive that is safe to unpack. Received: {archive} ({error})"
        ) from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"Expected a whole archive. Received: {archive}, which cannot be unpacked ({error})"
        ) from error


def _rename(found, target):
    try:
        found.rename(target)
    except OSError:
        # Another process was faster, and its copy is as good as this one.
        if not target.is_dir():
            raise
