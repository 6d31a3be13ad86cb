"""CIFAR-10 from the publisher's binary files, which hold plain bytes and nothing to execute.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. A file holds 10,000 records, each one label byte and
3,072 pixel bytes: the red, then the green, then the blue values of a 32x32 image, row by row.
"""

from pathlib import Path

import numpy as np

from . import binary
from .base import Dataset

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER = "cifar-10-batches-bin"
FILE_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORDS_PER_FILE = 10_000
VALIDATION_PER_CLASS = 500
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_ARCHIVE = binary.Archive("CIFAR-10", "cifar10", URL, ARCHIVE_SHA256, FOLDER)


def cifar10(data_dir: Path | str | None = None, download: bool = True) -> Dataset:
    """Load CIFAR-10: 45,000 training, 5,000 validation and 10,000 test images of ten classes.

    The validation images are the last 500 of each class of the five training files, in file
    order; the others keep their order.

    The folder `cifar-10-batches-bin` is looked for in this order: in `data_dir` if it is given,
    and then nowhere else; in the folder named by the environment variable RESNET_LIB_DATA; in
    Keras' cache; in the publisher's archive of 170 MB, downloaded into that cache and checked.

    Args:
        data_dir: a folder that holds `cifar-10-batches-bin`, or that folder itself.
        download: False to use only what is already on this computer.

    Returns:
        A Dataset of uint8 images of shape (n, 32, 32, 3). Its `source` says whether the files are
        the publisher's (by their SHA-256); if not, it is the first line of the PROVENANCE.txt
        beside them, or "CIFAR-10 (unofficial copy)".

    Raises:
        FileNotFoundError: the images are nowhere, or a file of the folder is missing.
        ValueError: a file has the wrong size or holds a label above 9, or `data_dir` is no path.
    """
    folder = _ARCHIVE.find(data_dir, download)
    classes = [len(CLASS_NAMES)]
    files = [_ARCHIVE.open(folder / name, RECORDS_PER_FILE, classes) for name in FILE_SHA256]
    *training, test = files
    labels = np.concatenate([records[:, 0] for records in training])
    held_out = binary.last_of_each(labels, CLASS_NAMES, VALIDATION_PER_CLASS)
    parts = binary.read(training, ~held_out), binary.read(training, held_out)
    tested = binary.read([test], np.ones(len(test), bool))
    return Dataset(*parts, tested, CLASS_NAMES, _ARCHIVE.source(folder, FILE_SHA256))
