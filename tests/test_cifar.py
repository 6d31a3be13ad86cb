"""The CIFAR builders: every count against the tables, every difference explained, every refusal."""

import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
from example_code import copied_v1, copied_v2
from keras import layers

from resnet_lib import blocks, cifar, paper
from resnet_lib.inspection import count_multiply_adds, count_parameters, feature_maps

SHAPE = (32, 32, 3)


def parameters_by_kind(model):
    """Trainable parameters of a model's kernels, conv biases, projections, BN and dense layer."""
    kinds = dict.fromkeys(("kernel", "bias", "projection", "bn", "dense", "moving"), 0)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            kind = "projection" if "shortcut" in layer.name else "kernel"
            kinds[kind] += int(np.prod(layer.kernel.shape))
            kinds["bias"] += layer.filters if layer.use_bias else 0
        elif isinstance(layer, layers.BatchNormalization):
            kinds["bn"] += 2 * layer.gamma.shape[0]
            kinds["moving"] += 2 * layer.gamma.shape[0]
        elif isinstance(layer, layers.Dense):
            kinds["dense"] += layer.count_params()
    return kinds


@pytest.mark.parametrize("row", paper.V1_EXAMPLE_FORM.rows, ids=lambda row: str(row.depth))
def test_v1_example_is_counted_to_the_last_parameter(row):
    model = cifar.resnet_v1(SHAPE, row.depth)
    count = count_parameters(model)
    assert (count.total, count.trainable) == (row.total, row.trainable)
    assert count_multiply_adds(model) == row.multiply_adds


@pytest.mark.parametrize("row", paper.V2_EXAMPLE_FORM.rows, ids=lambda row: str(row.depth))
def test_v2_example_is_counted_to_the_last_parameter(row):
    model = cifar.resnet_v2(SHAPE, row.depth)
    count = count_parameters(model)
    assert (count.total, count.trainable) == (row.total, row.trainable)
    assert count_multiply_adds(model) == row.multiply_adds


@pytest.mark.slow
@pytest.mark.parametrize("row", paper.V1_PAPER_FORM.rows, ids=lambda row: str(row.depth))
def test_v1_paper_form_has_the_papers_parameters(row):
    model = cifar.resnet_v1(SHAPE, row.depth, form="paper")
    assert count_parameters(model).trainable == row.parameters
    printed = paper.TABLE_6.row(row.depth).parameters
    decimals = 2 if printed < 1 else 1
    assert round(row.parameters / 1e6, decimals) == pytest.approx(printed)


def test_v1_standard_form():
    [row] = paper.V1_STANDARD_FORM.rows
    model = cifar.resnet_v1(SHAPE, row.depth, form="standard")
    assert count_parameters(model).trainable == row.parameters


@pytest.fixture(scope="module")
def resnet1001():
    return cifar.resnet_v2((8, 8, 3), 1001, form="paper")


@pytest.mark.slow
def test_v2_paper_form_has_the_papers_parameters(resnet1001):
    counted = {row.depth: row.parameters for row in paper.V2_PAPER_FORM.rows}
    models = {164: cifar.resnet_v2(SHAPE, 164, form="paper"), 1001: resnet1001}
    assert counted == {d: count_parameters(model).trainable for d, model in models.items()}


@pytest.mark.slow
def test_a_network_deeper_than_pythons_recursion_limit_runs_and_clones():
    model = cifar.resnet_v2((8, 8, 3), 326, form="paper")
    assert len(model.layers) > 1000
    assert np.isfinite(np.asarray(model(np.ones((1, 8, 8, 3), "float32")))).all()
    assert len(keras.models.clone_model(model).layers) == len(model.layers)


def test_v2_at_1001_layers_in_the_example_form_is_three_times_the_papers():
    # Blocks of a stage are equal, but for the first: parameters grow by the same number each step.
    n2, n3 = (count_parameters(cifar.resnet_v2(SHAPE, depth)).trainable for depth in (20, 29))
    assert round((n2 + (111 - 2) * (n3 - n2)) / 1e6, 2) == 30.35


@pytest.mark.parametrize("depth", [20, 56, pytest.param(110, marks=pytest.mark.slow)])
def test_shortcuts_biases_and_bn_explain_the_differences_of_v1_exactly(depth):
    paper_form = parameters_by_kind(cifar.resnet_v1(SHAPE, depth, form="paper"))
    standard = parameters_by_kind(cifar.resnet_v1(SHAPE, depth, form="standard"))
    model = cifar.resnet_v1(SHAPE, depth)
    example = parameters_by_kind(model)
    n = (depth - 2) // 6
    channels = 16 + 2 * n * (16 + 32 + 64)
    projections = 16 * 32 + 32 * 64

    assert paper_form["projection"] == paper_form["bias"] == 0
    assert standard == paper_form | {
        "projection": projections,
        "bn": paper_form["bn"] + 2 * (32 + 64),
        "moving": paper_form["moving"] + 2 * (32 + 64),
    }
    assert example == paper_form | {"projection": projections, "bias": channels + 32 + 64}
    count = count_parameters(model)
    assert count.trainable == sum(example.values()) - example["moving"]
    assert count.non_trainable == example["moving"] == 2 * channels


@pytest.mark.parametrize("depth", [20, pytest.param(56, marks=pytest.mark.slow)])
def test_a_plain_net_is_the_residual_one_less_its_shortcuts(depth):
    for form in cifar.FORMS_V1:
        plain = parameters_by_kind(cifar.plain_net(SHAPE, depth, form=form))
        residual = parameters_by_kind(cifar.resnet_v1(SHAPE, depth, form=form, shortcut="A"))
        assert plain == residual
    assert not any(isinstance(x, layers.Add) for x in cifar.plain_net(SHAPE, depth).layers)


@pytest.mark.parametrize(
    ("form", "stages"),
    [("example", ((16, 64), (64, 128), (128, 256))), ("paper", ((16, 64), (32, 128), (64, 256)))],
)
def test_the_mid_widths_of_v2(form, stages):
    model = cifar.resnet_v2(SHAPE, 20, form=form)
    for stage, (mid, out) in enumerate(stages, start=1):
        for conv, filters in (("conv1", mid), ("conv2", mid), ("conv3", out)):
            assert model.get_layer(f"stage{stage}_block2_{conv}").filters == filters


def test_feature_maps_of_the_tables():
    v1 = [stage.shape for stage in feature_maps(cifar.resnet_v1(SHAPE, 56))]
    v2 = [stage.shape for stage in feature_maps(cifar.resnet_v2(SHAPE, 56))]
    assert v1 == [(32, 32, 16), (32, 32, 16), (16, 16, 32), (8, 8, 64)]
    assert v2 == [(32, 32, 16), (32, 32, 64), (16, 16, 128), (8, 8, 256)]


def test_depth_counts_the_layers_with_weights():
    builds = [(cifar.resnet_v1, 20), (cifar.plain_net, 20), (cifar.resnet_v2, 29)]
    for build, depth in builds:
        weighted = (layers.Conv2D, layers.Dense)
        found = [layer for layer in build(SHAPE, depth).layers if isinstance(layer, weighted)]
        assert sum("shortcut" not in layer.name for layer in found) == depth
    basic = cifar.resnet_v2(SHAPE, 20, block="basic", form="paper")
    assert sum(isinstance(layer, (layers.Conv2D, layers.Dense)) for layer in basic.layers) == 20


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(cifar.resnet_v1(SHAPE, 20), copied_v1(20)), (cifar.resnet_v2(SHAPE, 20), copied_v2(20))],
    ids=["v1", "v2"],
)
def test_the_example_form_computes_what_the_copied_code_computes(ours, theirs):
    rng = np.random.default_rng(0)
    weights = [rng.normal(0.1, 0.1, w.shape) ** 2 for w in ours.get_weights()]
    ours.set_weights(weights)
    copy_weights(ours, theirs)
    images = rng.random((4, *SHAPE), "float32")
    for training in (False, True):
        a, b = (np.asarray(model(images, training=training)) for model in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
        assert a.std() > 0


def copy_weights(ours, theirs):
    """Give each layer of `theirs` the weights of ours of the same kind and shape, in order."""
    waiting = {}
    for layer in ours.layers:
        waiting.setdefault(kind_and_shapes(layer), []).append(layer)
    for layer in theirs.layers:
        if layer.weights:
            layer.set_weights(waiting[kind_and_shapes(layer)].pop(0).get_weights())


def kind_and_shapes(layer):
    return type(layer), *(weight.shape for weight in layer.weights)


@pytest.mark.parametrize("side", [8, 9, 20, 33, None])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_size_from_8_and_any_channels(side, channels):
    images = np.zeros((2, side or 24, (side or 24) + 3, channels), "float32")
    width = None if side is None else side + 3
    for shortcut in "ABC":
        model = cifar.resnet_v1((side, width, channels), 8, 7, shortcut=shortcut)
        assert model(images).shape == (2, 7)
        assert cifar.resnet_v2((side, width, channels), 11, 7, shortcut=shortcut)(images).shape == (
            2,
            7,
        )


def test_names_say_stage_block_and_role():
    model = cifar.resnet_v1(SHAPE, 20)
    assert model.name == "ResNet20v1"
    assert cifar.resnet_v2(SHAPE, 29).name == "ResNet29v2"
    assert cifar.plain_net(SHAPE, 20).name == "Plain20"
    block = [layer.name for layer in model.layers if layer.name.startswith("stage2_block1_")]
    roles = ["conv1", "bn1", "relu1", "conv2", "bn2", "shortcut_conv", "add", "relu2"]
    assert sorted(block) == sorted(f"stage2_block1_{role}" for role in roles)


def test_shortcut_a_keeps_every_second_pixel_and_appends_zeros():
    inputs = keras.Input((5, 7, 2))
    model = keras.Model(inputs, blocks.zero_padded_identity(inputs, 6, 2, name="x"))
    image = np.random.default_rng(0).random((3, 5, 7, 2), "float32")
    output = np.asarray(model(image))
    np.testing.assert_array_equal(output[..., :2], image[:, ::2, ::2])
    assert output.shape == (3, 3, 4, 6)
    assert not output[..., 2:].any()
    with pytest.raises(ValueError, match=r"at least 2.*filters=1"):
        blocks.zero_padded_identity(inputs, 1, name="y")


@pytest.mark.parametrize(("shortcut", "projections"), [("A", 0), ("B", 2), ("C", 9)])
def test_shortcut_options_differ_in_their_projections(shortcut, projections):
    model = cifar.resnet_v1(SHAPE, 20, form="paper", shortcut=shortcut)
    names = [layer.name for layer in model.layers]
    assert sum("shortcut_conv" in name for name in names) == projections


def test_models_survive_saving_without_custom_objects(tmp_path):
    for form in cifar.FORMS_V1:
        model = cifar.resnet_v1(SHAPE, 8, form=form)
        model.save(tmp_path / f"{form}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{form}.keras")
        images = np.random.default_rng(0).random((2, *SHAPE), "float32")
        np.testing.assert_array_equal(model(images), loaded(images))


@pytest.mark.parametrize(
    ("build", "depth", "nearest"),
    [
        (cifar.resnet_v1, 21, "20 and 26"),
        (cifar.resnet_v1, 7, "nearest valid: 8"),
        (cifar.resnet_v1, -3, "nearest valid: 8"),
        (cifar.resnet_v1, 1208, "nearest valid: 1202"),
        (cifar.plain_net, 57, "56 and 62"),
        (cifar.resnet_v2, 21, "20 and 29"),
        (cifar.resnet_v2, 1010, "nearest valid: 1001"),
    ],
)
def test_a_depth_that_does_not_exist_is_told_the_nearest(build, depth, nearest):
    with pytest.raises(ValueError, match=f"depth={depth};.*{nearest}"):
        build(SHAPE, depth)


def test_basic_v2_takes_other_depths():
    assert cifar.resnet_v2(SHAPE, 14, block="basic").name == "ResNet14v2"
    with pytest.raises(ValueError, match="14 and 20"):
        cifar.resnet_v2(SHAPE, 15, block="basic")


@pytest.mark.parametrize("value", [20.0, "20", True, None, [20]])
def test_what_is_not_an_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="`depth` to be an integer"):
        cifar.resnet_v1(SHAPE, value)
    with pytest.raises(TypeError, match="`num_classes` to be an integer"):
        cifar.resnet_v1(SHAPE, 20, value)


def test_integers_of_numpy_are_integers():
    assert cifar.resnet_v1(SHAPE, np.int64(8)).name == "ResNet8v1"


@pytest.mark.parametrize(
    "shape",
    [
        *[(32, 32), (1, 32, 32, 3), 32, None, "32x32x3", (7, 32, 3), (32, 32, 0), (32, 32, None)],
        *[(32.0, 32, 3), (True, 32, 3), (-32, 32, 3), (32, 32, 3.0)],
    ],
)
def test_a_shape_that_is_not_height_width_channels(shape):
    for build in (cifar.resnet_v1, cifar.resnet_v2, cifar.plain_net):
        with pytest.raises(ValueError, match=r"\(height, width, channels\)") as error:
            build(shape, 20)
        assert repr(shape) in str(error.value)


def test_other_refusals_name_what_came_in_and_what_is_valid():
    with pytest.raises(ValueError, match=r"at least 1 class.*num_classes=0"):
        cifar.resnet_v1(SHAPE, 20, 0)
    with pytest.raises(ValueError, match=r"'example', 'paper', 'standard'.*'papers'"):
        cifar.resnet_v1(SHAPE, 20, form="papers")
    with pytest.raises(ValueError, match=r"'example', 'paper'.*'standard'"):
        cifar.resnet_v2(SHAPE, 20, form="standard")
    with pytest.raises(ValueError, match=r"'A', 'B', 'C', 'D'\..*'E'"):
        cifar.resnet_v1(SHAPE, 20, shortcut="E")
    with pytest.raises(ValueError, match=r"'basic', 'bottleneck'.*'big'"):
        cifar.resnet_v2(SHAPE, 20, block="big")


JAX = """
import sys, numpy as np
import resnet_lib as rl
assert "tensorflow" not in sys.modules, "tensorflow was imported"
for model in (rl.resnet_v1((32, 32, 3), 20), rl.resnet_v1((32, 32, 3), 8, form="paper"),
              rl.resnet_v2((32, 32, 3), 11, form="paper"), rl.plain_net((None, None, 3), 8)):
    output = np.asarray(model(np.ones((2, 32, 32, 3), "float32")))
    assert output.shape == (2, 10) and np.isfinite(output).all()
    print(model.name, rl.count_parameters(model).total, rl.feature_maps(model)[-1].shape)
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(np.ones((4, 32, 32, 3)), np.zeros(4, int), batch_size=2, verbose=0)
assert "tensorflow" not in sys.modules, "tensorflow was imported"
"""


@pytest.mark.slow
def test_builds_and_runs_on_jax():
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", JAX], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ResNet20v1 274442 (8, 8, 64)"


# Other blocks


FORMS = [(cifar.resnet_v1, cifar.BLOCKS_V1), (cifar.resnet_v2, cifar.BLOCKS_V2)]


@pytest.mark.parametrize(
    ("build", "name", "form"),
    [
        (build, name, form)
        for build, names in FORMS
        for name in names
        for form in ("example", "paper")
    ],
)
def test_every_block_by_name_in_both_forms(build, name, form):
    step = 9 if name in ("bottleneck", "resnext") else 6
    model = build((16, 16, 3), step + 2, 7, form=form, block=name)
    version = build.__name__[-2:]
    own = name == "basic" or (version == "v2" and name == "bottleneck")
    assert model.name == f"ResNet{step + 2}{version}" + ("" if own else f"-{name}")
    assert [stage.blocks for stage in feature_maps(model)] == [0, 1, 1, 1]
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    assert np.isfinite(np.asarray(model(images))).all()


def test_a_block_is_put_into_resnet_20_in_one_line():
    """As many blocks as ResNet-20 has, each another; without a shortcut of its own, the form's."""
    plain = cifar.resnet_v1(SHAPE, 20, form="paper")
    other = cifar.resnet_v1(SHAPE, 20, form="paper", block="se")
    names = {layer.name for layer in plain.layers}
    added = {layer.name for layer in other.layers} - names
    assert names < {layer.name for layer in other.layers}
    parts = ("squeeze", "dense1", "dense2", "scale")
    blocks_of_20 = [(stage, block) for stage in (1, 2, 3) for block in (1, 2, 3)]
    assert added == {f"stage{s}_block{b}_se_{part}" for s, b in blocks_of_20 for part in parts}


def test_what_a_block_takes_is_what_the_form_says():
    asked = []

    def mine(x, filters, strides=1, *, conv, shortcut, projection_bn, place, name):
        asked.append((filters, strides, place, name))
        assert conv.keywords == {"use_bias": True, "l2": 1e-4}
        assert not projection_bn
        return blocks.basic_block(x, filters, strides, conv=conv, shortcut=shortcut, name=name)

    model = cifar.resnet_v1(SHAPE, 14, block=mine)
    wanted = [(16, 1, 1), (16, 1, 2), (32, 2, 3), (32, 1, 4), (64, 2, 5), (64, 1, 6)]
    assert [(filters, strides, place) for filters, strides, place, _ in asked] == [
        (filters, strides, (number, 6)) for filters, strides, number in wanted
    ]
    assert model.name == "ResNet14v1-mine"
    usual = cifar.resnet_v1(SHAPE, 14)
    assert [layer.name for layer in model.layers] == [layer.name for layer in usual.layers]
    assert count_parameters(model) == count_parameters(usual)


def test_in_v2_a_block_is_told_where_it_activates_and_its_place():
    asked = []

    def mine(x, filters, strides=1, *, preactivation="branch", place, name):
        asked.append((preactivation, place))
        return blocks.preactivation_basic_block(x, filters, strides, name=name)

    cifar.resnet_v2(SHAPE, 14, form="paper", block=mine)
    where = 3 * ["shared", "branch"]
    assert asked == [(each, (number, 6)) for number, each in enumerate(where, 1)]


def test_a_bottleneck_of_ones_own_has_the_widths_of_the_form():
    asked = []

    def unit(x, filters, filters_out, strides=1, *, name):
        asked.append((filters, filters_out, strides))
        options = dict(conv=blocks.convolution, name=name)
        return blocks.preactivation_bottleneck_block(x, filters, filters_out, strides, **options)

    model = cifar.resnet_v2(SHAPE, 11, form="paper", block=unit)
    assert asked == [(16, 64, 1), (32, 128, 2), (64, 256, 2)]
    assert model.name == "ResNet11v2-unit"
    with pytest.raises(ValueError, match="nearest valid: 11 and 20"):
        cifar.resnet_v2(SHAPE, 14, form="paper", block=unit)


def test_a_block_that_takes_nothing_and_one_whose_options_are_bound():
    def bare(x, filters, strides=1, *, name):
        return layers.Conv2D(filters, 3, strides, padding="same", name=f"{name}_conv")(x)

    model = cifar.resnet_v1(SHAPE, 8, block=bare)
    assert model.name == "ResNet8v1-bare"
    conv = partial(blocks.convolution, use_bias=True)
    bound = partial(blocks.basic_block, shortcut="C", conv=conv)
    model = cifar.resnet_v1(SHAPE, 8, form="paper", block=bound)
    assert model.get_layer("stage1_block1_shortcut_conv").use_bias
    assert model.name.startswith("ResNet8v1-basic-shortcutC-conv")


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (blocks.wide_block, "-wide"),
        (partial(blocks.wide_block, widen=2), "-wide-widen2"),
        (partial(blocks.wide_block, widen=2, dropout=0.3), "-wide-widen2-dropout0.3"),
        (partial(blocks.transformer_block, heads=4), "-transformer-heads4"),
        (blocks.preactivation_basic_block, ""),
        (
            lambda x, filters, strides=1, *, name: blocks.wide_block(x, 4, strides, name=name),
            "-lambda",
        ),
    ],
)
def test_a_networks_name_says_which_blocks_it_has(block, name):
    model = cifar.resnet_v2((8, 8, 3), 8, block=block)
    assert model.name == f"ResNet8v2{name}"
    model.compile("sgd", "sparse_categorical_crossentropy")  # It is a valid name of a scope, too.
    model.predict_on_batch(np.zeros((1, 8, 8, 3), "float32"))


@pytest.mark.parametrize(
    ("block", "ends"),
    [
        ("wide", {"head_bn", "head_relu"}),
        ("skipinit", {"head_relu"}),
        ("convnext", {"head_ln"}),
        (partial(blocks.transformer_block, heads=2), {"head_ln"}),
    ],
)
def test_the_stream_of_v2_ends_in_what_its_blocks_begin_with(block, ends):
    for form, where in (("paper", ("head",)), ("example", ("stem", "head"))):
        model = cifar.resnet_v2((8, 8, 3), 8, form=form, block=block)
        names = {layer.name for layer in model.layers}
        found = {name for name in names if name.split("_")[0] in ("stem", "head")}
        found -= {"stem_conv", "head_pool", "head_dense"}
        assert found == {name.replace("head", each) for name in ends for each in where}


def test_blocks_that_do_not_exist_or_have_no_shortcut():
    with pytest.raises(ValueError, match=r"'se', 'stochastic-depth'.*'se_'; the nearest: 'se'"):
        cifar.resnet_v1(SHAPE, 20, block="se_")
    with pytest.raises(ValueError, match=r"Received: 'convnext', a block of resnet_v2"):
        cifar.resnet_v1(SHAPE, 20, block="convnext")
    with pytest.raises(ValueError, match=r"Received: 'se', a block of resnet_v1"):
        cifar.resnet_v2(SHAPE, 20, block="se")
    with pytest.raises(ValueError, match=r"'basic', .*Received: \['se'\]"):
        cifar.resnet_v1(SHAPE, 20, block=["se"])
    for build, block in ((cifar.resnet_v1, "resnet-d"), (cifar.resnet_v2, "convnext")):
        with pytest.raises(ValueError, match=r"no `shortcut` for a block that takes none.*'A'"):
            build(SHAPE, 20, shortcut="A", block=block)


@pytest.mark.parametrize("form", ["example", "paper", "standard"])
def test_shortcut_d_has_the_parameters_of_b(form):
    b, d = (cifar.resnet_v1(SHAPE, 20, form=form, shortcut=option) for option in "BD")
    named = cifar.resnet_v1(SHAPE, 20, form=form, block="resnet-d")
    assert count_parameters(b) == count_parameters(d) == count_parameters(named)
    assert count_multiply_adds(b) == count_multiply_adds(d)
    assert [layer.name for layer in d.layers] == [layer.name for layer in named.layers]
