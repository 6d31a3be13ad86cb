"""Images of your own: a folder for each class."""

import hashlib
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from .. import checks
from . import folders, reading, shares
from .base import Dataset, Split
from .images import EXTENSIONS, doubtful, told

PARTS = folders.PARTS


def image_folder(
    path: Path | str,
    *,
    size: int = 64,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    skip_unreadable: bool = False,
    cache: bool = True,
) -> Dataset:
    """Load images that lie in a folder for each class: `path/cat/1.jpg`, `path/dog/old/2.png`.

    Folders within a class are searched too, and one around the classes is looked through. Classes
    are sorted by name. Read are .jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .avif .ppm
    .pgm .pbm .pnm, in any case; a warning names and counts what else lies in a class's folder, and
    images that lie beside them. Hidden files and what systems leave in folders are left alone. A
    link to a folder or image that is in the set already is left out, and said.

    Where `path` holds folders that are named as parts, such as train and test and perhaps val, or
    Training and Testing, seg_train and seg_test, train and dev, each with a folder for each class,
    these are the parts. What is not given is taken from the training images, from each class its
    share and at least one image; a warning says so of a test part that is missing where there is a
    validation part, and of classes whose share is less than one image. Which ones are taken depends
    on `seed` and the files' names within `path` only; so does the order in a part, where classes
    are mixed. A file added later does not change the order of the others.

    An image that is not square loses both ends of its longer side: the shorter one is resized to
    `size` and the middle kept. EXIF rotation is applied; greyscale, palette and CMYK images become
    RGB, transparency is laid on white; large JPEGs are decoded to a smaller size at once: see
    `resnet_lib.datasets.images.load`. 16-bit greyscale is read as of 8, 10, 12, 14 or 16 bits, the
    fewest that hold the largest value of all such files of the folder; a warning says so, if it is
    not 16.

    Args:
        path: the folder.
        size: height and width in pixels, at least 1.
        validation: share of each class for validation, between 0 and 1.
        test: share of each class for the test; the two together are below 1.
        seed: whole number from 0 to 2**32 - 1.
        skip_unreadable: True to leave out files that cannot be read, with a warning.
        cache: False to keep nothing of what is read. What takes over half a second is kept
            otherwise in the user's folder for caches, see `resnet_lib.datasets.reading`.

    Returns:
        A Dataset of uint8 images of shape (n, size, size, 3).

    Raises:
        FileNotFoundError: `path` is not a folder.
        ValueError: an argument is out of its range; there are fewer than two classes, or too few
            images of one (three, or one in each part that is given and one for each that is not);
            what is a part and what a class cannot be told; or files cannot be read: damaged, of
            another kind, or of more than Pillow's limit of 179 million pixels.
    """
    size = checks.count("size", size)
    seed = checks.count("seed", seed, least=0, most=2**32 - 1)
    wanted = shares.checked(validation, test)
    checks.flag("skip_unreadable", skip_unreadable)
    checks.flag("cache", cache)
    folder = checks.path("path", path)
    given, names, items, notes = folders.find(folder)
    _warn(notes)
    wanted = {part: share for part, share in wanted.items() if part not in given}
    items = sorted(items, key=lambda item: _order(seed, item.path.relative_to(folder)))
    pictures = reading.read_folder(folder, [item.path for item in items], size, cache=cache)
    if pictures.unreadable:
        _tell(told(pictures.unreadable, folder), skip_unreadable)
    groups = _grouped(items, pictures.unreadable)
    _check_counts(folder, given, names, groups, wanted)
    _warn(doubtful(pictures, [str(item.path.relative_to(folder)) for item in items]))
    _warn([shares.too_few({name: len(groups["train", name]) for name in names}, wanted)])
    rows = _dealt(names, groups, given, wanted)
    labels = np.array([names.index(item.name) for item in items], np.int64)
    splits = [Split(pictures.pixels[rows[part]], labels[rows[part]]) for part in PARTS]
    return Dataset(*splits, names, f"images of {_printable(folder)}")


def _warn(notes):
    """Warn of each, as from where image_folder was called."""
    for note in filter(None, notes):
        checks.warn(f"{note}.")


def _order(seed, path):
    """Return what to sort by: chance, but the same on every computer and in every version."""
    return hashlib.sha256(os.fsencode(f"{seed} {path.as_posix()}")).digest()


def _tell(message, skip):
    if not skip:
        told = f"{message}. Mend or remove them; skip_unreadable=True leaves them out."
        raise ValueError(checks.encodable(told))
    checks.warn(f"{message}. Left out.")


def _grouped(items, unreadable):
    """Return {(part, class): rows}, the rows in order."""
    groups = defaultdict(list)
    for row, item in enumerate(items):
        if item.path not in unreadable:
            groups[item.part, item.name].append(row)
    return groups


def _check_counts(folder, given, names, groups, wanted):
    short = []
    for part, where in given.items():
        least = 1 + len(wanted) if part == "train" else 1
        for name in names:
            count = len(groups[part, name])
            if count < least:
                place = (where / name).relative_to(folder)
                short.append(f"{count} in {place}, which needs {least}")
    if short:
        raise ValueError(
            f"Expected {folder} to hold enough images ({', '.join(EXTENSIONS)}) for three parts. "
            f"Received: {'; '.join(short[:10])}"
        )


def _dealt(names, groups, given, wanted):
    """Return {part: rows, in order}."""
    rows = {part: [] for part in PARTS}
    for name in names:
        mine = {part: groups[part, name] for part in given}
        mine |= shares.shared_out(mine["train"], wanted)
        for part in PARTS:
            rows[part] += mine[part]
    return {part: sorted(its) for part, its in rows.items()}


def _printable(folder):
    name = folder.resolve().name or str(folder)
    return "".join(c for c in name if c.isprintable())
