"""What is told of a folder of pictures before it is trained on."""

import sys

import numpy as np
import pytest
from PIL import Image

import resnet_lib as rl
from resnet_lib.datasets.survey import survey


def noise(seed, height=48, width=64):
    """Return a picture that is like no other: blocks of 8x8 pixels of random colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(blocks.repeat(8, 0).repeat(8, 1))


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_a_folder_in_which_nothing_can_be_compared(tmp_path):
    for name in ("cat", "dog"):
        save(Image.new("RGB", (32, 32), "grey"), tmp_path / name / "grey.png")
        (tmp_path / name / "cut.jpg").write_bytes(b"no picture")
    found = survey(tmp_path)
    assert len(found.blank) == 2 and found.alike == []
    assert "cannot be read: 2" in str(found)


@pytest.fixture
def folder(tmp_path):
    """Two classes of four pictures that all differ."""
    for number in range(8):
        save(noise(number), tmp_path / f"pets/{'cat' if number < 4 else 'dog'}/{number}.png")
    return tmp_path / "pets"


def test_nothing_is_found_where_nothing_is_wrong(folder):
    found = survey(folder)
    assert found.counts == {"cat": {"train": 4}, "dog": {"train": 4}}
    assert set(found.sizes.values()) == {(64, 48)}
    assert not found.alike and not found.blank and not found.unreadable and not found.kinds
    assert str(found).splitlines() == [
        "class    pictures  width x height",
        "cat             4  64x48",
        "dog             4  64x48",
    ]


def test_the_same_picture_again_is_found_in_another_format_size_and_class(folder):
    save(noise(0), folder / "dog/again.jpg", quality=85)
    save(noise(5).resize((128, 96)), folder / "dog/large.png")
    found = survey(folder)
    names = [sorted(path.name for path in group) for group in found.alike]
    assert sorted(names) == [["0.png", "again.jpg"], ["5.png", "large.png"]]
    assert [sorted(path.name for path in group) for group in found.in_two_classes] == [names[0]]
    assert not found.in_two_parts
    told = str(found).splitlines()[-2:]
    assert told[0] == "the same picture in two classes: 1, cat/0.png = dog/again.jpg"
    assert told[1] == "the same picture twice: 1, dog/5.png = dog/large.png"


def test_test_pictures_among_the_training_pictures_are_found(folder, tmp_path):
    top = tmp_path / "set"
    for part, first in (("train", 0), ("test", 3)):
        for number in range(first, first + 4):
            for name, seed in (("cat", 0), ("dog", 100)):
                save(noise(seed + number), top / part / name / f"{number}.png")
    found = survey(top)
    assert found.counts["cat"] == {"train": 4, "test": 4}
    assert len(found.in_two_parts) == 2 and not found.in_two_classes
    assert "test/cat/3.png = train/cat/3.png" in str(found)


def test_more_pictures_than_are_compared_at_once(folder, monkeypatch):
    monkeypatch.setattr(sys.modules["resnet_lib.datasets.survey"], "BLOCK", 3)
    save(noise(1), folder / "cat/z.bmp")
    assert [len(group) for group in survey(folder).alike] == [2]


def test_what_is_doubtful_is_named(folder):
    save(Image.new("RGB", (64, 64), "red"), folder / "cat/red.png")
    save(noise(20, 16, 16), folder / "cat/tiny.png")
    save(noise(21, 40, 400), folder / "dog/long.png")
    (folder / "dog/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    found = survey(folder)
    assert [path.name for path in found.blank] == ["red.png"]
    assert [path.name for path in found.small] == ["tiny.png"]
    assert [path.name for path in found.long] == ["long.png"]
    assert [path.name for path in found.unreadable] == ["broken.jpg"]
    told = str(found)
    for name in ("cat/red.png", "cat/tiny.png", "dog/long.png", "dog/broken.jpg"):
        assert name in told
    assert "16x16 to 64x64" in told and "40x40" not in told


def test_kinds_that_are_read_like_the_others_are_counted(folder):
    save(noise(30).convert("CMYK"), folder / "cat/cmyk.jpg")
    save(noise(31).convert("P"), folder / "cat/palette.gif")
    save(noise(32).convert("L"), folder / "cat/grey.png")
    turned = noise(33)
    exif = turned.getexif()
    exif[0x0112] = 6
    save(turned, folder / "dog/turned.jpg", exif=exif)
    save(Image.fromarray(np.full((48, 48), 9000, np.uint16)), folder / "dog/deep.png")
    found = survey(folder)
    kinds = {"CMYK": 1, "palette": 1, "turned by EXIF": 1, "16-bit greyscale": 1}
    assert found.kinds == kinds


def test_unequal_classes_and_what_is_left_out_are_said(folder):
    for number in range(40, 52):
        save(noise(number), folder / f"cat/{number}.png")
    (folder / "cat/notes.txt").write_text("notes")
    told = str(survey(folder))
    assert "unequal classes: 4 to 16 pictures" in told
    assert "notes.txt" in told


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        rl.datasets.survey(tmp_path / "none")
