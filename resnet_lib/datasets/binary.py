"""The publisher's binary files of CIFAR: plain bytes, and nothing to execute.

A record is some label bytes and 3,072 pixel bytes: the red, then the green, then the blue values
of a 32x32 image, row by row.
"""

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import download as _download
from .base import Split

SHAPE = (32, 32, 3)
PIXEL_BYTES = 32 * 32 * 3


class Archive(NamedTuple):
    """What one of the publisher's archives is called, and what is in it.

    Attributes:
        title: of the data set.
        loader: name of the function that loads it.
        url: of the archive.
        sha256: of the archive.
        folder: what it unpacks to.
    """

    title: str
    loader: str
    url: str
    sha256: str
    folder: str

    def find(self, data_dir: Path | str | None, download: bool) -> Path:
        """Return the folder, fetched and unpacked if need be."""
        mend = f"Unpack {self.url} there, or leave data_dir out to have it downloaded."
        return _download.find(self.folder, data_dir, mend) or self._fetched(download)

    def _fetched(self, download):
        try:
            archive = self._archive(download)
        except (OSError, HTTPException, ValueError) as error:
            elsewhere = f"download {self.url} and unpack it"
            raise _download.not_found(
                self.title, self.folder, self.loader, elsewhere, error
            ) from error
        return _download.unpack(archive, self.folder, archive.parent)

    def _archive(self, download):
        archive = _download.cache_folder() / self.url.rsplit("/", 1)[-1]
        if download or (archive.is_file() and _download.sha256_of(archive) == self.sha256):
            return _download.fetch(self.url, self.sha256)
        raise FileNotFoundError("download=False, and there is no copy in Keras' cache")

    def open(self, path: Path, records: int, classes: Sequence[int]) -> np.ndarray:
        """Return the records of one file, read from disk only where used.

        Args:
            path: of the file.
            records: how many it must have.
            classes: how many there are, for each label byte of a record.

        Returns:
            uint8 array of shape (records, len(classes) + 3072).
        """
        width = len(classes) + PIXEL_BYTES
        expected = records * width
        mend = f"Delete the folder {path.parent} and unpack {self.url} again."
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected a file of {expected:,} bytes. Received: {path}, which is missing. {mend}"
            )
        if path.stat().st_size != expected:
            raise ValueError(
                f"Expected a file of {expected:,} bytes. Received: {path} of "
                f"{path.stat().st_size:,}. {mend}"
            )
        found = np.memmap(path, np.uint8, "r", shape=(records, width))
        for byte, count in enumerate(classes):
            _check_labels(found[:, byte], count, path, mend)
        return found

    def source(self, folder: Path, hashes: Mapping[str, str]) -> str:
        """Return where a folder's files come from, in a line.

        Only a hash can earn the label "official", whatever a text file says.
        """
        if all(_download.sha256_of(folder / name) == sha for name, sha in hashes.items()):
            return f"{self.title} (official)"
        line = _provenance(folder / "PROVENANCE.txt")
        if not line or "(official)" in line:
            return f"{self.title} (unofficial copy)"
        return line if line.startswith(self.title) else f"{self.title} ({line})"


def _check_labels(labels, count, path, mend):
    wrong = np.flatnonzero(labels >= count)
    if len(wrong):
        raise ValueError(
            f"Expected labels from 0 to {count - 1}. Received: {path} with {labels[wrong[0]]} in "
            f"record {wrong[0]:,} ({len(wrong):,} such). {mend}"
        )


def last_of_each(labels: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """Return which are the last `count` images of each class, bool of the shape of `labels`."""
    held_out = np.zeros(len(labels), bool)
    for label, name in enumerate(names):
        places = np.flatnonzero(labels == label)
        if len(places) <= count:
            raise ValueError(
                f"Expected more than {count:,} training images of class {name}, "
                f"for that many are set aside for validation. Received: {len(places):,}"
            )
        held_out[places[-count:]] = True
    return held_out


def read(files: Sequence[np.ndarray], wanted: np.ndarray, byte: int = 0) -> Split:
    """Copy the wanted records into arrays of their own, one file at a time.

    Args:
        files: the records of each, as many in each.
        wanted: bool, one for each record of all files.
        byte: which label byte to take.
    """
    images = np.empty((wanted.sum(), *SHAPE), np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for records, rows in zip(files, wanted.reshape(len(files), -1), strict=True):
        chosen = records[rows]
        part = slice(start, start + len(chosen))
        labels[part] = chosen[:, byte]
        pixels = chosen[:, -PIXEL_BYTES:].reshape(-1, 3, 32, 32)
        images[part] = pixels.transpose(0, 2, 3, 1)
        start = part.stop
    return Split(images, labels)


def _provenance(path):
    """Return the first line as printable text, at most 200 characters; "" if there is none."""
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).strip()
    return "".join(c for c in line if c.isprintable())[:200]
