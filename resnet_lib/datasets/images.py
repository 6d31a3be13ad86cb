"""Reading image files of the common kinds as RGB squares of one size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# Others stay shut, for some start programs. JPEG includes MPO, which some cameras write.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")


def load(path: Path | str, size: int) -> np.ndarray:
    """Read the image in a file.

    It is turned as its EXIF orientation says. Transparency is laid on white; 16-bit greyscale keeps
    its upper 8 bits; of an animation the first picture is taken. The shorter side is resized to
    `size` and the middle of the longer one kept. Pixels are resized by area, with Pillow's
    `Image.Resampling.BOX`: each is the mean of what it covers (or, enlarged, a copy).

    Returns:
        uint8 array of shape (size, size, 3), red, green and blue, values 0-255.

    Raises:
        Exception: whatever Pillow raises where the file is not such an image, is damaged, or has
            more pixels than twice its `Image.MAX_IMAGE_PIXELS` (a decompression bomb).
    """
    from PIL import Image, ImageOps  # Where no picture file is read, Pillow need not be there.

    with Image.open(path, formats=_FORMATS) as image:
        upright = _rgb(ImageOps.exif_transpose(image))
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BOX))


def _rgb(image):
    if image.mode.startswith("I"):  # Pillow would clip at 255.
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        from PIL import Image

        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def load_all(paths: Sequence[Path], size: int) -> tuple[np.ndarray, dict[Path, Exception]]:
    """Read images; return them as `load` does, n in one array, and {path: error} of the others.

    What could not be read is black in the array.
    """
    images = np.zeros((len(paths), size, size, 3), np.uint8)
    unreadable = {}
    for image, path in zip(images, paths, strict=True):
        try:
            image[:] = load(path, size)
        except Exception as error:  # Of a damaged file Pillow's readers raise errors of many types.
            unreadable[path] = error
    return images, unreadable


def told(unreadable: Mapping[Path, Exception], folder: Path) -> str:
    """Name the unreadable files of a folder, ten at most, and say why the first cannot be read."""
    names = [str(path.relative_to(folder)) for path in unreadable]
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    reason = next(iter(unreadable.values()))
    return (
        f"Expected readable images in {folder}. Received: {len(names):,} unreadable: "
        f"{', '.join(names[:10])}{more} (the first: {reason})"
    )
