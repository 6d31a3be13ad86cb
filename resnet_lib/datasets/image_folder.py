"""Images of your own: a folder for each class."""

import hashlib
import os
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import checks
from .base import Dataset, Split
from .images import load_all, told

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
PARTS = ("train", "validation", "test")

_PART_OF = {"val": "validation", **{part: part for part in PARTS}}


class _Item(NamedTuple):
    part: str
    name: str  # of the class
    path: Path


def image_folder(
    path: Path | str,
    *,
    size: int = 64,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    skip_unreadable: bool = False,
) -> Dataset:
    """Load images that lie in a folder for each class: `path/cat/1.jpg`, `path/dog/old/2.png`.

    Folders within a class are searched too; hidden files, links to folders, and files that do not
    end in .jpg, .jpeg, .png, .bmp, .gif or .webp (in any case) are left alone. Classes are sorted
    by name.

    Where `path` holds `train` and `test` and perhaps `validation` (or `val`), each with a folder
    for each class, these are the parts. What is not given is taken from the training images, from
    each class its share and at least one image. Which ones depends on `seed` and the files' names
    within `path` only; so does the order in a part, where classes are mixed. A file added later
    does not change the order of the others.

    An image that is not square loses both ends of its longer side: the shorter one is resized to
    `size` and the middle kept. EXIF rotation is applied; greyscale, palette and CMYK images become
    RGB, transparency is laid on white; see `resnet_lib.datasets.images.load`.

    Args:
        path: the folder.
        size: height and width in pixels, at least 1.
        validation: share of each class for validation, between 0 and 1.
        test: share of each class for the test; the two together are below 1.
        seed: whole number from 0 to 2**32 - 1.
        skip_unreadable: True to leave out files that cannot be read, with a warning.

    Returns:
        A Dataset of uint8 images of shape (n, size, size, 3).

    Raises:
        FileNotFoundError: `path` is not a folder.
        ValueError: an argument is out of its range; there are fewer than two classes, or too few
            images of one (three, or one in each part that is given and one for each that is not);
            or files cannot be read: damaged, of another kind, or of more than Pillow's limit of 179
            million pixels.
    """
    size = checks.count("size", size)
    seed = checks.count("seed", seed, least=0, most=2**32 - 1)
    _check_shares(validation, test)
    checks.flag("skip_unreadable", skip_unreadable)
    folder = checks.path("path", path)
    given = _given(folder)
    shares = {"test": test, "validation": validation}
    shares = {part: share for part, share in shares.items() if part not in given}
    names = _class_names(folder, given)
    items = sorted(_items(given), key=lambda item: _order(seed, item.path.relative_to(folder)))
    images, unreadable = load_all([item.path for item in items], size)
    if unreadable:
        _tell(told(unreadable, folder), skip_unreadable)
    groups = _grouped(items, unreadable)
    _check_counts(folder, given, names, groups, shares)
    rows = _dealt(names, groups, given, shares)
    labels = np.array([names.index(item.name) for item in items], np.int64)
    splits = [Split(images[rows[part]], labels[rows[part]]) for part in PARTS]
    return Dataset(*splits, names, f"images of {_printable(folder)}")


def _check_shares(validation, test):
    for name, share in (("validation", validation), ("test", test)):
        checks.number(name, share, above=0, below=1)
    if validation + test >= 1:
        raise ValueError(
            "Expected `validation` and `test` to be shares that leave some images for training. "
            f"Received: {validation!r} and {test!r}"
        )


def _given(folder):
    """Return {part: its folder}; where the parts have none, all is for training at first."""
    if not folder.is_dir():
        raise FileNotFoundError(
            "Expected `path` to be a folder that holds one folder of images for each class. "
            f"Received: {str(folder)!r}"
        )
    folders = _folders(folder)
    found = {inner.name.lower(): inner for inner in folders}
    given = {part: found[name] for name, part in _PART_OF.items() if name in found}
    if "train" not in given or len(given) == 1:
        return {"train": folder}
    if "test" not in given or len(given) < len(folders):
        raise ValueError(
            f"Expected {folder} to hold the folders train, test and perhaps validation (or val), "
            f"and no other. Received: {', '.join(sorted(f.name for f in folders))}"
        )
    return given


def _folders(folder):
    return [inner for inner in folder.iterdir() if inner.is_dir() and inner.name[0] != "."]


def _class_names(folder, given):
    names = sorted({inner.name for where in given.values() for inner in _folders(where)})
    if len(names) < 2:
        raise ValueError(
            f"Expected {folder} to hold a folder of images for each class, at least two. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return names


def _items(given):
    for part, where in given.items():
        for inner in _folders(where):
            for path in _images(inner):
                yield _Item(part, inner.name, path)


def _images(folder):
    for path in folder.iterdir():
        if path.name[0] == ".":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _images(path)
        elif path.suffix.lower() in EXTENSIONS and path.is_file():
            yield path


def _order(seed, path):
    """Return what to sort by: chance, but the same on every computer and in every version."""
    return hashlib.sha256(os.fsencode(f"{seed} {path.as_posix()}")).digest()


def _tell(message, skip):
    if not skip:
        raise ValueError(f"{message}. Mend or remove them; skip_unreadable=True leaves them out.")
    warnings.warn(f"{message}. Left out.", stacklevel=3)


def _grouped(items, unreadable):
    """Return {(part, class): rows}, the rows in order."""
    groups = defaultdict(list)
    for row, item in enumerate(items):
        if item.path not in unreadable:
            groups[item.part, item.name].append(row)
    return groups


def _check_counts(folder, given, names, groups, shares):
    short = []
    for part, where in given.items():
        least = 1 + len(shares) if part == "train" else 1
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


def _dealt(names, groups, given, shares):
    """Return {part: rows, in order}."""
    rows = {part: [] for part in PARTS}
    for name in names:
        mine = {part: groups[part, name] for part in given}
        mine |= _shared_out(mine["train"], shares)
        for part in PARTS:
            rows[part] += mine[part]
    return {part: sorted(its) for part, its in rows.items()}


def _shared_out(rows, shares):
    """Deal one class: to each part its share, but at least one image, and one to those after it."""
    dealt, left = {}, rows
    for i, (part, share) in enumerate(shares.items()):
        after = len(shares) - i
        count = min(max(1, round(share * len(rows))), len(left) - after)
        dealt[part], left = left[:count], left[count:]
    return {**dealt, "train": left}


def _printable(folder):
    name = folder.resolve().name or str(folder)
    return "".join(c for c in name if c.isprintable())
