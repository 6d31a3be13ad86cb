"""CIFAR-10 from the publisher's binary files, which hold plain bytes and nothing to execute.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. A file holds 10,000 records, each one label byte and
3,072 pixel bytes: the red, then the green, then the blue values of a 32x32 image, row by row.
"""

from http.client import HTTPException
from pathlib import Path

import numpy as np

from . import download as _download
from .base import Dataset, Split

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER = "cifar-10-batches-bin"
FILE_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORDS_PER_FILE = 10_000
VALIDATION_PER_CLASS = 500
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_SHAPE = (32, 32, 3)
_RECORD_BYTES = 1 + 32 * 32 * 3


def cifar10(data_dir: Path | str | None = None, download: bool = True) -> Dataset:
    """Load CIFAR-10: 45,000 training, 5,000 validation and 10,000 test images of ten classes.

    The validation images are the last 500 of each class of the five training files, in file
    order; the others keep their order.

    The folder `cifar-10-batches-bin` is looked for in this order: in `data_dir` if it is given,
    and then nowhere else; in the folder named by the environment variable RESNET_LIB_DATA; in
    Keras' cache; in the publisher's archive of 170 MB, downloaded into that cache and checked.

    Args:
        data_dir: a folder that holds `cifar-10-batches-bin`, or that folder itself.
        download: False to use only what is already on this computer.

    Returns:
        A Dataset of uint8 images of shape (n, 32, 32, 3). Its `source` says whether the files are
        the publisher's (by their SHA-256); if not, it is the first line of the PROVENANCE.txt
        beside them, or "CIFAR-10 (unofficial copy)".

    Raises:
        FileNotFoundError: the images are nowhere, or a file of the folder is missing.
        ValueError: a file has the wrong size or holds a label above 9, or `data_dir` is no path.
    """
    mend = f"Unpack {URL} there, or leave data_dir out to have it downloaded."
    folder = _download.find(FOLDER, data_dir, mend) or _fetched(download)
    files = {name: _open(folder / name) for name in FILE_SHA256}
    *training, test = files.values()
    train, validation = _split_training(training)
    return Dataset(train, validation, _read([test]), CLASS_NAMES, _source(folder))


def _fetched(download):
    try:
        archive = _archive(download)
    except (OSError, HTTPException, ValueError) as error:
        elsewhere = f"download {URL} and unpack it"
        raise _download.not_found("CIFAR-10", FOLDER, "cifar10", elsewhere, error) from error
    return _download.unpack(archive, FOLDER, archive.parent)


def _archive(download):
    archive = _download.cache_folder() / URL.rsplit("/", 1)[-1]
    if download or (archive.is_file() and _download.sha256_of(archive) == ARCHIVE_SHA256):
        return _download.fetch(URL, ARCHIVE_SHA256)
    raise FileNotFoundError("download=False, and there is no copy in Keras' cache")


def _open(path):
    """Return the records of one file as (n, 3073) uint8, read from disk only where used."""
    expected = RECORDS_PER_FILE * _RECORD_BYTES
    mend = f"Delete the folder {path.parent} and unpack {URL} again."
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a file of {expected:,} bytes. Received: {path}, which is missing. {mend}"
        )
    if path.stat().st_size != expected:
        raise ValueError(
            f"Expected a file of {expected:,} bytes. Received: {path} of "
            f"{path.stat().st_size:,}. {mend}"
        )
    records = np.memmap(path, np.uint8, "r", shape=(RECORDS_PER_FILE, _RECORD_BYTES))
    wrong = np.flatnonzero(records[:, 0] >= len(CLASS_NAMES))
    if len(wrong):
        raise ValueError(
            f"Expected labels from 0 to 9. Received: {path} with {records[wrong[0], 0]} in record "
            f"{wrong[0]:,} ({len(wrong):,} such). {mend}"
        )
    return records


def _split_training(files):
    labels = np.concatenate([records[:, 0] for records in files])
    held_out = np.zeros(len(labels), bool)
    for label, name in enumerate(CLASS_NAMES):
        places = np.flatnonzero(labels == label)
        if len(places) <= VALIDATION_PER_CLASS:
            raise ValueError(
                f"Expected more than {VALIDATION_PER_CLASS:,} training images of class {name}, "
                f"for that many are set aside for validation. Received: {len(places):,}"
            )
        held_out[places[-VALIDATION_PER_CLASS:]] = True
    held_out = held_out.reshape(len(files), -1)
    return _read(files, ~held_out), _read(files, held_out)


def _read(files, wanted=None):
    """Copy the wanted records into arrays of their own, one file at a time."""
    if wanted is None:
        wanted = np.ones((len(files), RECORDS_PER_FILE), bool)
    images = np.empty((wanted.sum(), *_SHAPE), np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for records, rows in zip(files, wanted, strict=True):
        chosen = records[rows]
        part = slice(start, start + len(chosen))
        labels[part] = chosen[:, 0]
        images[part] = chosen[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        start = part.stop
    return Split(images, labels)


def _source(folder):
    if all(_download.sha256_of(folder / name) == sha for name, sha in FILE_SHA256.items()):
        return "CIFAR-10 (official)"
    line = _provenance(folder / "PROVENANCE.txt")
    # Only a hash can earn the label above, whatever a text file says.
    if not line or "(official)" in line:
        return "CIFAR-10 (unofficial copy)"
    return line if line.startswith("CIFAR-10") else f"CIFAR-10 ({line})"


def _provenance(path):
    """Return the first line as printable text, at most 200 characters; "" if there is none."""
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).strip()
    return "".join(c for c in line if c.isprintable())[:200]
