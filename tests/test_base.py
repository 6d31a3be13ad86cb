"""Parts of a data set and the data set: what they promise and what they refuse."""

import hashlib

import numpy as np
import pytest

from resnet_lib.datasets import Dataset, Split


def split(n=6, side=4, labels=None):
    images = np.arange(n * side * side * 3, dtype=np.int64).astype(np.uint8)
    labels = np.arange(n) % 3 if labels is None else labels
    return Split(images.reshape(n, side, side, 3), np.asarray(labels, np.int64))


def dataset(**changed):
    parts = {"train": split(9), "validation": split(3), "test": split(5)}
    rest = {"class_names": ("a", "b", "c"), "source": "made up"}
    return Dataset(**{**parts, **rest, **changed})


def test_length_and_short_repr():
    data = dataset()
    assert [len(data.train), len(data.validation), len(data.test)] == [9, 3, 5]
    assert repr(data) == ("Dataset(made up: train 9, validation 3, test 5; 4x4x3 uint8, 3 classes)")
    assert repr(data.test) == "Split(5 images of 4x4x3)"
    assert (data.image_shape, data.num_classes) == ((4, 4, 3), 3)


def test_arrays_are_shared_and_cannot_be_written_through():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    part = Split(images, np.zeros(2, np.int64))
    assert np.shares_memory(part.images, images)
    assert images.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        part.images[0] = 1
    with pytest.raises(AttributeError):
        part.images = images


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
LABELS = np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, r"`images` to be a uint8 array.* Received: float32"),
        (IMAGES[0], LABELS, r"`images` .*\(n, height, width, channels\)\. Received: .*\(4, 4, 3\)"),
        (IMAGES.tolist(), LABELS, "`images` .* Received: list"),
        (IMAGES[:0], LABELS[:0], r"nothing empty\. Received: shape \(0, 4, 4, 3\)"),
        (IMAGES, LABELS[:, None], r"`labels` .* shape \(n,\)\. Received: int64 of shape \(2, 1\)"),
        (IMAGES, LABELS.astype(np.int32), "`labels` to be a int64 array.* Received: int32"),
        (IMAGES, LABELS[:1], "Received: 2 images and 1 labels"),
    ],
)
def test_split_refuses(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": (IMAGES, LABELS)}, "`train` to be a Split. Received: tuple"),
        ({"validation": IMAGES}, "`validation` to be a Split. Received: ndarray"),
        ({"test": split(side=5)}, "`test` .* images of 4x4x3 as in train. Received: 5x5x3"),
        ({"test": split(2, labels=[0, 3])}, "`test` to have labels from 0 to 2 .* 0 to 3"),
        ({"train": split(2, labels=[-1, 1])}, "`train` to have labels from 0 to 2 .* -1 to 1"),
        ({"source": "two\nlines"}, "`source` to be one printable line"),
        ({"source": ""}, "`source` to be one printable line"),
    ],
)
def test_dataset_refuses(changed, message):
    with pytest.raises(ValueError, match=message):
        dataset(**changed)


def test_sha256_is_over_the_six_arrays_in_order():
    data = dataset()
    digest = hashlib.sha256()
    for part in (data.train, data.validation, data.test):
        digest.update(part.images.tobytes())
        for label in part.labels.tolist():
            digest.update(label.to_bytes(8, "little"))
    assert data.sha256 == digest.hexdigest()


def test_sha256_tells_what_differs():
    data = dataset()
    assert dataset().sha256 == data.sha256
    others = [
        dataset(train=split(9, labels=[1] * 9)),
        dataset(test=split(4)),
        dataset(validation=data.test, test=data.validation),
        dataset(train=Split(data.train.images[::-1], data.train.labels)),
    ]
    assert len({data.sha256, *(other.sha256 for other in others)}) == 5


def test_limit_keeps_the_first_and_the_proportions():
    data = dataset(train=split(90), validation=split(10), test=split(20))
    small = data.limit(9)
    assert [len(small.train), len(small.validation), len(small.test)] == [9, 1, 2]
    np.testing.assert_array_equal(small.train.images, data.train.images[:9])
    np.testing.assert_array_equal(small.test.labels, data.test.labels[:2])
    assert np.shares_memory(small.train.images, data.train.images)
    assert small.source == "made up, first 9 training images"
    assert small.sha256 != data.sha256
    one = data.limit(1)
    assert [len(one.train), len(one.validation), len(one.test)] == [1, 1, 1]
    assert data.limit(90) is data


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (0, "from 1 to 9. Received: 0; the nearest valid value is 1"),
        (10, "from 1 to 9. Received: 10; the nearest valid value is 9"),
        (2.5, "whole number from 1 to 9. Received: 2.5$"),
        (True, "Received: True"),
    ],
)
def test_limit_refuses(n, message):
    with pytest.raises(ValueError, match=message):
        dataset().limit(n)
