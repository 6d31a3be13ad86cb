"""What every data set of the package is: three parts of images and labels, and where they are from.

Images stay as they were stored (uint8, 0-255, channels last) until a training step needs floats:
CIFAR-10 takes 184 MB this way and four times as much otherwise.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import checks


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One part of a data set: images and their labels, in a fixed order.

    Args:
        images: uint8 array of shape (n, height, width, channels), values 0-255, n at least 1.
        labels: int64 array of shape (n,); labels[i] is the class of images[i].

    Both are held without a copy, as views that cannot be written through.

    Raises:
        ValueError: an array has another type or shape, or the two lengths differ.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        _check_array("images", self.images, np.uint8, "(n, height, width, channels)", 4)
        _check_array("labels", self.labels, np.int64, "(n,)", 1)
        if len(self.images) != len(self.labels):
            raise ValueError(
                "Expected one label for each image. "
                f"Received: {len(self.images):,} images and {len(self.labels):,} labels"
            )
        object.__setattr__(self, "images", _read_only(self.images))
        object.__setattr__(self, "labels", _read_only(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self):
        return f"Split({len(self):,} images of {_by(self.images.shape[1:])})"

    def limit(self, n: int) -> "Split":
        """Return the first `n` images and labels, sharing memory with this part.

        Raises:
            ValueError: `n` is not a whole number from 1 to `len(self)`.
        """
        n = checks.count("n", n, most=len(self))
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images to train on, to choose with and to be judged by, with their source.

    Args:
        train: Split, what the weights are fitted to.
        validation: Split, what settings and epochs are chosen on.
        test: Split, looked at once, at the end.
        class_names: the name of each label, in label order.
        source: one printable line that says where the images come from.

    Attributes:
        sha256: 64 hexadecimal digits over the bytes of the six arrays, in the order train images,
            train labels, validation images, validation labels, test images, test labels, labels
            as little-endian int64. Computed when it is first read.

    Raises:
        ValueError: the parts differ in image shape, a label has no name, or `source` is not one
            printable line.
    """

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
        for name, part in self._parts().items():
            self._check_part(name, part)
        checks.line("source", self.source)

    def __repr__(self):
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in self._parts().items())
        classes = f"{self.num_classes} classes"
        return f"Dataset({self.source}: {sizes}; {_by(self.image_shape)} uint8, {classes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @cached_property
    def sha256(self) -> str:
        """The data's fingerprint; see the class."""
        digest = hashlib.sha256()
        for part in self._parts().values():
            digest.update(np.ascontiguousarray(part.images))
            digest.update(part.labels.astype("<i8"))
        return digest.hexdigest()

    def limit(self, n: int) -> "Dataset":
        """Return a smaller data set, for a quick try: the first `n` training images.

        Validation and test keep the same share of theirs, rounded up, so at least one image each:
        `limit(4500)` of 45,000 / 5,000 / 10,000 leaves 4,500 / 500 / 1,000. The first images in
        order are taken whatever their class, so classes need not be equally frequent. Memory is
        shared; `sha256` is that of the smaller set, and `source` says that it was limited.

        Raises:
            ValueError: `n` is not a whole number from 1 to `len(self.train)`.
        """
        whole = len(self.train)
        n = checks.count("n", n, most=whole)
        if n == whole:
            return self
        parts = [part.limit(-(-len(part) * n // whole)) for part in self._parts().values()]
        return Dataset(*parts, self.class_names, f"{self.source}, first {n:,} training images")

    def _parts(self):
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def _check_part(self, name, part):
        if not isinstance(part, Split):
            raise ValueError(f"Expected `{name}` to be a Split. Received: {type(part).__name__}")
        if part.images.shape[1:] != self.image_shape:
            raise ValueError(
                f"Expected `{name}` to have images of {_by(self.image_shape)} as in train. "
                f"Received: {_by(part.images.shape[1:])}"
            )
        low, high = part.labels.min(), part.labels.max()
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"Expected `{name}` to have labels from 0 to {self.num_classes - 1} "
                f"({self.num_classes} class names). Received: {low} to {high}"
            )


def _check_array(name, array, dtype, shape, rank):
    wanted = f"Expected `{name}` to be a {np.dtype(dtype).name} array of shape {shape}"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{wanted}. Received: {type(array).__name__}")
    if array.dtype != dtype or array.ndim != rank:
        raise ValueError(f"{wanted}. Received: {array.dtype} of shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{wanted} with nothing empty. Received: shape {array.shape}")


def _read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def _by(shape):
    return "x".join(str(size) for size in shape)
