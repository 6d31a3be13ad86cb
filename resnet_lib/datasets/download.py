"""Fetching an archive, checking it, and unpacking it whole or not at all."""

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path


def cache_folder():
    """Return the folder in which Keras keeps data sets: `$KERAS_HOME` or `~/.keras`, `datasets`."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def sha256_of(path):
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url, sha256):
    """Return the path of a downloaded file, from the cache where it is there already.

    Args:
        url: where the file is; its last part names it in the cache.
        sha256: what the file must hash to; a cached file that does not is downloaded again.

    Raises:
        Exception: whatever `keras.utils.get_file` raises: no connection, or a wrong hash.
    """
    import keras

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rsplit("/", 1)[-1]
    path = keras.utils.get_file(
        name,
        url,
        file_hash=sha256,
        hash_algorithm="sha256",
        cache_dir=str(folder.parent),
        cache_subdir=folder.name,
    )
    return Path(path)


def unpack(archive, name, into):
    """Unpack the folder `name` of a tar archive to `into / name`, whole or not at all.

    It is unpacked in a temporary folder beside its place and renamed at the end, so an interrupted
    run leaves nothing that looks complete. A folder that is already there is left as it is.

    Args:
        archive: path of a .tar or .tar.gz file.
        name: the one folder wanted.
        into: where to put it; made if missing.

    Returns:
        The path `into / name`.

    Raises:
        ValueError: the archive is damaged, holds a member that would land outside its folder or
            is otherwise unsafe, or has no folder `name`.
    """
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("unpacking safely needs Python 3.11.4 or later")
    target = Path(into) / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        _extract(archive, scratch)
        found = Path(scratch) / name
        if not found.is_dir() or found.is_symlink():
            raise ValueError(f"{archive}: expected a folder {name} in it, found none")
        _rename(found, target)
    return target


def _extract(archive, folder):
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(f"{archive}: refused, for it is not safe to unpack: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive}: cannot be unpacked: {error}") from error


def _rename(found, target):
    try:
        found.rename(target)
    except OSError:
        # Another process was faster, and its copy is as good as this one.
        if not target.is_dir():
            raise
