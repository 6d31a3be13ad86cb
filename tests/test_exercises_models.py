"""Checks of 03, 05 and 06: what a learner would write, in forms that nobody foresaw."""

import ast
import inspect
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from answers import slow_marked

import resnet_lib as rl
from resnet_lib import exercises
from resnet_lib.exercises import core, notebook03, notebook06, notebook07, probes, watching

# After resnet_lib, which prepares the environment for TensorFlow.
import keras  # isort: skip
import tensorflow as tf  # isort: skip
from keras import layers, ops  # isort: skip

SOURCES = Path(__file__).resolve().parents[1] / "notebooks" / "source"
MODULES = (notebook03, notebook07, notebook06)
EXERCISES = {name: each for module in MODULES for name, each in module.EXERCISES.items()}
STAND_INS = {name: each.stand_in for name, each in EXERCISES.items() if each.stand_in}
NUMBERS = {
    "03-blocks": (12, 36, 73),
    "03-biases": 1232,
    "05-shape": (10, 10, 1024),
    "06-steps": (352, 182, 91),
}


@pytest.fixture
def verdict(capsys):
    """Return a function (name, answer) -> what the check prints, in one line."""

    def check(name, answer):
        exercises.check(name, answer)
        return " ".join(capsys.readouterr().out.split())

    return check


def one(picture):
    return picture[np.newaxis]


def most_probable(model, batch, **options):
    return int(np.argmax(model(batch, **options)[0]))


def smoothed(picture):
    """Return the mean of each pixel and its eight neighbours."""
    wider = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
    height, width, _ = picture.shape
    shifts = [wider[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return sum(shifts) / 9


def smaller_and_larger(picture):
    return tf.image.resize(tf.image.resize(picture, (4, 6)), picture.shape[:2])


def of_changed(change, **options):
    """Return a function that changes the picture before the model sees it."""
    return lambda model, picture: most_probable(model, one(change(picture)), **options)


def by_a_graph_that_mirrors(model, picture):
    around = keras.Sequential([layers.Lambda(lambda x: x[:, :, ::-1]), model])
    return int(np.argmax(around.predict(one(picture), verbose=0)))


def without_the_first_layer(model, picture):
    return int(np.argmax(keras.Sequential(model.layers[2:])(one(picture).astype("float32"))))


def argmax_of_rounded(model, picture):
    return int(np.argmax(np.round(model(one(picture)))))


PREDICTIONS = [
    (of_changed(lambda p: p[:, ::-1]), "left and right exchanged"),
    (of_changed(lambda p: p[::-1]), "stand on their heads"),
    (of_changed(lambda p: np.rot90(p, 2)), "half a turn"),
    (of_changed(smoothed), "are smoothed before the model sees them, as by a blur"),
    (of_changed(lambda p: p.clip(20, 200)), "values below 20 and above 200 are lost"),
    (of_changed(lambda p: p.clip(0, 1)), "clipped before the model sees them: values above 1 are"),
    (of_changed(lambda p: p + np.random.normal(size=p.shape) * 10), "as by noise"),
    (of_changed(lambda p: np.minimum(p + 20.0, 255)), "have a mean of 159.1 in place of 139.8"),
    (of_changed(lambda p: np.repeat(p.mean(-1, keepdims=True), 3, -1)), "colours are averaged"),
    (of_changed(lambda p: 255 - p), "negatives"),
    (of_changed(lambda p: p / 255), "the pixels are scaled before the model gets them"),
    (of_changed(lambda p: p / 127.5 - 1), "scaled to -1 to 1"),
    (of_changed(lambda p: (p - p.mean()) / p.std()), "standard deviation divided out"),
    (of_changed(lambda p: p[..., ::-1]), "red and blue exchanged"),
    (of_changed(lambda p: p, training=True), "the model runs in training mode"),
    (lambda model, picture: np.argsort(model(one(picture))[0])[-2], "second largest"),
    (lambda model, picture: most_probable(model, one(picture)) - 1, "one too low"),
    (argmax_of_rounded, "that are rounded first"),
    (without_the_first_layer, "never calls the model that it is given"),
    (lambda model, picture: len(model(one(picture))[0]) - 1, "the class is 6 for every picture"),
]
SAME_MISTAKE = [
    (of_changed(smaller_and_larger), "are smoothed before the model sees them"),
    (by_a_graph_that_mirrors, "left and right exchanged"),
    (
        lambda m, p: int(np.argmax(m(one(p)) + m(one(p[:, ::-1])))),
        "left and right exchanged",
    ),
    (lambda m, p: int(np.argmax(m.predict(one(p[:, ::-1]), verbose=0))), "left and right"),
]


def in_a_batch_of_others(model, picture):
    return most_probable(model, np.concatenate([one(picture), np.zeros((3, *picture.shape))]))


def by_a_larger_model(model, picture):
    whole = keras.Sequential([model, layers.Lambda(lambda y: ops.argmax(y, -1))])
    return int(whole.predict(one(picture), verbose=0)[0])


class Predictor:
    def __call__(self, model, picture):
        return max(range(probes.CLASSES), key=lambda k: float(model(one(picture))[0][k]))


RIGHT_PREDICTIONS = [
    in_a_batch_of_others,
    by_a_larger_model,
    Predictor(),
    lambda model, picture: tf.argmax(model(tf.expand_dims(picture, 0)), axis=1)[0],
    lambda model, picture: np.array(most_probable(model, one(picture))),
    lambda model, picture: most_probable(model, one(picture.astype("float16"))),
    lambda model, picture: most_probable(model, one(picture / 255 * 255)),
    lambda model, picture: int(ops.top_k(model(np.repeat(one(picture), 4, 0)), 1)[1][2, 0]),
]


# A new head

mean = layers.GlobalAveragePooling2D


def dense(units, activation="softmax"):
    return layers.Dense(units, activation=activation)


def head(
    *, before=(), between=(mean,), after=(), activation="softmax", freeze=True, kind=layers.Dense
):
    """Return a function that builds a model with something wrong in it."""

    def function(backbone, num_classes):
        backbone.trainable = not freeze
        last = kind(num_classes, **({"kernel_size": 1} if kind is layers.Conv2D else {}))
        last.activation = keras.activations.get(activation)
        steps = [make() for make in (*before, lambda: backbone, *between)]
        inputs = x = keras.Input(backbone.input_shape[1:])
        for step in [*steps, last, *(make() for make in after)]:
            x = step(x)
        return keras.Model(inputs, x)

    return function


class Subclassed(keras.Model):
    def __init__(self, backbone, num_classes, freeze=True, **options):
        super().__init__()
        backbone.trainable = not freeze
        self.backbone, self.dense, self.options = backbone, dense(num_classes), options

    def call(self, x):
        return self.dense(ops.mean(self.backbone(x, **self.options), axis=[1, 2]))


class Scores(keras.Model):
    def __init__(self, backbone, num_classes):
        super().__init__()
        self.parts = [backbone, layers.Dense(num_classes)]
        self.parts[0].trainable = False

    def call(self, x, training=False):
        features = self.parts[0](x, training=False)
        return tf.nn.softmax(self.parts[1](tf.reduce_mean(features, (1, 2))))


class Head(layers.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.dense = dense(num_classes)

    def call(self, x):
        return self.dense(ops.mean(ops.mean(x, 1), 1))


def with_a_layer_of_its_own(backbone, num_classes):
    backbone.trainable = False
    return keras.Sequential([backbone, Head(num_classes)])


def pooled_and_flattened(backbone, num_classes):
    backbone.trainable = False
    return keras.Sequential(
        [backbone, layers.AveragePooling2D(7), layers.Flatten(), dense(num_classes)]
    )


def scored_at_each_place(backbone, num_classes):
    backbone.trainable = False
    scores = [layers.Dense(num_classes), mean(), layers.Softmax()]
    return keras.Sequential([backbone, *scores])


def frozen_in_the_model(backbone, num_classes):
    model = head(freeze=False)(backbone, num_classes)
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


def untracked(backbone, num_classes):
    backbone.trainable = False
    hidden = layers.Lambda(lambda x: backbone(x), output_shape=backbone.output_shape[1:])
    return keras.Sequential([keras.Input(backbone.input_shape[1:]), hidden, Head(num_classes)])


def trained_before(backbone, num_classes):
    model = head(freeze=False)(backbone, num_classes)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(np.random.normal(size=(8, *model.input_shape[1:])), np.arange(8) % 5)
    backbone.trainable = False
    return model


def two_views(backbone, num_classes):
    backbone.trainable = False
    x = keras.Input(backbone.input_shape[1:])
    views = layers.Average()([backbone(x), backbone(ops.flip(x, 2))])
    return keras.Model(x, dense(num_classes)(mean()(views)))


def normalised_in_training(backbone, num_classes):
    for layer in backbone.layers:
        layer.trainable = isinstance(layer, layers.BatchNormalization)
        for weight in layer.weights:
            weight.trainable = False
    return head(freeze=False)(backbone, num_classes)


def dropped():
    return layers.Dropout(0.5)


FINE_TUNINGS = [
    (head(freeze=False), "the backbone is not frozen"),
    (head(before=[lambda: layers.RandomFlip("horizontal")]), "such as RandomFlip"),
    (head(after=[dropped]), "acts behind the Dense layer"),
    (head(before=[lambda: layers.Rescaling(1 / 255)]), "divided by 255"),
    (head(before=[lambda: layers.Rescaling(1 / 127.5, -1)]), "divided by 127.5"),
    (head(activation=None), "scores, not probabilities"),
    (head(activation="sigmoid"), "from a sigmoid"),
    (head(after=[layers.Softmax]), "two softmaxes"),
    (head(activation="relu", after=[layers.Softmax]), "a ReLU, and a softmax follows"),
    (head(activation=None, after=[lambda: layers.Softmax(0)]), "over the pictures of a batch"),
    (head(between=[layers.GlobalMaxPooling2D]), "the maximum of each channel"),
    (head(between=[lambda: layers.MaxPooling2D(2), mean]), "a maximum is taken of each 2x2"),
    (head(between=[mean, layers.ReLU]), "go through a ReLU before the Dense layer"),
    (head(between=[layers.ReLU, mean]), "goes through a ReLU before its mean"),
    (head(between=[], after=[mean]), "each place of the feature map has a softmax"),
    (head(between=[lambda: mean(data_format="channels_first")]), "takes 7 numbers of a picture"),
    (
        head(between=[mean, lambda: layers.BatchNormalization(scale=False, center=False)]),
        "statistics of your new layers change",
    ),
    (head(between=[mean, layers.LayerNormalization]), "nothing else, such as a normalisation"),
    (head(after=[lambda: layers.Lambda(ops.stop_gradient)]), "no gradient reaches it"),
    (lambda b, k: Subclassed(b, k, freeze=False, training=True), "even where your model is called"),
    (normalised_in_training, "a batch normalisation takes the batch's mean and variance"),
    (untracked, "Keras does not find its weights in your model"),
    (trained_before, "of the backbone's 12 weights have changed before"),
    (two_views, "is it called more than once?"),
]
SAME_MISTAKE_IN_A_MODEL = [
    (lambda b, k: Subclassed(b, k, freeze=False), "the backbone is not frozen"),
    (head(before=[lambda: layers.RandomRotation(0.1)]), "such as RandomFlip"),
    (head(before=[lambda: layers.GaussianNoise(0.1)]), "such as RandomFlip"),
    (head(before=[dropped]), "such as RandomFlip"),
    (head(activation=None, after=[dropped, layers.Softmax]), "acts behind the Dense layer"),
]
RIGHT_MODELS = [
    head(),
    Subclassed,
    Scores,
    with_a_layer_of_its_own,
    pooled_and_flattened,
    scored_at_each_place,
    frozen_in_the_model,
    lambda backbone, num_classes: Subclassed(backbone, num_classes, training=True),
]
VARIANTS = [
    (head(between=[mean, dropped]), "something random (Dropout, noise)"),
    (head(between=[lambda: layers.SpatialDropout2D(0.3), mean]), "something random"),
    (
        head(between=[], after=[mean, layers.Softmax], activation=None, kind=layers.Conv2D),
        "a 1x1 convolution in front of the mean",
    ),
]

# The rate of a step


def rises_and_falls(fall, rise=lambda t: 0.2 * t, share=0.1):
    """Return a function that rises over a share of the run and falls over the rest."""

    def rate(step, steps):
        warm_up = share * steps
        return (
            rise(step / warm_up) if step < warm_up else fall((step - warm_up) / (steps - warm_up))
        )

    return rate


def cosine(t):
    return 0.1 + 0.1 * math.cos(math.pi * t)


def not_below(floor):
    return lambda step, steps: max(floor, rises_and_falls(cosine)(step, steps))


def cosine_decay(step, steps, alpha=0.0):
    warm_up = {"warmup_target": 0.2, "warmup_steps": steps // 10}
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 0.9 * steps, alpha=alpha, **warm_up)
    return schedule(step)


RATES = [
    (not_below(1e-4), "never falls below 0.0001. Asked for is a fall to 0"),
    (not_below(1e-6), "never falls below 1e-06"),
    (rises_and_falls(lambda t: max(cosine(t), 0.02)), "never falls below 0.02"),
    (lambda step, steps: cosine_decay(step, steps, alpha=0.05), "stretched between PEAK and 0.01"),
    (rises_and_falls(cosine, lambda t: 1e-6 + 0.2 * t), "rate(0, 120) is 1e-06. The line begins"),
    (rises_and_falls(cosine, share=0.2), "takes 0.2 of the run"),
    (rises_and_falls(cosine, share=0.05), "takes 0.05 of the run"),
    (rises_and_falls(lambda t: 0.2 * (1 - t)), "falls in a straight line"),
    (rises_and_falls(lambda t: 0.2 * math.exp(-5 * t)), "rate(24, 120) is 0.1148"),
    (lambda step, steps: rises_and_falls(cosine)(step, steps) / 2, "(PEAK is 0.2.)"),
]
RIGHT_RATES = [
    cosine_decay,
    rises_and_falls(lambda t: 0.2 * (1 - np.sin(np.pi / 2 * t) ** 2)),
    rises_and_falls(lambda t: tf.constant(0.1) * (1 - tf.cos(math.pi * (1 - t)))),
    rises_and_falls(lambda t: np.array(cosine(t), "float16")),
    lambda step, steps: max(0, min(2 * step / steps, cosine(step / steps / 0.9 - 1 / 9))),
]

# A picture and its mirror image


def mirrored_at_random(model, pictures):
    flip = layers.RandomFlip("horizontal", seed=2)
    return (model(pictures) + model(flip(pictures, training=True))) / 2


def probabilities(model, *views, **options):
    return sum(np.array(model(view, **options)) for view in views) / len(views)


FLIPS = [
    (mirrored_at_random, "of 5 pictures the model never gets the mirror image. (A random flip"),
    (lambda m, p: probabilities(m, p, np.roll(p, 1, 2)), "5 are neither one of yours nor its"),
    (lambda m, p: probabilities(m, p, p[:, :, ::-1] / 255), "happens a second time"),
    (lambda m, p: (m(p) + m(p)[:, ::-1]) / 2, "the model never gets the mirror image. What is it"),
    (
        lambda m, p: (m(p) + m(p[:, :, ::-1], training=True)) / 2,
        "the model runs in training mode",
    ),
    (lambda m, p: probabilities(m, p, p[:, ::-1]), "upside down"),
    (lambda m, p: 0.7 * m(p) + 0.3 * m(p[:, :, ::-1]), "5 of 5 pictures get other probabilities"),
    (lambda m, p: m(p) + m(p[:, :, ::-1]), "add up to 2"),
]
RIGHT_FLIPS = [
    lambda m, p: np.array([probabilities(m, one(x), one(np.fliplr(x)))[0] for x in p]),
    lambda m, p: layers.Average()([m(p), m(tf.reverse(p, [2]))]),
    lambda m, p: m.predict(np.take(p, range(11, -1, -1), 2), verbose=0) / 2 + m(p) / 2,
    lambda m, p: ops.average(m(np.concatenate([p, p[:, :, ::-1]])).numpy().reshape(2, 5, 7), 0),
]

# Which depths exist


def n_of(depth):
    return notebook03.blocks_per_stage(depth)


DEPTHS = [
    ({20: 3, 32: 5, 44: 7, 56: 9, 110: 18, 1202: 200}.get, "returned None for depth 8. 8 is"),
    (lambda depth: n_of(depth) if depth in (8, 20, 32, 56, 110, 1202) else None, "for depth 14"),
    (lambda depth: n_of(depth) or -1, "returned -1 for each depth that is not 6n+2"),
    (lambda depth: n_of(depth) or "none", "returned 'none' for each depth that is not 6n+2"),
    (lambda depth: divmod(depth - 2, 6), "divmod returns two"),
    (lambda depth: depth - 2, "counts all layers in blocks"),
    (lambda depth: None if n_of(depth) else depth, "returned None for depth 20"),
    (lambda depth: n_of(depth) or 1 / 0, "division by zero for depth 2. Expected: None"),
    (lambda depth: depth // 6 - 1, "one too few"),
]
RIGHT_DEPTHS = [
    lambda depth: next((n for n in range(1, 300) if 6 * n + 2 == depth), None),
    lambda depth: np.array(n_of(depth)) if n_of(depth) else None,
    lambda depth: tf.constant(n_of(depth)) if n_of(depth) else None,
    lambda depth: (depth // 6 or None) if depth > 0 and depth % 6 == 2 else None,
]

WRONG = {
    "03-depth": DEPTHS,
    "07-predict": PREDICTIONS,
    "07-finetune": FINE_TUNINGS,
    "06-rate": RATES,
    "06-flip": FLIPS,
}
RIGHT = {
    "03-depth": RIGHT_DEPTHS,
    "07-predict": RIGHT_PREDICTIONS,
    "07-finetune": RIGHT_MODELS,
    "06-rate": RIGHT_RATES,
    "06-flip": RIGHT_FLIPS,
}


def numbered(table):
    """Return a parameter for each row, without the address of a function in its name."""
    return [
        pytest.param(name, *(row if isinstance(row, tuple) else (row,)), id=f"{name}-{number}")
        for name, rows in table.items()
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_has_a_diagnosis_of_its_own(verdict, name):
    found = [(verdict(name, function), words) for function, words in WRONG[name]]
    for said, words in found:
        assert said.startswith("look again: ")
        assert words in said
    assert len({said for said, _ in found}) == len(found) >= 4


@pytest.mark.parametrize(
    ("name", "function", "words"),
    numbered({"07-predict": SAME_MISTAKE, "07-finetune": SAME_MISTAKE_IN_A_MODEL}),
)
def test_a_mistake_is_named_in_whatever_form_it_comes(verdict, name, function, words):
    said = verdict(name, function)
    assert said.startswith("look again: ")
    assert words in said


@pytest.mark.parametrize(("name", "function"), numbered(RIGHT))
def test_right_answer_in_a_form_of_its_own_is_correct(verdict, name, function):
    why = " ".join(EXERCISES[name].why.split())
    assert verdict(name, function) == f"correct: {why}"


@pytest.mark.parametrize(
    ("name", "function", "words"),
    numbered({"07-finetune": VARIANTS}),
)
def test_variant_is_correct_and_called_a_variant(verdict, name, function, words):
    said = verdict(name, function)
    assert said.startswith("correct: a variant: ")
    assert words in said


# The reader's settings

SETTINGS = {
    "mixed_float16": lambda: keras.mixed_precision.set_dtype_policy("mixed_float16"),
    "mixed_bfloat16": lambda: keras.mixed_precision.set_dtype_policy("mixed_bfloat16"),
    "float64": lambda: keras.config.set_floatx("float64"),
    "float16": lambda: keras.config.set_floatx("float16"),
    "channels_first": lambda: keras.config.set_image_data_format("channels_first"),
    "seed": lambda: keras.utils.set_random_seed(7),
}


@pytest.fixture
def settings():
    """Give the settings back that Keras begins with."""
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_the_reader_has_set_makes_no_right_answer_wrong(verdict, settings, setting):
    SETTINGS[setting]()
    quick = {name: answer for name, answer in STAND_INS.items() if "project" not in name}
    for name, answer in {**NUMBERS, **quick, "07-finetune": Subclassed}.items():
        assert verdict(name, answer).startswith("correct: "), name


# Numbers: every one is looked at, and means one thing


@pytest.mark.parametrize("name", NUMBERS)
def test_arrays_and_tensors_are_numbers(verdict, name):
    for form in (np.array, tf.constant, ops.convert_to_tensor):
        assert verdict(name, form(NUMBERS[name])).startswith("correct: ")


@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name in NUMBERS if name != "03-biases" for i in range(3)]
)
def test_every_number_is_looked_at(verdict, name, place):
    answer = list(NUMBERS[name])
    answer[place] += 1
    assert verdict(name, tuple(answer)).startswith("look again: ")
    assert verdict(name, (NUMBERS[name][0], *NUMBERS[name])).startswith("look again: ")


def test_numbers_are_judged_in_their_order(verdict):
    assert "steps of an epoch: received 391" in verdict("06-steps", (391, 163.7, 81.8))


def test_number_in_front_of_a_shape_is_only_correct_if_it_is_none(verdict):
    assert verdict("05-shape", (None, 10, 10, 1024)).startswith("correct: ")
    assert "Keras shows a fourth in front" in verdict("05-shape", (7, 10, 10, 1024))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_no_table_holds_a_key_twice(module):
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Dict) and not free_names(node, vars(module)):
            keys = [
                eval(compile(ast.Expression(key), "", "eval"), vars(module))
                for key in node.keys
                if key is not None
            ]
            assert len(set(keys)) == len(keys)


def free_names(table, names):
    """Say whether the keys of a dict in a source use names that are not the module's."""
    used = {n for key in table.keys if key for n in ast.walk(key) if isinstance(n, ast.Name)}
    return any(name.id not in names for name in used)


def test_each_number_of_biases_has_one_meaning():
    counted = core.numbers_meant(notebook03.count_biases, notebook03.BIAS_PARTS)
    assert len(counted) >= 16
    assert not any(", or " in text for text in counted.values())
    assert all(notebook03.BIAS_MISTAKES[number] == text for number, text in counted.items())
    assert notebook03.BIASES not in notebook03.BIAS_MISTAKES


def test_numbers_that_the_bias_table_names_are_those_of_networks():
    counts = {
        depth: sum(
            layer.bias.shape[0]
            for layer in rl.resnet_v1((32, 32, 3), depth, form="example").layers
            if isinstance(layer, layers.Conv2D)
        )
        for depth in (20, 32)
    }
    assert counts[32] == notebook03.BIASES
    assert "ResNet-20" in notebook03.BIAS_MISTAKES[counts[20]]


# Stand-ins and hints


def stub(name):
    """Return the function of an exercise's stub in the notebook's source, as a node."""
    (path,) = SOURCES.glob(f"{name[:2]}_*.py")
    _, cell = path.read_text(encoding="utf-8").split(f'# %% tags=["exercise-{name}"]')
    body = ast.parse(cell.split("# %%")[0]).body
    return next(node for node in body if isinstance(node, ast.FunctionDef))


def test_every_exercise_that_asks_for_a_function_has_a_stand_in():
    assert set(WRONG) <= set(STAND_INS)


@pytest.mark.parametrize("name", slow_marked(STAND_INS))
def test_stand_in_is_right_and_has_the_signature_of_the_stub(verdict, name):
    node = stub(name)
    assert STAND_INS[name].__name__ == node.name
    assert list(inspect.signature(STAND_INS[name]).parameters) == [a.arg for a in node.args.args]
    assert inspect.getdoc(STAND_INS[name]) == ast.get_docstring(node)
    assert verdict(name, STAND_INS[name]).startswith("correct: ")


@pytest.mark.parametrize("name", EXERCISES)
def test_each_exercise_has_three_hints_and_no_code_but_names(name):
    hints = EXERCISES[name].hints
    assert len(set(hints)) == 3
    assert not any("return " in hint and "(" in hint.split("return ")[1] for hint in hints)


# What a model is given


def test_layer_keeps_what_it_is_called_with_and_how():
    model = probes.trained_model()
    assert watching.seen_by(model) == []
    pictures = probes.pictures()[:2]
    model(pictures, training=True)
    model.predict(pictures, verbose=0)
    first, second = watching.seen_by(model)
    assert first.training and not second.training
    np.testing.assert_array_equal(first.values, pictures)
    np.testing.assert_array_equal(watching.rows([second]), pictures)
    assert watching.seen_by(model) == []


def test_layer_in_a_graph_keeps_that_it_was_called():
    model = probes.trained_model()
    keras.Sequential([model]).predict(probes.pictures()[:2], verbose=0)
    seen = watching.seen_by(model)
    assert seen
    assert watching.rows(seen) == []


def test_layers_that_watch_compute_what_those_of_keras_do():
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(watching.Rescaling(0.5)(x), layers.Rescaling(0.5)(x))
    mine, other = watching.Conv2D(4, 3), layers.Conv2D(4, 3)
    mine(x), other(x)
    mine.set_weights(other.get_weights())
    np.testing.assert_array_equal(mine(x), other(x))


def test_changes_of_a_picture_are_told_apart():
    picture = probes.pictures()[0].astype("float32")
    changed = {
        word: ops.convert_to_numpy(change(ops.convert_to_tensor(one(picture))))[0]
        for word, change in watching.CHANGES.items()
    }
    for a, b in combinations([picture, *changed.values()], 2):
        assert not watching.same_picture(a, b)
    assert all(watching.change_of(found, picture) == word for word, found in changed.items())
    told = {**notebook07.PICTURE_MISTAKES, **notebook07.SCALED_PICTURE_MISTAKES}
    assert set(told) == set(changed)
    assert len(set(told.values())) == len(told)
