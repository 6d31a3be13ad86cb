"""The tables that the networks are held against, as data, each with its source.

>>> TABLE_6.row(20).parameters
0.27
>>> TABLE_6.column("depth")
(20, 32, 44, 56, 110, 1202)

"Printed" numbers stand as their source prints them. "Counted" numbers are exact: counted once by
hand or program from the architecture, and asserted in the tests for each builder.
"""

from collections import namedtuple
from dataclasses import dataclass, field

RESNET_PAPER = "He et al. 2015, Deep Residual Learning for Image Recognition, arXiv 1512.03385"
PREACTIVATION_PAPER = (
    "He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv 1603.05027"
)
KERAS_EXAMPLE = "the Keras example cifar10_resnet.py, the builders that most people copy"
COUNTED = "counted with Keras 3.15 from the architecture"


@dataclass(frozen=True)
class Table:
    """A table with a source.

    Attributes:
        title: what the rows are.
        source: where they come from.
        columns: name -> meaning and unit; the first column is the key.
        rows: named tuples, one field a column. None stands where the source has no number.
    """

    title: str
    source: str
    columns: dict
    data: tuple = field(repr=False)

    @property
    def rows(self) -> tuple:
        """The rows as named tuples."""
        row = namedtuple("Row", self.columns)
        return tuple(row(*values) for values in self.data)

    def row(self, key: object) -> tuple:
        """Return the row whose first column is `key`; ValueError, with the keys, if none is."""
        for row in self.rows:
            if row[0] == key:
                return row
        keys = ", ".join(repr(values[0]) for values in self.data)
        raise ValueError(f"Expected one of {keys} ({self.title}). Received: {key!r}")

    def column(self, name: str) -> tuple:
        """Return one column as a tuple; ValueError, with the names, if there is none."""
        if name not in self.columns:
            names = ", ".join(self.columns)
            raise ValueError(f"Expected one of {names} ({self.title}). Received: {name!r}")
        return tuple(getattr(row, name) for row in self.rows)


_ERROR = "test error, %"
_EXACT = "trainable parameters"
_ADDS = "multiply-adds of convolutions and dense layers for one image"

TABLE_6 = Table(
    title="ResNet v1 on CIFAR-10",
    source=f"{RESNET_PAPER}, table 6",
    columns={"depth": "layers", "parameters": "millions, as printed", "error": _ERROR},
    data=(
        (20, 0.27, 8.75),
        (32, 0.46, 7.51),
        (44, 0.66, 7.17),
        (56, 0.85, 6.97),
        (110, 1.7, 6.43),
        (1202, 19.4, 7.93),
    ),
)

V1_PAPER_FORM = Table(
    title="ResNet v1, form 'paper': shortcut A, no convolution bias",
    source=COUNTED,
    columns={"depth": "layers", "parameters": _EXACT},
    data=(
        (20, 269_722),
        (32, 464_154),
        (44, 658_586),
        (56, 853_018),
        (110, 1_727_962),
        (1202, 19_421_274),
    ),
)
V1_STANDARD_FORM = Table(
    title="ResNet v1, form 'standard': projections with BN, no convolution bias",
    source=COUNTED,
    columns={"depth": "layers", "parameters": _EXACT},
    data=((20, 272_474),),
)
TABLE_3_PREACTIVATION = Table(
    title="Pre-activation networks on CIFAR-10",
    source=f"{PREACTIVATION_PAPER}, table 3; parameters: table 4",
    columns={
        "depth": "layers",
        "block": "block of the network",
        "parameters": "millions, as printed",
        "error_original": f"{_ERROR}, original units",
        "error_preactivation": f"{_ERROR}, pre-activation units",
    },
    data=(
        (110, "basic", None, 6.61, 6.37),
        (164, "bottleneck", 1.7, 5.93, 5.46),
        (1001, "bottleneck", 10.2, 7.61, 4.92),
    ),
)
PREACTIVATION_ORDERS = Table(
    title="Orders of BN, ReLU and addition, ResNet-110 on CIFAR-10",
    source=f"{PREACTIVATION_PAPER}, table 2; medians of five runs",
    columns={
        "order": "the paper's name",
        "on_the_stream": "layers between one addition and the next",
    }
    | {"error": _ERROR},
    data=(
        ("original", "ReLU", 6.61),
        ("BN after addition", "BN, ReLU", 8.17),
        ("ReLU before addition", "nothing", 7.84),
        ("ReLU-only pre-activation", "nothing", 6.71),
        ("full pre-activation", "nothing", 6.37),
    ),
)
V2_PAPER_FORM = Table(
    title="ResNet v2, form 'paper': bias-free projections fed by the shared BN-ReLU",
    source=COUNTED,
    columns={"depth": "layers", "parameters": _EXACT},
    data=((164, 1_703_258), (1001, 10_327_706)),
)

_EXAMPLE_COLUMNS = {
    "depth": "layers",
    "total": "parameters, BN moving statistics included",
    "trainable": _EXACT,
    "multiply_adds": _ADDS,
}
V1_EXAMPLE_FORM = Table(
    title="ResNet v1, form 'example'",
    source=COUNTED,
    columns=_EXAMPLE_COLUMNS,
    data=(
        (20, 274_442, 273_066, 40_813_184),
        (32, 470_218, 467_946, 69_124_736),
        (44, 665_994, 662_826, 97_436_288),
        (56, 861_770, 857_706, 125_747_840),
        (110, 1_742_762, 1_734_666, 253_149_824),
    ),
)
V2_EXAMPLE_FORM = Table(
    title="ResNet v2, form 'example'",
    source=COUNTED,
    columns=_EXAMPLE_COLUMNS,
    data=(
        (20, 574_090, 570_602, 66_243_072),
        (29, 849_002, 843_786, 97_962_496),
        (56, 1_673_738, 1_663_338, 193_120_768),
        (110, 3_323_210, 3_302_442, 383_437_312),
        (164, 4_972_682, 4_941_546, 573_753_856),
    ),
)
EXAMPLE_ACCURACY = Table(
    title="CIFAR-10 after 200 epochs, as the example's documentation has it",
    source=f"{KERAS_EXAMPLE}; seconds on a GTX 1080 Ti",
    columns={
        "depth": "layers",
        "v1": "test accuracy of the example's v1, %",
        "v1_paper": "test accuracy of the paper's v1, %",
        "v2": "test accuracy of the example's v2, %",
        "v2_paper": "test accuracy of the paper's v2, %",
        "v1_seconds": "seconds an epoch, v1",
        "v2_seconds": "seconds an epoch, v2",
    },
    data=(
        (20, 92.16, 91.25, None, None, 35, None),
        (32, 92.46, 92.49, None, None, 50, None),
        (44, 92.50, 92.83, None, None, 70, None),
        (56, 92.71, 93.03, 93.01, None, 90, 100),
        (110, 92.65, 93.39, 93.15, 93.63, 165, 180),
        (164, None, 94.07, None, 94.54, None, None),
        (1001, None, 92.39, None, 95.08, None, None),
    ),
)
RESNET20_REPRODUCTIONS = Table(
    title="ResNet-20 v1 on CIFAR-10 by others, after 200 epochs",
    source="the README files of the repositories on GitHub",
    columns={
        "name": "repository",
        "recipe": "what differs from the paper's recipe",
        "accuracy": "test accuracy, %",
    },
    data=(
        ("akamaster/pytorch_resnet_cifar10", "200 epochs", 91.73),
        (
            "chenyaofo/pytorch-cifar-models",
            "cosine, Nesterov momentum, weight decay 5e-4, batches of 256",
            92.60,
        ),
    ),
)
IMAGENET = Table(
    title="ResNets on ImageNet, shortcut B with BN, no convolution bias",
    source=f"parameters and multiply-adds: {COUNTED}; errors: {RESNET_PAPER}, tables 2 and 3",
    columns={
        "depth": "layers",
        "parameters": _EXACT,
        "giga_multiply_adds": "10^9 multiply-adds for one image of 224x224",
        "error": "top-1 error, 10-crop, %, with the shortcut that the next column names",
        "shortcut": "shortcut of the error",
    },
    data=(
        (18, 11_689_512, 1.814, 27.88, "A"),
        (34, 21_797_672, 3.664, 24.52, "B"),
        (50, 25_557_032, 3.858, 22.85, "B"),
        (101, 44_549_160, 7.570, 21.75, "B"),
        (152, 60_192_808, 11.282, 21.43, "B"),
    ),
)
IMAGENET_34_ERROR = {"A": 25.03, "B": 24.52, "C": 24.19}
"""Top-1 error of ResNet-34 by shortcut, 10-crop, %. Source: arXiv 1512.03385, table 3."""
RESNET50_V1_5_MULTIPLY_ADDS = 4_089_184_256
"""Multiply-adds of ResNet-50 with the stride on the 3x3 convolution, one image of 224x224."""
KERAS_APPLICATIONS = Table(
    title="keras.applications",
    source=COUNTED,
    columns={"name": "model", "total": _EXAMPLE_COLUMNS["total"], "trainable": _EXACT},
    data=(
        ("ResNet50", 25_636_712, 25_583_592),
        ("ResNet50 without top", 23_587_712, 23_534_592),
        ("ResNet50V2", 25_613_800, 25_568_360),
        ("ResNet101", 44_707_176, None),
        ("ResNet152", 60_419_944, None),
    ),
)
HAND_SIGNS = Table(
    title="A well-known experiment: hand signs for 0 to 5, 64x64, 1,080 training pictures",
    source="P. Dwivedi, Understanding and Coding a ResNet in Keras, 2019; accuracies as in the "
    "article, of which the notebooks (github.com/priya-dwivedi/Deep-Learning, resnet_keras) have "
    "the first, and 78.33 for the second",
    columns={
        "name": "what was trained",
        "epochs": "passes over the training pictures",
        "accuracy": "accuracy on the 120 test pictures, %",
    },
    data=(
        ("ResNet-50, written by hand", 25, 86.67),
        ("keras.applications' ResNet50", 100, 75.0),
    ),
)
