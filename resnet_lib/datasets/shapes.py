"""Ten drawn shapes: a data set that needs no download and is the same on every computer.

A shape may lie anywhere, at any angle, in any colour, lighter or darker than what is behind it, so
that no single pixel says anything about the class: a linear classifier fails, a small convolutional
network does not.

Reproducible to the bit: the only random numbers are the raw 64-bit outputs of PCG64, and the only
arithmetic on them is integer, or one of the operations that IEEE 754 rounds exactly (+, -, *, /,
square root, comparison), one array operation at a time. Sines, cosines and sums over an axis may
differ in the last bit between processors and are not used.
"""

import numpy as np

from .. import checks
from .base import Dataset, Split

CLASS_NAMES = (
    "circle",
    "ring",
    "crescent",
    "semicircle",
    "triangle",
    "square",
    "cross",
    "star",
    "heart",
    "arrow",
)

_SIZE = 32
_PARTS = ("train", "validation", "test")
_NOISE_WORDS = _SIZE * _SIZE * 3 // 8
_DRAWS = 120  # room for the 32-bit draws of everything but the noise: two in each 64-bit word
_WORDS = _NOISE_WORDS + _DRAWS // 2
_CHUNK = 256
_ROOT3 = np.sqrt(np.float32(3))
_ROOT5 = np.sqrt(np.float32(5))


def shapes(
    train: int = 8000, validation: int = 1000, test: int = 1000, *, seed: int = 0
) -> Dataset:
    """Draw 32x32 colour images of ten shapes.

    Each image depends on `seed`, its part and its place in it only, so a smaller set is the
    beginning of a larger one. The label of image i is i % 10, so that any run of ten images holds
    each class once; shuffle before training.

    Args:
        train: number of training images, at least 1.
        validation: number of validation images, at least 1.
        test: number of test images, at least 1.
        seed: whole number from 0 to 2**32 - 1.

    Returns:
        A Dataset of uint8 images of shape (n, 32, 32, 3) and ten class names.

    Raises:
        ValueError: a count is below 1, or the seed out of its range.
    """
    seed = checks.count("seed", seed, least=0, most=2**32 - 1)
    counts = {"train": train, "validation": validation, "test": test}
    counts = {name: checks.count(name, n) for name, n in counts.items()}
    parts = [_draw_part(seed, name, n) for name, n in counts.items()]
    return Dataset(*parts, CLASS_NAMES, f"ten shapes, drawn with seed {seed}")


def _draw_part(seed, name, n):
    bits = np.random.PCG64(np.random.SeedSequence([seed, _PARTS.index(name)]))
    labels = np.arange(n, dtype=np.int64) % len(CLASS_NAMES)
    images = np.empty((n, _SIZE, _SIZE, 3), np.uint8)
    for start in range(0, n, _CHUNK):
        block = slice(start, min(start + _CHUNK, n))
        words = bits.random_raw((block.stop - start) * _WORDS).reshape(-1, _WORDS)
        images[block] = _draw(words, labels[block])
    return Split(images, labels)


def _draw(words, labels):
    """Turn one row of random words for each image into uint8 images."""
    draws = _Draws(words[:, _NOISE_WORDS:])
    behind, front = _colours(draws)
    canvas = behind * _shading(draws, 0.45)
    distance, bar = _placed(draws, labels)
    _paint(canvas, front * _shading(draws, 0.25), distance)
    _paint(canvas, _any_colour(draws), bar)
    canvas += _noise(draws, words[:, :_NOISE_WORDS])
    np.clip(canvas, 0, 255, out=canvas)
    return (canvas + np.float32(0.5)).astype(np.uint8)


class _Draws:
    """Hands out the random numbers of each image, in a fixed order, never one twice."""

    def __init__(self, words):
        self._columns = _split(words, 32)
        self._next = 0

    def uniform(self, low, high, count=1):
        """Return float32 of shape (n, count, 1, 1) or, for one, (n, 1, 1), in [low, high)."""
        unit = self._take(count) >> 8
        value = unit.astype(np.float32) * np.float32((high - low) / 2**24) + np.float32(low)
        return value[:, 0] if count == 1 else value

    def chance(self, numerator, denominator):
        """Return booleans of shape (n, 1, 1), true with that probability."""
        return self._take(1)[:, 0] % denominator < numerator

    def _take(self, count):
        taken = self._columns[:, self._next : self._next + count]
        if taken.shape[1] < count:
            raise AssertionError("_DRAWS is too small for what an image draws")
        self._next += count
        return taken[:, :, None, None]


def _split(words, bits):
    """Split 64-bit words into smaller whole numbers, the same way on every byte order."""
    shifts = np.arange(0, 64, bits, dtype=np.uint64)
    pieces = (words[:, :, None] >> shifts) & np.uint64(2**bits - 1)
    return pieces.reshape(len(words), -1).astype(np.uint32)


def _colours(draws):
    """Return two colours (n, 1, 1, 3), one of them lighter, either behind or in front."""
    dark = _hue(draws, draws.uniform(0, 0.7)) * draws.uniform(25, 110)[..., None]
    light = _hue(draws, draws.uniform(0, 0.7)) * draws.uniform(160, 250)[..., None]
    swap = draws.chance(1, 2)[..., None]
    return np.where(swap, light, dark), np.where(swap, dark, light)


def _any_colour(draws):
    return _hue(draws, draws.uniform(0, 0.6)) * draws.uniform(20, 240)[..., None]


def _hue(draws, saturation):
    """Return a random hue as red, green and blue shares of 1, shape (n, 1, 1, 3)."""
    turn = draws.uniform(0, 6)[..., None]
    third = np.array([0, 2, 4], np.float32)
    away = np.abs(turn - third)
    away = np.minimum(away, 6 - away)
    pure = np.clip(2 - away, 0, 1)
    return 1 - saturation[..., None] * (1 - pure)


def _shading(draws, depth):
    """Return brightness factors (n, 32, 32, 1): smooth patches, stripes or checks about 1."""
    smooth = _patches(draws)
    u, v = _rotated(draws, draws.uniform(8, 24), draws.uniform(8, 24))
    period = draws.uniform(5, 12)
    wave_u, wave_v = _wave(u / period), _wave(v / period)
    checks = np.where(draws.chance(1, 2), wave_u, wave_u * wave_v)
    texture = np.where(draws.chance(1, 2), smooth, checks)
    return (1 + draws.uniform(0, depth) * texture)[..., None]


def _patches(draws):
    """Return a smooth random surface (n, 32, 32) in [-1, 1], from 4x4 values by interpolation."""
    knots = draws.uniform(-1, 1, 16).reshape(-1, 4, 4)
    place = (np.arange(_SIZE, dtype=np.float32) + np.float32(0.5)) * np.float32(3 / _SIZE)
    share = place - np.floor(place)
    left = np.floor(place).astype(np.int64)
    rows = knots[:, left] * (1 - share)[:, None] + knots[:, left + 1] * share[:, None]
    return rows[:, :, left] * (1 - share) + rows[:, :, left + 1] * share


def _wave(x):
    """Return a triangle wave of period 1 between -1 and 1."""
    return 4 * np.abs(x - np.floor(x) - np.float32(0.5)) - 1


def _placed(draws, labels):
    """Return the distance in pixels, negative inside, to the shape and to a bar over it."""
    radius = draws.uniform(7, 12.5)
    room = 16 - radius * np.float32(0.9)
    x, y = 16 + room * draws.uniform(-1, 1), 16 + room * draws.uniform(-1, 1)
    u, v = _rotated(draws, x, y)
    u, v = u / radius, v / radius
    u = u * draws.uniform(0.85, 1.15)
    distance = np.empty_like(u)
    for label in np.unique(labels):
        rows = labels == label
        distance[rows] = _DISTANCES[label](u[rows], v[rows])
    return distance * radius, _bar(draws, x, y, radius)


def _bar(draws, x, y, radius):
    """Return the distance to a strip that crosses the shape in two images of three."""
    reach = radius * np.float32(0.8)
    x, y = x + reach * draws.uniform(-1, 1), y + reach * draws.uniform(-1, 1)
    across, _ = _rotated(draws, x, y)
    width = draws.uniform(0.8, 2)
    return np.where(draws.chance(2, 3), np.abs(across) - width, np.float32(_SIZE))


def _rotated(draws, x, y):
    """Return pixel coordinates (n, 32, 32) about (x, y), turned by a random angle.

    The cosine and sine of the angle are (1 - t^2) / (1 + t^2) and 2t / (1 + t^2), for t from -1 to
    1 half a turn, and their opposites for the other half.
    """
    t = draws.uniform(-1, 1)
    scale = np.where(draws.chance(1, 2), np.float32(1), np.float32(-1)) / (1 + t * t)
    cosine, sine = (1 - t * t) * scale, 2 * t * scale
    across = np.arange(_SIZE, dtype=np.float32) + np.float32(0.5)
    dx, dy = across - x, across[:, None] - y
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def _paint(canvas, colour, distance):
    """Blend a colour into the canvas where the distance is negative, with soft edges."""
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    canvas += cover * (colour - canvas)


def _noise(draws, words):
    """Return noise (n, 32, 32, 3) of up to 40 grey levels either way."""
    grains = _split(words, 8).reshape(-1, _SIZE, _SIZE, 3).astype(np.float32) - np.float32(127.5)
    return grains * draws.uniform(0, 40 / 127.5)[..., None]


# The shapes. Each function takes coordinates whose unit is the shape's radius, v pointing down, and
# returns a distance to the outline in the same unit, negative inside.


def _disc(u, v, x=0.0, y=0.0, radius=1.0):
    u, v = u - np.float32(x), v - np.float32(y)
    return np.sqrt(u * u + v * v) - np.float32(radius)


def _rectangle(u, v, width, height):
    return np.maximum(np.abs(u) - np.float32(width), np.abs(v) - np.float32(height))


def _circle(u, v):
    return _disc(u, v, radius=0.9)


def _ring(u, v):
    return np.abs(_disc(u, v, radius=0.74)) - np.float32(0.2)


def _crescent(u, v):
    return np.maximum(_disc(u, v), -_disc(u, v, x=0.5, radius=0.8))


def _semicircle(u, v):
    return np.maximum(_disc(u, v, y=0.4, radius=1.05), v - np.float32(0.4))


def _triangle(u, v):
    slant = (np.abs(u) * _ROOT3 - v) * np.float32(0.5)
    return np.maximum(slant, v) - np.float32(0.5)


def _square(u, v):
    return _rectangle(u, v, 0.76, 0.76)


def _cross(u, v):
    return np.minimum(_rectangle(u, v, 0.98, 0.3), _rectangle(u, v, 0.3, 0.98))


def _star(u, v):
    """Inside at least four of the five edges of a regular pentagon: the pentagram."""
    c1, c2 = (_ROOT5 - 1) / 4, (_ROOT5 + 1) / 4
    s1, s2 = np.sqrt(1 - c1 * c1), np.sqrt(1 - c2 * c2)
    edges = [-v, u * s1 - v * c1, -u * s1 - v * c1, u * s2 + v * c2, -u * s2 + v * c2]
    return np.sort(np.stack(edges), axis=0)[3] - np.float32(0.34)


def _heart(u, v):
    """A square on its corner with a disc on each of its upper sides."""
    v = v - np.float32(0.1)
    half = np.float32(0.56)
    corner = (np.abs(u) + np.abs(v)) / np.sqrt(np.float32(2)) - half
    middle = 0.56 / np.sqrt(np.float32(2))
    return np.minimum(corner, _disc(np.abs(u), v, x=middle, y=-middle, radius=half))


def _arrow(u, v):
    head = np.maximum((np.abs(u) - v - 1) / np.sqrt(np.float32(2)), v + np.float32(0.05))
    return np.minimum(head, _rectangle(u, v - np.float32(0.45), 0.26, 0.53))


_DISTANCES = (
    _circle,
    _ring,
    _crescent,
    _semicircle,
    _triangle,
    _square,
    _cross,
    _star,
    _heart,
    _arrow,
)
