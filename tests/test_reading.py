"""Pictures are read once: what the cache holds, when that does not count, and the bar meanwhile."""

import io
import os
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from resnet_lib.datasets import image_folder, images, reading


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache, in which everything is kept however fast it is read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(reading, "SECONDS", 0)
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch):
    """The names of the files that are read, as they come."""
    names = []
    read = images.read
    monkeypatch.setattr(
        images,
        "read",
        lambda path, *args, **options: names.append(path.name) or read(path, *args, **options),
    )
    return names


def make(folder, n=4):
    """Write a folder of two classes of noise."""
    random = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{i}.png")
    return folder


def load(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return image_folder(folder, size=8, **options)


def kept(home):
    return sorted(path for path in home.rglob("*") if path.is_file())


def test_what_was_read_is_not_read_again(home, tmp_path, asked):
    folder = make(tmp_path / "pets")
    first = load(folder)
    assert len(asked) == 8
    assert load(folder).sha256 == first.sha256
    assert load(folder, seed=1).sha256 != first.sha256, "the split is not from the cache"
    assert len(asked) == 8
    assert kept(home) == [reading.place(folder, 8)]
    assert kept(home)[0].parent == home / "resnet_lib" / "pictures"


def test_another_size_and_another_folder_are_read(home, tmp_path, asked):
    folder, other = make(tmp_path / "pets"), make(tmp_path / "others")
    load(folder)
    load(other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image_folder(folder, size=4)
    assert len(asked) == 24
    assert len(kept(home)) == 3


def test_what_has_changed_is_read_again(home, tmp_path, asked):
    folder = make(tmp_path / "pets")
    load(folder)
    asked.clear()
    Image.new("RGB", (8, 8), "red").save(folder / "a/new.png")
    Image.new("RGB", (8, 8), "red").save(folder / "a/a1.png")
    stat = (folder / "b/b2.png").stat()
    os.utime(folder / "b/b2.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    (folder / "b/b0.png").unlink()
    (folder / "b/b3.png").rename(folder / "b/b4.png")
    data = load(folder)
    assert sorted(asked) == ["a1.png", "b2.png", "b4.png", "new.png"]
    assert data.sha256 == load(folder, cache=False).sha256
    asked.clear()
    assert load(folder).sha256 == data.sha256
    assert asked == []


def test_another_way_of_reading_reads_again(home, tmp_path, asked, monkeypatch):
    folder = make(tmp_path / "pets")
    load(folder)
    monkeypatch.setattr(reading, "VERSION", reading.VERSION + 1)
    load(folder)
    assert len(asked) == 16


def test_nothing_is_kept_of_what_is_read_fast_or_need_not_be(home, tmp_path, asked, monkeypatch):
    folder = make(tmp_path / "pets")
    load(folder, cache=False)
    assert kept(home) == []
    load(folder)
    load(folder, cache=False)
    assert len(asked) == 24, "without the cache everything is read"
    monkeypatch.setattr(reading, "SECONDS", 60)
    load(make(tmp_path / "others"))
    assert len(kept(home)) == 1


def spoilt(file):
    data = file.read_bytes()
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "noise": bytes(len(data)),
        "an array": npy(np.zeros(3)),
        "a byte": data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    }


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**columns):
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "noise", "a byte", "an array", "shapes", "less", "objects"]
)
def test_a_damaged_cache_is_read_anew(home, tmp_path, asked, damage):
    folder = make(tmp_path / "pets")
    expected = load(folder).sha256
    file = reading.place(folder, 8)
    with np.load(file) as columns:
        columns = dict(columns)
    others = {
        "shapes": {**columns, "pixels": columns["pixels"][:3]},
        "less": {"keys": columns["keys"]},
        "objects": {**columns, "keys": np.array([None] * 8)},
    }
    file.write_bytes(npz(**others[damage]) if damage in others else spoilt(file)[damage])
    asked.clear()
    assert load(folder).sha256 == expected
    assert len(asked) == 8
    assert load(folder).sha256 == expected
    assert len(asked) == 8, "the cache was written anew"


def test_what_cannot_be_read_is_not_kept(home, tmp_path, asked):
    folder = make(tmp_path / "pets")
    (folder / "a/a0.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"1 unreadable: a/a0.png"):
            load(folder)
    assert asked.count("a0.png") == 2
    assert len(asked) == 9
    (folder / "a/a0.png").write_bytes((folder / "a/a1.png").read_bytes())
    assert len(load(folder).train) == 4


def test_a_camera_file_that_comes_later_changes_how_the_others_are_read(home, tmp_path, asked):
    folder = make(tmp_path / "pets")
    for i, largest in enumerate((900, 900, 900)):
        Image.fromarray(np.full((8, 8), largest, np.uint16)).save(folder / f"a/grey{i}.png")
    load(folder)
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(folder / "a/grey3.png")
    asked.clear()
    data = load(folder)
    assert sorted(asked) == ["grey0.png", "grey1.png", "grey2.png", "grey3.png"]
    assert data.sha256 == load(folder, cache=False).sha256
    (folder / "a/grey3.png").unlink()
    assert load(folder).sha256 == load(folder, cache=False).sha256


@pytest.mark.parametrize("trouble", ["file", "full"])
def test_where_the_cache_cannot_be_written_there_is_none(home, tmp_path, monkeypatch, trouble):
    folder = make(tmp_path / "pets")
    if trouble == "file":
        home.write_text("mine")
    else:
        monkeypatch.setattr(
            np, "savez", lambda *args, **columns: (_ for _ in ()).throw(OSError(28))
        )
    assert len(load(folder).train) == 4
    assert home.read_text() == "mine" if trouble == "file" else kept(home) == []


@pytest.mark.parametrize(
    ("platform", "named", "expected"),
    [
        ("linux", "/x/cache", "/x/cache"),
        ("linux", "relative", "/users/me/.cache"),
        ("linux", "", "/users/me/.cache"),
        ("darwin", "/x/cache", "/users/me/Library/Caches"),
    ],
)
def test_where_the_cache_lies(monkeypatch, tmp_path, platform, named, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", "/users/me")
    assert str(reading.place(tmp_path, 8).parent) == f"{expected}/resnet_lib/pictures"


def test_cache_is_true_or_false(tmp_path):
    with pytest.raises(ValueError, match="`cache` to be True or False"):
        image_folder(make(tmp_path / "pets"), cache=1)


# A sign of life


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "patience", "seen"), [(1, 0, True), (1, 9, False), (0, 0, False)]
)
def test_a_bar_appears_in_a_terminal_where_it_takes_long(
    tmp_path, monkeypatch, terminal, patience, seen
):
    folder = make(tmp_path / "pets", 10)
    monkeypatch.setattr(reading, "_PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", Stream(bool(terminal)))
    load(folder, cache=False)
    assert ("reading" in sys.stderr.getvalue()) == seen
    assert ("/20" in sys.stderr.getvalue()) == seen


def test_a_bar_appears_in_a_notebook(monkeypatch):
    shell = types.SimpleNamespace(kernel=None)
    monkeypatch.setattr(sys, "stderr", Stream(False))
    assert not reading._is_seen()
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    assert reading._is_seen()


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_place_for_errors_nothing_is_shown(monkeypatch, stream):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", stream and closed)
    assert not reading._is_seen()


def test_without_tqdm_nothing_is_shown(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Stream(True))
    assert len(load(make(tmp_path / "pets"), cache=False).train) == 4
    assert sys.stderr.getvalue() == ""
