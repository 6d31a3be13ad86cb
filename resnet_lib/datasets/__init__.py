"""Data sets: CIFAR-10, and drawn shapes that need no download."""

from .base import Dataset, Split
from .cifar10 import cifar10
from .shapes import shapes

__all__ = ["Dataset", "Split", "cifar10", "shapes"]
