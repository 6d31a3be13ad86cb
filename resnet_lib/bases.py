"""Trained networks to begin with: the library's, ImageNet's, and the reader's own.

Nothing here imports Keras before a network is loaded.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checks, records

if TYPE_CHECKING:
    import keras

DEFAULT = "resnet20v1-cifar10"
# keras.applications' weights, which Keras downloads once, by their hash.
IMAGENET = {f"resnet{depth}-imagenet": depth for depth in (50, 101, 152)}
SUFFIX = ".keras"
# How pixels of 0-255 may be prepared for a base: as
# keras.applications.imagenet_utils.preprocess_input calls it, or divided by 255.
SCALED = "0-1"
PREPARATIONS = ("caffe", "tf", "torch", SCALED)


@dataclass(frozen=True)
class Base:
    """A network to begin with.

    Attributes:
        name: what the record calls it.
        model: `keras.Model`, with a head or without.
        size: (height, width) of the pictures that it was trained on, None where that is not known.
        preprocessing: what its pixels of 0-255 must go through first, see `resnet_lib.finetune`;
            None: that is inside.
    """

    name: str
    model: "keras.Model"
    size: tuple[int | None, int | None] = (None, None)
    preprocessing: Any = None


def names() -> tuple[str, ...]:
    """Return the names of the bases: those that come with the library, then ImageNet's."""
    return (*records.trained(), *IMAGENET)


def check(base: str | os.PathLike) -> str | Path:
    """Return a base's name, or the path of one that is there; load nothing.

    Raises:
        ValueError: if it is neither one of `names()` nor the path of a .keras file, or of a run's
            folder, or the file is damaged.
        FileNotFoundError: if the folder holds no finished run.
    """
    if isinstance(base, str) and base in names():
        return base
    try:
        path = checks.path("base", base)
    except ValueError:
        path = None
    if path is not None and path.is_dir():
        records.load(path)
        return path
    if path is not None and path.is_file() and records.is_whole(path):
        return path
    if path is not None and path.is_file():
        raise ValueError(
            f"Expected `base` to be a {SUFFIX} file as Keras writes it. Received: {path}, which is "
            "none, or damaged"
        )
    try:
        return checks.choice("base", base, names())
    except ValueError as error:
        error.add_note(
            f"Or the path of a {SUFFIX} file, or of a run's folder; there is none of that name."
        )
        raise


def find(base: Any) -> Base:
    """Load a base.

    Args:
        base: one of `names()`, a path as for `check`, a `keras.Model`, or a `Base`.

    Raises:
        ConnectionError: if it must be downloaded and cannot be, with the names of those that need
            not.
        ValueError: as `check` says.
    """
    if isinstance(base, Base):
        return base
    if not isinstance(base, str | os.PathLike):
        return _of_model(base)
    base = check(base)
    if base in IMAGENET:
        return _of_imagenet(base)
    if isinstance(base, str):
        return _of_run(base, records.recorded()[base])
    if base.is_dir():
        return _of_run(base.resolve().name, records.load(base))
    return _of_model(records.Run({}, base.parent, model_file=base.name).load_model(), base.name)


def _of_run(name, run):
    height, width, _ = run.record["dataset"]["image_shape"]
    return Base(name, run.load_model(), (height, width))


def _of_model(model, name=None):
    import keras

    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected `base` to be one of {', '.join(map(repr, names()))}, a path, or a "
            f"keras.Model. Received: {model!r:.80}"
        )
    inputs = getattr(model, "inputs", None) if model.built else None  # Only graphs have some.
    shape = inputs[0].shape if inputs else ()
    size = tuple(shape[1:3]) if len(shape) == 4 else (None, None)
    return Base(name or model.name, model, size)


def _of_imagenet(name):
    from . import imagenet

    options = dict(form="applications", include_top=False, weights="imagenet")
    try:
        model = imagenet.resnet(imagenet.SHAPE, IMAGENET[name], **options)
    except ConnectionError as error:
        raise ConnectionError(
            f"{error} These bases need no download: {', '.join(records.trained())}. A copy of the "
            f"network that another computer has saved as a {SUFFIX} file can be named by its path, "
            'with preprocessing="caffe".'
        ) from error
    return Base(name, model, imagenet.SHAPE[:2], "caffe")
