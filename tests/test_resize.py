"""Smaller copies of pictures: each pixel is an average."""

import numpy as np
import pytest

from resnet_lib import datasets
from resnet_lib.datasets.base import Split
from resnet_lib.datasets.resize import overlaps, resized, shrunk

RANDOM = np.random.default_rng(0)


def split(n=21, height=16, width=16, channels=3):
    images = RANDOM.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    return Split(images, RANDOM.integers(0, 10, n))


def test_half_the_size_is_the_mean_of_two_by_two():
    part = split(1003, 32, 32)  # More than are averaged at once.
    half = resized(part, 0.5)
    means = part.images.reshape(1003, 16, 2, 16, 2, 3).mean((2, 4))
    assert half.images.shape == (1003, 16, 16, 3)
    assert half.images.dtype == np.uint8
    assert np.abs(half.images - means).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(half.labels, part.labels)


def test_three_quarters_of_the_size_by_hand():
    """Each new pixel covers four thirds of an old one: 3 + 1, 2 + 2, 1 + 3 parts of four."""
    expected = [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]]
    np.testing.assert_allclose(overlaps(4, 3), expected, atol=1e-6)
    row = np.tile(np.array([0, 100, 40, 240], np.uint8), 8)
    images = np.broadcast_to(row[None, None, :, None], (1, 32, 32, 1)).copy()
    part = Split(images, np.zeros(1, np.int64))
    small = resized(part, 0.75).images
    assert small.shape == (1, 24, 24, 1)
    expected = np.tile([25, 70, 190], 8)
    np.testing.assert_array_equal(small[0, :, :, 0], np.broadcast_to(expected, (24, 24)))
    turned = Split(images.transpose(0, 2, 1, 3).copy(), part.labels)
    np.testing.assert_array_equal(
        resized(turned, 0.75).images[0, :, :, 0], np.broadcast_to(expected[:, None], (24, 24))
    )


@pytest.mark.parametrize(("old", "new"), [(32, 24), (32, 16), (32, 19), (8, 8), (27, 8), (9, 8)])
def test_every_old_pixel_counts_as_much(old, new):
    shares = overlaps(old, new)
    assert shares.shape == (new, old)
    assert shares.dtype == np.float32
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=0), new / old, atol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.9])
def test_a_constant_image_stays_constant(value, share):
    images = np.full((2, 32, 20, 3), value, np.uint8)
    small = resized(Split(images, np.zeros(2, np.int64)), share).images
    assert small.shape == (2, max(8, round(32 * share)), max(8, round(20 * share)), 3)
    assert (small == value).all()


def test_the_full_size_is_the_split_itself():
    part = split()
    assert resized(part, 1) is part
    assert resized(part, 1.0) is part


@pytest.mark.parametrize(
    ("side", "share", "expected"), [(16, 0.25, 8), (12, 0.5, 8), (8, 0.75, 8), (6, 0.5, 6)]
)
def test_no_image_gets_smaller_than_eight_pixels(side, share, expected):
    part = split(3, side, 32)
    small = resized(part, share).images
    assert small.shape == (3, expected, max(8, round(32 * share)), 3)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(
        ValueError, match=f"`share` to be a number above 0, at most 1. Received: {share}"
    ):
        resized(split(), share)


def test_a_whole_data_set_is_reduced_and_says_so():
    data = datasets.shapes(train=20, validation=10, test=10)
    small = shrunk(data, 16)
    assert small.image_shape == (16, 16, 3)
    assert small.source == f"{data.source}, reduced to 16x16"
    for part in ("train", "validation", "test"):
        wanted = resized(getattr(data, part), 0.5).images
        np.testing.assert_array_equal(getattr(small, part).images, wanted)
    assert shrunk(data, 32) is data


@pytest.mark.parametrize(("size", "nearest"), [(7, "8"), (33, "32"), (16.0, "whole number")])
def test_a_size_that_is_no_reduction_is_refused(size, nearest):
    with pytest.raises(ValueError, match=nearest):
        shrunk(datasets.shapes(train=10, validation=10, test=10), size)
