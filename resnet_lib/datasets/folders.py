"""Which folders are the parts of a set, which are its classes, and which files are its images.

People name the parts in many ways: train and valid, Training and Testing, seg_train and seg_test.
What is left out, and what might have been meant otherwise, is said in `Found.notes`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..checks import ten_of
from .images import EXTENSIONS, can_avif, is_litter

PARTS = ("train", "validation", "test")

_WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("val", "valid", "validate", "validation", "dev", "development", "eval"),
    "test": ("test", "testing", "tst", "holdout", "evaluation"),
}
_PART_OF = {
    word + ending: part
    for part, words in _WORDS.items()
    for word in words
    for ending in ("", "set")
}
# Words beside the part's that say nothing: `train_images` and `test` are parts of one set.
_EMPTY = {"set", "data", "dataset", "split", "part", "folder", "dir", "images", "image", "imgs"}
_EMPTY |= {"img", "pics", "pictures", "photos", ""}
_NAMELESS = "without an ending"
# Kinds of pictures that are not read, of which it is said wherever they lie.
_OTHER_KINDS = {".heic", ".heif", ".jp2", ".j2k", ".jxl", ".tga", ".ico", ".svg", ".psd", ".eps"}
_OTHER_KINDS |= {".dng", ".cr2", ".nef", ".arw", ".raw", ".dcm", ".exr", ".hdr", ".pcx", ".dib"}


class Item(NamedTuple):
    """An image: its part, its class and its file."""

    part: str
    name: str
    path: Path


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
        given: {part: its folder}; where the parts have none, all is for training.
        names: of the classes, sorted.
        items: the images, in no order that counts.
        notes: sentences for whoever called.
    """

    given: dict[str, Path]
    names: list[str]
    items: list[Item]
    notes: list[str]


def find(folder: Path) -> Found:
    """Find the parts, classes and images in a folder.

    Raises:
        FileNotFoundError: it is no folder.
        ValueError: there are fewer than two classes, or what is a part and what a class cannot be
            told.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            "Expected `path` to be a folder that holds one folder of images for each class. "
            f"Received: {str(folder)!r}"
        )
    search = _Search(folder)
    given = search.parts()
    classes = search.classes(given)
    names = sorted({place.name for _, place in classes})
    if len(names) < 2:
        raise ValueError(
            f"Expected {search.top} to hold a folder of images for each class, at least two. "
            f"Received: {', '.join(names) or 'none'}"
        )
    search.note_case(names)
    return Found(given, names, search.images(classes), search.all_notes())


class _Search:
    """One search: the folder, and what there is to say."""

    def __init__(self, folder):
        self.folder = self.top = folder
        self.notes = []
        self.left = defaultdict(list)  # {kind: files that are left out}

    def parts(self):
        """Return {part: its folder}."""
        self.top = self.unwrapped(self.folder)
        inner = self.distinct(_folders(self.top))
        self.beside(self.top)
        found = self.set_of_parts(inner)
        if not found:
            self.check_classes(inner)
            return {"train": self.top}
        given = self.checked(found, inner)
        given = self.deepest(given)
        return self.labelled(given)

    def unwrapped(self, folder):
        """Return the folder below that holds more than one, as that of an unpacked archive."""
        below, seen = folder, {folder.resolve()}
        while len(inner := _folders(below)) == 1:
            only = inner[0]
            if _own(only) or only.resolve() in seen or not any(map(_holds, _folders(only))):
                break
            below = only
            seen.add(only.resolve())
        if below != folder and len(_folders(below)) > 1:
            self.notes.append(f"The classes of {folder} were looked for in {self.short(below)}")
            return below
        return folder

    def distinct(self, folders):
        """Return folders without links to others of them, or to a folder around them."""
        real = {place.resolve() for place in folders if not place.is_symlink()}
        kept = []
        for place in sorted(folders, key=Path.is_symlink):
            target = place.resolve()
            if place.is_symlink() and _overlap(target, real, self.top.resolve()):
                self.left["a link to a folder of the set"].append(place)
                continue
            real.add(target)
            kept.append(place)
        return sorted(kept)

    def beside(self, folder):
        """Take note of the images that are in no class's folder."""
        self.left["in no class's folder"] += _own(folder)

    def set_of_parts(self, inner):
        """Return [(part, folder)] of what is named as the parts of one set, or nothing."""
        groups = defaultdict(list)
        for place in inner:
            part, rest = role(place.name)
            if part:
                groups[rest].append((part, place))
        groups = {rest: group for rest, group in groups.items() if len(dict(group)) > 1}
        pairs = [rest for rest, group in groups.items() if "train" in dict(group)]
        sets = [group for rest, group in groups.items() if self.is_set(rest, group)]
        if len(sets) > 1 or len(pairs) > 1:  # cats_train, cats_test, dogs_train, dogs_test
            raise self.refused(inner)
        return sets[0] if sets else None

    def is_set(self, rest, group):
        """Say whether folders that differ in the part's name only are a set's parts."""
        if not rest or any(map(_is_parted, (place for _, place in group))):
            return True
        if "train" in dict(group):
            names = ten_of([place.name for _, place in group])
            self.notes.append(
                f"Taken as classes: {names}. If they are parts, give each a folder for each class"
            )
        return False

    def checked(self, found, inner):
        """Return {part: folder}; refuse what is twice, or is a folder of something else."""
        given = {part: place for name in PARTS for part, place in found if part == name}
        others = [place for place in inner if place not in given.values()]
        unclear = [place for place in others if any(map(_holds, _unlike(place)))]
        if "train" not in given or len(given) < len(found) or unclear:
            raise self.refused(inner)
        for place in others:
            for loose in (place, place / place.name):
                if loose.is_dir():
                    self.beside(loose)
            if not _holds(place):
                self.left["a folder without images"].append(place)
        return given

    def refused(self, inner):
        return ValueError(
            f"Expected {self.top} to hold the folders train, test and perhaps validation (or val), "
            "or others that are named as parts, with a folder for each class in each, and no "
            f"other. Received: {', '.join(sorted(place.name for place in inner))}"
        )

    def deepest(self, given):
        """Return {part: folder}, each folder the one that holds the classes: seg_test/seg_test."""
        while True:
            for place in given.values():
                self.beside(place)
            inner = {part: _folders(place) for part, place in given.items()}
            names = {part: {place.name for place in its} for part, its in inner.items()}
            deeper = {part: its[0] for part, its in inner.items() if _is_wrapper(its, given[part])}
            if len(set().union(*names.values())) > 1:
                deeper = {
                    part: place
                    for part, place in deeper.items()
                    if not any(place.name in its for other, its in names.items() if other != part)
                }
            elif len(deeper) < len(given):
                return given
            if not deeper:
                return given
            given = {**given, **deeper}

    def labelled(self, given):
        """Return {part: folder} without the parts whose images are in no class's folder."""
        classes = {place.name for place in _folders(given["train"])}
        for part in ("validation", "test"):
            if part in given and classes and not self.has_classes(given[part], classes):
                self.notes.append(
                    f"{self.short(given.pop(part))} has no folders of classes: left out"
                )
        if "test" not in given:
            self.notes.append(
                f"{self.folder} has no test part: it was taken from the training images"
            )
        return given

    def has_classes(self, place, classes):
        """Say whether a part's images are in folders of classes, and not loose: test/test/1.jpg."""
        inner = _folders(place)
        if len(inner) != 1 or inner[0].name in classes:
            return bool(inner) or not _own(place)
        part, _ = role(inner[0].name)
        if part != role(place.name)[0] or any(map(_holds, _folders(inner[0]))):
            return True
        self.beside(inner[0])
        return False

    def check_classes(self, inner):
        """Refuse folders that cannot all be classes; take note where they may not be."""
        below = {place: {p.name for p in _folders(place) if _holds(p)} for place in inner}
        names = {place.name for place in inner}
        common = set.intersection(*map(below.get, inner)) if len(inner) > 1 else set()
        said = [role(place.name) for place in inner]
        twice = [p for p, r in zip(inner, said, strict=True) if r[0] and said.count(r) > 1]
        repeats = [p for p in inner if len(below[p] & names) > 1 or (p in twice and common)]
        if repeats:
            raise ValueError(
                f"Expected {self.top} to hold either a folder for each class, or one for each part "
                "with a folder for each class in it. Received: both, for "
                f"{ten_of([place.name for place in repeats])} and others hold folders of the same "
                "names. Move away what is not wanted, or name the parts train, validation and test"
            )
        nested = [place for place in inner if len(below[place]) > 1 and not _own(place)]
        if len(common) > 1 and len(nested) == len(inner):
            self.notes.append(
                f"Taken as classes: {ten_of(sorted(names))}, although each holds the folders "
                f"{ten_of(sorted(common))}. {_meant(common)}"
            )
        else:
            self.note_parts(inner, nested)

    def note_parts(self, inner, nested):
        """Take note of classes that are named as a part, and do not look like a class."""
        for place in inner:
            part, rest = role(place.name)
            if part and (place in nested or (part != "train" and not rest)):
                self.notes.append(
                    f"Taken as a class: {place.name}. If it is a part, name the folder of the "
                    "training images train and put it beside"
                )

    def classes(self, given):
        """Return [(part, folder of a class)]."""
        part_of = {place: p for p, where in given.items() for place in _folders(where)}
        return [(part_of[place], place) for place in self.distinct(part_of)]

    def note_case(self, names):
        """Take note of classes that may be one: Cat in train, cat in test."""
        alike = defaultdict(list)
        for name in names:
            alike[name.casefold()].append(name)
        for same in alike.values():
            if len(same) > 1:
                self.notes.append(f"Taken as different classes: {' and '.join(same)}")

    def images(self, classes):
        """Return the images of all classes, each once."""
        items, links = [], []
        for part, place in classes:
            for path in self.walk(place):
                (links if path.is_symlink() else items).append(Item(part, place.name, path))
        seen = _real_paths(items) if links else set()
        for item in sorted(links):
            real = os.path.realpath(item.path)
            if real in seen:
                self.left["a link to an image of the set"].append(item.path)
            else:
                seen.add(real)
                items.append(item)
        return items

    def walk(self, folder):
        """Yield the files that are read; take note of the others."""
        for entry in _entries(folder):
            path = folder / entry.name
            if entry.is_dir():
                if entry.is_symlink():
                    self.left["a link to a folder"].append(path)
                else:
                    yield from self.walk(path)
            elif entry.is_file() and _is_read(path):
                yield path
            else:
                self.left[_kind(path)].append(path)

    def all_notes(self):
        """Return the notes, with one on all that was left out."""
        left = {kind: list(dict.fromkeys(paths)) for kind, paths in self.left.items() if paths}
        if not left:
            return self.notes
        kinds = sorted(left, key=lambda kind: (-len(left[kind]), kind))
        counted = ", ".join(f"{len(left[kind]):,} {kind}" for kind in kinds)
        files = [self.short(path) for kind in kinds for path in left[kind]]
        told = f"{len(files):,} left out of {self.folder}: {counted} ({ten_of(files)})"
        if any(kind[0] == "." or kind == _NAMELESS for kind in kinds):
            told += f". Read are {', '.join(EXTENSIONS)}"
        return [*self.notes, told]

    def short(self, path):
        return path.relative_to(self.folder).as_posix()


@cache
def role(name: str) -> tuple[str | None, str]:
    """Return which part a folder's name says, or None, and what else it says.

    >>> role("seg_train"), role("TestImages"), role("cats")
    (('train', 'seg'), ('test', ''), (None, 'cats'))
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    words = [word.casefold() for word in re.split(r"[\W_]+", spaced)]
    parts = {_PART_OF[word] for word in words if word in _PART_OF}
    rest = [w for w in words if not (w in _PART_OF or w in _EMPTY or w.isdigit())]
    if parts == {"train", "validation"}:  # train_val, beside test
        parts = {"train"}
    return (parts.pop() if len(parts) == 1 else None), " ".join(rest)


def _entries(folder: Path) -> list[os.DirEntry]:
    """Return what is in a folder, but what is left alone, sorted; no file is looked at for it."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not is_litter(e.name)), key=lambda e: e.name)


def _folders(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in _entries(folder) if entry.is_dir()]


def _meant(common: Iterable[str]) -> str:
    """Return what may have been meant by folders of the same names in each class's."""
    if len({role(name)[0] for name in common} - {None}) > 1:
        return "Their images are mixed; as parts, they have to hold the classes: train/cat"
    return (
        "If those are the classes, name the folders that hold them train, validation and test, or "
        "give the path of one of them"
    )


def _unlike(folder: Path) -> list[Path]:
    """Return the folders in a folder, or in the one of its own name: seg_pred/seg_pred."""
    inner = _folders(folder)
    return _folders(inner[0]) if [p.name for p in inner] == [folder.name] else inner


def _own(folder: Path) -> list[Path]:
    """Return the images that lie in a folder itself, of whatever kind."""
    known = {*EXTENSIONS, *_OTHER_KINDS}
    files = (entry for entry in _entries(folder) if entry.is_file())
    paths = (folder / entry.name for entry in files)
    return [path for path in paths if path.suffix.lower() in known]


def _is_read(path):
    ending = path.suffix.lower()
    return ending in EXTENSIONS and (ending != ".avif" or can_avif())


def _kind(path):
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return path.suffix.lower() or _NAMELESS


def _holds(folder: Path) -> bool:
    """Say whether there is an image in a folder or, links not followed, below it."""
    return bool(_own(folder)) or any(
        _holds(inner) for inner in _folders(folder) if not inner.is_symlink()
    )


def _is_parted(place) -> bool:
    """Say whether a folder holds folders with images, and no images of its own."""
    return not _own(place) and any(map(_holds, _folders(place)))


def _is_wrapper(inner: Sequence[Path], place) -> bool:
    """Say whether the one folder in a part's holds those of the classes."""
    return len(inner) == 1 and not _own(place) and _is_parted(inner[0])


def _overlap(target: Path, real: Iterable[Path], top: Path) -> bool:
    """Say whether a link's target is, holds or lies in a folder of the set, or is around it."""
    if target == top or target in top.parents:
        return True
    return any(target == r or target in r.parents or r in target.parents for r in real)


def _real_paths(items: Iterable[Item]) -> set[str]:
    """Return the paths of files that are no links; only their folders may be reached by links."""
    folders = {}
    return {
        os.path.join(
            folders.setdefault(item.path.parent, os.path.realpath(item.path.parent)),
            item.path.name,
        )
        for item in items
    }
