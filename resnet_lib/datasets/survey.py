"""What a folder of pictures holds, and what of it is doubtful, before anything is trained."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import checks
from . import folders, images, reading

SIDE = 16  # pixels of the small copies by which pictures are compared
# Grey levels, the root mean square up to which two copies are one picture. A JPEG of quality 85 of
# 8x8 squares of random colours is 4.6 away from them; of the first 6,000 test pictures of CIFAR-10
# no two are nearer than 15.
ALIKE = 6.0
BLANK = 2.0  # grey levels, the spread of a copy up to which there is nothing to be seen
SMALL = 32  # pixels of the shorter side, below which a picture is called small
LONG = 3  # times the shorter side, above which the middle leaves most of the longer side out
BLOCK = 1000  # pictures compared with all others at once
PLAIN = ("RGB", "L")


@dataclass(frozen=True)
class Survey:
    """What a folder of pictures holds.

    Attributes:
        folder: the folder.
        counts: {class: {part: pictures}}, of the parts that the folder has.
        sizes: {path: (width, height) in pixels, as the file has it}.
        alike: groups of two and more paths that show the same picture, up to its size, its format
            and small changes.
        blank: paths of pictures of one colour.
        kinds: {kind: pictures}, such as "CMYK", "palette" or "turned by EXIF": those that are not
            plain RGB or greyscale. All of them are read rightly.
        unreadable: {path: why}.
        notes: sentences on what was left out, and on what might have been meant otherwise.
    """

    folder: Path
    counts: dict[str, dict[str, int]]
    sizes: dict[Path, tuple[int, int]]
    alike: list[tuple[Path, ...]]
    blank: list[Path]
    kinds: dict[str, int]
    unreadable: dict[Path, str]
    notes: list[str]
    _labels: dict[Path, tuple[str, str]]  # (part, class)

    @property
    def in_two_parts(self) -> list[tuple[Path, ...]]:
        """Groups of `alike` of which some are in one part and some in another, such as the test."""
        return [group for group in self.alike if len({self._labels[p][0] for p in group}) > 1]

    @property
    def in_two_classes(self) -> list[tuple[Path, ...]]:
        """Groups of `alike` that are called one class here, another there."""
        return [group for group in self.alike if len({self._labels[p][1] for p in group}) > 1]

    @property
    def small(self) -> list[Path]:
        """Paths of pictures with a side below 32 pixels."""
        return [path for path, size in self.sizes.items() if min(size) < SMALL]

    @property
    def long(self) -> list[Path]:
        """Paths of pictures over three times as long as high, or as high as long."""
        return [path for path, size in self.sizes.items() if max(size) > LONG * min(size)]

    def __str__(self):
        return "\n".join([*_table(self), *_findings(self)])


def survey(path: Path | str) -> Survey:
    """Look at a folder of pictures as `image_folder` would read it.

    >>> print(rl.datasets.survey("your/pictures"))

    Pictures are compared by copies of 16x16 pixels: the same picture saved again, in another size
    or format, is found; a mirrored or cropped one is not.

    Args:
        path: the folder: see `image_folder`.

    Raises:
        FileNotFoundError: `path` is not a folder.
        ValueError: there are fewer than two classes, or what is a part and what a class cannot be
            told.
    """
    folder = checks.path("path", path)
    found = folders.find(folder)
    items = sorted(found.items, key=lambda item: item.path)
    pictures = reading.read_folder(folder, [item.path for item in items], SIDE)
    headers = {item.path: _header(item.path) for item in items}
    seen = [row for row, item in enumerate(items) if item.path not in pictures.unreadable]
    paths, copies = [items[row].path for row in seen], pictures.pixels[seen].astype(np.float32)
    blank = _spread(copies) <= BLANK
    counts = {name: dict.fromkeys(found.given, 0) for name in found.names}
    for row in seen:
        counts[items[row].name][items[row].part] += 1
    return Survey(
        folder,
        counts,
        {path: headers[path][0] for path in paths},
        [tuple(paths[row] for row in group) for group in _groups(copies, np.flatnonzero(~blank))],
        [path for path, is_blank in zip(paths, blank, strict=True) if is_blank],
        dict(Counter(kind for path in paths for kind in headers[path][1])),
        {path: str(error) for path, error in pictures.unreadable.items()},
        found.notes,
        {item.path: (item.part, item.name) for item in items},
    )


def _header(path):
    """Return ((width, height), kinds) of an image file, or ((0, 0), []) of what is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size, _kinds(image)
    except Exception:  # The reader of its pixels says why.
        return (0, 0), []


def _kinds(image):
    names = {"P": "palette", "PA": "palette", "LA": "transparent", "RGBA": "transparent"}
    kinds = [] if image.mode in PLAIN else [names.get(image.mode, image.mode.split(";")[0])]
    if image.mode.startswith("I"):
        kinds = ["16-bit greyscale"]
    if getattr(image, "n_frames", 1) > 1:
        kinds.append("animated")
    if images.orientation(image) != 1:
        kinds.append("turned by EXIF")
    return kinds


def _spread(copies):
    return copies.std(axis=(1, 2)).max(axis=-1, initial=0)


def _groups(copies: np.ndarray, rows: np.ndarray) -> list[list[int]]:
    """Return groups of rows whose copies are alike, directly or by way of others."""
    if not len(rows):
        return []
    flat = copies[rows].reshape(len(rows), -1)
    squares = (flat**2).sum(1)
    leader = {row: row for row in rows.tolist()}
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        distances = squares[block, None] + squares - 2 * flat[block] @ flat.T
        for i, j in np.argwhere(distances <= flat.shape[1] * ALIKE**2):
            if start + i < j:
                leader[_first(leader, rows[j])] = _first(leader, rows[start + i])
    groups = defaultdict(list)
    for row in leader:
        groups[_first(leader, row)].append(row)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _first(leader, row):
    while leader[row] != row:
        row = leader[row]
    return row


# What is printed


def _table(found):
    parts = [part for part in folders.PARTS if any(part in row for row in found.counts.values())]
    several = len(parts) > 1
    wide = max(len("class"), *map(len, found.counts))
    heading = parts if several else ["pictures"]
    lines = [f"{'class':{wide}}" + "".join(f"{name:>12}" for name in heading) + "  width x height"]
    for name, row in found.counts.items():
        numbers = "".join(f"{row[part]:>12,}" for part in parts)
        lines.append(f"{name:{wide}}{numbers}  {_sizes(found, name)}")
    return lines


def _sizes(found, name):
    sizes = [size for path, size in found.sizes.items() if found._labels[path][1] == name]
    if not sizes:
        return "-"
    sizes.sort(key=lambda size: size[0] * size[1])
    least, most = ("x".join(map(str, size)) for size in (sizes[0], sizes[-1]))
    return least if least == most else f"{least} to {most}"


def _findings(found):
    """Yield a line for each thing that is worth a look."""
    counts = [sum(row.values()) for row in found.counts.values()]
    if max(counts) > 3 * max(min(counts), 1):
        yield f"unequal classes: {min(counts):,} to {max(counts):,} pictures"
    told = [*found.in_two_parts, *found.in_two_classes]
    groups = {
        "the same picture in two parts": found.in_two_parts,
        "the same picture in two classes": found.in_two_classes,
        "the same picture twice": [group for group in found.alike if group not in told],
    }
    for what, several in groups.items():
        if several:
            yield f"{what}: {_told(found, [' = '.join(_short(found, g)) for g in several])}"
    singles = {
        "cannot be read": found.unreadable,
        "of one colour": found.blank,
        f"a side below {SMALL} pixels": found.small,
        f"over {LONG} times as long as high, or the reverse": found.long,
    }
    for what, paths in singles.items():
        if paths:
            yield f"{what}: {_told(found, _short(found, paths))}"
    if found.kinds:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
        yield f"read as the others: {kinds}"
    yield from (f"{note}.".replace(str(found.folder), found.folder.name) for note in found.notes)


def _short(found, paths: Sequence[Path]):
    return [path.relative_to(found.folder).as_posix() for path in paths]


def _told(found, names):
    return f"{len(names):,}, {checks.ten_of(names)}"
