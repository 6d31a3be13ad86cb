"""Data sets: CIFAR-10, hand signs, and drawn shapes that need no download."""

from .base import Dataset, Split
from .cifar10 import cifar10
from .shapes import shapes
from .sign_digits import sign_digits

__all__ = ["Dataset", "Split", "cifar10", "shapes", "sign_digits"]
