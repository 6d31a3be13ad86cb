"""A data set of arrays: what becomes one, and what would have been nonsense without a word."""

import warnings
from itertools import chain

import numpy as np
import pytest

from resnet_lib.datasets import from_arrays

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 8, 8, 3), np.uint8)
IMAGES[:, 0, 0, 0] = 255
IMAGES[:, 0, 0, 1] = np.arange(60)  # which one it is
LABELS = np.arange(60) % 3


def made(images=IMAGES, labels=LABELS, **options):
    return from_arrays((images, labels), **options)


def numbers(part):
    return part.images[:, 0, 0, 1].tolist()


def test_what_is_given_stays_as_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = from_arrays(
            (IMAGES, LABELS),
            (IMAGES[:6], LABELS[:6]),
            (IMAGES[6:9], LABELS[6:9]),
            class_names=["a", "b", "c"],
            source="mine",
        )
    assert np.shares_memory(data.train.images, IMAGES)
    assert [numbers(p) for p in (data.validation, data.test)] == [list(range(6)), [6, 7, 8]]
    assert data.train.labels.tolist() == LABELS.tolist()
    assert (data.class_names, data.source) == (("a", "b", "c"), "mine")


def test_what_is_not_given_is_split_off_class_by_class():
    data = made(validation=0.2, test=0.1)
    parts = (data.train, data.validation, data.test)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[14] * 3, [4] * 3, [2] * 3]
    assert sorted(chain(*map(numbers, parts))) == list(range(60))
    for part in parts:
        assert numbers(part) == sorted(numbers(part))
        np.testing.assert_array_equal(part.images, IMAGES[numbers(part)])
        np.testing.assert_array_equal(part.labels, LABELS[numbers(part)])


def test_the_split_depends_on_the_seed():
    assert made(seed=4).sha256 == made(seed=4).sha256
    assert made(seed=4).sha256 != made(seed=5).sha256


def test_a_given_part_and_one_split_off():
    data = made(test=(IMAGES[:9], LABELS[:9]))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54, 6, 9]


def test_grey_images_get_a_channel():
    assert made(IMAGES[..., 0]).image_shape == (8, 8, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
def test_whole_numbers_of_any_type_become_bytes(dtype):
    assert made(IMAGES.astype(dtype)).sha256 == made().sha256


def test_lists_are_arrays_too():
    assert made(list(IMAGES), LABELS.tolist()).sha256 == made().sha256


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None],
        np.eye(3)[LABELS],
        LABELS.astype(np.float32),
        LABELS.astype(np.uint8),
        np.eye(3, dtype=bool)[LABELS],
    ],
    ids=["column", "one-hot", "float", "uint8", "bool"],
)
def test_labels_of_any_kind_become_numbers(labels):
    assert made(labels=labels).sha256 == made().sha256


@pytest.mark.parametrize("dtype", [str, object])
def test_texts_are_sorted_or_in_the_order_of_the_names(dtype):
    texts = np.array(["dog", "ant", "cat"])[LABELS].astype(dtype)
    data = made(labels=texts)
    assert data.class_names == ("ant", "cat", "dog")
    assert data.train.labels.tolist() == [[2, 0, 1][i % 3] for i in numbers(data.train)]
    named = made(labels=texts, class_names=["dog", "ant", "cat"])
    assert named.sha256 == made().sha256


def test_one_hot_labels_say_how_many_classes_there_are():
    with pytest.warns(UserWarning, match="2 of 5 classes have no training image: 3, 4"):
        assert made(labels=np.eye(5)[LABELS]).num_classes == 5


# Nonsense


SCALED = IMAGES.astype(np.float32) / 255
BAD_IMAGES = {
    "scaled": (SCALED, "float32 from 0 to 1: scaled to 0-1, .* np.round\\(255 \\* images\\)"),
    "scaled, a little above": (SCALED * 1.0001, "scaled to 0-1"),
    "scaled and cut": ((IMAGES > 127).astype(np.uint8), "uint8 from 0 to 1: scaled to 0-1"),
    "bool": (IMAGES > 127, "bool from 0 to 1: scaled to 0-1"),
    "-1 to 1": (SCALED * 2 - 1, r"normalised, .* np.round\(127.5 \* \(images \+ 1\)\)"),
    "normalised": ((SCALED - 0.5) / 0.2, "normalised"),
    "fractions": (IMAGES * 0.9, "with fractions; .* np.round.images."),
    "16 bits": (IMAGES.astype(np.uint16) * 257, "65,535 is white, .images / 256..astype"),
    "12 bits": (IMAGES.astype(np.uint16) * 16, "4,095 is white, .images / 16..astype"),
    "not finite": (np.where(IMAGES == 255, np.nan, IMAGES), "not all of them finite"),
    "channels first": (np.moveaxis(IMAGES, -1, 1), "channels first; np.moveaxis.images, 1, -1"),
    "flat": (IMAGES.reshape(60, -1), r"Received: shape \(60, 192\)"),
    "empty": (IMAGES[:0], "nothing empty"),
    "sizes differ": ([IMAGES[0], IMAGES[0, :4]], "Received: list"),
    "objects": ([None] * 60, "Received: list of objects"),
    "texts": ([["a"]] * 60, "Received: "),
    "complex": (IMAGES.astype(complex), "Received: complex128"),
}


@pytest.mark.parametrize(("images", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_images_that_are_none(images, message):
    with pytest.raises(ValueError, match=f"^Expected the images of `train` .*{message}"):
        made(images)


def test_what_the_mending_says_mends():
    for images, mended in (
        (SCALED, lambda images: np.round(255 * images).astype(np.uint8)),
        (SCALED * 2 - 1, lambda images: np.round(127.5 * (images + 1)).astype(np.uint8)),
        (IMAGES.astype(np.uint16) * 16, lambda images: (images / 16).astype(np.uint8)),
    ):
        assert made(mended(images)).sha256 == made().sha256


def test_each_part_is_looked_at():
    with pytest.raises(ValueError, match=r"images of `test` .* scaled"):
        made(test=(SCALED, LABELS))


def test_dark_images_are_said():
    digits = (IMAGES / 255 * 16).astype(int)
    with pytest.warns(UserWarning, match=r"above 16, .* np.round\(images \* 15.9375\)") as told:
        made(digits)
    assert [warning.filename for warning in told] == [__file__]


BAD_LABELS = {
    "from 1": (LABELS + 1, {}, "begin at 0.*Received: 1 to 3; labels - 1 begins at 0"),
    "from 1, named": (LABELS + 1, {"class_names": ["cat", "dog", "emu"]}, "0 to 2.*labels - 1"),
    "3, 5, 7": (2 * LABELS + 3, {}, "begin at 0.* np.unique.labels, return_inverse=True.*1"),
    "negative": (LABELS - 1, {}, "labels from 0 to 1.* Received: -1 to 1"),
    "too many": (LABELS, {"class_names": ["a", "b"]}, "labels from 0 to 1, as there are 2 class"),
    "fractions": (LABELS + 0.5, {}, "Received: float64 of shape"),
    "soft": (np.eye(3)[LABELS] * 0.9, {}, "Received: float64"),
    "two at once": (np.eye(3)[LABELS] + np.eye(3)[0], {}, "not each row of which has one 1"),
    "too few": (LABELS[:-1], {}, r"60 whole numbers .* Received: shape \(59,\)"),
    "one class": (0 * LABELS, {}, "at least two classes"),
    "one text": (["a"] * 60, {}, "at least two classes"),
    "not a text of the names": (
        np.array(list("abc"))[LABELS],
        {"class_names": ["ab", "c"]},
        "'a'",
    ),
    "names in a text": (LABELS, {"class_names": "cat"}, "`class_names` to be a name for each"),
    "names in a dict": (LABELS, {"class_names": {0: "a", 1: "b", 2: "c"}}, "`class_names`"),
    "a name twice": (LABELS, {"class_names": ["a", "b", "a"]}, "all different"),
    "nothing": (None, {}, "labels of `train`"),
}


@pytest.mark.parametrize(("labels", "options", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_labels_that_are_none(labels, options, message):
    with pytest.raises(ValueError, match=f"^Expected .*{message}"):
        made(labels=labels, **options)


def test_labels_of_the_parts_must_agree():
    with pytest.raises(ValueError, match="labels from 0 to 2, the largest of `train`"):
        made(test=(IMAGES[:4], [0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"of as many classes in each part. Received: 3 and 4"):
        made(labels=np.eye(3)[LABELS], test=(IMAGES[:4], np.eye(4)))
    with pytest.raises(ValueError, match="texts for test only"):
        made(test=(IMAGES[:2], ["a", "b"]))


def test_classes_without_training_images_are_said():
    with pytest.warns(UserWarning, match="1 of 4 classes have no training image: emu"):
        made(class_names=["ant", "cat", "dog", "emu"])


def test_small_classes_are_said_and_smaller_ones_refused():
    labels = np.array([0] * 57 + [1] * 3)
    with pytest.warns(UserWarning, match=r"1 of 2 classes .* validation and test, .*: 1 \(3\)"):
        data = made(labels=labels)
    assert np.bincount(data.validation.labels).tolist() == [6, 1]
    with pytest.raises(ValueError, match=r"at least 3 images.* Received: 2 of class 1"):
        made(labels=np.array([0] * 58 + [1] * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0}, "`validation` to be a number above 0"),
        ({"validation": True}, "`validation` to be a number"),
        ({"validation": 0.5, "test": 0.5}, "leave some images for training"),
        ({"test": IMAGES}, "`test` to be .images, labels., a share .* Received: ndarray"),
        ({"test": (IMAGES, LABELS, 1)}, "Received: tuple of 3"),
        ({"seed": -1}, "`seed`"),
        ({"source": ""}, "`source`"),
        ({"test": (IMAGES[:, :4], LABELS)}, "`test` to have images of 8x8x3"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)
