"""A data set of arrays that are in memory already."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks
from . import shares
from .base import Dataset, Split
from .images import DARK

_MEND = "np.round(255 * images).astype(np.uint8)"


def from_arrays(
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | float | None = None,
    test: tuple[Any, Any] | float | None = None,
    *,
    class_names: Iterable[str] | None = None,
    seed: int = 0,
    source: str = "arrays",
) -> Dataset:
    """Make a data set of arrays: images and their labels, in up to three parts.

    A part that is not given is taken from the training images, from each class its share and at
    least one image; which ones depends on `seed` and the labels only. A warning says where a class
    is too small for its share.

    >>> (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    >>> data = rl.datasets.from_arrays((x, y), test=(x_test, y_test))

    Args:
        train: (images, labels). Images: whole numbers from 0 to 255, of shape (n, height, width,
            channels), or (n, height, width) for grey ones; not scaled to 0-1, for training does
            that, and scaled twice they would be black. uint8 arrays are not copied. Labels:
            whole numbers from 0, of shape (n,) or (n, 1); or one-hot, of shape (n, classes); or
            texts.
        validation: the same, or the share of each class to take from `train`; None for a tenth.
        test: the same.
        class_names: the name of each label, in label order; by default the label itself.
            Where labels are texts, these texts in the order wanted, by default sorted.
        seed: whole number from 0 to 2**32 - 1.
        source: one printable line that says where the images come from.

    Returns:
        A Dataset of uint8 images of shape (n, height, width, channels); grey ones have 1 channel.

    Raises:
        ValueError: images or labels are none of the above, as where they are fractions, have
            channels first, or labels begin at 1; or a class has too few images to be in each part.
    """
    seed = checks.count("seed", seed, least=0, most=2**32 - 1)
    given = {"train": train, "validation": validation, "test": test}
    wanted = {part: 0.1 if x is None else x for part, x in given.items() if _is_share(part, x)}
    wanted = shares.checked(**{"validation": 0.1, "test": 0.1, **wanted}) if wanted else {}
    wanted = {part: share for part, share in wanted.items() if _is_share(part, given[part])}
    pairs = {part: _pair(part, x) for part, x in given.items() if part not in wanted}
    images = {part: _images(part, pair[0]) for part, pair in pairs.items()}
    labels = {part: _labels(part, pair[1], len(images[part])) for part, pair in pairs.items()}
    names = _names(class_names) or _numbers([np.shape(pair[1]) for pair in pairs.values()])
    names, labels = _named(labels, names)
    counts = dict(zip(names, np.bincount(labels["train"], minlength=len(names)), strict=True))
    splits = {part: Split(images[part], labels[part]) for part in pairs}
    splits |= _dealt(splits["train"], names, wanted, seed)
    _warn(_dark(images), _absent(counts), shares.too_few(_present(counts), wanted))
    return Dataset(splits["train"], splits["validation"], splits["test"], names, source)


def _is_share(part, given):
    return part != "train" and (given is None or isinstance(given, int | float | np.number))


def _warn(*notes):
    for note in filter(None, notes):
        checks.warn(f"{note}.")


def _pair(part, given):
    if isinstance(given, tuple | list) and len(given) == 2:
        return given
    received = type(given).__name__
    received += f" of {len(given)}" if isinstance(given, tuple | list) else ""
    share = "" if part == "train" else ", a share such as 0.1, or None"
    raise ValueError(f"Expected `{part}` to be (images, labels){share}. Received: {received}")


def _array(name, given, wanted):
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:  # Images of several sizes, as in a list.
        raise ValueError(f"{wanted}. Received: {type(given).__name__} ({error})") from error
    if array.dtype == object:  # pandas keeps texts like this.
        if not all(isinstance(value, str) for value in array.ravel()):
            raise ValueError(f"{wanted}. Received: {type(given).__name__} of objects")
        array = array.astype(str)
    return array


def _images(part, given):
    wanted = (
        f"Expected the images of `{part}` to be whole numbers from 0 to 255, of shape "
        "(n, height, width, channels) or (n, height, width)"
    )
    array = _array(part, given, wanted)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(f"{wanted}, with nothing empty. Received: shape {array.shape}")
    if array.ndim == 4 and array.shape[1] in (1, 3, 4) and array.shape[3] > 4:
        raise ValueError(
            f"{wanted}. Received: shape {array.shape}, which has channels first; "
            "np.moveaxis(images, 1, -1) has them last"
        )
    array = _bytes(array, wanted)
    return array[..., None] if array.ndim == 3 else array


def _bytes(array, wanted):
    """Return an array as uint8, no value changed; a ValueError says how to mend what is none."""
    if array.dtype.kind not in "buif":
        raise ValueError(f"{wanted}. Received: {array.dtype}")
    low, high = array.min(), array.max()
    received = f"{wanted}. Received: {array.dtype} from {low:g} to {high:g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{received}, not all of them finite")
    if low >= 0 and (high <= 1 or (high < 2 and array.dtype.kind == "f")):
        raise ValueError(f"{received}: scaled to 0-1, which training does; {_MEND} undoes it")
    if low < 0:
        raise ValueError(
            f"{received}: normalised, which training does; give the pictures as they were before, "
            "or, if -1 to 1 was black to white, np.round(127.5 * (images + 1)).astype(np.uint8)"
        )
    if high > 255:
        raise ValueError(
            f"{received}; if {2 ** max(8, int(high).bit_length()) - 1:,} is white, "
            f"(images / {2 ** (int(high).bit_length() - 8)}).astype(np.uint8) fits"
        )
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise ValueError(
            f"{received}, with fractions; if 255 is white, np.round(images).astype(np.uint8) fits"
        )
    return array.astype(np.uint8, copy=False)


def _dark(images):
    high = max(int(its.max()) for its in images.values())
    if high >= DARK:
        return None
    return (
        f"No pixel of any picture is above {high}, where 255 is white: nearly black. If {high} is "
        f"white, np.round(images * {255 / high:g}).astype(np.uint8) makes it so"
    )


def _labels(part, given, n):
    wanted = (
        f"Expected the labels of `{part}` to be {n:,} whole numbers from 0, of shape ({n},), "
        f"one-hot of shape ({n}, classes), or texts"
    )
    array = _array(part, given, wanted)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or len(array) != n:
        raise ValueError(f"{wanted}. Received: shape {array.shape}")
    if array.dtype.kind in "US" and array.ndim == 1:
        return array.astype(str)
    if array.dtype.kind not in "buif" or not (array == np.rint(array)).all():
        raise ValueError(f"{wanted}. Received: {_seen(array)}")
    if array.ndim == 2:
        return _one_hot(array, wanted)
    return array.astype(np.int64)


def _one_hot(array, wanted):
    if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
        raise ValueError(
            f"{wanted}. Received: shape {array.shape}, not each row of which has one 1 and else 0"
        )
    return array.argmax(axis=1).astype(np.int64)


def _seen(array):
    values = ", ".join(repr(value) for value in array.ravel()[:3].tolist())
    return f"{array.dtype} of shape {array.shape}, {values} …"


def _named(labels, names):
    """Return the names of the classes and {part: int64 labels}."""
    texts = {part for part, its in labels.items() if its.dtype.kind == "U"}
    if texts:
        return _from_texts(labels, names, texts)
    low = min(its.min() for its in labels.values())
    high = max(its.max() for its in labels.values())
    _check_range(low, high, labels["train"], names)
    return names or tuple(map(str, range(high + 1))), labels


def _names(class_names):
    if class_names is None:
        return None
    if isinstance(class_names, str | Mapping) or not isinstance(class_names, Iterable):
        raise ValueError(
            "Expected `class_names` to be a name for each label, in label order, such as "
            f"('cat', 'dog'). Received: {class_names!r}"
        )
    names = tuple(map(str, class_names))
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"Expected `class_names` to be at least two, all different. Received: {names!r}"
        )
    return names


def _numbers(shapes):
    """Return numbers as names where labels are one-hot, which says how many classes there are."""
    widths = {shape[1] for shape in shapes if len(shape) == 2 and shape[1] > 1}
    if len(widths) > 1:
        raise ValueError(
            "Expected one-hot labels of as many classes in each part. "
            f"Received: {' and '.join(map(str, sorted(widths)))}"
        )
    return tuple(map(str, range(widths.pop()))) if widths else None


def _from_texts(labels, names, texts):
    if len(texts) < len(labels):
        raise ValueError(
            "Expected the labels of all parts to be texts, or of none. Received: texts for "
            f"{', '.join(sorted(texts))} only"
        )
    found = sorted(set().union(*(np.unique(its).tolist() for its in labels.values())))
    known = names or tuple(np.unique(labels["train"]).tolist())
    if len(known) < 2 or (unknown := set(found) - set(known)):
        unknown = sorted(unknown) if len(known) > 1 else found
        where = "`class_names`" if names else "the labels of `train`"
        raise ValueError(
            f"Expected the labels of all parts to be in {where}, and of at least two classes. "
            f"Received: {', '.join(map(repr, unknown[:10]))}"
        )
    order = {name: i for i, name in enumerate(known)}
    return known, {
        part: np.array([order[name] for name in its.tolist()], np.int64)
        for part, its in labels.items()
    }


def _check_range(low, high, trained, names):
    most = len(names) - 1 if names else int(trained.max())
    wanted = f"Expected labels from 0 to {most}"
    wanted += f", as there are {len(names)} class names" if names else ", the largest of `train`"
    if low < 0 or high > most:
        mend = "; they seem to begin at 1: labels - 1 begins at 0" if low == 1 else ""
        raise ValueError(f"{wanted}. Received: {low} to {high}{mend}")
    if not names and trained.min() > 0:
        mend = "labels - 1" if trained.min() == 1 else "np.unique(labels, return_inverse=True)[1]"
        raise ValueError(
            "Expected the labels of `train` to begin at 0, or `class_names` with a name for each "
            f"number from 0. Received: {trained.min()} to {trained.max()}; {mend} begins at 0"
        )
    if most < 1:
        raise ValueError("Expected at least two classes. Received: labels that are all 0")


def _present(counts):
    return {name: int(n) for name, n in counts.items() if n}


def _absent(counts):
    """Return a sentence on the classes of which there is no training image, or None."""
    absent = [name for name, n in counts.items() if not n]
    if not absent:
        return None
    return (
        f"{len(absent):,} of {len(counts):,} classes have no training image: "
        f"{checks.ten_of(absent)}"
    )


def _dealt(train, names, wanted, seed):
    """Return the parts that are taken from `train`, and what is left of that."""
    if not wanted:
        return {}
    # Raw numbers, for what NumPy makes of them may change with its version.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(train)), kind="stable")
    rows = {part: [] for part in ("train", *wanted)}
    for label, name in enumerate(names):
        mine = order[train.labels[order] == label].tolist()
        if 0 < len(mine) <= len(wanted):
            raise ValueError(
                f"Expected each class to have at least {1 + len(wanted)} images, for "
                f"{' and '.join(wanted)} take one each. Received: {len(mine)} of class {name}"
            )
        for part, its in (shares.shared_out(mine, wanted) if mine else {}).items():
            rows[part] += its
    places = {part: np.sort(np.array(its, np.int64)) for part, its in rows.items()}
    return {part: Split(train.images[its], train.labels[its]) for part, its in places.items()}
