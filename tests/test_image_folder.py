"""Images of one's own: which part each goes to, how files of every kind are read, and damage."""

import hashlib
import sys
import warnings
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_lib.datasets import image_folder, reading
from resnet_lib.datasets.images import load


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """A busy machine may take long, and what it reads is not for the user's cache."""
    monkeypatch.setattr(reading, "SECONDS", float("inf"))


def colour(path):
    """Return a colour for each path, so that an image tells which file it was."""
    return tuple(hashlib.md5(str(path).encode()).digest()[:3])


def make(folder, *names):
    """Write one image for each path within a folder; return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), colour(name)).save(folder / name, "PNG")
    return folder


def pets(folder, cats=10, dogs=20):
    names = [f"cat/{i}.png" for i in range(cats)] + [f"dog/{i}.png" for i in range(dogs)]
    return make(folder, *names)


def members(data, folder):
    """Return {part: paths in order}, told by colour; check every label on the way."""
    paths = [path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file()]
    known = {colour(path.as_posix()): path for path in paths}
    assert len(known) == len(paths)
    found = {}
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        found[name] = [known[tuple(image[0, 0])] for image in part.images]
        assert all((image == image[0, 0]).all() for image in part.images)
        classes = [data.class_names[label] for label in part.labels]
        assert all(kind in path.parts for kind, path in zip(classes, found[name], strict=True))
    return {name: [path.as_posix() for path in paths] for name, paths in found.items()}


def sizes(data):
    return [np.bincount(p.labels).tolist() for p in (data.train, data.validation, data.test)]


# What goes where


def test_classes_are_sorted_and_each_is_split_by_its_share(tmp_path):
    data = image_folder(pets(tmp_path), size=4, validation=0.2, test=0.1)
    assert data.class_names == ("cat", "dog")
    assert sizes(data) == [[7, 14], [2, 4], [1, 2]]
    assert data.image_shape == (4, 4, 3)
    parts = members(data, tmp_path)
    assert len(set(chain(*parts.values()))) == 30


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.9, 0.05), (0.05, 0.9)])
def test_three_images_of_a_class_are_one_in_each_part(tmp_path, validation, test):
    data = image_folder(pets(tmp_path, 3, 3), size=4, validation=validation, test=test)
    assert sizes(data) == [[1, 1]] * 3


def test_the_order_comes_from_seed_and_names_alone(tmp_path, monkeypatch):
    expected = members(image_folder(pets(tmp_path / "a"), size=4, seed=5), tmp_path / "a")
    names = [f"cat/{i}.png" for i in range(10)] + [f"dog/{i}.png" for i in range(20)]
    names.sort(key=lambda name: hashlib.sha256(f"5 {name}".encode()).digest())
    assert expected["train"] == [name for name in names if name in expected["train"]]
    cats = [name for name in names if "cat" in name]
    assert [name for name in expected["test"] if "cat" in name] == cats[:1]
    assert [name for name in expected["validation"] if "cat" in name] == cats[1:2]
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: sorted(listed(folder), reverse=True))
    again = image_folder(pets(tmp_path / "b"), size=4, seed=5)
    assert members(again, tmp_path / "b") == expected
    assert members(image_folder(tmp_path / "b", size=4), tmp_path / "b") != expected


def test_classes_are_mixed_within_a_part(tmp_path):
    labels = image_folder(pets(tmp_path, 20, 20), size=4).train.labels
    assert np.abs(np.diff(labels)).sum() > 4


def test_what_is_searched_and_what_is_left_alone(tmp_path):
    kinds = ["a.JPG", "b.jpeg", "c.Png", "d.bmp", "e.gif", "f.webp", "deep/er/g.png"]
    make(tmp_path, *(f"cat/{name}" for name in kinds), *(f"dog/{i}.png" for i in range(7)))
    for name in ("cat/.hidden.png", "cat/.old/x.png", "cat/notes.txt", ".git/x.png", "top.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not an image")
    (tmp_path / "cat/link").symlink_to(tmp_path / "dog")
    assert np.sum(sizes(image_folder(tmp_path, size=4)), axis=0).tolist() == [7, 7]


def test_given_parts_are_kept(tmp_path):
    given = {
        part: [f"{part}/{kind}/{i}.png" for kind in "ab" for i in range(n)]
        for part, n in (("train", 3), ("val", 2), ("test", 1))
    }
    make(tmp_path, *chain(*given.values()))
    parts = members(image_folder(tmp_path, size=4), tmp_path)
    for name, part in zip(given, ("train", "validation", "test"), strict=True):
        assert sorted(parts[part]) == sorted(given[name])


def test_missing_validation_is_taken_from_train(tmp_path):
    make(tmp_path, *(f"Train/{kind}/{i}.png" for kind in "ab" for i in range(8)))
    make(tmp_path, *(f"test/{kind}/{i}.png" for kind in "ab" for i in range(2)))
    data = image_folder(tmp_path, size=4, validation=0.25)
    assert sizes(data) == [[6, 6], [2, 2], [2, 2]]
    parts = members(data, tmp_path)
    assert {path[:5] for path in parts["train"] + parts["validation"]} == {"Train"}


def test_train_may_be_the_name_of_a_class(tmp_path):
    make(tmp_path, *(f"{kind}/{i}.png" for kind in ("bus", "train") for i in range(3)))
    assert image_folder(tmp_path, size=4).class_names == ("bus", "train")


def test_source_is_one_printable_line(tmp_path, monkeypatch):
    pets(tmp_path / "my\n pets")
    assert image_folder(tmp_path / "my\n pets", size=4).source == "images of my pets"
    monkeypatch.chdir(tmp_path / "my\n pets")
    assert image_folder(".", size=4).source == "images of my pets"


# What is refused


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.png"], "at least two. Received: a$"),
        (["1.png"], "at least two. Received: none$"),
        (
            ["a/1.png", "a/2.png", *(f"b/{i}.png" for i in range(3))],
            r"enough images \(.jpg, .* Received: 2 in a, which needs 3$",
        ),
        (
            ["a/1.png", "b/1.txt", "c/1.png"],
            "Received: 1 in a, which needs 3; 0 in b, which needs 3; 1 in c, which needs 3$",
        ),
        (["val/a/1.png", "test/a/1.png"], "hold the folders train, test .* Received: test, val$"),
        (
            ["train/a/1.png", "test/a/1.png", "more/a/1.png"],
            "no other. Received: more, test, train",
        ),
        pytest.param(
            ["train/a/1", "Train/a/2", "test/a/1"],
            "no other. Received: Train, test, train$",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="one folder there"),
        ),
        (
            ["train/a/1.png", "test/a/1.png", "val/1", "validation/1"],
            "Received: test, train, val, ",
        ),
        (
            ["train/a/1.png", "train/b/1.png", "train/b/2.png", "test/a/1.png", "test/c/1.png"],
            "Received: 1 in train/a, which needs 2; 0 in train/c, which needs 2; "
            "0 in test/b, which needs 1$",
        ),
    ],
)
def test_folders_that_are_refused(tmp_path, names, message):
    make(tmp_path, *names)
    with pytest.raises(ValueError, match=message):
        image_folder(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file.zip"])
def test_a_path_that_is_no_folder(tmp_path, name):
    (tmp_path / "file.zip").touch()
    with pytest.raises(FileNotFoundError, match=f"`path` to be a folder .* Received: '.*{name}'"):
        image_folder(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "`size` .* at least 1. Received: 0; the nearest valid value is 1"),
        ({"seed": -1}, "`seed` .* Received: -1; the nearest valid value is 0"),
        (
            {"validation": 0},
            "`validation` to be a number above 0, below 1. Received: 0",
        ),
        ({"test": float("nan")}, "`test` to be a number .* Received: nan"),
        ({"test": "10 %"}, "`test` to be a number .* Received: '10 %'"),
        ({"validation": 0.5, "test": 0.5}, "leave some images for training. Received: 0.5 and 0.5"),
        ({"skip_unreadable": "no"}, "`skip_unreadable` to be True or False. Received: 'no'"),
        ({"path": "~no_such_user/x"}, "`path` to be a path, .* Received: '~no_such_user/x'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        image_folder(**{"path": pets(tmp_path), **arguments})


def spoil(folder, n):
    for i in range(n):
        (folder / f"dog/{i}.png").write_bytes(b"not an image")


def test_unreadable_files_are_all_told_at_once(tmp_path):
    pets(tmp_path)
    path = tmp_path / "cat/3.png"
    path.write_bytes(path.read_bytes()[:-30])
    spoil(tmp_path, 1)
    with pytest.raises(ValueError, match=r"2 unreadable: .* skip_unreadable=True") as caught:
        image_folder(tmp_path)
    assert "cat/3.png" in str(caught.value) and "dog/0.png" in str(caught.value)


def test_of_many_unreadable_files_ten_are_named(tmp_path):
    spoil(pets(tmp_path), 13)
    with pytest.raises(
        ValueError, match=r"13 unreadable: (dog/\d+\.png,? ){10}and 3 more \(the fi"
    ):
        image_folder(tmp_path)


def test_skipped_files_are_named_in_one_warning_and_the_rest_is_split(tmp_path):
    spoil(pets(tmp_path), 10)
    with pytest.warns(UserWarning, match=r"10 unreadable: .*Left out") as told:
        data = image_folder(tmp_path, size=4, skip_unreadable=True)
    assert [warning.filename for warning in told] == [__file__]
    assert sizes(data) == [[8, 8], [1, 1], [1, 1]]
    members(data, tmp_path)


def test_too_few_are_left_after_skipping(tmp_path):
    spoil(pets(tmp_path, dogs=3), 1)
    with (
        pytest.warns(UserWarning, match="dog/0.png"),
        pytest.raises(ValueError, match="Received: 2 in dog, which needs 3"),
    ):
        image_folder(tmp_path, skip_unreadable=True)


def test_a_decompression_bomb_is_unreadable(tmp_path, monkeypatch):
    pets(tmp_path)
    Image.new("1", (60, 60)).save(tmp_path / "cat/bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"1 unreadable: cat/bomb.png \(the first: .*3600 pixels"):
        image_folder(tmp_path)


def test_other_formats_under_a_known_name_stay_shut(tmp_path):
    pets(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "cat/x.jpg", "PCX")
    with pytest.raises(ValueError, match=r"1 unreadable: cat/x.jpg"):
        image_folder(tmp_path)


# How files are read


def saved(folder, image, name="x.png", **options):
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 90), (90, 90, 90)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.fromarray(np.full((4, 4), 90 * 256 + 7, np.uint16)), (90, 90, 90)),
        (Image.new("RGB", (4, 4), (200, 10, 30)).quantize(), (200, 10, 30)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 0, 100, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 0, 100, 51)), (244, 204, 224)),
    ],
    ids=["grey", "two colours", "16 bits", "palette", "grey alpha", "clear", "a fifth"],
)
def test_every_mode_becomes_rgb(tmp_path, image, expected):
    found = load(saved(tmp_path, image), 2)
    assert (found.dtype, found.shape) == (np.uint8, (2, 2, 3))
    assert np.abs(found - np.array(expected)).max() <= 1


def test_a_transparent_colour_of_a_palette_is_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    assert (load(saved(tmp_path, image, "x.gif", transparency=1), 4) == 255).all()


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    found = load(saved(tmp_path, image, "x.jpg", quality=100), 1)[0, 0]
    assert found[0] > 250 and found[1] < 5 and found[2] < 5


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (8, 8), "white")
    image.paste("red", (0, 0, 4, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left half becomes the upper one
    found = load(saved(tmp_path, image, exif=exif), 2)
    assert found.tolist() == [[[255, 0, 0]] * 2, [[255, 255, 255]] * 2]


@pytest.mark.parametrize("tall", [False, True])
def test_the_middle_of_the_longer_side_is_kept(tmp_path, tall):
    stripes = np.repeat(np.arange(6, dtype=np.uint8) * 40, 2)[None].repeat(4, 0)  # 4 by 12
    image = Image.fromarray(stripes.T.copy() if tall else stripes)
    found = load(saved(tmp_path, image), 2)[..., 0]
    assert (found.T if tall else found).tolist() == [[80, 120]] * 2


def test_pixels_are_means_of_what_they_cover(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    means = pixels.reshape(4, 3, 4, 3, 3).mean((1, 3))
    assert np.abs(load(saved(tmp_path, Image.fromarray(pixels)), 4) - means).max() <= 1


def test_an_enlarged_image_repeats_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3), np.uint8)
    found = load(saved(tmp_path, Image.fromarray(pixels)), 4)
    np.testing.assert_array_equal(found, pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("name", "kind"), [("x.gif", "GIF"), ("x.jpg", "MPO")])
def test_of_several_pictures_in_a_file_the_first_is_taken(tmp_path, name, kind):
    images = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    path = saved(tmp_path, images[0], name, format=kind, save_all=True, append_images=images[1:])
    assert Image.open(path).n_frames == 2
    assert np.abs(load(path, 1) - [255.0, 0, 0]).max() <= 3


def test_reading_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_folder(pets(tmp_path), size=4)
