"""Hand signs: the split by signer, the archive from a server on this machine, and damage.

The real photos are tested where the environment variable RESNET_LIB_DATA names their folder.
"""

import gzip
import hashlib
import importlib
import io
import os
import resource
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnet_lib
from resnet_lib import __main__, datasets
from resnet_lib.datasets import sign_digits
from resnet_lib.datasets.sign_digits import inferred_signers, photos

module = importlib.import_module("resnet_lib.datasets.sign_digits")
download = importlib.import_module("resnet_lib.datasets.download")

SIGNERS = 5
SIDE = 8
NOISE = np.random.default_rng(0).bytes(200_000)
TOP = f"{module.FOLDER}-{module.COMMIT}"
REAL = download.inside(os.environ.get("RESNET_LIB_DATA", "nowhere"), module.FOLDER)
NEEDS_IMAGES = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"RESNET_LIB_DATA names no folder that holds {module.FOLDER}"
)


# A repository in small: five signers who each show ten digits


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Three signers for training, one each for validation and test; an empty cache."""
    monkeypatch.setattr(module, "VALIDATION_SIGNER", 3)
    monkeypatch.setattr(module, "TEST_SIGNER", 4)
    monkeypatch.setattr(module, "MANIFEST_SHA256", manifest(make_repository()))
    monkeypatch.setattr(module, "URL", "http://127.0.0.1:9/closed")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("RESNET_LIB_DATA", raising=False)
    return tmp_path


def colour(number):
    return (number * 5 % 256, 255 - number * 5 % 256, 100)


def make_repository():
    """Return {path: bytes}; photo number n is of one colour, and names do not sort like numbers."""
    files = {"README.md": b"# Signs\n" * 100, "Examples/a.JPG": b"not a photo of the set"}
    for i in range(SIGNERS * 10):
        file = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), colour(i)).save(file, "JPEG", quality=100, subsampling=0)
        files[f"Dataset/{i % 10}/IMG_{i + 990}.JPG"] = file.getvalue()
    return files


def manifest(files):
    lines = [
        f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n"
        for name in sorted(files)
        if name.startswith("Dataset/")
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write(folder, files):
    for name, content in files.items():
        path = folder / module.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / module.FOLDER


def packed(files, *extra):
    """Return a .tar.gz as GitHub makes it, and perhaps members that it would not put there."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            tar.addfile(member(f"{TOP}/{name}", size=len(content)), io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return file.getvalue()


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def installed():
    return download.cache_folder() / module.FOLDER


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


# The rule of the split


def test_a_signer_begins_where_the_digit_fails_to_increase():
    digits = [0, 1, 2, 9, 0, 3, 3, 4, 2, 1]
    assert inferred_signers(digits).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 4]


def test_photos_are_in_the_order_of_their_numbers(small):
    write(small, make_repository())
    found = photos(small)
    assert [photo.number for photo in found] == list(range(990, 990 + SIGNERS * 10))
    assert [photo.digit for photo in found] == list(range(10)) * SIGNERS
    assert [photo.signer for photo in found] == [i // 10 for i in range(SIGNERS * 10)]
    assert found[12].path == small / module.FOLDER / "Dataset/2/IMG_1002.JPG"


def test_equal_numbers_are_ordered_by_digit_on_every_computer(small):
    files = make_repository()
    files["Dataset/3/IMG_0990.jpg"] = files["Dataset/1/IMG_990.jpeg"] = files.popitem()[1]
    write(small, files)
    names = [photo.path.name for photo in photos(small)[:4]]
    assert names == ["IMG_990.JPG", "IMG_990.jpeg", "IMG_0990.jpg", "IMG_991.JPG"]


def test_each_part_has_its_signers_in_order(small):
    write(small, make_repository())
    data = sign_digits(small, classes=(7, 2), size=4)
    assert data.class_names == ("7", "2")
    expected = {"train": [2, 7, 12, 17, 22, 27], "validation": [32, 37], "test": [42, 47]}
    for name, numbers in expected.items():
        part = getattr(data, name)
        assert part.labels.tolist() == [1, 0] * (len(numbers) // 2)
        wanted = np.array([colour(i) for i in numbers])[:, None, None]
        assert part.images.shape == (len(numbers), 4, 4, 3)
        assert np.abs(part.images - wanted).max() <= 3  # what JPEG does


def test_pixels_are_means_of_areas(small):
    random = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    path = write(small, make_repository()) / "Dataset/0/IMG_990.JPG"
    Image.fromarray(random).save(path, "JPEG", quality=100, subsampling=0)
    stored = np.asarray(Image.open(path)).astype(float)
    means = stored.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(sign_digits(small, size=4).train.images[0] - means).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"classes": 6},
            r"distinct digits from 0 to 9, such as range\(6\)\. Received: 6; .* \[6\]",
        ),
        ({"classes": [0, 3, 3, 11]}, r"Received: \[0, 3, 3, 11\]; the nearest valid .* \[0, 3\]"),
        ({"classes": []}, r"`classes` .* Received: \[\]$"),
        ({"classes": "012"}, "`classes` .* Received: '012'$"),
        ({"classes": [True]}, r"`classes` .* Received: \[True\]$"),
        ({"size": 0}, "`size` .* whole number of at least 1. Received: 0; .* is 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_looked_for(small, arguments, message):
    with pytest.raises(ValueError, match=message):
        sign_digits(small / "nowhere", **arguments)


def test_the_command_line_knows_every_data_set_it_names():
    arguments = ["train", "--model", "resnet20v1", "--dataset", "sign_digits", "--out", "x"]
    assert __main__._parser().parse_args(arguments).dataset == "sign_digits"
    for name, load in datasets.NAMED.items():
        assert getattr(datasets, name) is load


# A folder of one's own


def test_where_it_looks(small, monkeypatch):
    write(small / "a", make_repository())
    expected = sign_digits(small / "a").sha256
    assert sign_digits(str(small / "a" / module.FOLDER)).sha256 == expected
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / "a"))
    assert sign_digits(download=False).sha256 == expected
    monkeypatch.setenv("RESNET_LIB_DATA", str(small / "other"))
    write(download.cache_folder(), make_repository())
    assert sign_digits(download=False).sha256 == expected


def test_a_given_folder_is_never_replaced_by_a_download(small, monkeypatch):
    write(download.cache_folder(), make_repository())
    monkeypatch.setattr(download, "resume", lambda *_: pytest.fail("tried to download"))
    message = "`data_dir` to be a folder that holds Sign-Language-Digits-Dataset. .* git clone"
    with pytest.raises(FileNotFoundError, match=message):
        sign_digits(small / "nothing here")


def test_official_is_earned_by_the_manifest_alone(small):
    folder = write(small, make_repository())
    (folder / "Dataset/0/.hidden.JPG").write_bytes(b"")
    (folder / "Dataset/0/notes.txt").write_bytes(b"")
    assert sign_digits(small).source == "Sign-Language-Digits (official)"
    path = folder / "Dataset/9/IMG_999.JPG"
    path.write_bytes(path.read_bytes() + b"x")
    assert sign_digits(small).source == "Sign-Language-Digits (unofficial copy)"


def test_a_missing_digit(small):
    write(small, {n: c for n, c in make_repository().items() if "Dataset/8/" not in n})
    with pytest.raises(
        FileNotFoundError, match=r"Expected photos in Dataset/8\. .* Move .* git clone"
    ):
        sign_digits(small)


def test_an_empty_folder(small):
    (small / module.FOLDER).mkdir()
    with pytest.raises(FileNotFoundError, match=r"Expected photos in Dataset/0, .*, Dataset/9\. "):
        sign_digits(small)


def test_a_photo_without_a_number(small):
    write(small, {**make_repository(), "Dataset/4/hand.jpg": b""})
    message = r"names such as .*IMG_1118.JPG, .* Received: 'Dataset/4/hand.jpg' .*Move .*clone"
    with pytest.raises(ValueError, match=message):
        sign_digits(small)


def test_truncated_photos_are_named(small):
    folder = write(small, make_repository())
    for name in ("Dataset/3/IMG_993.JPG", "Dataset/5/IMG_1005.JPG", "Dataset/9/IMG_999.JPG"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    with pytest.raises(ValueError) as caught:
        sign_digits(small)
    assert "2 unreadable: Dataset/3/IMG_993.JPG, Dataset/5/IMG_1005.JPG" in str(caught.value)
    assert "truncated" in str(caught.value)
    assert f"Move {folder} away and git clone" in str(caught.value)


def test_too_few_signers(small, monkeypatch):
    write(small, make_repository())
    monkeypatch.setattr(module, "TEST_SIGNER", 5)
    with pytest.raises(
        ValueError, match=r"more than 5 signers\. Received: 30 photos .* up to 4 in .*\. Move"
    ):
        sign_digits(small)


# The archive, from a server on this machine


class Server(ThreadingHTTPServer):
    """Serves `body` at any address; `asked` holds the Range header of each request."""

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.asked = body, []
        self.ranges = True  # whether Range is obeyed
        self.cut = None  # the first answer breaks off after so many bytes
        self.chunked = False
        self.pause = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        time.sleep(server.pause)
        start = int(asked.removeprefix("bytes=")[:-1]) if asked and server.ranges else 0
        if start and start >= len(server.body):
            self.send_error(416)
            return
        body, cut, server.cut = server.body[start:], server.cut, None
        self.send_response(206 if start else 200)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        head = f"{len(body):x}\r\n".encode() if server.chunked else b""
        tail = b"\r\n0\r\n\r\n" if server.chunked and cut is None else b""
        self.wfile.write(head + body[:cut] + tail)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(small, monkeypatch):
    server = Server(packed(make_repository()))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(module, "URL", f"http://127.0.0.1:{server.server_port}/archive.tar.gz")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kept():
    """Return what a broken download left."""
    return (download.cache_folder() / f"{TOP}.tar.gz.part").read_bytes()


def test_the_archive_is_downloaded_once_with_a_bar_and_installed(small, server, capfd):
    data = sign_digits()
    assert data.source == "Sign-Language-Digits (official)"
    assert data.sha256 == sign_digits(write(small, make_repository())).sha256
    assert (installed() / "README.md").is_file()
    bar = capfd.readouterr().err
    assert "download: 100%" in bar and "B/s" in bar
    assert sign_digits().sha256 == data.sha256
    assert server.asked == [None]
    assert everything_in(download.cache_folder()) == [module.FOLDER, f"{TOP}.tar.gz"]


@pytest.mark.parametrize(
    ("chunked", "arrived"), [(False, 150_000), (True, 131_072)], ids=["length", "chunked"]
)
def test_an_interrupted_download_goes_on_where_it_stopped(server, chunked, arrived):
    server.body = packed({**make_repository(), "noise": NOISE})
    server.cut, server.chunked = 150_000, chunked
    with pytest.raises(FileNotFoundError, match=r"call again, which goes on .* RESNET_LIB_DATA"):
        sign_digits()
    assert not installed().exists()
    assert kept() == server.body[:arrived]
    assert sign_digits().source.endswith("(official)")
    assert server.asked == [None, f"bytes={arrived}-"]
    assert (download.cache_folder() / f"{TOP}.tar.gz").read_bytes() == server.body


def test_a_broken_connection_says_how_far_it_came(server):
    server.cut = 700
    with pytest.raises(FileNotFoundError, match=f"broke off after 700 of {len(server.body):,} b"):
        sign_digits()


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(server, monkeypatch):
    server.pause = 1
    monkeypatch.setattr(download, "_SECONDS", 0.1)
    with pytest.raises(FileNotFoundError, match=r"timed out\)\. Any of these helps: call again"):
        sign_digits()


def test_a_server_without_ranges_sends_everything_anew(server):
    server.cut, server.ranges = 700, False
    with pytest.raises(FileNotFoundError):
        sign_digits()
    assert sign_digits().source.endswith("(official)")
    assert server.asked == [None, "bytes=700-"]
    assert (download.cache_folder() / f"{TOP}.tar.gz").read_bytes() == server.body


def test_a_part_that_is_longer_than_the_archive_is_thrown_away(server):
    part = download.cache_folder() / f"{TOP}.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(server.body) + 1))
    assert sign_digits().source.endswith("(official)")
    assert server.asked == [f"bytes={len(server.body) + 1}-", None]


@pytest.mark.parametrize("allowed", [True, False])
def test_no_connection_names_the_ways_on(small, allowed):
    with pytest.raises(FileNotFoundError) as caught:
        sign_digits(download=allowed)
    for way in ("call again", "data_dir=", "RESNET_LIB_DATA", f"git clone {module.REPOSITORY}"):
        assert way in str(caught.value)
    assert ("refused" if allowed else "download=False") in str(caught.value)
    assert everything_in(download.cache_folder()) == []


def damaged(archive):
    """Return kinds of damage."""
    noisy = packed({"noise": NOISE, **make_repository()})
    lost = make_repository()
    del lost["Dataset/6/IMG_996.JPG"]
    changed = make_repository()
    changed["Dataset/6/IMG_996.JPG"] += b"x"
    return {
        "cut": archive[: len(archive) // 2],
        "overwritten": noisy[:80_000] + b"\xff" * 70_000 + noisy[150_000:],
        "continued with something else": gzip.compress(gzip.decompress(noisy)[:9000]) + b"else" * 9,
        "no archive": b"<html>Sign in to this network</html>",
        "empty": b"",
        "photo lost": packed(lost),
        "photo changed": packed(changed),
        "photo added": packed({**make_repository(), "Dataset/6/IMG_1.jpeg": b"x"}),
        "another folder": packed({}, member("other", type=tarfile.DIRTYPE)),
        "outside": packed(make_repository(), member(f"{TOP}/../../outside.txt", size=3)),
        "link outside": packed(
            make_repository(),
            member(f"{TOP}/Dataset/0/link", type=tarfile.SYMTYPE, linkname="../../../../outside"),
        ),
        "link for a folder": packed({}, member(TOP, type=tarfile.SYMTYPE, linkname=".")),
    }


REASONS = {
    "photo": "Expected photos with the manifest",
    "outside": "Expected an archive that is safe to unpack",
    "link outside": "Expected an archive that is safe to unpack",
    "link for": f"Expected a folder {TOP} in ",
    "another": f"Expected a folder {TOP} in ",
    "": "cannot be unpacked",
}


@pytest.mark.parametrize("kind", damaged(b"x"))
def test_a_bad_archive_is_removed_and_nothing_is_installed(small, server, kind):
    good, server.body = server.body, damaged(server.body)[kind]
    message = r"archive was removed: call again to download it anew, or git clone"
    with pytest.raises(ValueError, match=message) as caught:
        sign_digits()
    assert next(why for start, why in REASONS.items() if kind.startswith(start)) in str(
        caught.value
    )
    assert everything_in(download.cache_folder()) == []
    assert not list(small.rglob("outside*"))
    server.body = good
    assert sign_digits().source.endswith("(official)")


@pytest.fixture
def largest_file():
    """Return a function that sets how many bytes a file may have; None is as before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if n is None else n, hard))

    yield limit
    limit(None)


def test_a_disk_that_is_full_while_downloading_goes_on_later(server, largest_file):
    server.body = packed({**make_repository(), "noise": NOISE})
    largest_file(100_000)
    with pytest.raises(FileNotFoundError, match=r"make room on the disk of .* call again"):
        sign_digits()
    largest_file(None)
    assert everything_in(download.cache_folder()) == [f"{TOP}.tar.gz.part"]
    assert kept() == server.body[:100_000]
    assert sign_digits().source.endswith("(official)")
    assert server.asked == [None, "bytes=100000-"]


def test_a_disk_that_is_full_while_unpacking_installs_nothing(server, largest_file):
    server.body = packed({**make_repository(), "zeros": bytes(80_000)})
    largest_file(30_000)
    with pytest.raises(FileNotFoundError, match=r"make room on the disk of .* call again"):
        sign_digits()
    largest_file(None)
    assert everything_in(download.cache_folder()) == [f"{TOP}.tar.gz"]
    assert sign_digits(download=False).source.endswith("(official)")
    assert server.asked == [None]


def test_an_interruption_before_the_folder_has_its_name(server, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_rename", stop)
        with pytest.raises(KeyboardInterrupt):
            sign_digits()
    assert everything_in(download.cache_folder()) == [f"{TOP}.tar.gz"]
    assert sign_digits().source.endswith("(official)")
    assert server.asked == [None]


# Other processes


CHILD = """
import importlib, os, signal, sys, time
from pathlib import Path
module = importlib.import_module("resnet_lib.datasets.sign_digits")
module.VALIDATION_SIGNER, module.TEST_SIGNER = 3, 4
module.URL, module.MANIFEST_SHA256, go, kill = sys.argv[1:]
if kill:
    module._download._rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
print("ready", flush=True)
while not Path(go).exists():
    time.sleep(0.01)
print(module.sign_digits().source)
"""


def child(go, kill=""):
    command = [sys.executable, "-c", CHILD, module.URL, module.MANIFEST_SHA256, str(go), kill]
    root = str(Path(resnet_lib.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "numpy"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_download_once_and_both_have_the_images(server, small):
    server.pause = 0.5
    both = [child(small / "go"), child(small / "go")]
    (small / "go").touch()
    told = [process.communicate(timeout=60)[0] for process in both]
    assert told == ["Sign-Language-Digits (official)\n"] * 2
    assert server.asked == [None]
    assert everything_in(download.cache_folder()) == [module.FOLDER, f"{TOP}.tar.gz"]


def test_a_process_killed_before_the_folder_has_its_name(server, small):
    (small / "go").touch()
    process = child(small / "go", "kill")
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert not installed().exists()
    assert sign_digits(download=False).source.endswith("(official)")


# The real photos


@pytest.mark.images
@NEEDS_IMAGES
def test_real_signers_are_those_of_the_documentation():
    found = photos(REAL)
    assert len(found) == len({photo.number for photo in found}) == 2062
    lengths = Counter(photo.signer for photo in found)
    assert len(lengths) == 220
    assert list(lengths.values()).count(10) == 190


@pytest.mark.images
@NEEDS_IMAGES
def test_real_parts():
    data = sign_digits(REAL, size=16)
    sizes = [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)]
    assert sizes == [[159, 160, 160, 160, 161, 161], [20] * 6, [26] * 6]
    assert data.source.startswith("Sign-Language-Digits (")


@pytest.mark.images
@NEEDS_IMAGES
def test_real_photos_of_another_size_are_upright_like_the_others():
    large = [photo for photo in photos(REAL) if Image.open(photo.path).size != (100, 100)]
    assert [photo.number for photo in large] == [5874, 5935, 5978]
    test = sign_digits(REAL, classes=[7], size=32).test.images.astype(float)
    order = [photo.number for photo in photos(REAL) if photo.digit == 7][-len(test) :]
    turned = [order.index(photo.number) for photo in large]
    others = np.delete(test, turned, axis=0).mean(0)
    for image in test[turned]:
        upright, lying = (
            np.corrcoef(others.ravel(), i.ravel())[0, 1] for i in (image, np.rot90(image))
        )
        assert upright > lying
