"""Pad, crop and flip: the augmentation of the CIFAR-10 experiments, a batch at a time; and cutout.

He et al. 2015 (arXiv 1512.03385), section 4.2: 4 pixels are padded on each side, and a 32x32 crop
is randomly sampled from the padded image or its horizontal flip. DeVries and Taylor 2017 (arXiv
1708.04552), section 3: a square of it is painted over.

Stateless: what happens to an image follows from (seed, epoch, index) through a hash, so a run that
is resumed, or shared out over machines, sees the pictures that an uninterrupted one would have.
"""

from typing import Any

import numpy as np

from . import checks

MODES = ("constant", "reflect")


def pad_crop_flip(
    images: np.ndarray,
    index: np.ndarray,
    *,
    epoch: int,
    seed: int,
    pad: int = 4,
    mode: str = "constant",
    flip: bool = True,
    alternating: bool = False,
) -> np.ndarray:
    """Pad each image, cut a random window of its own size, and mirror half of the windows.

    Args:
        images: array of shape (n, height, width, channels), whole or floating-point numbers.
        index: whole numbers of shape (n,): which image of the training set each one is.
        epoch: whole number, at least 0.
        seed: whole number, at least 0.
        pad: pixels added on each side, at least 0; an image moves by up to `pad` pixels.
        mode: "constant" pads with zeros, "reflect" mirrors about the outermost pixels.
        flip: False to mirror none; the windows are the same.
        alternating: whether an image is mirrored in every other epoch, half of them in the first.

    Returns:
        A new array of the shape and dtype of `images`. Row i depends on images[i], index[i] and the
        keyword arguments only, not on the rest of the batch or its order.

    Raises:
        ValueError: an argument has another shape, type or range.
    """
    _check_images(images, index)
    checks.choice("mode", mode, MODES)
    # An image has no more to reflect than that.
    checks.count("pad", pad, 0, min(images.shape[1:3]) - 1 if mode == "reflect" else None)
    drawn = dict(epoch=epoch, seed=seed, pad=pad, flip=flip, alternating=alternating)
    top, left, mirrored = offsets(index, **drawn)
    cropped = _crop(_padded(images, pad, mode), top, left, images.shape)
    cropped[mirrored] = _take_columns(cropped[mirrored], np.arange(images.shape[2])[::-1])
    return cropped


def offsets(
    index: np.ndarray,
    *,
    epoch: int,
    seed: int,
    pad: int = 4,
    flip: bool = True,
    alternating: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each image's window begins and whether it is mirrored.

    Args:
        index: whole numbers of shape (n,), at least 0.
        epoch: whole number, at least 0.
        seed: whole number, at least 0.
        pad: whole number, at least 0.
        flip: whether any is mirrored.
        alternating: whether an image is mirrored in every other epoch, half of them in the first.

    Returns:
        (top, left, mirrored), each of shape (n,): int64 row and column of the window's corner in
        the padded image, uniform over 0 to 2 * pad; bool, True for half of the images, or for none.

    Raises:
        ValueError: an argument is not a whole number, or negative, or `flip` no bool.
    """
    index, flip = _check_index(index), checks.flag("flip", flip)
    checks.flag("alternating", alternating)
    epoch, seed, pad = (
        checks.count(name, value, least=0)
        for name, value in (("epoch", epoch), ("seed", seed), ("pad", pad))
    )
    bits = _bits(index, seed, epoch)
    places = np.uint64(2 * pad + 1)
    low, middle = bits & np.uint64(2**24 - 1), (bits >> np.uint64(24)) & np.uint64(2**24 - 1)
    top, left = ((part * places) >> np.uint64(24) for part in (low, middle))
    if alternating:
        bits = _bits(index, seed, 0)
    mirrored = (bits >> np.uint64(63)).astype(bool) ^ bool(alternating and epoch % 2)
    return top.astype(np.int64), left.astype(np.int64), mirrored & flip


def cut_out(
    images: np.ndarray,
    index: np.ndarray,
    colour: np.ndarray,
    *,
    epoch: int,
    seed: int,
    side: int,
) -> np.ndarray:
    """Paint a square of each image over; its middle is any pixel, so it may reach beyond an edge.

    Args:
        images: array of shape (n, height, width, channels).
        index: whole numbers of shape (n,): which image of the training set each one is.
        colour: numbers of shape (channels,).
        epoch: whole number, at least 0.
        seed: whole number, at least 0.
        side: of the square, in pixels, at least 1.

    Returns:
        A new array of the shape and dtype of `images`, of which row i depends on images[i],
        index[i] and the keyword arguments only.

    Raises:
        ValueError: an argument has another shape, type or range.
    """
    _check_images(images, index)
    shape = images.shape[1:3]
    if np.shape(colour) != images.shape[3:]:
        raise ValueError(
            f"Expected `colour` to have the shape {images.shape[3:]}, a number for each channel. "
            f"Received: {np.shape(colour)}"
        )
    top, left = squares(index, epoch=epoch, seed=seed, side=side, shape=shape)
    colour = np.asarray(colour, images.dtype)
    return np.where(covered(top, left, side=side, shape=shape), colour, images)


def squares(
    index: np.ndarray, *, epoch: int, seed: int, side: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the square begins that each image loses: (top, left), each int64 (n,).

    Args:
        index: whole numbers of shape (n,), at least 0.
        epoch: whole number, at least 0.
        seed: whole number, at least 0.
        side: of the square, in pixels, at least 1.
        shape: (height, width) of the images.
    """
    epoch, seed = checks.count("epoch", epoch, least=0), checks.count("seed", seed, least=0)
    side = checks.count("side", side)
    bits = _mix(_bits(_check_index(index), seed, epoch))  # Others than those that `offsets` takes.
    parts = bits >> np.uint64(40), bits & np.uint64(2**24 - 1)
    places = ((part * np.uint64(n)) >> np.uint64(24) for part, n in zip(parts, shape, strict=True))
    top, left = (place.astype(np.int64) - side // 2 for place in places)
    return top, left


def covered(top: Any, left: Any, *, side: int, shape: tuple[int, int]) -> Any:
    """Return which pixels such squares cover: bool (n, height, width, 1).

    Args:
        top: int (n,), an array of NumPy or JAX or a tensor of TensorFlow, as is the result.
        left: as `top`.
        side: of the squares, in pixels.
        shape: (height, width) of the images.
    """
    corners, within = (top, left), []
    for corner, length in zip(corners, shape, strict=True):
        place = np.arange(length, dtype=np.int32) - corner[:, None]
        within.append((place >= 0) & (place < side))
    rows, columns = within
    return rows[:, :, None, None] & columns[:, None, :, None]


def _bits(index, seed, epoch):
    """Return 64 bits for each image, which depend on (seed, epoch, index)."""
    key = _mix(_mix(np.array([seed % 2**64], np.uint64)) + np.uint64(epoch % 2**64))
    return _mix(key + index.astype(np.uint64))


def _mix(x):
    """Scramble uint64 values: the step and finaliser of SplitMix64 (Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _padded(images, pad, mode):
    n, height, width, channels = images.shape
    if mode == "reflect":
        wide = _take_columns(images, _reflected(width, pad))
        return wide.take(_reflected(height, pad), axis=1)
    padded = np.zeros((n, height + 2 * pad, width + 2 * pad, channels), images.dtype)
    padded[:, pad : pad + height, pad : pad + width] = images
    return padded


def _reflected(size, pad):
    """Return the place in a row of `size` that each place of the padded row repeats."""
    place = np.abs(np.arange(-pad, size + pad))
    return np.minimum(place, 2 * (size - 1) - place)


def _take_columns(images, columns):
    """Return images[:, :, columns]; taking numbers in one row is several times as fast."""
    n, height, width, channels = images.shape
    numbers = (columns[:, None] * channels + np.arange(channels)).ravel()
    rows = images.reshape(n, height, width * channels)
    return rows.take(numbers, axis=2).reshape(n, height, len(columns), channels)


def _crop(padded, top, left, shape):
    """Copy one window out of each padded image.

    A row of a window is one unbroken run of bytes, so that indexing by (image, row, column) an
    overlapping view whose items are whole rows moves a row at a time instead of a number.
    """
    n, height, width, channels = shape
    pixel = channels * padded.itemsize
    rows = np.ndarray(
        (n, padded.shape[1], padded.shape[2] - width + 1),
        dtype=np.dtype((np.void, width * pixel)),
        buffer=padded,
        strides=(*padded.strides[:2], pixel),
    )
    image = np.arange(n)[:, None]
    window = rows[image, top[:, None] + np.arange(height), left[:, None]]
    return window.view(padded.dtype).reshape(shape)


def _check_images(images, index):
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.dtype.kind not in "uif":
        received = f"{getattr(images, 'dtype', type(images).__name__)}"
        raise ValueError(
            "Expected `images` to be a numeric array of shape (n, height, width, channels). "
            f"Received: {received} of shape {np.shape(images)}"
        )
    if np.shape(index) != images.shape[:1]:
        raise ValueError(
            f"Expected `index` to have the shape {images.shape[:1]}, one for each image. "
            f"Received: {np.shape(index)}"
        )


def _check_index(index):
    index = np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "ui":
        raise ValueError(
            "Expected `index` to be whole numbers of shape (n,). "
            f"Received: {index.dtype} of shape {index.shape}"
        )
    if len(index):
        checks.count("index", int(index.min()), least=0)
    return index
