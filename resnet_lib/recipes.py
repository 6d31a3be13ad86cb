"""Training recipes as data: what is trained how, apart from the network."""

from dataclasses import asdict, dataclass

from . import schedules
from .datasets.base import check_count


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run apart from the network and the pictures.

    Attributes:
        name: the recipe's id.
        epochs: passes over the training images. `dataclasses.replace(EXAMPLE, epochs=20)` is the
            same recipe in 20 epochs: the schedule's steps move closer together.
        batch_size: images in a batch.
        optimizer: name of a Keras optimizer, its other settings at their defaults.
        schedule: name of a function of `resnet_lib.schedules`, epoch -> learning rate.
        schedule_epochs: epochs that the schedule was written for.
        reduce_on_plateau: whether ReduceLROnPlateau is installed as well.
        pixel_mean: whether the mean training image is subtracted, inside the model.
        augment: whether each image is padded, cropped at random and flipped at random.
        source: where the recipe comes from.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    schedule: str
    schedule_epochs: int
    reduce_on_plateau: bool
    pixel_mean: bool
    augment: bool
    source: str

    def __post_init__(self):
        """Refuse what would only fail in training."""
        for name in ("epochs", "batch_size", "schedule_epochs"):
            check_count(name, getattr(self, name))
        if not callable(getattr(schedules, self.schedule, None)):
            raise ValueError(
                "Expected the name of a function of resnet_lib.schedules. "
                f"Received: {self.schedule!r}"
            )

    def learning_rate(self, epoch):
        """Return the learning rate at a zero-based epoch."""
        return getattr(schedules, self.schedule)(epoch * self.schedule_epochs / self.epochs)

    def as_dict(self):
        """Return the recipe as a dict that JSON can hold."""
        return asdict(self)


EXAMPLE = Recipe(
    name="example",
    epochs=200,
    batch_size=32,
    optimizer="adam",
    schedule="example",
    schedule_epochs=200,
    reduce_on_plateau=True,
    pixel_mean=True,
    augment=True,
    source="the Keras example cifar10_resnet.py; crops of the padded image in place of shifts",
)
