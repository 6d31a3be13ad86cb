"""What is a part, what a class and what an image in folders as people have them."""

import os
import re
import sys
import warnings

import pytest
from PIL import Image

from resnet_lib.datasets import image_folder, reading
from resnet_lib.datasets.folders import find, role


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """A busy machine may take long, and what it reads is not for the user's cache."""
    monkeypatch.setattr(reading, "SECONDS", float("inf"))


def make(folder, *names):
    """Write an image for each path within a folder; return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name, "PNG")
    return folder


def classes(*parts, n=3, names=("cat", "dog")):
    """Return the paths of n images for each class in each part's folder."""
    return [f"{part}/{name}/{i}.png" for part in parts for name in names for i in range(n)]


def counts(found):
    """Return {part: images in it}."""
    parts = [item.part for item in found.items]
    return {part: parts.count(part) for part in dict.fromkeys(parts)}


# Parts


LAYOUTS = {
    "train valid": "tv",
    "Training Testing": "tT",
    "training_set test_set": "tT",
    "seg_train seg_test": "tT",
    "train dev": "tv",
    "train val": "tv",
    "TRAIN TEST": "tT",
    "train val test": "tvT",
    "Train Validation": "tv",
    "trainset testset": "tT",
    "train_data val_data test_data": "tvT",
    "TrainImages TestImages": "tT",
    "images_train images_val": "tv",
    "train-images test": "tT",
    "train2017 val2017": "tv",
    "cats_train cats_test": "tT",
    "trainval test": "tT",
    "train_val test": "tT",
    "train eval": "tv",
    "train test1": "tT",
    "01_train 02_valid 03_test": "tvT",
}


@pytest.mark.parametrize(("folders", "expected"), LAYOUTS.items(), ids=LAYOUTS)
@pytest.mark.parametrize("around", ["", "archive/", "a/b/"])
def test_parts_under_any_usual_name(tmp_path, folders, expected, around):
    make(tmp_path, *classes(*(around + name for name in folders.split())))
    found = find(tmp_path)
    part_of = {"t": "train", "v": "validation", "T": "test"}
    assert list(found.given) == [part_of[letter] for letter in expected]
    assert [place.name for place in found.given.values()] == folders.split()
    assert found.names == ["cat", "dog"]
    assert counts(found) == dict.fromkeys(found.given, 6)
    said = " ".join(found.notes)
    assert ("has no test part" in said) == ("T" not in expected)
    assert ("looked for in" in said) == bool(around)


def test_a_missing_test_part_is_split_off_and_said(tmp_path):
    make(tmp_path, *classes("train", n=20), *classes("val"))
    with pytest.warns(UserWarning, match="has no test part") as told:
        data = image_folder(tmp_path, size=4)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [36, 6, 4]
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize(
    ("names", "deepest"),
    [
        (["seg_train/seg_train", "seg_test/seg_test"], "seg_train/seg_train"),
        (["archive/training_set/training_set", "archive/test_set/test_set"], None),
        (["train/images", "test/images"], "train/images"),
        (["train/x", "test/y"], "train/x"),
        (["train/a/b", "test"], "train/a/b"),
    ],
)
def test_parts_may_be_nested(tmp_path, names, deepest):
    make(tmp_path, *classes(*names))
    found = find(tmp_path)
    assert found.names == ["cat", "dog"]
    assert counts(found) == {"train": 6, "test": 6}
    assert found.given["train"] == tmp_path / (deepest or names[0])


def test_a_part_of_one_class_with_folders_of_its_own_is_not_nested(tmp_path):
    make(tmp_path, *classes("train"), "test/cat/old/1.png", "test/cat/new/1.png")
    assert find(tmp_path).names == ["cat", "dog"]


@pytest.mark.parametrize("place", ["test", "test/test", "seg_pred/seg_pred"])
def test_images_of_no_class_are_counted_and_no_part(tmp_path, place):
    parts = ["train", "test"] if "pred" in place else ["train"]
    make(tmp_path, *classes(*parts), f"{place}/1.png", f"{place}/2.png")
    found = find(tmp_path)
    assert list(found.given) == parts
    assert len(found.items) == 6 * len(parts)
    said = " ".join(found.notes)
    assert ("has no test part" in said) == (parts == ["train"])
    assert "2 " in said and place.split("/")[0] in said


def test_one_folder_around_the_classes_is_said(tmp_path):
    found = find(make(tmp_path, *classes("animals/raw")))
    assert found.names == ["cat", "dog"]
    assert [re.sub(".*for in", "in", note) for note in found.notes] == ["in animals/raw"]


def test_folders_without_images_beside_the_parts_are_no_parts(tmp_path):
    make(tmp_path, *classes("train", "test"))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.xml").touch()
    found = find(tmp_path)
    assert len(found.items) == 12
    assert "1 left out" in found.notes[0] and "(labels)" in found.notes[0]


# Classes


@pytest.mark.parametrize(
    "names",
    [
        ["train", "car"],
        ["bus", "steam train", "test track"],
        ["dev board", "test board"],
        ["training", "walking", "running"],
        ["value", "trainer", "contest"],
    ],
)
def test_names_of_parts_may_be_names_of_classes(tmp_path, names):
    make(tmp_path, *(f"{name}/{i}.png" for name in names for i in range(3)))
    found = find(tmp_path)
    assert found.names == sorted(names)
    assert found.notes == []


def test_classes_with_folders_of_their_own(tmp_path):
    make(tmp_path, "cat/old/1.png", "cat/new/2.png", "train/steam/3.png", "train/4.png")
    found = find(tmp_path)
    assert (found.names, found.notes) == (["cat", "train"], [])


DOUBTFUL = {
    "test/1.png cat/1.png dog/1.png": "Taken as a class: test. ",
    "train/cat/1.png train/dog/1.png more/1.png": "Taken as a class: train. ",
    "fold1/cat/1.png fold1/dog/1.png fold2/cat/1.png fold2/dog/1.png": "each holds the .* cat, dog",
    "train/day/1.png train/night/1.png car/day/1.png car/night/1.png": "each holds .* day, night",
    "train/a/1.png train/b/1.png more/a/1.png more/b/1.png": "each holds the folders a, b",
    "cat/train/1.png cat/test/1.png dog/train/1.png dog/test/1.png": "mixed; .* train/cat",
    "Cat/1.png cat/1.png": "Taken as different classes: Cat and cat",
    "toy_train/1.png toy_test/1.png": "Taken as classes: toy_test, toy_train. If they are parts",
}


@pytest.mark.parametrize(("names", "message"), DOUBTFUL.items(), ids=DOUBTFUL)
def test_what_may_be_no_class_is_said(tmp_path, names, message):
    if names[0] == "C" and sys.platform == "darwin":
        pytest.skip("one folder there")
    found = find(make(tmp_path, *names.split()))
    assert len(found.notes) == 1
    assert re.search(message, found.notes[0])


REFUSED = {
    "a set within the set": ["cat/1.png", "dog/1.png", "pets/cat/1.png", "pets/dog/1.png"],
    "test beside classes": ["cat/1.png", "dog/1.png", "test/cat/1.png", "test/dog/1.png"],
    "twice train": classes("train", "Training"),
    "no train": classes("test", "val"),
    "no train, of one kind": classes("seg_test", "seg_val"),
    "each class has parts": [f"{kind}_{part}/1.png" for kind in "ab" for part in ("train", "test")],
    "parts of images": ["train/1.png", "test/1.png"],
    "parts and a set": classes("train", "test", "set/train"),
}


@pytest.mark.parametrize("names", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_told_is_refused(tmp_path, names):
    with pytest.raises(ValueError, match=r"^Expected .* Received: "):
        find(make(tmp_path, *names))


def test_a_class_of_a_part_alone_is_refused(tmp_path):
    make(tmp_path, *classes("train", "test"), "test/emu/1.png")
    with pytest.raises(ValueError, match="0 in train/emu, which needs 2"):
        image_folder(tmp_path)


# Links


def test_a_class_that_links_to_another_is_counted_once(tmp_path):
    make(tmp_path, *classes("."))
    (tmp_path / "aaa").symlink_to(tmp_path / "cat")
    found = find(tmp_path)
    assert (found.names, len(found.items)) == (["cat", "dog"], 6)
    assert "1 left out" in found.notes[0] and "1 a link to a folder of the set (aaa)" in str(
        found.notes
    )


def test_a_part_that_links_to_another_is_none(tmp_path):
    make(tmp_path, *classes("train", "test"))
    (tmp_path / "val").symlink_to("test")
    found = find(tmp_path)
    assert counts(found) == {"train": 6, "test": 6}
    assert "(val)" in found.notes[0]


def test_a_class_that_links_into_another_part_is_left_out(tmp_path):
    make(tmp_path, *classes("train", "test"))
    (tmp_path / "test/emu").symlink_to("../train/cat")
    found = find(tmp_path)
    assert (found.names, counts(found)) == (["cat", "dog"], {"train": 6, "test": 6})


def test_links_to_folders_elsewhere_are_followed_once(tmp_path):
    elsewhere = make(tmp_path / "elsewhere", *classes("."))
    folder = tmp_path / "set"
    folder.mkdir()
    for name, target in {"cat": "cat", "dog": "dog", "kitten": "cat"}.items():
        (folder / name).symlink_to(elsewhere / target)
    found = find(folder)
    assert (found.names, len(found.items)) == (["cat", "dog"], 6)
    assert "(kitten)" in found.notes[0]


@pytest.mark.parametrize("target", ["..", "."])
@pytest.mark.parametrize("place", ["loop", "cat/loop", "train/loop"])
def test_loops_of_links_end(tmp_path, place, target):
    parts = ["train", "test"] if "train" in place else ["."]
    folder = make(tmp_path / "set", *classes(*parts))
    (folder / place).symlink_to(target)
    found = find(folder)
    assert (found.names, len(found.items)) == (["cat", "dog"], 6 * len(parts))
    assert f"({place})" in found.notes[0]


def test_a_folder_that_holds_a_loop_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").symlink_to("../a")
    with pytest.raises(ValueError, match="at least two"):
        find(tmp_path)


def test_linked_images_count_once_and_those_from_elsewhere_count(tmp_path):
    folder = make(tmp_path / "set", *classes("."))
    make(tmp_path, "else.png")
    (folder / "cat/same.png").symlink_to("0.png")
    (folder / "dog/other.png").symlink_to("../cat/0.png")
    (folder / "dog/new.png").symlink_to(tmp_path / "else.png")
    (folder / "dog/again.png").symlink_to(tmp_path / "else.png")
    (folder / "dog/gone.png").symlink_to("nothing.png")
    found = find(folder)
    assert len(found.items) == 7
    assert "4 left out" in found.notes[0]
    assert "3 a link to an image of the set" in found.notes[0]
    assert "1 a link to nothing" in found.notes[0]


# Files


def test_what_is_left_out_is_counted_by_kind_and_named(tmp_path):
    make(tmp_path, *classes("."), "beside.png")
    for i in range(12):
        (tmp_path / f"cat/{i}.HEIC").touch()
    for name in ("dog/notes.txt", "dog/README", "beside.heic", "labels.csv"):
        (tmp_path / name).touch()
    (note,) = find(tmp_path).notes
    assert note.startswith(
        f"16 left out of {tmp_path}: 12 .heic, 2 in no class's folder, 1 .txt, 1 without an ending"
    )
    assert " and 6 more). Read are .jpg, " in note


def test_what_systems_leave_is_left_alone(tmp_path):
    make(tmp_path, *classes("."))
    litter = ["__MACOSX/cat/._1.png", "cat/Thumbs.db", "cat/.DS_Store", "dog/desktop.ini"]
    litter += [".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1.png", "cat/@eaDir/1.png"]
    for name in litter:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    found = find(tmp_path)
    assert (found.names, len(found.items), found.notes) == (["cat", "dog"], 6, [])


def test_every_ending_is_read_in_any_case(tmp_path):
    kinds = {"jfif": "JPEG", "JPE": "JPEG", "tif": "TIFF", "TIFF": "TIFF", "ppm": "PPM"}
    kinds |= {"pgm": "PPM", "pbm": "PPM", "pnm": "PPM", "Jpg": "JPEG", "PNG": "PNG"}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for ending, kind in kinds.items():
            mode = {"pgm": "L", "pbm": "1"}.get(ending, "RGB")
            Image.new(mode, (4, 4)).save(tmp_path / name / f"x.{ending}", kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = image_folder(tmp_path, size=4)
    assert len(data.train) + len(data.validation) + len(data.test) == 2 * len(kinds)


def test_avif_without_a_pillow_that_can_is_counted(tmp_path, monkeypatch):
    make(tmp_path, *classes("."), "cat/x.avif")
    assert len(find(tmp_path).items) == 7
    monkeypatch.setattr("resnet_lib.datasets.folders.can_avif", lambda: False)
    found = find(tmp_path)
    assert len(found.items) == 6
    assert "1 .avif (cat/x.avif)" in found.notes[0]


def test_an_empty_folder_of_a_class_is_refused(tmp_path):
    make(tmp_path, *classes("."))
    (tmp_path / "emu").mkdir()
    with pytest.raises(ValueError, match="0 in emu, which needs 3"):
        image_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", ("train", "")),
        ("Testing", ("test", "")),
        ("seg_train", ("train", "seg")),
        ("asl_alphabet_test", ("test", "asl alphabet")),
        ("DevSet", ("validation", "")),
        ("holdout", ("test", "")),
        ("train_test_split", (None, "")),
        ("constraints", (None, "constraints")),
        ("latest", (None, "latest")),
        ("Été", (None, "été")),
    ],
)
def test_role(name, expected):
    assert role(name) == expected


def test_names_that_are_no_text(tmp_path):
    make(tmp_path, *classes("."))
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    (tmp_path / os.fsdecode(b"caf\xe9") / "1.heic").touch()
    with (
        pytest.raises(ValueError, match="which needs 3"),
        pytest.warns(UserWarning, match=r"caf\\udce9/1\.heic"),
    ):
        image_folder(tmp_path)
