"""The files of a run's folder: what they are called, written whole or not at all."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

RECORD = "record.json"
MODEL = "model.keras"
CHECKPOINTS = "checkpoints"
FORMAT = 1


def save(record: dict, folder: Path | str) -> Path:
    """Write record.json into a folder, whole or not at all.

    Args:
        record: dict that JSON can hold.
        folder: an existing folder.

    Returns:
        Path of the file.
    """
    path = Path(folder) / RECORD
    record = {"format": FORMAT, **record}
    text = json.dumps(record | {"sha256": digest(record)}, indent=1, allow_nan=False)
    write(path, f"{text}\n".encode())
    return path


def digest(record: dict) -> str:
    """Return the SHA-256 of what a record says, however it is written."""
    told = json.loads(json.dumps(record))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def is_part(path: Path) -> bool:
    """Say whether a file is the beginning of a record, however short."""
    begins, found = f'{{\n "format": {FORMAT},\n'.encode(), path.read_bytes()
    return found.startswith(begins) or begins.startswith(found)


def write(path: Path, content: bytes, before: Path | None = None) -> None:
    """Write a file, which gets its name once its content is on the disk: a cut leaves either.

    Args:
        path: the file.
        content: its content.
        before: where a file that has the name already goes; None: it is overwritten.
    """
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if before is not None and path.is_file():
        os.replace(path, before)
    os.replace(part, path)


def is_whole(path: Path) -> bool:
    """Say whether a .keras file is as it was written: its archive has a checksum of each part."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {"config.json", "metadata.json", "model.weights.h5"}
            return parts <= set(archive.namelist()) and archive.testzip() is None
    except Exception:  # Damage shows in many ways: BadZipFile, EOFError, NotImplementedError, …
        return False
