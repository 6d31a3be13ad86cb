"""CIFAR-100 from the publisher's binary files, which hold plain bytes and nothing to execute.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. A record is a coarse label byte (20 classes), a fine
label byte (100 classes, five in each coarse one) and 3,072 pixel bytes, as in CIFAR-10.
"""

from pathlib import Path

import numpy as np

from .. import checks
from . import binary
from .base import Dataset

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
ARCHIVE_SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
FOLDER = "cifar-100-binary"
FILE_SHA256 = {
    "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
}
RECORDS = {"train.bin": 50_000, "test.bin": 10_000}
VALIDATION_PER_CLASS = 50
# {coarse class: its five fine ones}, both in label order; fine labels go by the alphabet.
CLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE_NAMES = tuple(CLASSES)
CLASS_NAMES = tuple(sorted(" ".join(CLASSES.values()).split()))

_ARCHIVE = binary.Archive("CIFAR-100", "cifar100", URL, ARCHIVE_SHA256, FOLDER)


def cifar100(
    data_dir: Path | str | None = None, download: bool = True, *, coarse: bool = False
) -> Dataset:
    """Load CIFAR-100: 45,000 training, 5,000 validation and 10,000 test images.

    The validation images are the last 50 of each of the 100 classes of the training file, in file
    order, whichever labels are asked for; the others keep their order.

    The folder `cifar-100-binary` is looked for in this order: in `data_dir` if it is given, and
    then nowhere else; in the folder named by the environment variable RESNET_LIB_DATA; in Keras'
    cache; in the publisher's archive of 169 MB, downloaded into that cache and checked.

    Args:
        data_dir: a folder that holds `cifar-100-binary`, or that folder itself.
        download: False to use only what is already on this computer.
        coarse: True for the 20 classes, such as trees, into which the 100 are grouped.

    Returns:
        A Dataset of uint8 images of shape (n, 32, 32, 3), of 100 classes or 20. Its `source` says
        whether the files are the publisher's, as that of `cifar10` does, and whether labels are
        coarse.

    Raises:
        FileNotFoundError: the images are nowhere, or a file of the folder is missing.
        ValueError: an argument is out of its range, a file has the wrong size or holds a label
            that is none, or a fine label does not belong to the coarse one beside it.
    """
    byte = 0 if checks.flag("coarse", coarse) else 1
    folder = _ARCHIVE.find(data_dir, download)
    train, test = (_records(folder / name, count) for name, count in RECORDS.items())
    held_out = binary.last_of_each(train[:, 1], CLASS_NAMES, VALIDATION_PER_CLASS)
    rows = ([train, ~held_out], [train, held_out], [test, np.ones(len(test), bool)])
    parts = [binary.read([records], wanted, byte) for records, wanted in rows]
    source = _ARCHIVE.source(folder, FILE_SHA256)
    if coarse:
        return Dataset(*parts, COARSE_NAMES, f"{source}, coarse labels")
    return Dataset(*parts, CLASS_NAMES, source)


def _records(path, count):
    records = _ARCHIVE.open(path, count, [len(COARSE_NAMES), len(CLASS_NAMES)])
    wrong = np.flatnonzero(_coarse()[records[:, 1]] != records[:, 0])
    if len(wrong):
        coarse, fine = records[wrong[0], :2]
        raise ValueError(
            f"Expected a coarse label and a fine one of its five. Received: {path} with "
            f"{coarse} ({COARSE_NAMES[coarse]}) and {fine} ({CLASS_NAMES[fine]}) in record "
            f"{wrong[0]:,} ({len(wrong):,} such). Delete the folder {path.parent} and unpack {URL} "
            "again."
        )
    return records


def _coarse():
    """Return the coarse label of each fine one."""
    group = {name: i for i, names in enumerate(CLASSES.values()) for name in names.split()}
    return np.array([group[name] for name in CLASS_NAMES])
