"""Training images as batches: shuffled, augmented, and the same for the same seed."""

import math
from typing import Any

import keras
import numpy as np

from ..augment import covered, cut_out, offsets, pad_crop_flip, squares
from ..datasets.base import Split


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches of a Split, the same for the same seed.

    Args:
        split: `resnet_lib.datasets.Split`.
        batch_size: images in a batch; the last one may be smaller.
        seed: int; the order depends on (seed, epoch), the augmentation on the image as well.
        augment: whether to pad, crop and, with `flip`, mirror.
        flip: whether to mirror half of the images.
        alternating: whether an image is mirrored in every other epoch.
        translation: which share of the shorter side is padded on each side.
        padding: "constant" or "reflect"; see `resnet_lib.augment.pad_crop_flip`.
        cutout: side of the square that is painted over, in the mean colour of the split's images,
            as a share of the shorter side.
        shuffle: whether the order is drawn, or that of the split.
        epoch: zero-based epoch to begin with.
    """

    by_place = False  # whether a batch holds places of images in place of these

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        augment: bool = True,
        flip: bool = True,
        alternating: bool = False,
        translation: float = 1 / 8,
        padding: str = "constant",
        cutout: float = 0.0,
        shuffle: bool = True,
        epoch: int = 0,
    ):
        super().__init__()
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.augment, self.padding, self.shuffle = augment, padding, shuffle
        self.mirrors = dict(flip=augment and flip, alternating=alternating)
        side = min(split.images.shape[1:3])
        self.pad = max(1, int(side * translation)) if augment and translation else 0
        self.hole = max(1, round(side * cutout)) if augment and cutout else 0
        self.colour = mean_colour(split.images) if self.hole else None
        self.start_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images, uint8 (n, height, width, channels), and the labels of one batch."""
        index = self.indices(batch)
        images, labels = self.split.images[index], self.split.labels[index]
        if self.augment:
            images = pad_crop_flip(images, index, **self.drawn(), mode=self.padding)
        if self.hole:
            drawn = dict(epoch=self.epoch, seed=self.seed, side=self.hole)
            images = cut_out(images, index, self.colour, **drawn)
        return images, labels

    def drawn(self) -> dict:
        """Return what `augment.offsets` draws with in this epoch."""
        return dict(epoch=self.epoch, seed=self.seed, pad=self.pad, **self.mirrors)

    def cutting(self) -> dict:
        """Return what `cut` needs beside images and places."""
        return dict(pad=self.pad, mode=self.padding, hole=self.hole, colour=self.colour)

    def indices(self, batch: int) -> np.ndarray:
        """Return which images of the split a batch consists of."""
        return self.order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of the images for an epoch, counted from 0."""
        self.epoch, self.order = epoch, np.arange(len(self.split))
        if self.shuffle:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def on_epoch_end(self) -> None:
        """Go on to the next epoch; Keras calls this."""
        self.start_epoch(self.epoch + 1)


def mean_colour(images: np.ndarray) -> np.ndarray:
    """Return the mean colour of uint8 images (n, height, width, channels): uint8 (channels,)."""
    return np.round(images.mean(axis=(0, 1, 2))).astype(images.dtype)


class Places(Batches):
    """The same batches, told by where they lie, for images that are on the device already.

    A batch is ({"index", "top", "left": int32 (n,), "flip": bool (n,)}, labels): see `on_device`,
    and `jax_steps` for JAX. With cutout, "hole_top" and "hole_left", int32 (n,), are with them.
    """

    by_place = True

    def __getitem__(self, batch: int) -> tuple[dict, np.ndarray]:
        """Return where the windows of a batch lie, and its labels."""
        index = self.indices(batch)
        top, left, mirrored = offsets(index, **self.drawn())
        places = {"index": index, "top": top, "left": left}
        if self.hole:
            drawn = dict(epoch=self.epoch, seed=self.seed, side=self.hole)
            shape = self.split.images.shape[1:3]
            places["hole_top"], places["hole_left"] = squares(index, **drawn, shape=shape)
        places = {name: numbers.astype(np.int32) for name, numbers in places.items()}
        return places | {"flip": mirrored}, self.split.labels[index]


def on_device(model: keras.Model, batches: Places) -> None:
    """Make a compiled model's training step cut its images out of a tensor on the device.

    Args:
        model: compiled `keras.Model` on the TensorFlow backend; what it saves stays as it was.
        batches: `Places`; its images are copied to the device, as uint8.
    """
    import tensorflow as tf

    images = tf.constant(batches.split.images)
    plain_step = type(model).train_step

    def train_step(data):
        places, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        windows = cut(tf.gather(images, places["index"]), places, **batches.cutting())
        return plain_step(model, (windows, labels))

    model.train_step = train_step
    model.train_function = None  # Keras makes it anew, from the new step.


def cut(
    images: Any,
    places: dict,
    *,
    pad: int,
    mode: str,
    hole: int = 0,
    colour: np.ndarray | None = None,
) -> Any:
    """Pad, crop, flip and cut out as the functions of `resnet_lib.augment` do, in a graph.

    Args:
        images: tensor (n, height, width, channels).
        places: as `Places` has them.
        pad: pixels added on each side.
        mode: "constant" or "reflect".
        hole: side of the square that is painted over, in pixels; 0: none is.
        colour: of the square, array (channels,) of the dtype of `images`.

    Returns:
        Tensor of the shape and dtype of `images`.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]], mode.upper())
    rows = places["top"][:, None] + tf.range(height)
    columns = tf.where(places["flip"][:, None], tf.range(width)[::-1], tf.range(width))
    window = tf.gather(padded, rows, axis=1, batch_dims=1)
    window = tf.gather(window, places["left"][:, None] + columns, axis=2, batch_dims=1)
    if not hole:
        return window
    over = covered(places["hole_top"], places["hole_left"], side=hole, shape=(height, width))
    return tf.where(over, colour, window)
