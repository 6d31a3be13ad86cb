"""Hand signs for the digits 0 to 9: Sign-Language-Digits, 2,062 photos under Apache-2.0.

Source: Mavi, arXiv 2011.08927, 2020, https://github.com/ardamavi/Sign-Language-Digits-Dataset.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import checks
from . import download as _download
from .base import Dataset, Split
from .images import load_all, told

REPOSITORY = "https://github.com/ardamavi/Sign-Language-Digits-Dataset"
COMMIT = "4b09433ef9d5c60602e8805bb54b8aa2428527f8"
URL = f"{REPOSITORY}/archive/{COMMIT}.tar.gz"
FOLDER = "Sign-Language-Digits-Dataset"
# Of what `sha256sum Dataset/?/*.JPG` prints, for GitHub may pack the same files differently.
MANIFEST_SHA256 = "dcb2ae4be3d7735fcdd5afd3ac662c8515803a0ab9c5acce989eb085802de6d1"
VALIDATION_SIGNER = 173
TEST_SIGNER = 193

_ELSEWHERE = f"git clone {REPOSITORY}"


class Photo(NamedTuple):
    """One photo of the set; `signer` is inferred, see `photos`."""

    path: Path
    number: int
    digit: int
    signer: int


def sign_digits(
    data_dir: Path | str | None = None,
    download: bool = True,
    *,
    classes: Iterable[int] = (0, 1, 2, 3, 4, 5),
    size: int = 64,
) -> Dataset:
    """Load hand signs: for the digits 0 to 5, 961 training, 120 validation and 156 test images.

    Split by signer, so that no hand is in two parts. This rests on an inference, for the signers
    are not labelled: each showed the digits in rising order, so a new one begins wherever the
    digit fails to increase. Signers 0 to 172 are for training, 173 to 192 for validation,
    193 to 219 for testing. The images of a part are in the order of their photos' numbers.

    The folder `Sign-Language-Digits-Dataset` is looked for in this order: in `data_dir` if it is
    given, and then nowhere else; in the folder named by the environment variable RESNET_LIB_DATA;
    in Keras' cache; in the repository's archive, downloaded into that cache and checked.

    Args:
        data_dir: a folder that holds `Sign-Language-Digits-Dataset`, or that folder itself.
        download: False to use only what is already on this computer.
        classes: distinct digits from 0 to 9; label i is the i-th of them.
        size: height and width in pixels. Photos have 100x100, three of them 3024x3024; all are
            turned upright and resized by area, as `resnet_lib.datasets.images.load` says, without
            its `draft`.

    Returns:
        A Dataset of uint8 images of shape (n, size, size, 3). Its `source` says whether the photos
        are the publisher's (by their SHA-256) or an unofficial copy.

    Raises:
        FileNotFoundError: the photos are nowhere and could not be downloaded, or those of a digit
            are missing.
        ValueError: an argument is out of its range, a photo is damaged or has no number, there are
            too few signers, or the downloaded archive is not what it should be.
    """
    classes, size = _checked(classes), checks.count("size", size)
    folder = _find(data_dir, download)
    chosen = [photo for photo in _photos(folder) if photo.digit in classes]
    images, unreadable = load_all([photo.path for photo in chosen], size, draft=False)
    if unreadable:
        raise ValueError(f"{told(unreadable, folder)}. {_mend(folder)}")
    labels = np.array([classes.index(photo.digit) for photo in chosen], np.int64)
    parts = [Split(images[rows], labels[rows]) for rows in _parts(chosen, folder)]
    return Dataset(*parts, classes, _source(folder))


def photos(data_dir: Path | str | None = None, download: bool = True) -> list[Photo]:
    """Return all photos, a list of `Photo` in the order of the numbers in their names.

    The signer, from 0 on, is inferred: each person showed the digits in rising order, so a new one
    begins wherever the digit fails to increase. This gives 220 signers, 190 of whom show all ten
    digits; the publisher counts 218. Arguments and errors are those of `sign_digits`.
    """
    return _photos(_find(data_dir, download))


def inferred_signers(digits: Iterable[int]) -> np.ndarray:
    """Return the signer of each photo, int64 of shape (n,), from 0 on: see `photos`.

    Args:
        digits: int array of shape (n,), what the photos show, in the order of their numbers.
    """
    return np.cumsum(np.diff(digits, prepend=-1) <= 0)


def _checked(classes):
    given = list(classes) if hasattr(classes, "__iter__") else [classes]
    whole = [c for c in given if isinstance(c, (int, np.integer)) and not isinstance(c, bool)]
    digits = list(dict.fromkeys(int(c) for c in whole if 0 <= c <= 9))
    if digits and digits == given and hasattr(classes, "__iter__"):
        return digits
    nearest = f"; the nearest valid value is {digits}" if digits else ""
    raise ValueError(
        "Expected `classes` to be distinct digits from 0 to 9, such as range(6). "
        f"Received: {classes!r}{nearest}"
    )


def _photos(folder):
    found = sorted(_numbered(folder, name) for name in _names(folder))
    missing = set(range(10)) - {digit for _, digit, _ in found}
    if missing:
        places = ", ".join(f"Dataset/{digit}" for digit in sorted(missing))
        raise FileNotFoundError(
            f"Expected photos in {places}. Received: {folder} without. {_mend(folder)}"
        )
    signers = inferred_signers([digit for _, digit, _ in found])
    return [
        Photo(folder / name, number, digit, int(signer))
        for (number, digit, name), signer in zip(found, signers, strict=True)
    ]


def _names(folder):
    """Return the photos' paths within the folder, sorted."""
    files = (folder / "Dataset").glob("[0-9]/[!.]*")
    kinds = (".jpg", ".jpeg")
    return sorted(f.relative_to(folder).as_posix() for f in files if f.suffix.lower() in kinds)


def _numbered(folder, name):
    """Return (number, digit, name), by which photos are sorted; equal numbers go by digit."""
    match = re.fullmatch(r"Dataset/([0-9])/IMG_([0-9]+)\.jpe?g", name, re.IGNORECASE)
    if not match:
        raise ValueError(
            "Expected names such as Dataset/0/IMG_1118.JPG, for their numbers tell the signers "
            f"apart. Received: {name!r} in {folder}. {_mend(folder)}"
        )
    return int(match[2]), int(match[1]), name


def _parts(chosen, folder):
    """Return the rows of the training, validation and test photos."""
    part = np.digitize([photo.signer for photo in chosen], [VALIDATION_SIGNER, TEST_SIGNER])
    rows = [np.flatnonzero(part == i) for i in range(3)]
    if not all(map(len, rows)):
        raise ValueError(
            f"Expected photos of more than {TEST_SIGNER} signers. Received: {len(chosen):,} photos "
            f"of signers up to {chosen[-1].signer} in {folder}. {_mend(folder)}"
        )
    return rows


def _source(folder):
    official = _manifest(folder) == MANIFEST_SHA256
    return f"Sign-Language-Digits ({'official' if official else 'unofficial copy'})"


def _manifest(folder):
    digest = hashlib.sha256()
    for name in _names(folder):
        digest.update(os.fsencode(f"{_download.sha256_of(folder / name)}  {name}\n"))
    return digest.hexdigest()


def _mend(folder):
    return f"Move {folder} away and {_ELSEWHERE} to its place."


def _find(data_dir, download):
    mend = f"{_ELSEWHERE} there, or leave data_dir out to have it downloaded."
    return _download.find(FOLDER, data_dir, mend) or _fetched(download)


def _fetched(download):
    try:
        return _installed(_download.cache_folder(), download)
    except (OSError, HTTPException) as error:
        title, loader = "Sign-Language-Digits", "sign_digits"
        raise _download.not_found(title, FOLDER, loader, _ELSEWHERE, error) from error


def _installed(cache, download):
    packed_as = f"{FOLDER}-{COMMIT}"
    archive = cache / f"{packed_as}.tar.gz"
    with _download.alone(cache):
        # Another process may have put the folder there while this one waited.
        if not ((cache / FOLDER).is_dir() or archive.is_file()):
            if not download:
                raise FileNotFoundError("download=False, and there is no copy in Keras' cache")
            _download.resume(URL, archive)
        try:
            return _download.unpack(archive, FOLDER, cache, packed_as=packed_as, check=_verify)
        except ValueError as error:
            archive.unlink()
            raise ValueError(
                f"{error}. The archive was removed: call again to download it anew, or "
                f"{_ELSEWHERE} to {cache}."
            ) from error


def _verify(folder):
    found = _manifest(folder)
    if found != MANIFEST_SHA256:
        raise ValueError(
            f"Expected photos with the manifest {MANIFEST_SHA256}. "
            f"Received: {folder.name} with {found}"
        )
