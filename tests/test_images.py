"""How files are read: 16 bits, broken EXIF, JPEG drafts, and kinds of files of all sorts.

What is more common is tested with image_folder.
"""

import importlib
import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_lib.datasets import image_folder, images, reading
from resnet_lib.datasets.images import doubtful, load, load_all, needed, read

download = importlib.import_module("resnet_lib.datasets.download")
SIGNS = download.inside(
    os.environ.get("RESNET_LIB_DATA", "nowhere"), "Sign-Language-Digits-Dataset"
)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """A busy machine may take long, and what it reads is not for the user's cache."""
    monkeypatch.setattr(reading, "SECONDS", float("inf"))


def saved(folder, image, name="x.png", kind=None, **options):
    image.save(folder / name, kind, **options)
    return folder / name


def grey16(values):
    return Image.fromarray(np.asarray(values, np.uint16))


def ramp(largest, side=64):
    return np.linspace(0, largest, side * side).reshape(side, side).astype(np.uint16)


def png16(pixels):
    """Return a PNG file of 16 bits a channel, which Pillow does not write, from (h, w, c)."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# 16 bits


def test_ordinary_files_of_16_bits_keep_their_upper_8(tmp_path):
    values = np.arange(65536).reshape(256, 256)
    found = read(saved(tmp_path, grey16(values)), 256)
    np.testing.assert_array_equal(found.pixels, np.repeat((values // 256)[..., None], 3, -1))
    assert (found.largest, found.bits, found.deep) == (65535, 16, True)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("largest", "bits"), [(255, 8), (256, 10), (419, 10), (1023, 10), (4095, 12), (16383, 14)]
)
def test_files_of_cameras_with_fewer_bits_are_read_as_such(tmp_path, kind, largest, bits):
    values = ramp(largest)
    found = read(saved(tmp_path, grey16(values), "x", kind), 64)
    np.testing.assert_array_equal(found.pixels[..., 0], values >> (bits - 8))
    assert (found.largest, found.bits) == (largest, bits)
    assert found.pixels.max() >= 64


@pytest.mark.parametrize(("largest", "bits"), [(0, 8), (255, 8), (256, 10), (65535, 16)])
def test_needed(largest, bits):
    assert needed(largest) == bits


def test_files_that_are_read_together_are_read_alike(tmp_path):
    paths = [saved(tmp_path, grey16(ramp(n)), f"{n}.png") for n in (900, 4000, 200)]
    paths.append(saved(tmp_path, Image.new("L", (64, 64), 200), "8 bits.png"))
    found, unreadable = load_all(paths, 64)
    assert unreadable == {}
    assert [image.max() for image in found] == [900 // 16, 4000 // 16, 200 // 16, 200]


def folder_of(tmp_path, *pictures):
    """Write each file for each of two classes."""
    for name in "ab":
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            data = picture if isinstance(picture, bytes) else png(picture)
            (tmp_path / name / f"{i:02}.png").write_bytes(data)
    return tmp_path


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_folder_of_a_camera_of_12_bits_is_not_black_and_said(tmp_path):
    folder_of(tmp_path, *[grey16(ramp(4095 - 10 * i)) for i in range(10)])
    with pytest.warns(UserWarning) as told:
        data = image_folder(tmp_path, size=64)
    assert data.train.images.max() == 255
    (warning,) = told
    assert "20 pictures of 16-bit greyscale have no value above 4,095" in str(warning.message)
    assert "of 12 bits" in str(warning.message)


def test_an_ordinary_folder_of_16_bits_is_read_without_a_word(tmp_path):
    folder_of(tmp_path, *[grey16(ramp(65535 - i)) for i in range(10)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_folder(tmp_path, size=64).train.images.max() == 255


def test_a_file_of_fewer_bits_among_ordinary_ones_is_dark_and_said(tmp_path):
    folder_of(tmp_path, *[grey16(ramp(65535))] * 9, grey16(ramp(4095)))
    with pytest.warns(
        UserWarning, match=r"2 pictures of 16 bits .* not above 15 of 255 .*a/09.png"
    ):
        image_folder(tmp_path, size=64)


def test_a_broken_pixel_hides_no_darkness(tmp_path):
    values = ramp(1023)
    values[5, 5] = 65535
    folder_of(tmp_path, *[grey16(values)] * 10)
    with pytest.warns(UserWarning, match=r"20 pictures of 16 bits .* not above 3 of 255"):
        image_folder(tmp_path, size=64)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_that_come_out_dark_are_said(tmp_path, channels):
    pixels = np.full((8, 8, channels), 4095)
    pixels[..., 3:] = 65535
    if channels == 2:
        pixels[..., 1] = 65535
    folder_of(tmp_path, *[png16(pixels)] * 10)
    with pytest.warns(UserWarning, match="20 pictures of 16 bits a channel are nearly black"):
        image_folder(tmp_path, size=8)


def test_dark_pictures_of_8_bits_are_not_doubted(tmp_path):
    pictures = images.Pictures.empty(2, 4)
    pictures.put(0, read(saved(tmp_path, Image.new("RGB", (4, 4), (9, 9, 9))), 4))
    assert doubtful(pictures, ["x", "y"]) == []


def test_a_transparent_grey_of_16_bits_is_white(tmp_path):
    path = saved(tmp_path, grey16([[0, 3000], [3000, 4095]]), transparency=3000)
    assert load(path, 2)[..., 0].tolist() == [[0, 255], [255, 255]]


@pytest.mark.parametrize("maximum", [255, 1023, 65535])
def test_a_pgm_says_itself_what_is_white(tmp_path, maximum):
    values = np.array([[0, maximum // 4], [maximum // 2, maximum]])
    data = values.astype(">u2" if maximum > 255 else "u1").tobytes()
    (tmp_path / "x.pgm").write_bytes(b"P5 2 2 %d\n" % maximum + data)
    found = load(tmp_path / "x.pgm", 2)[..., 0].astype(int)
    assert np.abs(found - [[0, 64], [127, 255]]).max() <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 0.5, np.float32), "fractions"),
        (np.full((4, 4), 70_000, np.int32), "from 70,000 to 70,000, and not of 16 bits"),
        (np.full((4, 4), -5, np.int32), "from -5 to -5"),
    ],
)
def test_numbers_without_a_known_white_are_refused(tmp_path, values, message):
    path = saved(tmp_path, Image.fromarray(values), "x.tif")
    with pytest.raises(ValueError, match=message):
        load(path, 4)


# EXIF


BROKEN = {
    "garbage": b"Exif\0\0garbage",
    "cut off": b"Exif\0\0II*\0\x08\0\0\0\xff\xffcut",
    "empty": b"Exif\0\0",
    "no end": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN)
def test_a_broken_exif_block_costs_the_block(tmp_path, kind, block):
    image = Image.new("RGB", (8, 8), (200, 10, 30))
    path = saved(tmp_path, image, "x", kind, exif=block)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(load(path, 4) - np.array([200.0, 10, 30])).max() <= 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(tmp_path, kind, orientation):
    # Four colours, so that no two ways of turning look alike; large, for JPEG's blocks.
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    image = Image.fromarray(pixels.repeat(32, 0).repeat(32, 1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, image, "x", kind, exif=exif)
    with Image.open(path) as again:
        expected = np.asarray(ImageOps.exif_transpose(again).convert("RGB").resize((2, 2), 4))
    for size in (2, 8):  # With and without a draft.
        found = load(path, size).reshape(2, size // 2, 2, size // 2, 3).mean((1, 3))
        assert np.abs(found - expected.astype(float)).max() <= 25


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damage_of_the_picture_is_no_damage_of_the_block(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "x", kind, exif=BROKEN["garbage"])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 4 // 5])
    with pytest.raises(Exception, match=r"truncated|broken|decode|identify|Truncated"):
        load(path, 4)


# Drafts


def photo(height, width):
    """Draw something like a photo: large things stronger than small ones, colours much alike."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    waves = np.exp(2j * np.pi * random.random((4, height, width))) / frequency**1.5
    layers = np.fft.ifft2(waves).real
    layers /= layers.std(axis=(1, 2), keepdims=True)
    colours = 128 + 50 * layers[0][..., None] + 10 * np.moveaxis(layers[1:], 0, -1)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [32, 64, 100])
def test_a_draft_is_like_the_whole(tmp_path, monkeypatch, size):
    path = saved(tmp_path, photo(820, 1200), "x.jpg", quality=90)
    decoded = []
    fit = ImageOps.fit
    monkeypatch.setattr(ImageOps, "fit", lambda x, *rest: decoded.append(x.size) or fit(x, *rest))
    draft, whole = (load(path, size, draft=draft).astype(int) for draft in (True, False))
    assert decoded == [{32: (300, 205), 64: (600, 410), 100: (600, 410)}[size], (1200, 820)]
    assert 0 < np.abs(draft - whole).mean() < 1.5
    assert np.abs(draft - whole).max() <= 20


def test_a_small_jpeg_is_decoded_whole(tmp_path):
    path = saved(tmp_path, photo(500, 500), "x.jpg")
    np.testing.assert_array_equal(load(path, 64), load(path, 64, draft=False))


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("RGB", "MPO")])
def test_drafts_of_other_jpegs(tmp_path, mode, kind):
    path = saved(tmp_path, photo(600, 800).convert(mode), "x.jpg", kind, quality=95)
    draft, whole = (load(path, 16, draft=draft).astype(int) for draft in (True, False))
    assert 0 < np.abs(draft - whole).mean() < 1.5


@pytest.mark.images
@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_drafts_of_real_photos(size):
    if not SIGNS.is_dir():
        pytest.skip("the photos are not here")
    photos = [path for path in SIGNS.glob("Dataset/7/*.JPG") if path.stat().st_size > 800_000]
    assert len(photos) == 3
    for path in photos:
        apart = np.abs(load(path, size).astype(int) - load(path, size, draft=False))
        assert 0 < apart.mean() < 0.8
        assert apart.max() <= 20


# Kinds


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "WEBP", "TIFF", "PPM", "AVIF"])
def test_every_kind_is_read(tmp_path, kind):
    if kind == "AVIF" and not images.can_avif():
        pytest.skip("this Pillow reads no AVIF")
    path = saved(tmp_path, Image.new("RGB", (32, 32), (200, 10, 30)), "x", kind)
    assert np.abs(load(path, 4) - np.array([200.0, 10, 30])).max() <= 6


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_compressed_tiffs_of_several_pages(tmp_path, compression):
    pages = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    options = {"compression": compression, "save_all": True, "append_images": pages[1:]}
    assert np.abs(load(saved(tmp_path, pages[0], "x.tif", **options), 1) - [255.0, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["PCX", "TGA", "ICO", "EPS", "PDF"])
def test_other_kinds_stay_shut(tmp_path, kind):
    path = saved(tmp_path, Image.new("RGB", (16, 16)), "x.tif", kind)
    with pytest.raises(Exception, match="cannot identify"):
        load(path, 4)
