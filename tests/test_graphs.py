"""What a picture shows is what the live graph is: boxes, side paths, shapes, stages, alt text."""

import keras
import pytest
from keras import layers, ops
from nets import net

from resnet_lib import blocks, cifar, graphs


def model(function, shape=(16, 16, 8), **options):
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs), **options)


def conv(filters=8, kernel=3, **options):
    return layers.Conv2D(filters, kernel, padding="same", **options)


def labels(boxes):
    return ", ".join(box.label for box in boxes)


def drawn(block):
    """The main path, and (start, end, boxes, whether it is a skip) of each side path."""
    sides = [(side.start, side.end, labels(side.boxes), side.skip) for side in block.sides]
    return labels(block.main), sides


BRANCH = "conv 3x3, 16, BN, ReLU, conv 3x3, 16, BN"
HALVED = "conv 3x3, 32, /2, BN, ReLU, conv 3x3, 32, BN"
LIBRARY = {
    "plain": ("plain", "stage1_block1", "plain block", f"{BRANCH}, ReLU", []),
    "identity": (
        "v1",
        "stage1_block1",
        "identity block",
        f"{BRANCH}, +, ReLU",
        [(-1, 5, "", True)],
    ),
    "projection": (
        "v1",
        "stage2_block1",
        "projection block",
        f"{HALVED}, +, ReLU",
        [(-1, 5, "conv 1x1, 32, /2, BN", True)],
    ),
    "shortcut A": (
        "v1 paper",
        "stage2_block1",
        "zero-padded block",
        f"{HALVED}, +, ReLU",
        [(-1, 5, "every 2nd pixel, zeros, 16 channels", True)],
    ),
    "bottleneck": (
        "resnet50",
        "conv3_block1",
        "projection bottleneck block",
        "conv 1x1, 128, /2, BN, ReLU, conv 3x3, 128, BN, ReLU, conv 1x1, 512, BN, +, ReLU",
        [(-1, 8, "conv 1x1, 512, /2, BN", True)],
    ),
    "identity bottleneck": (
        "resnet50",
        "conv3_block2",
        "identity bottleneck block",
        "conv 1x1, 128, BN, ReLU, conv 3x3, 128, BN, ReLU, conv 1x1, 512, BN, +, ReLU",
        [(-1, 8, "", True)],
    ),
    "pre-activation, shared": (
        "v2 paper",
        "stage2_block1",
        "pre-activation projection bottleneck block",
        "BN, ReLU, conv 1x1, 32, /2, BN, ReLU, conv 3x3, 32, BN, ReLU, conv 1x1, 128, +",
        [(1, 9, "conv 1x1, 128, /2", True)],
    ),
    "pre-activation": (
        "v2 paper",
        "stage2_block2",
        "pre-activation identity bottleneck block",
        "BN, ReLU, conv 1x1, 32, BN, ReLU, conv 3x3, 32, BN, ReLU, conv 1x1, 128, +",
        [(-1, 9, "", True)],
    ),
    "squeeze-and-excitation": (
        "se",
        "stage1_block1",
        "block",
        "conv 3x3, 16, BN, ReLU, conv 3x3, 16, BN, global average, dense 1, ReLU, dense 16, "
        "sigmoid, ×, +, ReLU",
        [(4, 10, "", False), (-1, 11, "", True)],
    ),
    "stochastic depth": (
        "stochastic depth",
        "stage3_block1",
        "projection block",
        "conv 3x3, 64, /2, BN, ReLU, conv 3x3, 64, BN, dropout of the branch, 0.5, +, ReLU",
        [(-1, 6, "conv 1x1, 64, /2", True)],
    ),
    "skipinit": (
        "skipinit",
        "stage1_block1",
        "identity block",
        "ReLU, conv 3x3, 16, ReLU, conv 3x3, 16, × a trained number, +",
        [(0, 5, "", True)],
    ),
    "convnext": (
        "convnext",
        "stage2_block1",
        "pre-activation identity block",
        "layer norm, conv 2x2, 32, /2, depthwise 7x7, 32, layer norm, dense 128, GELU, dense 32, "
        "× a trained number a channel, +",
        [(1, 8, "", True)],
    ),
    "transformer": (
        "transformer",
        "stage1_block1",
        "block",
        "layer norm, self-attention, 1 head, +, layer norm, dense 64, GELU, dense 16, +",
        [(-1, 2, "", True), (2, 7, "", True)],
    ),
}


@pytest.mark.parametrize("network, name, kind, main, sides", LIBRARY.values(), ids=LIBRARY)
def test_each_kind_of_block_is_read_as_it_is(network, name, kind, main, sides):
    block = graphs.read(net(network), name)
    assert drawn(block) == (main, sides)
    assert block.kind == kind


def test_shapes_are_those_of_the_tensors():
    block = graphs.read(net("v1 paper"), "stage2_block1")
    assert block.shape == (32, 32, 16)
    assert [box.shape for box in block.main] == [(16, 16, 32)] * 7
    [skip] = block.sides
    assert [box.shape for box in skip.boxes] == [(16, 16, 16), (16, 16, 32)]
    assert skip.shape == (16, 16, 32)
    assert graphs.read(cifar.resnet_v1((None, 16, 3), 8), "stem").main[0].shape == (None, 16, 16)


def test_the_alt_text_says_what_the_block_does():
    assert graphs.read(net("v1"), "stage2_block1").alt == (
        "Block stage2_block1, 32x32x16 to 16x16x32: 3x3 convolution with stride 2 to 16x16x32, "
        "BN, ReLU, 3x3 convolution, BN; the skip, from the input, goes through a 1x1 convolution "
        "with stride 2 to 16x16x32 and BN; both are added; ReLU."
    )
    assert graphs.read(net("plain"), "stage1_block1").alt.endswith("BN, ReLU; no skip.")
    assert (
        "the skip, from behind the first ReLU, goes"
        in graphs.read(net("v2 paper"), "stage2_block1").alt
    )
    assert "the skip, from the input, goes past unchanged; both are added." in (
        graphs.read(net("v2 paper"), "stage2_block2").alt
    )


def written(strides=2, skip=True, late=False, kernel=1):
    """A projection block by hand, right or with one mistake."""

    def block(x):
        y = layers.ReLU()(layers.BatchNormalization()(conv(16, strides=strides)(x)))
        y = layers.BatchNormalization()(conv(16)(y))
        y = layers.ReLU()(y) if late else y
        if skip:
            y = layers.Add()([conv(16, kernel, strides=strides)(x), y])
        return y if late else layers.ReLU()(y)

    return graphs.read(model(block, name="mine"))


def test_another_block_gives_another_picture_and_another_text():
    wrong = {
        "stride": written(strides=1),
        "no skip": written(skip=False),
        "ReLU before the addition": written(late=True),
        "kernel of the projection": written(kernel=2),
    }
    found = [drawn(block) for block in (written(), *wrong.values())]
    assert all(found.count(each) == 1 for each in found)
    texts = {block.alt for block in (written(), *wrong.values())}
    assert len(texts) == 1 + len(wrong)
    assert drawn(written()) == drawn(written())
    assert wrong["ReLU before the addition"].alt.endswith("both are added.")


BY_HAND = {
    "operators": lambda x: ops.relu(conv()(layers.ReLU()(conv()(x))) + x),
    "keras.ops": lambda x: ops.relu(ops.add(x, conv()(conv(activation="relu")(x)))),
    "layers": lambda x: layers.Activation("relu")(
        layers.add([x, conv()(layers.Activation("relu")(conv()(x)))])
    ),
    "Sequential": lambda x: layers.ReLU()(
        layers.Add()([keras.Sequential([conv(activation="relu"), conv()])(x), x])
    ),
    "a model inside": lambda x: ops.relu(
        x + model(lambda y: conv()(conv(activation="relu")(y)), name="branch")(x)
    ),
}


@pytest.mark.parametrize("block", BY_HAND.values(), ids=BY_HAND)
def test_a_block_by_hand_is_the_same_however_it_is_written(block):
    main = "conv 3x3, 8, ReLU, conv 3x3, 8, +, ReLU"
    assert drawn(graphs.read(model(block))) == (main, [(-1, 3, "", True)])


def test_two_calls_of_one_model_are_two_parts():
    inner = model(lambda x: ops.relu(x + conv()(x)), name="inner")
    main, sides = drawn(graphs.read(model(lambda x: inner(inner(x)))))
    assert main == "conv 3x3, 8, +, ReLU, conv 3x3, 8, +, ReLU"
    assert sorted(sides) == [(-1, 1, "", True), (2, 4, "", True)]


ZEROS = {
    "padded": lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, 8))),
    "concatenated": lambda x: ops.concatenate([x, ops.zeros_like(x)], -1),
}


@pytest.mark.parametrize("zeros", ZEROS.values(), ids=ZEROS)
def test_zeros_behind_the_channels_are_no_second_path(zeros):
    net = model(lambda x: ops.relu(zeros(x[:, ::2, ::2]) + conv(16, strides=2)(x)))
    sides = drawn(graphs.read(net))[1]
    assert sides == [(-1, 1, "every 2nd pixel, zeros, 8 channels", True)]


def half_named(x):
    """Two blocks of which only the convolutions have names of their own."""
    for name in ("b1", "b2"):
        y = layers.ReLU()(conv(name=f"{name}_conv1")(x))
        y = layers.BatchNormalization()(conv(name=f"{name}_conv2")(y))
        x = ops.relu(x + y)
    return layers.GlobalAveragePooling2D()(x)


def test_what_keras_has_named_belongs_to_the_block_around_it():
    net = model(half_named)
    for name in ("b1", "b2"):
        main = "conv 3x3, 8, ReLU, conv 3x3, 8, BN, +, ReLU"
        assert drawn(graphs.read(net, name)) == (main, [(-1, 4, "", True)])


def test_a_projection_that_keras_has_named_belongs_to_the_block():
    def block(x):
        y = conv(16, strides=2, name="b_conv1")(x)
        return layers.Add(name="b_add")([conv(16, 1, strides=2)(x), conv(16, name="b_conv2")(y)])

    net = model(lambda x: block(layers.ReLU()(x)))
    assert drawn(graphs.read(net, "b"))[1] == [(-1, 2, "conv 1x1, 16, /2", True)]


def test_a_prefix_ends_where_the_number_ends():
    def block(x):
        x = layers.ReLU(name="block1_relu")(conv(name="block1_conv")(x))
        return conv(name="block10_conv")(x)

    net = model(block)
    assert labels(graphs.read(net, "block1").main) == "conv 3x3, 8, ReLU"
    assert graphs.read(net, "block1_") == graphs.read(net, "block1")
    assert labels(graphs.read(net, "block").main) == "conv 3x3, 8, ReLU, conv 3x3, 8"


def test_an_unknown_prefix_is_told_the_nearest():
    with pytest.raises(ValueError, match=r"stage9_block1'; the nearest: 'stage\d_block1'"):
        graphs.read(net("v1 paper"), "stage9_block1")
    with pytest.raises(ValueError, match=r"'stage3_block1'; the nearest: 'conv3_block1'"):
        graphs.read(net("resnet50"), "stage3_block1")
    with pytest.raises(ValueError, match="Keras has named all layers; leave `name` out"):
        graphs.read(model(BY_HAND["layers"]), "block")
    with pytest.raises(ValueError, match="one printable line"):
        graphs.read(net("plain"), 3)


# Other graphs: drawn as they are, or refused.


def dense_connections(x):
    for _ in range(2):
        x = layers.Concatenate()([x, conv()(layers.ReLU()(x))])
    return x


def two_paths(x):
    return layers.Concatenate()([conv(8, 1)(x), conv(8, 5)(conv(4, 1)(x))])


def overlapping(x):
    a = conv()(x)
    return conv()(conv()(a) + x) + a


def excited(x):
    y = conv()(conv()(x))
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    return x + y * gate


OTHERS = {
    "dense connections": (
        dense_connections,
        "ReLU, conv 3x3, 8, concatenate, ReLU, conv 3x3, 8, concatenate",
        [(-1, 2, "", False), (2, 5, "", False)],
    ),
    "two paths": (
        two_paths,
        "conv 1x1, 4, conv 5x5, 8, concatenate",
        [(-1, 2, "conv 1x1, 8", False)],
    ),
    "overlapping skips": (
        overlapping,
        "conv 3x3, 8, conv 3x3, 8, +, conv 3x3, 8, +",
        [(0, 4, "", True), (-1, 2, "", True)],
    ),
    "squeeze and excitation": (
        excited,
        "conv 3x3, 8, conv 3x3, 8, global average, dense 8, sigmoid, ×, +",
        [(1, 5, "", False), (-1, 6, "", True)],
    ),
    "x + x": (lambda x: x + x, "+", [(-1, 0, "", True)]),
    "equal branches": (
        lambda x: conv()(x) + conv()(x),
        "conv 3x3, 8, +",
        [(-1, 1, "conv 3x3, 8", False)],
    ),
}


@pytest.mark.parametrize("function, main, sides", OTHERS.values(), ids=OTHERS)
def test_other_graphs_are_read_as_they_are(function, main, sides):
    found, others = drawn(graphs.read(model(function)))
    assert found == main
    assert sorted(others) == sorted(sides)


def branching_side(x):
    side = conv(8, 1)(x)
    side = layers.Add()([layers.ReLU()(side), layers.BatchNormalization()(side)])
    return layers.Add()([conv()(conv()(conv()(x))), side])


def splitting_side(x):
    side = conv(8, 1)(x)
    return layers.Concatenate()([conv()(conv()(x)) + side, side])


@pytest.mark.parametrize("function", [branching_side, splitting_side])
def test_a_side_path_that_branches_is_refused(function):
    with pytest.raises(ValueError, match="without branching"):
        graphs.read(model(function, name="odd"))


class Subclassed(keras.Model):
    def call(self, x):
        return x


A, B = keras.Input((8, 8, 4), name="a"), keras.Input((8, 8, 4), name="b")
REFUSED = {
    "two inputs": (lambda: keras.Model([A, B], layers.Add()([A, B])), "one input.*'a'"),
    "two outputs": (lambda: keras.Model(A, [conv()(A), conv()(A)]), "one output"),
    "no layers": (lambda: keras.Model(A, A), "with layers"),
    "subclassed": (Subclassed, r"keras.Model\(inputs, layer\(inputs\)\)"),
    "not built": (lambda: keras.Sequential([conv()]), "that is built"),
    "no model": (lambda: conv(), "functional model.*Conv2D"),
    "too large": (
        lambda: keras.Sequential([keras.Input((8, 8, 4)), *[conv() for _ in range(31)]]),
        "at most 30 layers.*with 31 layers; draw one block",
    ),
}


@pytest.mark.parametrize("make, told", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused(make, told):
    with pytest.raises(ValueError, match=f"(?s)Expected.*{told}"):
        graphs.read(make())


def test_a_large_model_whose_layers_have_names_is_told_a_beginning():
    def many(x):
        for number in range(16):
            x = layers.ReLU(name=f"part{number // 8}_relu{number}")(
                conv(name=f"part{number // 8}_conv{number}")(x)
            )
        return x

    with pytest.raises(ValueError, match="such as 'part0'"):
        graphs.read(model(many))
    assert len(graphs.read(model(many), "part1").main) == 16


def test_a_sequential_model_is_a_path():
    net = keras.Sequential([keras.Input((8, 8, 3)), conv(4), layers.Flatten(), layers.Dense(2)])
    assert drawn(graphs.read(net)) == ("conv 3x3, 4, flatten, dense 2", [])


# Networks


def rows(network):
    return [(row.name, row.blocks, row.units[-1].main[-1].shape) for row in network.rows]


def test_a_network_is_read_by_stages():
    network = graphs.read(net("v1"))
    assert rows(network) == [
        ("stem", 0, (32, 32, 16)),
        ("stage1", 3, (32, 32, 16)),
        ("stage2", 3, (16, 16, 32)),
        ("stage3", 3, (8, 8, 64)),
        ("head", 0, (10,)),
    ]
    assert [unit.kind for unit in network.rows[2].units] == [
        "projection block",
        "identity block",
        "identity block",
    ]
    assert [row.blocks for row in graphs.read(net("resnet50")).rows] == [0, 3, 4, 6, 3, 0]
    assert graphs.essentials(graphs.read(net("resnet50")).rows[0].units[0]) == (
        "conv 7x7, 64, /2",
        "max pooling 3x3, /2",
    )


def test_the_alt_text_of_a_network_tells_its_blocks_and_skips():
    alt = graphs.read(net("v1")).alt
    assert alt.startswith("ResNet20v1 by stages, input 32x32x3: stem: conv 3x3, 16, to 32x32x16; ")
    assert (
        "stage2: 1 block of conv 3x3, 32, /2 and conv 3x3, 32 with a skip through conv 1x1, 32, "
        "/2, BN, then 2 blocks of conv 3x3, 32 and conv 3x3, 32 with an identity skip, to 16x16x32"
    ) in alt
    assert "3 blocks of conv 3x3, 16 and conv 3x3, 16 with no skip" in graphs.read(net("plain")).alt


def test_a_stage_is_a_network_and_a_single_block_is_none():
    stage = graphs.read(net("resnet50"), "conv4")
    assert rows(stage) == [("stage3", 6, (14, 14, 1024))]
    assert stage.shape == (28, 28, 512)
    inputs = keras.Input((8, 8, 16))
    alone = keras.Model(inputs, blocks.basic_block(inputs, 16, name="stage1_block1"))
    assert isinstance(graphs.read(alone), graphs.Block)


def test_layers_around_a_network_have_a_row_of_their_own():
    def whole(x):
        return cifar.resnet_v1((32, 32, 3), 8)(layers.Rescaling(1 / 255)(x))

    assert rows(graphs.read(model(whole, (32, 32, 3))))[:2] == [
        ("other layers", 0, (32, 32, 3)),
        ("stem", 0, (32, 32, 16)),
    ]


def test_a_network_of_keras_is_read_by_stages():
    """In ResNet50V2 the last block of a stage has a pooling on its skip that Keras has named."""
    network = graphs.read(
        keras.applications.ResNet50V2(weights=None, input_shape=(64, 64, 3), classes=10)
    )
    assert [row.blocks for row in network.rows] == [0, 3, 4, 6, 3, 0]
    assert graphs.skip_told(network.rows[1].units[-1]) == "a skip through every 2nd pixel"


def test_blocks_that_do_not_stand_one_behind_another_are_refused():
    def parallel(x):
        a = blocks.basic_block(x, 8, name="stage1_block1")
        b = blocks.basic_block(x, 8, name="stage1_block2")
        return layers.Add(name="head_add")([a, b])

    with pytest.raises(ValueError, match=r"one behind another.*stage1_block1 stands"):
        graphs.read(model(parallel))


def test_what_stands_on_the_stream_in_front_of_a_block_is_by_itself():
    network = graphs.read(net("convnext"))
    rows = {row.name: row for row in network.rows}
    assert [len(row.units) for row in network.rows] == [1, 1, 2, 2, 1]
    assert [row.blocks for row in network.rows] == [0, 1, 1, 1, 0]
    front, block = rows["stage2"].units
    assert [box.label for box in front.main] == ["layer norm", "conv 2x2, 32, /2"]
    assert front.sides == ()
    assert block.shape == (16, 16, 32)
    assert block.main[0].label == "depthwise 7x7, 32"
    [skip] = block.sides
    assert (skip.start, skip.end) == (-1, len(block.main) - 1)
    assert (
        "stage2: conv 2x2, 32, /2, then 1 block of depthwise 7x7, 32 and dense 128 and dense 32 "
        "with an identity skip, to 16x16x32;" in network.alt
    )
    shared = graphs.read(net("v2 paper"))  # BN and ReLU before both paths are the block's.
    assert [len(row.units) for row in shared.rows] == [1, 3, 3, 3, 1]
