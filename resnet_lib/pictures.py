"""Pictures as a trained network takes them: files of any kind and size, folders, or arrays.

Files are read as `resnet_lib.datasets.image_folder` reads them. A card (`resnet_lib.cards`) says in
which shape they were read for training, and which shape the network then took.
"""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .datasets import images


class Pictures(NamedTuple):
    """Pictures as a network takes them: names, array (n, height, width, channels), {row: error}.

    Rows that cannot be read are black.
    """

    names: list[str]
    pixels: np.ndarray
    errors: dict[int, Exception]

    def readable(self) -> np.ndarray:
        """Return which rows are pictures: int array."""
        return np.array([row for row in range(len(self.names)) if row not in self.errors], int)


def read(pictures: Any, card: Mapping) -> Pictures:
    """Read pictures as a network takes them.

    Args:
        pictures: as `records.Run.predict` takes them.
        card: the network's.

    Raises:
        FileNotFoundError: one path, where nothing is.
        ValueError: nothing in it can be read; or an array that is no pictures of 0-255.
    """
    shapes = tuple(card["read_at"] or card["input_shape"]), tuple(card["input_shape"])
    if hasattr(pictures, "images") and hasattr(pictures, "labels"):
        pictures = pictures.images
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind in "US":
        pictures = pictures.ravel().tolist()
    if _is_file(pictures):
        pictures = [pictures]
        if isinstance(path := _path(pictures[0]), Path) and not path.exists():
            raise FileNotFoundError(
                f"Expected a picture, or a folder of pictures. Received: {path}, which is not there"
            )
    elif not isinstance(pictures, list | tuple):
        pixels = _fitted(_checked(_array(pictures), shapes), shapes)
        return Pictures([f"[{row}]" for row in range(len(pixels))], pixels, {})
    return _from_list(pictures, shapes)


def _is_file(one):
    return isinstance(one, str | os.PathLike) or (hasattr(one, "read") and hasattr(one, "seek"))


def _path(file):
    return checks.path("pictures", file) if isinstance(file, str | os.PathLike) else file


def _from_list(items, shapes):
    """Read a list of files, folders and arrays of one picture each."""
    files, arrays, names = {}, {}, []
    for place, item in enumerate(items):
        if not _is_file(item):
            arrays[len(names)] = _one(item, place, shapes)
            names.append(f"[{place}]")
            continue
        for file, name in _files(_path(item), alone=len(items) == 1):
            files[len(names)] = file
            names.append(name or f"[{place}]")
    if not names:
        raise ValueError("Expected at least one picture. Received: an empty list")
    pixels = np.zeros((len(names), *shapes[1]), _dtype(arrays.values()))
    for row, picture in arrays.items():
        pixels[row] = picture
    errors = {}
    if files:
        found, errors = _from_files(files, [names[row] for row in files], shapes)
        pixels[list(files)] = found
    if len(errors) == len(names):
        error = errors[min(errors)]
        raise ValueError(
            f"Expected pictures that can be read. Received: {checks.ten_of(names)} (the first: "
            f"{error})"
        ) from error
    return Pictures(names, pixels, errors)


def _dtype(arrays):
    return "uint8" if all(each.dtype == np.uint8 for each in arrays) else "float32"


def _one(item, place, shapes):
    """Return an array of one picture in a list."""
    try:
        pixels = _checked(_array(item), shapes)
    except ValueError as error:
        error.add_note(f"It is number {place} of the list, counted from 0.")
        raise
    if len(pixels) != 1:
        raise ValueError(
            "Expected a list of pictures, each a file or an array (height, width, channels). "
            f"Received: an array of {len(pixels):,} pictures as number {place}; "
            "np.concatenate makes one array of such a list"
        )
    return _fitted(pixels, shapes)[0]


def _files(path, *, alone):
    """Yield (file, name) for a file, or for each picture in a folder; name None: it has none."""
    if not isinstance(path, Path):
        yield path, getattr(path, "name", None)
    elif path.is_dir():
        for file in in_folder(path):
            yield file, (file.relative_to(path) if alone else file).as_posix()
    else:
        yield path, str(path)


def in_folder(folder: Path) -> list[Path]:
    """Return the picture files in a folder and below it, sorted; a warning names other files.

    Raises:
        ValueError: if there are none.
    """
    files, others = [], []
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not images.is_litter(name))
        for name in sorted(name for name in names if not images.is_litter(name)):
            path = Path(where, name)
            (files if path.suffix.lower() in images.EXTENSIONS else others).append(path)
    told = checks.ten_of([path.relative_to(folder).as_posix() for path in others])
    if not files:
        raise ValueError(
            f"Expected pictures in {folder} ({', '.join(images.EXTENSIONS)}). "
            f"Received: {told or 'an empty folder'}"
        )
    if others:
        _warn([f"{len(others):,} files in {folder} are no pictures, by their names: {told}"])
    return sorted(files, key=Path.as_posix)


def _warn(notes):
    for note in notes:
        checks.warn(f"{note}.")


def _from_files(files, names, shapes):
    """Return the pixels of {row: file}, uint8 (len(files), *shapes[1]), and {row: error}."""
    height, width, channels = shapes[0]
    if height != width or channels not in (1, 3):
        raise ValueError(
            "Expected arrays, for files become squares of 1 or 3 channels, and the network was "
            f"trained on pictures of {height}x{width}x{channels}. Received: {checks.ten_of(names)}"
        )
    found = images.Pictures.empty(len(files), height)
    images.read_into(found, list(files.values()), range(len(files)), height)
    _warn(images.doubtful(found, names))
    errors = {row: found.unreadable[f] for row, f in files.items() if f in found.unreadable}
    return _fitted(_grey(found.pixels) if channels == 1 else found.pixels, shapes), errors


def _grey(pixels):
    """Return the brightness of RGB pictures, as Pillow's convert("L") does."""
    return (pixels @ np.array([19595, 38470, 7471]) + 2**15 >> 16).astype("uint8")[..., None]


def _array(given):
    if type(given).__module__.startswith("PIL."):
        raise ValueError(
            "Expected files or arrays. Received: a picture of Pillow's; give its file, which is "
            "turned and made RGB rightly, or np.asarray(picture.convert('RGB'))"
        )
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected files or arrays. Received: {given!r:.80}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected files or arrays of numbers. Received: {given!r:.80}")
    return array


def _checked(array, shapes):
    """Return pictures as uint8 or float32 (n, height, width, channels), values 0-255."""
    channels = shapes[0][2]
    wanted = (
        "Expected pictures as numbers from 0 to 255, of shape (height, width, "
        f"{channels}), or (n, height, width, {channels}) for several"
    )
    if channels == 1 and array.ndim in (2, 3) and array.shape[-1] not in (1, 3, 4):
        array = array[..., None]
    whole = array.ndim in (3, 4) and 0 not in array.shape
    if not whole or (array.shape[-1] != channels and array.shape[-3:] != shapes[1]):
        hint = _shape_hint(array.shape, channels)
        raise ValueError(f"{wanted}. Received: shape {array.shape}{hint}")
    array = array if array.ndim == 4 else array[None]
    if array.dtype == np.uint8:
        if array.max() == 1:
            _warn(["No pixel is above 1, where 255 is white: if 1 is white, give 255 * pictures"])
        return array
    low, high = array.min(), array.max()
    if hint := range_hint(low, high, array.dtype.kind):
        raise ValueError(f"{wanted}. Received: {array.dtype} from {low:g} to {high:g}{hint}")
    return array.astype("float32" if array.dtype.kind == "f" else "uint8")


def _shape_hint(shape, channels):
    if 0 in shape:
        return ", with nothing in it"
    if len(shape) in (3, 4) and shape[-3] == channels and shape[-1] not in (1, 3, 4):
        return ", which has channels first; np.moveaxis(pictures, -3, -1) has them last"
    if channels == 3 and len(shape) in (3, 4) and shape[-1] == 4:
        return (
            "; the fourth channel is transparency: give the file, which is laid on white, or "
            "pictures[..., :3]"
        )
    if channels == 3 and len(shape) in (3, 4) and shape[-1] == 1:
        return "; np.repeat(pictures, 3, axis=-1) makes grey pictures red, green and blue"
    if channels == 3 and len(shape) in (2, 3):
        return (
            "; if they are grey, np.repeat(pictures[..., None], 3, axis=-1) makes them red, green "
            "and blue"
        )
    if channels == 1 and shape[-1:] in ((3,), (4,)):
        return "; give the files, or np.asarray(Image.fromarray(picture).convert('L')) of each"
    return ""


def range_hint(low: float, high: float, kind: str) -> str:
    """Say what is wrong with a range of values, and the way out; "" if it is 0-255."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ", not all of them finite"
    if low < 0:
        return ": normalised, which the network does itself; give the pictures as they were before"
    if 0 < high <= 1 or (0 < high < 2 and kind == "f"):
        return ": scaled to 0-1, which the network does itself; 255 * pictures undoes it"
    if high >= 256:  # What was of 16 bits has fractions above 255.
        bits = max(9, int(high).bit_length())
        return f"; if {2**bits - 1:,} is white, pictures / {2 ** (bits - 8)} fits"
    return ""


def _fitted(pixels, shapes):
    """Return pictures as the network takes them: as files are read, then as they were fitted to it.

    When files are read, pixels are means, or copies where a picture is enlarged. `finetune` then
    enlarges pictures by interpolation.
    """
    first, last = shapes
    if pixels.shape[1:] == last:
        return pixels
    from PIL import Image

    if pixels.shape[1:] != first:
        pixels = _resized(pixels, first, Image.Resampling.BOX)
    if first == last:
        return pixels
    smaller = last[0] <= first[0] and last[1] <= first[1]
    return _resized(pixels, last, Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)


def _resized(pixels, shape, method):
    """Return pictures of a shape, the middle of each; of 1 channel, in as many as are wanted."""
    from PIL import Image, ImageOps

    height, width = shape[:2]
    if pixels.shape[3] not in (1, 3):
        raise ValueError(
            f"Expected pictures of {height}x{width}, for those of {pixels.shape[3]} channels are "
            f"not resized. Received: {pixels.shape[1]}x{pixels.shape[2]}"
        )
    found = np.empty((len(pixels), *shape), "uint8")
    for row, picture in enumerate(pixels):
        picture = np.rint(np.minimum(picture, 255)).astype("uint8")
        image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        found[row] = np.asarray(ImageOps.fit(image, (width, height), method)).reshape(
            height, width, -1
        )
    return found


# Pictures whose classes are known


def labelled(data: Any, card: Mapping, part: str) -> tuple[str, Pictures, np.ndarray]:
    """Return pictures whose classes are known: what they are, the pictures, and int labels (n,).

    Args:
        data: a folder that holds a folder of pictures for each class, a
            `resnet_lib.datasets.Dataset`, or a Split, whose labels are then the network's.
        card: the network's.
        part: which part of a Dataset.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: if there are pictures of a class that the network does not have.
    """
    names = card["classes"]
    if hasattr(data, "class_names"):
        split, theirs, source = getattr(data, part), data.class_names, f"{data.source}, {part} part"
        used = np.unique(split.labels)
        places = np.full(len(theirs), -1)
        places[used] = matched([theirs[label] for label in used], names, source)
        labels = places[split.labels]
    elif hasattr(data, "images") and hasattr(data, "labels"):
        split, labels, source = data, np.asarray(data.labels), f"{len(data.labels):,} pictures"
        if labels.max() >= len(names):
            raise ValueError(
                f"Expected labels from 0 to {len(names) - 1}, the network's. "
                f"Received: {labels.max()}"
            )
    elif isinstance(data, str | os.PathLike):
        return _labelled_folder(checks.path("data", data), card)
    else:
        raise ValueError(
            "Expected a folder of folders of pictures, a Dataset or a Split. "
            f"Received: {type(data).__name__}"
        )
    return source, read(split, card), labels


def _labelled_folder(folder, card):
    if not folder.is_dir():
        raise FileNotFoundError(
            "Expected a folder that holds one folder of pictures for each class. "
            f"Received: {folder}, which is none"
        )
    found = dict(_classes_in(folder))
    if not found:
        raise ValueError(
            f"Expected {folder} to hold a folder of pictures for each class, named as the "
            f"network's: {checks.ten_of(card['classes'])}. Received: no such folder"
        )
    places = matched(list(found), card["classes"], str(folder))
    files = [file for its in found.values() for file in its]
    labels = np.repeat(places, [len(its) for its in found.values()])
    pictures = read(files, card)
    names = [file.relative_to(folder).as_posix() for file in files]
    return f"pictures of {folder.resolve().name}", pictures._replace(names=names), labels


def _classes_in(folder) -> Iterator[tuple[str, list[Path]]]:
    """Yield the name and the files of each folder in a folder that holds anything."""
    for inner in sorted(folder.iterdir()):
        if not inner.is_dir() or images.is_litter(inner.name):
            continue
        if not all(images.is_litter(each.name) for each in inner.iterdir()):
            yield inner.name, in_folder(inner)


def matched(theirs: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Return the place of each name among the network's; ValueError that names the others.

    Letters with marks may be written in one or two characters, as systems do in folders' names.
    """
    places = {_composed(name): place for place, name in enumerate(names)}
    unknown = [name for name in theirs if _composed(name) not in places]
    if unknown:
        parts = {"train", "validation", "test", "val", "valid", "training", "testing"}
        hint = ""
        if {name.casefold() for name in unknown} <= parts:
            hint = f"; these seem to be parts: name one of them, such as {source}/{unknown[-1]}"
        raise ValueError(
            f"Expected pictures of the network's classes, {checks.ten_of(list(names))}. "
            f"Received, in {source}: {checks.ten_of(unknown)}{hint}"
        )
    return [places[_composed(name)] for name in theirs]


def _composed(name):
    return unicodedata.normalize("NFC", name)
