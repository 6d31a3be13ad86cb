"""CIFAR-100 from small made-up files of the publisher's format: fine and coarse labels, damage.

What it shares with CIFAR-10, as where it looks and how an archive is unpacked, is tested there.
"""

import hashlib
import importlib
import tarfile

import numpy as np
import pytest

from resnet_lib.datasets import cifar100

module = importlib.import_module("resnet_lib.datasets.cifar100")
download = importlib.import_module("resnet_lib.datasets.download")

HELD_OUT = 2
COARSE = module._coarse()


@pytest.fixture
def small(monkeypatch, offline):
    """Files of few records, 2 of a class held out, an empty cache and no network."""
    monkeypatch.setattr(module, "RECORDS", {"train.bin": 500, "test.bin": 100})
    monkeypatch.setattr(module, "VALIDATION_PER_CLASS", HELD_OUT)
    return offline


def make_folder(where):
    """Write both files, of random records; return {file name: array of records}."""
    folder = where / module.FOLDER
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    files = {}
    for name, n in module.RECORDS.items():
        records = random.integers(0, 256, (n, 3074), np.uint8)
        records[:, 1] = random.permutation(np.arange(n) % 100)
        records[:, 0] = COARSE[records[:, 1]]
        (folder / name).write_bytes(records.tobytes())
        files[name] = records
    return files


def spoil(folder, records, name="train.bin"):
    (folder / module.FOLDER / name).write_bytes(records.tobytes())


def test_the_classes_are_the_publishers():
    assert len(module.CLASS_NAMES) == len(set(module.CLASS_NAMES)) == 100
    assert len(module.COARSE_NAMES) == 20
    assert list(module.COARSE_NAMES) == sorted(module.COARSE_NAMES)
    assert np.bincount(COARSE).tolist() == [5] * 20
    # The beginning and end of the table that the publisher's `fine_label_names.txt` gives.
    assert module.CLASS_NAMES[:3] == ("apple", "aquarium_fish", "baby")
    assert module.CLASS_NAMES[-2:] == ("woman", "worm")
    assert COARSE[:5].tolist() == [4, 1, 14, 8, 0]


def images_by_hand(records):
    planes = records[:, 2:].reshape(-1, 3, 32, 32)
    return np.stack([planes[:, channel] for channel in range(3)], axis=-1)


@pytest.mark.parametrize("coarse", [False, True])
def test_every_image_and_the_validation_rule(small, coarse):
    files = make_folder(small)
    data = cifar100(small, coarse=coarse)
    left = dict.fromkeys(range(100), HELD_OUT)
    train, validation = [], []
    for record in files["train.bin"][::-1]:
        held_out = left[record[1]] > 0
        left[record[1]] -= held_out
        (validation if held_out else train).append(record)
    expected = (train[::-1], validation[::-1], files["test.bin"])
    for part, records in zip((data.train, data.validation, data.test), expected, strict=True):
        records = np.array(records)
        np.testing.assert_array_equal(part.labels, records[:, 0 if coarse else 1])
        np.testing.assert_array_equal(part.images, images_by_hand(records))
    each = [10] * 20 if coarse else [2] * 100
    assert np.bincount(data.validation.labels).tolist() == each
    assert data.class_names == (module.COARSE_NAMES if coarse else module.CLASS_NAMES)
    told = ", coarse labels" if coarse else ""
    assert data.source == f"CIFAR-100 (unofficial copy){told}"


def test_the_same_images_are_in_a_part_whichever_labels_are_asked_for(small):
    make_folder(small)
    fine, coarse = cifar100(small), cifar100(small, coarse=True)
    np.testing.assert_array_equal(fine.validation.images, coarse.validation.images)
    np.testing.assert_array_equal(COARSE[fine.train.labels], coarse.train.labels)


def test_official_is_earned_by_hashes_alone(small, monkeypatch):
    files = make_folder(small)
    hashes = {name: hashlib.sha256(data.tobytes()).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(module, "FILE_SHA256", hashes)
    assert cifar100(small).source == "CIFAR-100 (official)"


def test_the_archive_is_fetched_with_its_hash_and_unpacked(small, monkeypatch):
    make_folder(small / "packed")
    archive = small / "cache" / "cifar-100-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(small / "packed" / module.FOLDER, module.FOLDER)
    asked = []
    monkeypatch.setattr(download, "fetch", lambda *request: asked.append(request) or archive)
    data = cifar100()
    assert asked == [(module.URL, module.ARCHIVE_SHA256)]
    assert data.sha256 == cifar100(small / "packed").sha256
    assert (small / "cache" / module.FOLDER).is_dir()


@pytest.mark.parametrize("allowed", [True, False])
def test_no_images_anywhere_names_the_ways_on(small, allowed):
    with pytest.raises(FileNotFoundError) as caught:
        cifar100(download=allowed)
    for way in ("CIFAR-100", "cifar100(data_dir=", "RESNET_LIB_DATA", module.URL):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("byte", "value", "message"),
    [
        (0, 20, r"labels from 0 to 19\. .*train.bin with 20 in record 7 \(1 such\)"),
        (1, 100, r"labels from 0 to 99\. .*train.bin with 100 in record 7 \(1 such\)"),
        (0, None, r"one of its five\. .*train.bin with \d+ \(\w+\) and \d+ \(.*in record 7 \(1 s"),
    ],
)
def test_wrong_labels(small, byte, value, message):
    records = make_folder(small)["train.bin"]
    records[7, byte] = (records[7, 0] + 1) % 20 if value is None else value
    spoil(small, records)
    with pytest.raises(ValueError, match=message):
        cifar100(small)


def test_labels_the_wrong_way_round_are_noticed(small):
    records = make_folder(small)["train.bin"]
    records[:, :2] = records[:, 1::-1]
    spoil(small, records)
    with pytest.raises(ValueError, match="labels from 0 to 19"):
        cifar100(small)


def test_wrong_size_and_missing_file(small):
    records = make_folder(small)["test.bin"]
    spoil(small, records[1:], "test.bin")
    with pytest.raises(ValueError, match=r"a file of 307,400 bytes.* of 304,326\..* unpack https"):
        cifar100(small)
    (small / module.FOLDER / "test.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"test.bin, which is missing"):
        cifar100(small)


def test_files_of_cifar10_are_not_taken(small):
    make_folder(small)
    with pytest.raises(ValueError, match="a file of"):
        spoil(small, np.zeros((500, 3073), np.uint8))
        cifar100(small)


def test_coarse_is_true_or_false(small):
    with pytest.raises(ValueError, match=r"`coarse` to be True or False. Received: 'yes'"):
        cifar100(small, coarse="yes")
