"""Reading image files of the common kinds as RGB squares of one size."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import ten_of

# What is read, told by a file's ending in any case. .avif needs a Pillow that can.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# What the files' values are taken to fill, in 16-bit containers: cameras have 10, 12 or 14 bits.
BITS = (8, 10, 12, 14, 16)

# Others stay shut, for some start programs. JPEG includes MPO, which some cameras write.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP", "TIFF", "PPM")
DARK = 64  # A picture with next to nothing as bright shows next to nothing.
_DRAFT = 4  # A JPEG is decoded to at least this many times the size that is wanted.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class Picture(NamedTuple):
    """One file's picture and what is known of its numbers.

    Attributes:
        pixels: uint8 array of shape (size, size, 3).
        largest: the largest value of a file of 16-bit greyscale, else 0.
        bits: how many bits were taken to hold its values, else 8.
        deep: whether the file has 16 bits a channel.
    """

    pixels: np.ndarray
    largest: int
    bits: int
    deep: bool


class Pictures(NamedTuple):
    """Many files' pictures, one a row: `Picture`'s fields as arrays, and {path: error}.

    What could not be read is black.
    """

    pixels: np.ndarray
    largest: np.ndarray
    bits: np.ndarray
    deep: np.ndarray
    unreadable: dict[Path, Exception]

    @classmethod
    def empty(cls, n: int, size: int) -> "Pictures":
        """Return room for n pictures."""
        pixels = np.zeros((n, size, size, 3), np.uint8)
        columns = (np.zeros(n, np.int32), np.zeros(n, np.uint8), np.zeros(n, bool))
        return cls(pixels, *columns, {})

    def put(self, row: int, picture: Picture) -> None:
        """Fill a row."""
        for column, value in zip(self[:4], picture, strict=True):
            column[row] = value


# What systems leave in folders. Hidden files are left alone as well.
_LITTER = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information"}
_LITTER |= {"lost+found", "thumbs.db", "desktop.ini", "icon\r"}


def is_litter(name: str) -> bool:
    """Say whether a file or folder of this name is left alone, as what systems leave behind."""
    return name[0] == "." or name.casefold() in _LITTER


def load(path: Path | str, size: int, *, draft: bool = True, bits: int | None = None) -> np.ndarray:
    """Read the image in a file.

    It is turned as its EXIF orientation says; an EXIF block that is broken counts as none.
    Transparency is laid on white; of an animation the first picture is taken. The shorter side is
    resized to `size` and the middle of the longer one kept. Pixels are resized by area, with
    Pillow's `Image.Resampling.BOX`: each is the mean of what it covers (or, enlarged, a copy).

    16-bit greyscale keeps the upper 8 of its bits. Files of cameras that have fewer are told by
    their largest value: it is taken to need 8, 10, 12, 14 or 16 bits, the fewest that hold it.

    Args:
        path: the file.
        size: height and width of what is returned, in pixels.
        draft: whether a JPEG of at least eight times the size is decoded to half, a quarter or an
            eighth of its own, but at least four times `size`, which is many times faster. In the
            three photos of 3024x3024 of `sign_digits`, resized to 32, 64, 128 and 224, pixels
            differ from those of `draft=False` by less than 0.8 grey levels on average, and by 20 at
            most.
        bits: how many bits hold the values of 16-bit greyscale, where several files must be
            read alike.

    Returns:
        uint8 array of shape (size, size, 3), red, green and blue, values 0-255.

    Raises:
        Exception: whatever Pillow raises where the file is not such an image, is damaged, or has
            more pixels than twice its `Image.MAX_IMAGE_PIXELS` (a decompression bomb); ValueError
            where its pixels are no whole numbers from 0 to 65,535.
    """
    return read(path, size, draft=draft, bits=bits).pixels


def read(path: Path | str, size: int, *, draft: bool = True, bits: int | None = None) -> Picture:
    """Read the image in a file, as `load` does, with what is known of its numbers."""
    from PIL import Image, ImageOps  # Where no picture file is read, Pillow need not be there.

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Corrupt EXIF data")
        with Image.open(path, formats=_formats()) as image:
            deep = _is_deep(image)
            if draft:
                image.draft(None, (_DRAFT * size, _DRAFT * size))
            image.load()  # What is broken here is the picture, and after it the EXIF block.
            turn = orientation(image)
            rgb, largest, bits = _rgb(image, bits)
    if turn in _TURNS:
        rgb = rgb.transpose(Image.Transpose[_TURNS[turn]])
    square = ImageOps.fit(rgb, (size, size), Image.Resampling.BOX)
    return Picture(np.asarray(square), largest, bits, deep)


@functools.cache
def _formats():
    return (*_FORMATS, "AVIF") if can_avif() else _FORMATS


def can_avif() -> bool:
    """Say whether the installed Pillow reads AVIF."""
    from PIL import features

    return "avif" in features.modules and features.check_module("avif")


def _is_deep(image):
    """Say whether a file has over 8 bits a channel, before Pillow has forgotten it."""
    for tile in image.tile:
        told = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in x if isinstance(x, str) else _is_depth(image, x) for x in told):
            return True
    return image.mode.startswith("I")


def _is_depth(image, value):
    return image.format == "PPM" and isinstance(value, int) and value > 255


def orientation(image: Any) -> int:
    """Return the EXIF orientation of an open image, 1 where there is none that can be read."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # Of a broken block Pillow's readers raise errors of many types.
        return 1


def _rgb(image, bits):
    from PIL import Image

    largest = 0
    if image.mode == "F":
        raise ValueError("its pixels are fractions, and what is white is not said")
    if image.mode.startswith("I"):
        image, largest, bits = _eight_bits(image, bits)
    else:
        bits = 8
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB"), largest, bits


def _eight_bits(image, bits):
    """Return 16-bit greyscale as an image of 8 bits, the largest value, and the bits it had."""
    from PIL import Image

    values = np.asarray(image)
    low, largest = int(values.min()), int(values.max())
    if low < 0 or largest >= 2**16:
        raise ValueError(f"its pixels are from {low:,} to {largest:,}, and not of 16 bits")
    bits = bits or needed(largest)
    grey = np.minimum(values >> (bits - 8), 255).astype(np.uint8)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey), largest, bits


def needed(largest: int) -> int:
    """Return the fewest of `BITS` that hold a value from 0 to 65,535."""
    return next(bits for bits in BITS if largest < 2**bits)


def load_all(
    paths: Sequence[Path], size: int, *, draft: bool = True
) -> tuple[np.ndarray, dict[Path, Exception]]:
    """Read images; return them as `load` does, n in one array, and {path: error} of the others.

    What could not be read is black in the array. Files of 16-bit greyscale are read alike: the
    largest value of all says how many bits they have.
    """
    pictures = Pictures.empty(len(paths), size)
    read_into(pictures, paths, range(len(paths)), size, draft=draft)
    return pictures.pixels, pictures.unreadable


def read_into(
    pictures: Pictures,
    paths: Sequence[Path],
    rows: Sequence[int],
    size: int,
    *,
    draft: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Read the files of some rows into them, and then 16-bit greyscale of any row alike.

    Args:
        pictures: `Pictures`, the other rows of which are filled already.
        paths: of all rows.
        rows: what to read.
        size: as in `load`.
        draft: as in `load`.
        advance: called after each file.
    """
    for row in rows:
        _read_row(pictures, paths, row, size, draft)
        advance()
    grey = np.flatnonzero(pictures.largest)
    if len(grey):
        bits = needed(pictures.largest.max())
        for row in grey[pictures.bits[grey] != bits]:
            _read_row(pictures, paths, row, size, draft, bits)


def _read_row(pictures, paths, row, size, draft, bits=None):
    try:
        pictures.put(row, read(paths[row], size, draft=draft, bits=bits))
    except Exception as error:  # Of a damaged file Pillow's readers raise errors of many types.
        pictures.unreadable[paths[row]] = error


def doubtful(pictures: Pictures, names: Sequence[str]) -> list[str]:
    """Return sentences on files of 16 bits that were not read as their format says, or are dark."""
    found = []
    largest = int(pictures.largest.max(initial=0))
    if largest and (bits := needed(largest)) < 16:
        found.append(
            f"{np.count_nonzero(pictures.largest):,} pictures of 16-bit greyscale have no value "
            f"above {largest:,}: they were read as pictures of {bits} bits"
        )
    deep = np.flatnonzero(pictures.deep)
    if not len(deep):
        return found
    # A few pixels may be as bright as can be, for they are broken.
    bright = np.percentile(pictures.pixels[deep], 99, axis=(1, 2, 3), method="lower")
    dark, bright = deep[bright < DARK], bright[bright < DARK]
    if len(dark):
        found.append(
            f"{len(dark):,} pictures of 16 bits a channel are nearly black, 99 % of each not above "
            f"{bright.max()} of 255 ({ten_of([names[row] for row in dark])}): if their "
            "values use the lower bits alone, save them with 8 bits, made brighter"
        )
    return found


def told(unreadable: Mapping[Path, Exception], folder: Path) -> str:
    """Name the unreadable files of a folder, ten at most, and say why the first cannot be read."""
    names = [str(path.relative_to(folder)) for path in unreadable]
    reason = next(iter(unreadable.values()))
    return (
        f"Expected readable images in {folder}. Received: {len(names):,} unreadable: "
        f"{ten_of(names)} (the first: {reason})"
    )
