"""Data sets: CIFAR, hand signs, images of your own, and drawn shapes that need no download."""

from .arrays import from_arrays
from .base import Dataset, Split
from .cifar10 import cifar10
from .cifar100 import cifar100
from .image_folder import image_folder
from .shapes import shapes
from .sign_digits import sign_digits
from .survey import survey

# What the command line calls by name: a data set that needs no argument.
NAMED = {load.__name__: load for load in (cifar10, cifar100, shapes, sign_digits)}

__all__ = [
    "Dataset",
    "Split",
    "cifar10",
    "cifar100",
    "from_arrays",
    "image_folder",
    "shapes",
    "sign_digits",
    "survey",
]
