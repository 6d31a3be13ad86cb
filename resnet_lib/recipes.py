"""Training recipes as data: what is trained how, apart from the network.

>>> from dataclasses import replace
>>> from resnet_lib.recipes import ONE_CYCLE
>>> print(replace(ONE_CYCLE, epochs=10))
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import checks, schedules
from .augment import MODES

OPTIMIZERS = ("adam", "sgd", "muon")
SCHEDULES = ("example", "paper", "one_cycle")
MEANINGS = ("gradient", "loss", "update")
PAPER_STEPS = 64_000
EXAMPLE_EPOCHS = 200
MOST_EPOCHS = 1_000_000
# What a number may be. Beyond the bounds nothing is learnt, and float32 makes a 0 of less.
BOUNDS = {
    "momentum": dict(below=1),
    "peak": dict(least=1e-12, most=1000),
    "warmup": dict(most=1),
    "bn_momentum": dict(below=1),
    "bn_epsilon": dict(least=1e-12, most=1),
    "ema": dict(below=1),
    "label_smoothing": dict(below=1),
    "bias_rate": dict(least=1e-12, most=1000),
    "other_rate": dict(least=1e-12, most=1000),
    "translation": dict(below=1),
    "cutout": dict(most=1),
    "head": dict(most=1),
    "head_peak": dict(least=1e-12, most=1000),
}
FLAGS = ("nesterov", "reduce_on_plateau", "augment", "flip", "flip_test", "alternating", "whiten")
# No None among them.
NEEDED = ("warmup", "label_smoothing", "bias_rate", "translation", "cutout", "head")
# What may be taken off pixels; "inside": the network takes them as they are, 0-255.
NORMALIZE = ("image", "channel", None, "inside")
# From how many views the test may be averaged: see `resnet_lib.training.fit.views_of`.
VIEWS = (1, 3, 6)


def _checked_sizes(sizes: Iterable) -> tuple[tuple[float, float], ...]:
    try:
        pairs = tuple((float(until), float(share)) for until, share in sizes)
        untils = [until for until, _ in pairs]
        valid = all(0 < part <= 1 for pair in pairs for part in pair)
        valid = valid and untils == sorted(set(untils)) and pairs[-1] == (1, 1)
    except (TypeError, ValueError, IndexError):
        valid = False
    if not valid:
        raise ValueError(
            "Expected `sizes` to be pairs (share of the epochs so far, share of height and width) "
            "that rise and end in (1, 1), such as ((0.4, 0.5), (1, 1)). "
            f"Received: {sizes!r}"
        )
    return pairs


@dataclass(frozen=True)
class WeightDecay:
    """Weight decay and which of its three meanings is meant.

    What a step with learning rate r does to a kernel w of gradient g, beside what the optimizer
    does with g:

    - "gradient": g becomes g + value * w, as PyTorch's SGD(weight_decay=value) does;
    - "loss": value * sum(w ** 2) is added to the loss, as Keras' L2(value) does. That makes g into
      g + 2 * value * w: L2(1e-4) is a PyTorch decay of 2e-4;
    - "update": w becomes w - r * value * w, apart from the gradient, its momentum and Adam's
      scaling, as Keras' SGD(weight_decay=value) and AdamW do.

    In all three, kernels decay; biases, batch normalisation, and the numbers by which SkipInit and
    ConvNeXt multiply a branch (layers named …_scale) do not.

    Args:
        value: float from 0 to 10.
        meaning: "gradient", "loss" or "update".

    Raises:
        ValueError: if the value is out of its range or the meaning is not one of the three.
    """

    value: float
    meaning: str = "gradient"

    def __post_init__(self):
        """Refuse what has no meaning."""
        value = float(checks.number("weight_decay", self.value, most=10))
        object.__setattr__(self, "value", value)
        checks.choice("meaning", self.meaning, MEANINGS)

    @property
    def l2(self) -> float | None:
        """Factor of Keras' L2 that does the same; None for "update", which L2 cannot do."""
        return {"gradient": self.value / 2, "loss": self.value}.get(self.meaning)


@dataclass(frozen=True, repr=False)
class Recipe:
    """Everything that decides a training run apart from the network and the pictures.

    Attributes:
        name: the recipe's id.
        epochs: passes over the training images. `dataclasses.replace(EXAMPLE, epochs=20)` is the
            same recipe in 20 epochs: the schedule's steps move closer together.
        batch_size: images in a batch.
        optimizer: "adam", "sgd", or "muon", see `resnet_lib.training.optimizers.Muon`, with which
            kernels of convolutions keep their length and do not decay.
        momentum: of SGD and Muon. None with Adam, which has its own.
        nesterov: whether that momentum is Nesterov's.
        schedule: "example" (a rate for each epoch), "paper" or "one_cycle" (a rate for each step):
            the function of `resnet_lib.schedules`, stretched over the run.
        peak: the largest learning rate of "one_cycle"; None for the others, which name their own.
        warmup: share of the steps, from 0 to 1, before the first full rate; 0 for "example".
        anneal: "linear" or "cosine" for "one_cycle", None for the others.
        weight_decay: `WeightDecay`; None: what the model's own regularizers say.
        bn_momentum: of the moving statistics of batch normalisation; None: as the model has it.
        bn_epsilon: of batch normalisation; None: as the model has it.
        sizes: ((share of the epochs, share of the height and width), …), the first share of each
            pair counted from the start: ((0.4, 0.5), (1, 1)) is 40 % of the epochs at half the
            size, then the full size. Validation and test are always at full size.
        ema: momentum of a moving average of the weights, which is then what is validated and
            kept; None: no average.
        reduce_on_plateau: whether ReduceLROnPlateau is installed as well.
        normalize: what the model subtracts from pixels of 0-1: "image", the mean training image,
            "channel", the mean of each channel, whose standard deviation it then divides by, or
            None. Where sizes change, "image" is not possible. "inside": nothing is done to the
            pixels, for the network takes 0-255 and prepares them itself.
        augment: whether each image is padded as `translation` says, cropped at random
            and, with `flip`, mirrored at random, and then, with `cutout`, loses a square. False:
            nothing of this.
        flip: whether each image is mirrored at random. False where a mirror image is of another
            class, or of none: digits, arrows, left and right hands.
        padding: "constant" or "reflect"; see `resnet_lib.augment.pad_crop_flip`.
        translation: by which share of the shorter side an image moves at most, in whole pixels and
            at least one: 1/8 is 4 of 32. 0: not at all.
        cutout: side of a square at a random place of each image that is painted over in the mean
            colour of the training images, as a share of the image's shorter side: 1/4 is 8 of 32
            pixels. 0: none. Against learning by heart in longer runs (DeVries and Taylor 2017,
            arXiv 1708.04552, section 3, whose squares are 0 after normalising, as these are).
        alternating: whether an image that is flipped in one epoch is not in the next, and so on; in
            the first, half of them are. So each is seen both ways in any two epochs (Jordan 2024,
            arXiv 2404.00498, section 3.6). False: drawn anew for each epoch.
        label_smoothing: share of a label that is spread evenly over all classes, at least 0, below
            1. The losses in the record are then those of such labels (Szegedy et al. 2015, arXiv
            1512.00567, section 7).
        bias_rate: how many times the learning rate the biases have, those of batch normalisation
            among them (arXiv 2404.00498, section 3.4; before it Page 2018).
        other_rate: how many times the learning rate all has that Muon leaves to SGD: what is no
            kernel of a convolution. None with other optimizers.
        whiten: whether `train` sets the kernels of the first layer, a convolution with two filters
            for each number of a patch, to those that whiten the patches of the training images, and
            to their negatives, and freezes them (arXiv 2404.00498, section 3.2).
        flip_test: whether the test accuracy is also measured with the probabilities averaged over
            each image and its mirror image, a number of its own; becomes False where `flip` is.
        head: share of the epochs, from the start, in which only the head is trained, the last layer
            with weights, and all else is as if frozen: see `resnet_lib.finetune`. 0: none.
        head_peak: the largest learning rate of these epochs, which have a one-cycle schedule of
            their own; None where `head` is 0.
        views: 1; or 3: a test accuracy is also measured with the probabilities averaged over each
            image, itself moved by a pixel up and left, and down and right; or 6: over these and
            their mirror images (arXiv 2404.00498, section 3.5). 6 becomes 3 where `flip` is False.
        source: where the recipe comes from.

    Raises:
        ValueError: if a field has a value that would only fail in training.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    schedule: str
    source: str
    momentum: float | None = None
    nesterov: bool = False
    peak: float | None = None
    warmup: float = 0.0
    anneal: str | None = None
    weight_decay: WeightDecay | None = None
    bn_momentum: float | None = None
    bn_epsilon: float | None = None
    sizes: tuple = ((1, 1),)
    ema: float | None = None
    reduce_on_plateau: bool = False
    normalize: str | None = "image"
    augment: bool = True
    flip: bool = True
    padding: str = "constant"
    flip_test: bool = False
    translation: float = 1 / 8
    cutout: float = 0.0
    alternating: bool = False
    label_smoothing: float = 0.0
    bias_rate: float = 1.0
    other_rate: float | None = None
    whiten: bool = False
    views: int = 1
    head: float = 0.0
    head_peak: float | None = None

    def __post_init__(self):
        """Refuse what would only fail in training."""
        for name in ("name", "source"):
            checks.line(name, getattr(self, name))
        for name in ("epochs", "batch_size"):
            self._set(name, checks.count(name, getattr(self, name), most=MOST_EPOCHS))
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "padding": MODES}
        for name, valid in (choices | {"normalize": NORMALIZE}).items():
            checks.choice(name, getattr(self, name), valid)
        for name, bounds in BOUNDS.items():
            if getattr(self, name) is not None or name in NEEDED:
                self._set(name, float(checks.number(name, getattr(self, name), **bounds)))
        for name in FLAGS:
            checks.flag(name, getattr(self, name))
        checks.choice("views", self.views, VIEWS)
        self._set("sizes", _checked_sizes(self.sizes))
        self._set("flip_test", self.flip_test and self.flip)
        self._set("alternating", self.alternating and self.flip)
        self._set("views", self.views if self.flip else min(self.views, 3))
        self._check_together()

    def _set(self, name, value):
        object.__setattr__(self, name, value)

    def _check_together(self):
        if self.normalize == "image" and len(self.sizes) > 1:
            raise ValueError(
                'Expected `normalize` to be "channel" or None with several sizes, for a mean image '
                f"has one. Received: 'image' with sizes={self.sizes}"
            )
        needs = {
            "momentum": (("sgd", "muon"), self.optimizer),
            "other_rate": (("muon",), self.optimizer),
            "peak": (("one_cycle",), self.schedule),
            "anneal": (("one_cycle",), self.schedule),
        }
        for name, (owners, chosen) in needs.items():
            value = getattr(self, name)
            if (chosen in owners) != (value is not None):
                wanted = "a value" if chosen in owners else "None"
                raise ValueError(
                    f"Expected `{name}` to be {wanted} with {chosen!r}. Received: {value!r}"
                )
        self._check_head()
        if self.anneal is not None:
            checks.choice("anneal", self.anneal, schedules.ANNEALS)
        if self.optimizer == "adam" and self.nesterov:
            raise ValueError("Expected `nesterov` to be False with 'adam'. Received: True")
        if self.schedule == "example" and self.warmup:
            raise ValueError(f"Expected `warmup` to be 0 with 'example'. Received: {self.warmup!r}")
        if self.weight_decay is not None and not isinstance(self.weight_decay, WeightDecay):
            raise ValueError(
                "Expected `weight_decay` to be a WeightDecay, which says what the number means, or "
                f"None. Received: {self.weight_decay!r}"
            )

    def _check_head(self):
        if bool(self.head) != (self.head_peak is not None):
            wanted = "a value" if self.head else "None"
            raise ValueError(
                f"Expected `head_peak` to be {wanted} with head={self.head:g}. "
                f"Received: {self.head_peak!r}"
            )
        if self.head and (self.schedule != "one_cycle" or self.whiten):
            raise ValueError(
                "Expected the schedule 'one_cycle', and whiten=False, where the head is trained "
                f"first. Received: {self.schedule!r}, whiten={self.whiten}"
            )

    @property
    def by_step(self) -> bool:
        """Whether the learning rate changes from step to step, or from epoch to epoch."""
        return self.schedule != "example"

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a zero-based step of a run with so many steps an epoch."""
        total = self.epochs * steps_per_epoch
        if self.schedule == "one_cycle":
            first = self.head_epochs * steps_per_epoch
            peak, begun, ended = self.peak, first, total
            if step < first or first == total:
                peak, begun, ended = self.head_peak, 0, first
            shape = dict(peak=peak, warmup=self.warmup, anneal=self.anneal)
            return schedules.one_cycle(step - begun, ended - begun, **shape)
        if self.schedule == "paper":  # In whole numbers: a step must not fall short of 32,000.
            warmup = self.warmup * PAPER_STEPS
            return schedules.paper(step * PAPER_STEPS // total, warmup=warmup)
        return self.learning_rate(step // steps_per_epoch)

    def learning_rate(self, epoch: float) -> float:
        """Return the learning rate at a zero-based epoch; a whole number, or a part of one."""
        if self.by_step:
            parts = 10_000
            return self.rate(int(epoch * parts), parts)
        return getattr(schedules, self.schedule)(epoch * EXAMPLE_EPOCHS / self.epochs)

    @property
    def head_epochs(self) -> int:
        """How many epochs, from the start, train the head alone; of the others, one is left."""
        if self.head in (0, 1):
            return int(self.head * self.epochs)
        return min(max(1, round(self.head * self.epochs)), max(1, self.epochs - 1))

    def size(self, epoch: int) -> float:
        """Return the share of the full height and width that a zero-based epoch trains at.

        The last epoch has the full size, however few there are.
        """
        return next((share for end, share in self._ends() if epoch < end), self.sizes[-1][1])

    def epochs_of_sizes(self) -> list[tuple[float, int]]:
        """Return (share of the full height and width, how many epochs have it), in order."""
        ends = self._ends()
        starts = [0, *(end for end, _ in ends)]
        return [(share, end - start) for start, (end, share) in zip(starts, ends, strict=False)]

    def _ends(self):
        """Return (the epoch before which a size ends, the size) of each; the last gets an epoch."""
        *smaller, (_, full) = self.sizes
        last = self.epochs - 1
        ends = [(min(round(until * self.epochs), last), share) for until, share in smaller]
        return [*ends, (self.epochs, full)]

    def changed(self, fields: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with other values of some fields, as `dataclasses.replace` does.

        Args:
            fields: dict, field -> value, as JSON has it: a number for weight decay keeps the
                decay's meaning, lists may stand for tuples.

        Raises:
            ValueError: if there is no such field, or its value is refused.
        """
        changes = dict(fields)
        valid = [name for name in self.as_dict() if name not in ("name", "source")]
        for name in changes:
            checks.choice("field", name, valid)
        decay = changes.get("weight_decay")
        if isinstance(decay, int | float):
            changes["weight_decay"] = replace(self.weight_decay or WeightDecay(0), value=decay)
        return replace(self, **changes)

    def as_dict(self) -> dict:
        """Return the recipe as a dict that JSON can hold."""
        return asdict(self) | {"sizes": [list(pair) for pair in self.sizes]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `as_dict` made a dict of.

        Fields that an older version did not have get their defaults, with which it does what it
        did, so that `from_dict(…).as_dict()` can be compared with another recipe's.

        Raises:
            ValueError: if the fields are not those of a recipe, or a value is refused.
        """
        try:
            decay = fields.get("weight_decay")
            return cls(**{**fields, "weight_decay": WeightDecay(**decay) if decay else None})
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"Expected a recipe's fields, as `as_dict` returns them. Received: {fields!r} "
                f"({error})"
            ) from None

    def __repr__(self):
        base = (NAMED | {FINE_TUNE.name: FINE_TUNE}).get(self.name)
        if base is None:
            return f"<recipe {self.name!r}: {self.epochs} epochs, {self.optimizer}>"
        constant = f"recipes.{self.name.upper().replace('-', '_')}"
        fields = vars(self).items()
        changes = [f"{name}={value!r}" for name, value in fields if value != getattr(base, name)]
        return f"replace({', '.join([constant, *changes])})" if changes else constant

    def __str__(self):
        width = max(map(len, self.as_dict()))
        lines = [f"{name:{width}}  {value}" for name, value in vars(self).items()]
        return "\n".join(lines)


EXAMPLE = Recipe(
    name="example",
    epochs=200,
    batch_size=32,
    optimizer="adam",
    schedule="example",
    reduce_on_plateau=True,
    source="the Keras example cifar10_resnet.py; crops of the padded image in place of shifts",
)

# 64,000 steps are 182 epochs of 45,000 images.
PAPER = Recipe(
    name="paper",
    epochs=182,
    batch_size=128,
    optimizer="sgd",
    momentum=0.9,
    schedule="paper",
    weight_decay=WeightDecay(1e-4),
    source="He et al. 2015 (arXiv 1512.03385), section 4.2; decay on kernels only",
)

# "In this case, we find that the initial learning rate of 0.1 is slightly too large": depth 110.
PAPER_110 = replace(PAPER, name="paper-110", warmup=400 / PAPER_STEPS)

ONE_CYCLE = Recipe(
    name="one-cycle",
    epochs=15,
    batch_size=128,
    optimizer="sgd",
    momentum=0.9,
    nesterov=True,
    schedule="one_cycle",
    peak=0.3,
    warmup=0.25,
    anneal="linear",
    weight_decay=WeightDecay(5e-4),
    bn_momentum=0.9,
    bn_epsilon=1e-5,
    sizes=((1 / 3, 0.75), (1, 1)),
    normalize="channel",
    padding="reflect",
    flip_test=True,
    source="resnet_lib, after Smith and Topin 2017 (arXiv 1708.07120)",
)

# With the network of `resnet_lib.fast`, for which it is made.
FAST = Recipe(
    name="fast",
    epochs=8,
    batch_size=256,
    optimizer="muon",
    momentum=0.85,
    nesterov=True,
    schedule="one_cycle",
    peak=0.05,
    other_rate=3.75,
    warmup=0.05,
    anneal="linear",
    weight_decay=WeightDecay(1.33e-3),
    normalize="channel",
    padding="reflect",
    translation=1 / 16,
    alternating=True,
    label_smoothing=0.2,
    bias_rate=64,
    whiten=True,
    flip_test=True,
    views=6,
    source="resnet_lib, after Jordan 2024 (arXiv 2404.00498, and Muon)",
)

# For networks that are trained already: see `resnet_lib.finetune`.
FINE_TUNE = Recipe(
    name="fine-tune",
    epochs=30,
    batch_size=16,
    optimizer="adam",
    schedule="one_cycle",
    peak=1e-3,
    warmup=0.1,
    anneal="cosine",
    weight_decay=WeightDecay(1e-3, "update"),
    normalize="inside",
    padding="reflect",
    head=1 / 3,
    head_peak=1e-2,
    source="resnet_lib, after Howard and Ruder 2018 (arXiv 1801.06146)",
)

# Each recipe with the form of the CIFAR networks that goes with it. v2, which has no "standard",
# takes the paper's.
FORMS = {
    EXAMPLE: "example",
    PAPER: "paper",
    PAPER_110: "paper",
    ONE_CYCLE: "standard",
    FAST: "standard",
}
NAMED = {recipe.name: recipe for recipe in FORMS}


def named(name: str, depth: int | None = None) -> Recipe:
    """Return a recipe by its id.

    Args:
        name: "example", "paper", "paper-110" or "one-cycle".
        depth: depth of the network: from 110 on, "paper" is "paper-110", with its warm-up.

    Raises:
        ValueError: if there is none of that name.
    """
    recipe = checks.choice("name", name, NAMED)
    return PAPER_110 if recipe is PAPER and depth and depth >= 110 else recipe
