"""Smaller copies of pictures, each pixel an average over an area."""

import numpy as np

from .. import checks
from .base import Dataset, Split


def resized(split: Split, share: float) -> Split:
    """Return a Split with images of a share of the height and width, each pixel an average.

    Args:
        split: `resnet_lib.datasets.Split`.
        share: float above 0, at most 1. 1 returns the split itself.

    Returns:
        Split, its images uint8 of at least 8x8 pixels, or of their own size if that is smaller.

    Raises:
        ValueError: if `share` is no such number.
    """
    if checks.number("share", share, above=0, most=1) == 1:
        return split
    old = split.images.shape[1:3]
    high, wide = (overlaps(side, max(min(8, side), round(share * side))) for side in old)
    images = np.empty((len(split), len(high), len(wide), split.images.shape[3]), np.uint8)
    for start in range(0, len(split), 1000):  # A thousand at a time are floats.
        part = slice(start, start + 1000)
        rows = np.einsum("hr,nrwc->nhwc", high, split.images[part], optimize=True)
        images[part] = np.rint(np.einsum("wk,nhkc->nhwc", wide, rows, optimize=True))
    return Split(images, split.labels)


def shrunk(data: Dataset, size: int) -> Dataset:
    """Return a smaller copy of a `resnet_lib.datasets.Dataset`: images of size x size pixels.

    Each pixel is an average; `source` says so.

    Raises:
        ValueError: if `size` is not a whole number from 8 to the images' shorter side, or they are
            not square.
    """
    height, width, _ = data.image_shape
    if height != width:
        raise ValueError(f"Expected `data` to have square images. Received: {height}x{width}")
    size = checks.count("size", size, least=min(8, height), most=height)
    if size == height:
        return data
    parts = [resized(part, size / height) for part in (data.train, data.validation, data.test)]
    return Dataset(*parts, data.class_names, f"{data.source}, reduced to {size}x{size}")


def overlaps(old: int, new: int) -> np.ndarray:
    """Return which share of each of `new` pixels in a row comes from which of `old` pixels.

    Returns:
        float32 array (new, old), each row with sum 1: averaging over areas.
    """
    edges = np.arange(new + 1) * (old / new)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(old)
    common = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    return (np.maximum(common, 0) * (new / old)).astype(np.float32)
