"""Pad, crop, flip and cut out: the right pixels, evenly spread draws, nothing due to the batch."""

import subprocess
import sys

import numpy as np
import pytest

from resnet_lib.augment import cut_out, offsets, pad_crop_flip, squares

RANDOM = np.random.default_rng(0)
KNOWN_TOP = [8, 8, 5, 8, 0, 2, 3, 6]
KNOWN_LEFT = [4, 6, 6, 1, 2, 6, 7, 0]
KNOWN_FLIP = [False, False, True, True, False, True, False, False]
WHERE = {"epoch": 3, "seed": 5}


def batch(n=40, height=32, width=32, channels=3, dtype=np.uint8):
    return RANDOM.integers(0, 256, (n, height, width, channels)).astype(dtype)


def by_hand(images, index, pad, mode):
    """One image, one row, one pixel at a time, with the padding worked out for each pixel."""
    top, left, flip = offsets(index, **WHERE, pad=pad)
    _, height, width, _ = images.shape
    out = np.zeros_like(images)
    for i, image in enumerate(images):
        for row in range(height):
            for column in range(width):
                y = row + top[i] - pad
                x = (width - 1 - column if flip[i] else column) + left[i] - pad
                if mode == "reflect":
                    y, x = mirrored(y, height), mirrored(x, width)
                if 0 <= y < height and 0 <= x < width:
                    out[i, row, column] = image[y, x]
    return out


def mirrored(place, size):
    place = abs(place)
    return 2 * (size - 1) - place if place >= size else place


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(
    ("height", "width", "channels", "dtype", "pad"),
    [
        (32, 32, 3, np.uint8, 4),
        (12, 17, 3, np.float32, 4),
        (9, 8, 1, np.float64, 2),
        (8, 8, 4, np.float16, 7),
        (6, 5, 3, np.uint8, 0),
    ],
)
def test_equals_a_plain_loop(mode, height, width, channels, dtype, pad):
    images = batch(24, height, width, channels, dtype)
    index = np.arange(100, 124)
    result = pad_crop_flip(images, index, **WHERE, pad=pad, mode=mode)
    assert result.dtype == images.dtype
    assert result.shape == images.shape
    np.testing.assert_array_equal(result, by_hand(images, index, pad, mode))


def test_any_memory_layout():
    images = batch()
    index = np.arange(40)
    expected = pad_crop_flip(images, index, **WHERE)
    for same in (np.asfortranarray(images), images[::-1][::-1], np.repeat(images, 2, 0)[::2]):
        np.testing.assert_array_equal(pad_crop_flip(same, index, **WHERE), expected)
        np.testing.assert_array_equal(
            pad_crop_flip(same, index, **WHERE, mode="reflect"),
            pad_crop_flip(images, index, **WHERE, mode="reflect"),
        )


def test_leaves_its_input_alone_and_returns_memory_of_its_own():
    images = batch()
    before = images.copy()
    images.flags.writeable = False
    result = pad_crop_flip(images, np.arange(40), **WHERE, pad=0)
    assert result.flags.writeable
    assert not np.shares_memory(result, images)
    np.testing.assert_array_equal(images, before)


def test_an_empty_batch():
    result = pad_crop_flip(batch()[:0], np.arange(0), **WHERE)
    assert result.shape == (0, 32, 32, 3)


def test_an_image_is_treated_alike_in_any_batch_and_order():
    images = batch(300)
    index = RANDOM.permutation(50_000)[:300]
    whole = pad_crop_flip(images, index, **WHERE)
    order = RANDOM.permutation(300)
    np.testing.assert_array_equal(pad_crop_flip(images[order], index[order], **WHERE), whole[order])
    parts = [pad_crop_flip(images[i : i + 7], index[i : i + 7], **WHERE) for i in range(0, 300, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    narrow = index.astype(np.uint16)
    np.testing.assert_array_equal(pad_crop_flip(images, narrow, **WHERE), whole)


def draws(**changed):
    top, left, flip = offsets(np.arange(2000), **{**WHERE, **changed})
    return np.stack([top, left, flip])


@pytest.mark.parametrize("changed", [{"epoch": 4}, {"seed": 6}, {"epoch": 5, "seed": 3}])
def test_another_epoch_or_seed_draws_anew(changed):
    equal = (draws() == draws(**changed)).mean(axis=1)
    # Independent draws agree in 1 of 9, 1 of 9 and 1 of 2 places; 2000 of them give 5 sigma.
    np.testing.assert_allclose(equal, [1 / 9, 1 / 9, 1 / 2], atol=0.06)


@pytest.mark.slow
def test_draws_are_the_same_in_another_process():
    code = (
        "import numpy as np; from resnet_lib.augment import offsets;"
        "print(np.stack(offsets(np.arange(2000), epoch=3, seed=5)).sum(axis=1).tolist())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.split("\n")[-2] == str(draws().sum(axis=1).tolist())


def test_known_draws():
    """A recorded run can be repeated later only while these stay as they are."""
    top, left, flip = offsets(np.arange(8), epoch=0, seed=0)
    assert top.tolist() == KNOWN_TOP
    assert left.tolist() == KNOWN_LEFT
    assert flip.tolist() == KNOWN_FLIP


@pytest.mark.parametrize("pad", [1, 4, 6])
def test_offsets_and_flips_are_uniform_and_independent(pad):
    n, places = 50_000, 2 * pad + 1
    top, left, flip = offsets(np.arange(n), **WHERE, pad=pad)
    assert (top.dtype, left.dtype, flip.dtype) == (np.int64, np.int64, bool)
    cells = places * places * 2
    counts = np.bincount((top * places + left) * 2 + flip, minlength=cells)
    assert len(counts) == cells
    assert chi_square(counts) < 5


def test_epochs_of_one_image_are_uniform_too():
    corners = [np.concatenate(offsets([7], epoch=epoch, seed=0)[:2]) for epoch in range(8100)]
    top, left = np.transpose(corners)
    assert chi_square(np.bincount(top * 9 + left, minlength=81)) < 5


def chi_square(counts):
    """How many standard deviations chi-square lies above what an even spread gives."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": batch()[0]}, r"`images` to be .* \(n, height, width, channels\)"),
        ({"images": batch() > 9}, "Received: bool"),
        ({"images": [1, 2]}, "Received: list"),
        ({"index": np.arange(39)}, r"`index` .* shape \(40,\).* Received: \(39,\)"),
        ({"index": np.arange(40) / 2}, "`index` to be whole numbers .* float64"),
        ({"index": np.arange(40) - 1}, "`index` .* whole number of at least 0. Received: -1"),
        ({"epoch": -1}, "`epoch` .* Received: -1; the nearest valid value is 0"),
        ({"epoch": 1.5}, "`epoch` to be a whole number.* Received: 1.5"),
        ({"seed": True}, "`seed` .* Received: True"),
        ({"pad": -2}, "`pad` .* nearest valid value is 0"),
        ({"pad": 32, "mode": "reflect"}, "`pad` .* from 0 to 31. Received: 32; .* is 31"),
        ({"mode": "edge"}, "`mode` to be one of 'constant', 'reflect'. Received: 'edge'"),
        ({"flip": "no"}, "`flip` to be True or False. Received: 'no'"),
    ],
)
def test_bad_input_is_refused(changed, message):
    arguments = {"images": batch(), "index": np.arange(40), **WHERE, **changed}
    with pytest.raises(ValueError, match=message):
        pad_crop_flip(arguments.pop("images"), arguments.pop("index"), **arguments)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_without_mirroring_the_windows_are_the_same(mode):
    images, index = batch(), np.arange(40)
    options = dict(**WHERE, mode=mode)
    top, left, mirrored = offsets(index, **WHERE)
    *corners, none = offsets(index, **WHERE, flip=False)
    np.testing.assert_array_equal(corners, (top, left))
    assert mirrored.any() and not none.any()
    plain = pad_crop_flip(images, index, **options, flip=False)
    turned = pad_crop_flip(images, index, **options)
    np.testing.assert_array_equal(plain[~mirrored], turned[~mirrored])
    np.testing.assert_array_equal(plain[mirrored], turned[mirrored][:, :, ::-1])


# Alternating.


def mirrored_in(epoch, **options):
    index = np.arange(1000)
    return offsets(index, epoch=epoch, seed=5, alternating=True, **options)[2]


def test_alternating_images_are_seen_both_ways_in_any_two_epochs():
    first = mirrored_in(0)
    assert 400 < first.sum() < 600
    for epoch in range(1, 5):
        np.testing.assert_array_equal(mirrored_in(epoch), first ^ bool(epoch % 2))
    assert not mirrored_in(1, flip=False).any()
    assert not np.array_equal(offsets(np.arange(1000), epoch=0, seed=6)[2], first)


def test_alternating_changes_no_window():
    index = np.arange(100)
    for epoch in (0, 1, 2):
        usual = offsets(index, epoch=epoch, seed=5)
        found = offsets(index, epoch=epoch, seed=5, alternating=True)
        np.testing.assert_array_equal(usual[:2], found[:2])


def test_alternating_is_true_or_false():
    with pytest.raises(ValueError, match="`alternating` to be True or False"):
        offsets(np.arange(3), epoch=0, seed=0, alternating="false")


# Cutout.

COLOUR = np.array([9, 99, 199], np.uint8)


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 8), (12, 17, 5), (9, 8, 1)])
def test_a_square_of_each_image_is_painted_over(height, width, side):
    images, index = batch(200, height, width), np.arange(50, 250)
    before = images.copy()
    found = cut_out(images, index, COLOUR, **WHERE, side=side)
    top, left = squares(index, **WHERE, side=side, shape=(height, width))
    expected = images.copy()
    for image, row, column in zip(expected, top, left, strict=True):
        for y in range(max(row, 0), min(row + side, height)):
            for x in range(max(column, 0), min(column + side, width)):
                image[y, x] = COLOUR
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(images, before)
    assert found.dtype == images.dtype


def test_the_middle_of_the_square_is_any_pixel():
    top, left = squares(np.arange(50_000), **WHERE, side=5, shape=(9, 7))
    counts = np.bincount((top + 2) * 7 + left + 2, minlength=63)
    assert len(counts) == 63
    assert chi_square(counts) < 5


def test_squares_have_nothing_to_do_with_windows():
    index = np.arange(50_000)
    top, left = squares(index, **WHERE, side=1, shape=(9, 9))
    for one in (top, left):
        for other in offsets(index, **WHERE):
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(index))


def test_known_squares():
    """A recorded run can be repeated later only while these stay as they are."""
    top, left = squares(np.arange(8), epoch=0, seed=0, side=8, shape=(32, 32))
    assert top.tolist() == [0, 8, -2, 8, -2, 4, 6, 4]
    assert left.tolist() == [21, 22, 1, 15, -2, -1, 3, 24]


@pytest.mark.parametrize("changed", [{"epoch": 4}, {"seed": 6}])
def test_another_epoch_or_seed_moves_the_square(changed):
    shape = dict(side=1, shape=(9, 9))
    one, other = (squares(np.arange(2000), **which, **shape) for which in (WHERE, WHERE | changed))
    np.testing.assert_allclose(np.equal(one, other).mean(axis=1), 1 / 9, atol=0.06)


def test_the_square_is_the_images_own_in_any_batch():
    images, index = batch(50), RANDOM.permutation(50_000)[:50]
    whole = cut_out(images, index, COLOUR, **WHERE, side=8)
    order = RANDOM.permutation(50)
    other = cut_out(images[order], index[order], COLOUR, **WHERE, side=8)
    np.testing.assert_array_equal(other, whole[order])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": [1, 2]}, "Received: list"),
        ({"index": np.arange(39)}, r"`index` .* shape \(40,\).* Received: \(39,\)"),
        ({"colour": COLOUR[:2]}, r"`colour` .* shape \(3,\).* Received: \(2,\)"),
        ({"side": 0}, "`side` .* Received: 0; the nearest valid value is 1"),
        ({"epoch": -1}, "`epoch` .* Received: -1; the nearest valid value is 0"),
        ({"seed": 0.5}, "`seed` .* Received: 0.5"),
    ],
)
def test_a_bad_square_is_refused(changed, message):
    arguments = {"images": batch(), "index": np.arange(40), "colour": COLOUR, "side": 8}
    arguments |= WHERE | changed
    with pytest.raises(ValueError, match=message):
        cut_out(**arguments)
