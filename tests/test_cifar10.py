"""CIFAR-10 from small made-up files, its download, and damage of every kind.

The real images are tested where the environment variable RESNET_LIB_DATA names their folder.
"""

import hashlib
import importlib
import io
import os
import re
import tarfile

import numpy as np
import pytest

from resnet_lib.datasets import cifar10, sign_digits

# The name in the package is the function; the module is needed to make the files small.
module = importlib.import_module("resnet_lib.datasets.cifar10")
download = importlib.import_module("resnet_lib.datasets.download")

RECORDS = 60
HELD_OUT = 4
NEEDS_IMAGES = pytest.mark.skipif(
    not os.environ.get("RESNET_LIB_DATA"), reason="RESNET_LIB_DATA names no folder of images"
)


# CIFAR-10 in small


@pytest.fixture
def small(monkeypatch, offline):
    """Files of 60 records, 4 of a class held out, an empty cache and no network."""
    monkeypatch.setattr(module, "RECORDS_PER_FILE", RECORDS)
    monkeypatch.setattr(module, "VALIDATION_PER_CLASS", HELD_OUT)
    return offline


def make_folder(where):
    """Write six files of random records; return {file name: array of records}."""
    folder = where / module.FOLDER
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    files = {}
    for name in module.FILE_SHA256:
        records = random.integers(0, 256, (RECORDS, 3073), np.uint8)
        records[:, 0] = random.permutation(np.arange(RECORDS) % 10)
        (folder / name).write_bytes(records.tobytes())
        files[name] = records
    return files


def read_by_hand(record):
    """Red, green, blue planes, each row by row."""
    image = np.empty((32, 32, 3), np.uint8)
    for channel in range(3):
        for row in range(32):
            start = 1 + channel * 1024 + row * 32
            image[row, :, channel] = record[start : start + 32]
    return image


def test_every_image_and_the_validation_rule(small):
    files = make_folder(small)
    data = cifar10(small)
    training = np.concatenate([files[f"data_batch_{i}.bin"] for i in range(1, 6)])
    left = dict.fromkeys(range(10), HELD_OUT)
    train, validation = [], []
    for record in training[::-1]:
        held_out = left[record[0]] > 0
        left[record[0]] -= held_out
        (validation if held_out else train).append(record)
    expected = (train[::-1], validation[::-1], list(files["test_batch.bin"]))
    for part, records in zip((data.train, data.validation, data.test), expected, strict=True):
        assert part.labels.tolist() == [record[0] for record in records]
        np.testing.assert_array_equal(part.images, [read_by_hand(record) for record in records])
    assert np.bincount(data.validation.labels).tolist() == [HELD_OUT] * 10
    assert data.class_names[3] == "cat"


def test_where_it_looks(small, monkeypatch):
    make_folder(small / "a")
    expected = cifar10(small / "a").sha256
    assert cifar10(str(small / "a" / module.FOLDER)).sha256 == expected
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / "a"))
    assert cifar10().sha256 == expected
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / "a" / module.FOLDER))
    assert cifar10(download=False).sha256 == expected


def test_the_cache_is_used_where_the_environment_has_no_images(small, monkeypatch):
    make_folder(download.cache_folder())
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / "other"))
    assert len(cifar10(download=False).test) == RECORDS


def test_a_given_folder_is_never_replaced_by_a_download(small, monkeypatch):
    make_folder(download.cache_folder())
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("tried to download"))
    with pytest.raises(FileNotFoundError, match="`data_dir` to be a folder that holds cifar-10"):
        cifar10(small / "nothing here")


@pytest.mark.parametrize("allowed", [True, False])
def test_no_images_anywhere_names_the_ways_on(small, allowed):
    with pytest.raises(FileNotFoundError) as caught:
        cifar10(download=allowed)
    for way in ("data_dir=", "RESNET_LIB_DATA", module.URL):
        assert way in str(caught.value)
    assert ("no network in this test" if allowed else "download=False") in str(caught.value)
    assert "(RESNET_LIB_DATA is not set; " in str(caught.value)


LOADERS = {cifar10: "cifar-10-batches-bin", sign_digits: "Sign-Language-Digits-Dataset"}


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
@pytest.mark.parametrize(("place", "lacks"), [("misspelt", "is no folder"), ("", "holds no {}")])
def test_a_variable_that_names_no_images_is_named(small, monkeypatch, load, place, lacks):
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / place))
    said = f"(RESNET_LIB_DATA='{small / place}' {lacks.format(LOADERS[load])}; "
    with pytest.raises(FileNotFoundError, match=re.escape(said)):
        load(download=False)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_a_path_in_no_users_folder_is_refused(small, monkeypatch, load):
    for name in ("data_dir", "RESNET_LIB_DATA", "KERAS_HOME"):
        options = {"data_dir": "~no_such_user/x"} if name == "data_dir" else {}
        with monkeypatch.context() as patch:
            if not options:
                patch.setenv(name, "~no_such_user/x")
            message = rf"Expected `{name}` to be a path, .*Received: '~no_such_user/x'"
            with pytest.raises((ValueError, FileNotFoundError), match=message):
                load(**options, download=False)


@pytest.mark.parametrize(
    ("provenance", "source"),
    [
        (None, "CIFAR-10 (unofficial copy)"),
        ("", "CIFAR-10 (unofficial copy)"),
        ("CIFAR-10, re-encoded\nsecond line", "CIFAR-10, re-encoded"),
        ("scanned from paper", "CIFAR-10 (scanned from paper)"),
        ("CIFAR-10 (official)", "CIFAR-10 (unofficial copy)"),
        ("a\x1b[31mb\u2028c", "CIFAR-10 (a[31mbc)"),
    ],
)
def test_label_of_an_unofficial_copy(small, provenance, source):
    make_folder(small)
    if provenance is not None:
        (small / module.FOLDER / "PROVENANCE.txt").write_text(provenance, encoding="utf-8")
    assert cifar10(small).source == source


def test_official_is_earned_by_hashes_alone(small, monkeypatch):
    files = make_folder(small)
    (small / module.FOLDER / "PROVENANCE.txt").write_text("CIFAR-10, something else")
    hashes = {name: hashlib.sha256(data.tobytes()).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(module, "FILE_SHA256", hashes)
    assert cifar10(small).source == "CIFAR-10 (official)"
    changed = files["test_batch.bin"].copy()
    changed[-1, -1] ^= 1
    (small / module.FOLDER / "test_batch.bin").write_bytes(changed.tobytes())
    assert cifar10(small).source == "CIFAR-10, something else"


@pytest.mark.parametrize("change", [-1, 1, -RECORDS * 3073])
def test_wrong_size(small, change):
    path = small / module.FOLDER / "data_batch_3.bin"
    records = make_folder(small)[path.name].tobytes()
    path.write_bytes((records + b"x")[: len(records) + change])
    with pytest.raises(ValueError) as caught:
        cifar10(small)
    for part in (str(path), "184,380 bytes", f"of {184_380 + change:,}", "unpack", module.URL):
        assert part in str(caught.value)


def test_missing_file(small):
    make_folder(small)
    (small / module.FOLDER / "test_batch.bin").unlink()
    message = r"a file of 184,380 bytes\. .*test_batch.bin, which is missing\. .* unpack https"
    with pytest.raises(FileNotFoundError, match=message):
        cifar10(small)


def test_label_out_of_range(small):
    path = small / module.FOLDER / "data_batch_2.bin"
    records = make_folder(small)[path.name]
    records[[7, 9], 0] = 10, 255
    path.write_bytes(records.tobytes())
    message = r"labels from 0 to 9\. .*data_batch_2.bin with 10 in record 7 \(2 such\)"
    with pytest.raises(ValueError, match=message):
        cifar10(small)


def test_too_few_of_a_class_for_validation(small, monkeypatch):
    make_folder(small)
    monkeypatch.setattr(module, "VALIDATION_PER_CLASS", 30)
    with pytest.raises(
        ValueError, match=r"more than 30 training images of class airplane.* Received: 30$"
    ):
        cifar10(small)


# The archive


def make_archive(path, *extra):
    """Pack a small folder, and members that no publisher would put there."""
    make_folder(path.parent / "packed")
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(path.parent / "packed" / module.FOLDER, module.FOLDER)
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_archive_is_fetched_with_its_hash_unpacked_once_and_kept(small, monkeypatch):
    archive = make_archive(small / "cache" / "cifar.tar.gz")
    asked = []
    monkeypatch.setattr(download, "fetch", lambda *request: asked.append(request) or archive)
    data = cifar10()
    assert asked == [(module.URL, module.ARCHIVE_SHA256)]
    assert data.sha256 == cifar10(small / "cache" / "packed").sha256
    names = [f"{module.FOLDER}/{name}" for name in module.FILE_SHA256]
    (small / "cache" / module.FOLDER / "data_batch_1.bin").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_1"):
        cifar10()
    assert [n for n in everything_in(small / "cache") if n in names] == sorted(names)[1:]


@pytest.mark.parametrize(
    "unsafe",
    [
        member("../outside.txt", size=3),
        member(f"{module.FOLDER}/../../outside.txt", size=3),
        member("link", type=tarfile.SYMTYPE, linkname="../../outside.txt"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard", type=tarfile.LNKTYPE, linkname="../outside.txt"),
        member("device", type=tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name} {info.linkname}".strip(),
)
def test_an_archive_that_would_leave_its_folder(tmp_path, unsafe):
    archive = make_archive(tmp_path / "deep" / "bad.tar.gz", unsafe)
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=r"safe to unpack\. Received: .*bad.tar.gz"):
        download.unpack(archive, module.FOLDER, tmp_path / "deep")
    assert everything_in(tmp_path) == before


def test_an_absolute_path_in_an_archive_stays_inside(tmp_path):
    outside = tmp_path / "outside.txt"
    archive = make_archive(tmp_path / "deep" / "a.tar.gz", member(str(outside), size=3))
    download.unpack(archive, module.FOLDER, tmp_path / "new")
    assert not outside.exists()
    assert everything_in(tmp_path / "new") == sorted(
        [module.FOLDER, *(f"{module.FOLDER}/{name}" for name in module.FILE_SHA256)]
    )


def test_half_an_archive_installs_nothing(tmp_path):
    archive = make_archive(tmp_path / "half.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-200_000])
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=r"half.tar.gz, which cannot be unpacked"):
        download.unpack(archive, module.FOLDER, tmp_path)
    assert everything_in(tmp_path) == before


def test_an_archive_of_something_else(tmp_path):
    archive = make_archive(tmp_path / "a.tar.gz")
    with pytest.raises(
        ValueError, match=r"Expected a folder wanted in .*a.tar.gz\. Received: none"
    ):
        download.unpack(archive, "wanted", tmp_path)


def test_an_unpacked_folder_is_left_as_it_is(tmp_path):
    archive = make_archive(tmp_path / "a.tar.gz")
    kept = tmp_path / module.FOLDER / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert download.unpack(archive, module.FOLDER, tmp_path) == kept.parent
    assert everything_in(kept.parent) == ["kept.txt"]


def test_fetch_checks_the_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    served = tmp_path / "served.bin"
    served.write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()
    path = download.fetch(served.as_uri(), right)
    assert path == tmp_path / "keras" / "datasets" / "served.bin"
    assert path.read_bytes() == b"abc"
    path.write_bytes(b"damaged in the cache")
    assert download.fetch(served.as_uri(), right).read_bytes() == b"abc"
    served.write_bytes(b"another")
    other = hashlib.sha256(b"another").hexdigest()
    path.unlink()
    with pytest.raises(
        ValueError, match=f"SHA-256 {right} of {served.as_uri()}. Received: {other}"
    ):
        download.fetch(served.as_uri(), right)
    assert everything_in(path.parent) == [], "what is wrong does not stay"


def test_fetch_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """How: see the tests of sign_digits, whose archive comes in the same way."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    asked = []

    def resume(url, path):
        asked.append((url, path))
        path.write_bytes(b"abc")

    monkeypatch.setattr(download, "resume", resume)
    url, sha256 = "http://host/a.tar.gz", hashlib.sha256(b"abc").hexdigest()
    path = tmp_path / "datasets" / "a.tar.gz"
    assert [download.fetch(url, sha256) for _ in range(2)] == [path, path]
    assert asked == [(url, path)]


# The real images


@pytest.fixture(scope="module")
def real():
    return cifar10(download=False)


@pytest.mark.images
@NEEDS_IMAGES
def test_real_sizes_and_balance(real):
    assert [len(real.train), len(real.validation), len(real.test)] == [45_000, 5_000, 10_000]
    for part, each in ((real.train, 4500), (real.validation, 500), (real.test, 1000)):
        assert np.bincount(part.labels).tolist() == [each] * 10
        assert part.images.shape[1:] == (32, 32, 3)


@pytest.mark.images
@NEEDS_IMAGES
def test_real_images_look_like_photographs(real):
    """A wrong order of bytes would show as noise, or as a wrong balance of colours."""
    images = real.test.images[:2000].astype(np.int64)
    for axis in (1, 2):
        steps = np.abs(np.diff(images, axis=axis)).mean()
        assert steps < 20, "neighbouring pixels differ as in noise"
    ships = real.train.images[real.train.labels == 8].mean(axis=(0, 1, 2))
    frogs = real.train.images[real.train.labels == 6].mean(axis=(0, 1, 2))
    assert ships[2] > ships[0], "ships are on blue, and the last channel is blue"
    assert frogs[0] > frogs[2], "frogs are not"


@pytest.mark.images
@NEEDS_IMAGES
def test_real_first_record_is_a_pixel_for_pixel_copy(real):
    folder = download.inside(os.environ["RESNET_LIB_DATA"], module.FOLDER)
    record = np.fromfile(folder / "data_batch_1.bin", np.uint8, 3073)
    np.testing.assert_array_equal(real.train.images[0], read_by_hand(record))
    assert real.train.labels[0] == record[0]


@pytest.mark.images
@NEEDS_IMAGES
def test_real_source_is_one_line(real):
    assert real.source.startswith("CIFAR-10")
    assert real.source.isprintable()
