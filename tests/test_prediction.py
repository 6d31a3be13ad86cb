"""What a network says of pictures: files of all kinds, arrays, and how often it is right."""

import io
import json
import unicodedata
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from small import DATA, train

import resnet_lib as rl
from resnet_lib import datasets, prediction, records
from resnet_lib import pictures as reading
from resnet_lib.datasets import images

RANDOM = np.random.default_rng(0)
PHOTO = np.kron(RANDOM.integers(0, 256, (5, 7, 3)), np.ones((8, 8, 1))).astype("uint8")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run of one epoch on pictures of 16x16."""
    folder = tmp_path_factory.mktemp("prediction") / "run"
    return train(folder, epochs=1)


def answers(run, picture):
    """Return what the network itself says of one picture."""
    return run.model.predict(np.float32(picture)[None], verbose=0)[0]


# Files


def written(folder, kind):
    """Write a picture of a kind; return its path."""
    image, path, options = Image.fromarray(PHOTO), folder / kind, {}
    if kind == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif}
    elif kind == "cmyk.jpg":
        image = image.convert("CMYK")
    elif kind == "palette.gif":
        image = image.quantize(16)
    elif kind == "deep.png":
        image = Image.fromarray((PHOTO[..., 0].astype("uint16") << 8) + 99)
    elif kind == "alpha.png":
        image.putalpha(Image.fromarray(PHOTO[..., 1]))
    elif kind == "grey.bmp":
        image = image.convert("L")
    image.save(path, **options)
    return path


KINDS = ("plain.png", "turned.jpg", "cmyk.jpg", "palette.gif", "deep.png", "alpha.png", "grey.bmp")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_as_for_training(kind, taught, tmp_path):
    path = written(tmp_path, kind)
    found = taught.predict(path, top=10)
    expected = answers(taught, images.load(path, 16))
    assert found.probabilities[0] == pytest.approx(expected, abs=1e-5)
    order = np.argsort(-expected)
    assert [a.name for a in found[0].answers] == [DATA.class_names[i] for i in order]
    assert [a.probability for a in found[0].answers] == pytest.approx(expected[order], abs=1e-5)
    assert found[0].picture == str(path)
    assert found.names == [found[0].name] == [DATA.class_names[order[0]]]


def test_turning_a_file_changes_the_answer_so_that_the_test_above_can_fail(taught, tmp_path):
    plain, turned = (images.load(written(tmp_path, kind), 16) for kind in KINDS[:2])
    assert np.abs(answers(taught, plain) - answers(taught, turned)).max() > 1e-4


def test_a_file_may_be_open_in_a_list_or_in_a_folder(taught, tmp_path):
    paths = [written(tmp_path, kind) for kind in KINDS]
    expected = np.concatenate([taught.predict(path).probabilities for path in paths])
    forms = [paths, [str(path) for path in paths], np.array([str(path) for path in paths])]
    forms.append([io.BytesIO(path.read_bytes()) for path in paths])
    for form in forms:
        np.testing.assert_allclose(taught.predict(form).probabilities, expected, atol=1e-6)
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    for place in ("deep/again.png", ".hidden/not.png", ".not.png"):
        (tmp_path / place).write_bytes(paths[0].read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.warns(
        UserWarning, match=r"1 files in .* are no pictures, by their names: notes\.txt"
    ):
        found = taught.predict(tmp_path)
    assert [each.picture for each in found] == sorted([*KINDS, "deep/again.png"])
    rows = [[each.picture for each in found].index(kind) for kind in KINDS]
    np.testing.assert_allclose(found.probabilities[rows], expected, atol=1e-6)
    with pytest.warns(UserWarning, match="no pictures"):
        mixed = taught.predict([paths[0], tmp_path, PHOTO])
    assert len(mixed) == 2 + len(found)
    assert mixed[-1].picture == "[2]"


def test_what_cannot_be_read_is_named_and_the_others_are_predicted(taught, tmp_path):
    good = written(tmp_path, "plain.png")
    cut, gone = tmp_path / "cut.jpg", tmp_path / "gone.png"
    cut.write_bytes(written(tmp_path, "turned.jpg").read_bytes()[:300])
    found = taught.predict([cut, good, gone, good])
    assert found.unreadable.keys() == {str(cut), str(gone)}
    assert found.names[0] is found.names[2] is None
    assert found.names[1] == found.names[3] == taught.predict(good).names[0]
    assert np.isnan(found.probabilities).all(axis=1).tolist() == [True, False, True, False]
    assert str(found).count("cannot be read") == 2
    assert "No such file" in found[2].error
    json.dumps([each.as_dict() for each in found], allow_nan=False)
    with pytest.raises(FileNotFoundError, match=r"gone\.png, which is not there"):
        taught.predict(gone)
    for wrong in (cut, [cut], [gone, cut]):
        with pytest.raises(ValueError, match=r"Expected pictures that can be read.*cut\.jpg"):
            taught.predict(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="an empty folder"):
        taught.predict(tmp_path / "empty")


def test_grey_of_16_bits_is_read_alike_and_said(taught, tmp_path):
    for name, most in (("dark", 900), ("bright", 4000)):
        values = np.linspace(0, most, 256).astype("uint16").reshape(16, 16)
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    with pytest.warns(UserWarning, match="read as pictures of 12 bits"):
        found = taught.predict(tmp_path)
    expected = answers(taught, images.load(tmp_path / "dark.png", 16, bits=12))
    assert found.probabilities[1] == pytest.approx(expected, abs=1e-5)


# Arrays


def test_arrays_of_the_networks_size_are_taken_as_they_are(taught):
    pictures = DATA.test.images[:5]
    expected = taught.model.predict(pictures.astype("float32"), verbose=0)
    forms = [pictures, pictures.astype("float32"), pictures.astype("int64"), list(pictures)]
    forms += [datasets.Split(pictures, DATA.test.labels[:5]), keras.ops.convert_to_tensor(pictures)]
    forms += [[each.astype("float64") for each in pictures]]
    for form in forms:
        found = taught.predict(form)
        assert found.probabilities == pytest.approx(expected, abs=1e-5)
        assert found.probabilities.dtype == np.float32
        assert [each.picture for each in found] == [f"[{n}]" for n in range(5)]
    one = taught.predict(pictures[3])
    assert one.probabilities == pytest.approx(expected[3:4], abs=1e-5)
    half = pictures.astype("float32") * 0.5
    expected = taught.model.predict(half, verbose=0)
    assert taught.predict(half).probabilities == pytest.approx(expected, abs=1e-5)


def test_arrays_of_another_size_are_resized_as_files_are(taught, tmp_path):
    expected = taught.predict(written(tmp_path, "plain.png")).probabilities
    for form in (PHOTO, PHOTO[None], [PHOTO], PHOTO.astype("float32")):
        np.testing.assert_allclose(taught.predict(form).probabilities, expected, atol=1e-6)
    several = taught.predict([PHOTO, DATA.test.images[0], PHOTO[:20].astype(float)])
    np.testing.assert_allclose(several.probabilities[:1], expected, atol=1e-6)


FLOATS = DATA.test.images[:2] / 255


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (FLOATS, r"scaled to 0-1, which the network does itself; 255 \* pictures undoes it"),
        (FLOATS.astype("float32"), "scaled to 0-1"),
        (FLOATS > 0.5, "bool from False|bool from 0 to 1: scaled"),
        (2 * FLOATS - 1, "normalised, which the network does itself"),
        (257 * DATA.test.images[:2].astype("uint16"), r"pictures / 256 fits"),
        (np.full((2, 16, 16, 3), np.nan), "not all of them finite"),
        (DATA.test.images[:2, ..., 0], r"np\.repeat\(pictures\[\.\.\., None\], 3"),
        (DATA.test.images[0, ..., 0], r"np\.repeat\(pictures\[\.\.\., None\], 3"),
        (DATA.test.images[:2, ..., :1], r"np\.repeat\(pictures, 3, axis=-1\)"),
        (np.zeros((9, 9, 4), "uint8"), r"the fourth channel is transparency.*\[\.\.\., :3\]"),
        (DATA.test.images[:2].transpose(0, 3, 1, 2), r"np\.moveaxis\(pictures, -3, -1\)"),
        (DATA.test.images[0].transpose(2, 0, 1), r"np\.moveaxis\(pictures, -3, -1\)"),
        (np.zeros((0, 16, 16, 3), "uint8"), "nothing in it"),
        (np.zeros((1, 2, 16, 16, 3), "uint8"), r"shape \(1, 2, 16, 16, 3\)"),
        ([], "an empty list"),
        ([FLOATS[0]], "scaled to 0-1"),
        ([DATA.test.images[:2]], "an array of 2 pictures as number 0"),
        (None, "None"),
        (DATA, "Dataset"),
        ({"a": 1}, "{'a': 1}"),
        (3, r"shape \(\)"),
        (Image.fromarray(PHOTO), r"a picture of Pillow's; give its file"),
        ([Image.fromarray(PHOTO)], r"a picture of Pillow's; give its file"),
    ],
)
def test_what_is_no_picture_of_0_to_255_is_refused_with_the_way_out(wrong, told, taught):
    with pytest.raises(ValueError, match=rf"Expected.*Received.*({told})"):
        taught.predict(wrong)


def test_the_way_out_works(taught):
    right = taught.predict(DATA.test.images[:2]).probabilities
    for mended in (
        255 * FLOATS,
        257 * DATA.test.images[:2].astype("uint16") / 256,
        np.moveaxis(DATA.test.images[:2].transpose(0, 3, 1, 2), -3, -1),
    ):
        np.testing.assert_allclose(taught.predict(mended).probabilities, right, atol=5e-3)


def test_bytes_of_0_and_1_are_doubted_and_black_is_black(taught):
    with pytest.warns(UserWarning, match="No pixel is above 1"):
        taught.predict((FLOATS > 0.5).astype("uint8"))
    taught.predict(np.zeros((16, 16, 3)))


def test_many_pictures_are_asked_in_batches(taught):
    pictures = RANDOM.integers(0, 256, (600, 16, 16, 3), "uint8")
    found = taught.predict(pictures).probabilities
    expected = taught.model.predict(pictures.astype("float32"), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# What is shown


def test_a_table_is_printed_and_shown(taught):
    found = taught.predict(DATA.test.images[:60])
    assert len(str(found).splitlines()) == 1 + 50 + 1
    assert str(found).endswith("… and 10 more")
    assert repr(found) == str(found)
    assert found._repr_html_().count("<tr>") == 51
    assert len(found[:3]) == 3 == len(found[:3].probabilities)
    name = "<b>.png\n\udcff"
    strange = prediction.Predictions(
        [found[0]._replace(picture=name)], found.class_names, found.probabilities[:1]
    )
    assert "&lt;b&gt;" in strange._repr_html_()
    f"{strange}".encode()
    assert len(f"{strange}".splitlines()) == 2


@pytest.mark.parametrize("top", [1, 2, 10, 99])
def test_as_many_classes_are_named_as_wanted(top, taught):
    (found,) = taught.predict(DATA.test.images[0], top=top)
    assert len(found.answers) == min(top, 10)
    told = found.as_dict()
    assert told["name"] == found.name == told["answers"][0]["class"]


@pytest.mark.parametrize("top", [0, -1, 1.5, "3", None])
def test_a_number_of_classes_that_is_none(top, taught):
    with pytest.raises(ValueError, match="Expected `top`"):
        taught.predict(DATA.test.images[0], top=top)


# The scores


def body(inputs):
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.layers.GlobalAveragePooling2D()(x)


def ending(kind):
    """Return a network that ends in a softmax in some way, and the same without it."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    features = body(inputs)
    dense = keras.layers.Dense(5, use_bias=kind != "no bias")
    logits = dense(features)
    if kind in ("dense", "no bias", "nested", "nested twice"):
        last = keras.layers.Dense(5, activation="softmax", use_bias=kind != "no bias")
        outputs = last(features)
        last.set_weights(dense.get_weights())
    else:
        outputs = {
            "activation": keras.layers.Activation("softmax"),
            "layer": keras.layers.Softmax(),
            "operation": keras.ops.softmax,
            "scaled": lambda x: keras.layers.Activation("softmax")(x / 9),
        }[kind](logits)
    logits = logits / 9 if kind == "scaled" else logits
    model, linear = keras.Model(inputs, outputs), keras.Model(inputs, logits)
    for _ in range(("nested", "nested twice").index(kind) + 1 if kind.startswith("nested") else 0):
        outer = keras.Input((8, 8, 3))
        model = keras.Model(outer, model(keras.layers.Rescaling(1.0)(outer)))
    return model, linear


ENDINGS = ("dense", "no bias", "activation", "layer", "operation", "scaled")


@pytest.mark.parametrize("kind", [*ENDINGS, "nested", "nested twice"])
def test_the_logits_are_found_before_the_softmax(kind):
    model, linear = ending(kind)
    pixels = RANDOM.integers(0, 256, (3, 8, 8, 3)).astype("float32")
    scorer = prediction.Scorer(model)
    assert scorer.has_logits
    scores, expected = scorer(pixels), linear.predict(pixels, verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        prediction.softmax(scores), model.predict(pixels, verbose=0), atol=1e-5
    )


def test_where_no_softmax_is_seen_logarithms_of_the_probabilities_serve():
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.exp(keras.layers.Dense(5)(body(inputs)) / 100)
    model = keras.Model(inputs, x / keras.ops.sum(x, axis=-1, keepdims=True))
    pixels = RANDOM.integers(0, 256, (3, 8, 8, 3)).astype("float32")
    scorer = prediction.Scorer(model)
    assert not scorer.has_logits
    np.testing.assert_allclose(
        prediction.softmax(scorer(pixels)), model.predict(pixels, verbose=0), atol=1e-5
    )
    assert list(prediction.familiarities(scorer, scorer(pixels))) == ["probability"]


def test_a_network_that_is_trained_on_gives_its_new_answers(taught):
    run = records.Run(taught.record, model=keras.models.clone_model(taught.model))
    before = run.predict(DATA.test.images[:2]).probabilities
    for weight in run.model.trainable_weights:
        weight.assign(weight + 0.3)
    after = run.predict(DATA.test.images[:2]).probabilities
    assert np.abs(after - before).max() > 1e-3
    expected = run.model.predict(DATA.test.images[:2].astype("float32"), verbose=0)
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_energy_is_the_logarithm_of_a_sum():
    scores = np.array([[1.0, 2, 3], [500, -500, 0]])
    expected = [np.log(np.exp([1, 2, 3]).sum()), 500]
    assert prediction.familiarity(scores, "energy") == pytest.approx(expected)
    assert prediction.familiarity(scores, "probability") == pytest.approx(
        prediction.softmax(scores).max(axis=1)
    )


def test_a_card_for_another_network_is_refused(taught):
    dataset = taught.record["dataset"] | {"classes": ["a", "b"]}
    wrong = records.Run(taught.record | {"dataset": dataset}, model=taught.model)
    with pytest.raises(ValueError, match=r"2 outputs, as there are class names.*of 10"):
        wrong.predict(DATA.test.images[0])


def grey_run():
    """A run on grey pictures that is not kept, of a network that is not trained."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs / 255)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="grey")
    dataset = {"source": "grey", "image_shape": [8, 8, 1], "classes": ["a", "b", "c"]}
    record = {"model": {"name": "grey"}, "dataset": dataset | {"sizes": [1, 1, 1]}}
    return records.Run(record | {"recipe": {}, "history": {"loss": []}}, model=model)


def test_a_network_of_grey_pictures(tmp_path):
    run, grey = grey_run(), RANDOM.integers(0, 256, (4, 8, 8), "uint8")
    expected = run.model.predict(grey[..., None].astype("float32"), verbose=0)
    for form in (grey, grey[..., None], list(grey)):
        np.testing.assert_allclose(run.predict(form).probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(run.predict(grey[0]).probabilities, expected[:1], atol=1e-5)
    Image.fromarray(PHOTO).save(tmp_path / "colour.png")
    square = np.array(Image.fromarray(images.load(tmp_path / "colour.png", 8)).convert("L"))
    found = run.predict(tmp_path / "colour.png").probabilities
    np.testing.assert_allclose(found, run.predict(square).probabilities, atol=1e-6)
    with pytest.raises(ValueError, match=r"\(height, width, 1\).*convert\('L'\)"):
        run.predict(PHOTO)


def test_a_network_of_oblong_pictures_takes_arrays_alone(taught, tmp_path):
    run = grey_run()
    run.record["dataset"]["image_shape"] = [8, 4, 1]
    with pytest.raises(ValueError, match=r"Expected arrays.*8x4x1"):
        run.predict(written(tmp_path, "plain.png"))


# Pictures that were resized for training, as for fine-tuning


def resized_run(before, after):
    """A run whose pictures were of one shape, and then of another, of an untrained network."""
    run = grey_run()
    inputs = keras.Input(after)
    x = keras.layers.Flatten()(inputs / 255)
    run.model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="fitted")
    run.record["dataset"]["image_shape"] = list(after)
    run.record["base"] = {"pictures": list(before)}
    return run


@pytest.mark.parametrize(
    ("before", "after"),
    [((8, 8, 3), (20, 20, 3)), ((20, 20, 3), (8, 8, 3)), ((8, 8, 1), (12, 12, 3))],
)
def test_pictures_are_resized_as_they_were_for_training(before, after, tmp_path):
    run = resized_run(before, after)
    arrays = RANDOM.integers(0, 256, (10, *before), "uint8")
    split = datasets.Split(arrays, np.arange(10) % 3)
    data = datasets.Dataset(split, split, split, ("a", "b", "c"), "x")
    fitted = rl.finetuning.fitted(data, after).test.images
    expected = run.model.predict(fitted.astype("float32"), verbose=0)
    for row, picture in enumerate(arrays):
        Image.fromarray(picture.squeeze()).save(tmp_path / f"{row}.png")
    for form in (arrays, fitted, list(arrays), split, tmp_path):
        np.testing.assert_allclose(run.predict(form).probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(run.evaluate(data).labels, split.labels)


@pytest.mark.slow
def test_a_fine_tuned_network_has_its_recorded_accuracy_on_the_pictures_as_they_were():
    few = DATA.limit(32)
    run = rl.finetune(few, "resnet20v1-cifar10", epochs=1, progress=False)
    assert run.record["dataset"]["image_shape"] == [32, 32, 3]
    found = run.evaluate(few)
    assert found.accuracy == run.record["results"]["test_accuracy_best"]
    assert found.confusion.tolist() == run.record["results"]["test_confusion"]


# Pictures whose classes are known


@pytest.fixture
def pictures(tmp_path):
    """A folder with a folder for each of three classes, in another order than the network's."""
    counts = {"star": 5, "circle": 3, "arrow": 4}
    for name, count in counts.items():
        folder = tmp_path / "new" / name / "deep"
        folder.mkdir(parents=True)
        label = DATA.class_names.index(name)
        for n, row in enumerate(np.flatnonzero(DATA.test.labels == label)[:count]):
            Image.fromarray(DATA.test.images[row]).save(folder / f"{n}.png")
    (tmp_path / "new" / "empty").mkdir()
    (tmp_path / "new" / "notes.txt").touch()
    return tmp_path / "new"


def test_a_folder_is_matched_by_the_names_of_its_folders(pictures, taught):
    found, names = taught.evaluate(pictures), DATA.class_names
    assert found.confusion.sum(axis=1).tolist() == [
        {"star": 5, "circle": 3, "arrow": 4}.get(name, 0) for name in names
    ]
    rows = np.concatenate(
        [
            np.flatnonzero(DATA.test.labels == names.index(n))[:c]
            for n, c in (("arrow", 4), ("circle", 3), ("star", 5))
        ]
    )
    split = datasets.Split(DATA.test.images[rows], DATA.test.labels[rows])
    probabilities = taught.model.predict(split.images.astype("float32"), verbose=0)
    right = probabilities.argmax(axis=1) == split.labels
    assert found.accuracy == right.mean()
    assert found.recall == {
        "circle": right[4:7].mean(),
        "star": right[7:].mean(),
        "arrow": right[:4].mean(),
    }
    assert found.baseline == 5 / 12
    assert found.missing == [n for n in names if n not in ("arrow", "circle", "star")]
    assert f"no picture of {found.missing[0]}" in str(found)
    assert found.predictions[0].picture == "arrow/deep/0.png"
    assert found.refused is None
    by_split = taught.evaluate(split)
    np.testing.assert_array_equal(by_split.confusion, found.confusion)
    json.dumps(found.as_dict(), allow_nan=False)
    assert "<table>" in found._repr_html_()


def test_what_systems_leave_behind_is_no_picture_and_no_class(pictures, taught):
    expected = taught.evaluate(pictures).confusion
    for place in ("__MACOSX/star/._0.png", "star/@eaDir/0.png", "only/.DS_Store", "star/Thumbs.db"):
        path = pictures / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((pictures / "star/deep/0.png").read_bytes())
    np.testing.assert_array_equal(taught.evaluate(pictures).confusion, expected)
    assert len(taught.predict(pictures / "star")) == 5


def test_pictures_of_several_folders_are_told_apart(pictures, taught):
    both = [pictures / "star", pictures / "circle"]
    names = [each.picture for each in taught.predict(both)]
    assert len(set(names)) == 8
    assert names[0] == (pictures / "star/deep/0.png").as_posix()


def test_a_set_is_matched_by_the_names_of_its_classes(taught):
    found = taught.evaluate(DATA)
    assert found.accuracy == taught.record["results"]["test_accuracy_best"]
    assert found.confusion.tolist() == taught.record["results"]["test_confusion"]
    names = DATA.class_names[::-1]
    parts = (DATA.train, DATA.validation, DATA.test)
    turned = [datasets.Split(part.images, 9 - part.labels) for part in parts]
    again = taught.evaluate(datasets.Dataset(*turned, names, "turned"))
    np.testing.assert_array_equal(again.confusion, found.confusion)


def test_a_class_that_the_network_does_not_have_is_named(pictures, taught):
    (pictures / "starr").mkdir()
    Image.fromarray(PHOTO).save(pictures / "starr" / "a.png")
    with pytest.raises(ValueError, match=r"network's classes, circle.*Received, in .*: starr$"):
        taught.evaluate(pictures)
    names = ("cat", *DATA.class_names[1:])
    other = datasets.Dataset(DATA.train, DATA.validation, DATA.test, names, "other")
    with pytest.raises(ValueError, match=r"Received, in other, test part: cat$"):
        taught.evaluate(other)
    labels = np.where(DATA.test.labels == 9, 10, DATA.test.labels)
    with pytest.raises(ValueError, match=r"labels from 0 to 9.*10"):
        taught.evaluate(datasets.Split(DATA.test.images, labels))


def test_a_folder_of_parts_says_to_name_one(pictures, taught, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
        pictures.rename(tmp_path / "set" / part / "x") if part == "test" else None
    Image.fromarray(PHOTO).save(tmp_path / "set" / "train" / "a.png")
    with pytest.raises(ValueError, match=r"these seem to be parts: name one of them, such as .*/"):
        taught.evaluate(tmp_path / "set")


def test_where_nothing_is_to_be_evaluated(taught, tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        taught.evaluate(tmp_path)
    with pytest.raises(FileNotFoundError, match="which is none"):
        taught.evaluate(tmp_path / "no")
    for wrong in (None, DATA.test.images, 3):
        with pytest.raises(ValueError, match="Expected a folder of folders"):
            taught.evaluate(wrong)


def test_a_file_of_a_class_that_cannot_be_read_is_left_out_and_said(pictures, taught):
    before = taught.evaluate(pictures)
    (pictures / "star" / "bad.png").write_bytes(b"no picture")
    found = taught.evaluate(pictures)
    np.testing.assert_array_equal(found.confusion, before.confusion)
    assert list(found.unreadable) == ["star/bad.png"]
    assert "1 files cannot be read: star/bad.png" in str(found)


def test_letters_with_marks_are_the_same_in_either_form():
    names = ["Äpfel", "Birnen"]
    assert reading.matched([unicodedata.normalize("NFD", "Äpfel")], names, "x") == [0]
    assert reading.matched(["Birnen"], names, "x") == [1]


def test_any_size_of_picture_can_be_evaluated(taught):
    large = np.kron(DATA.test.images, np.ones((1, 2, 2, 1), "uint8"))
    found = taught.evaluate(datasets.Split(large, DATA.test.labels))
    assert found.accuracy == taught.evaluate(DATA).accuracy


@pytest.mark.slow
@pytest.mark.images
def test_the_shipped_network_names_cifar10():
    data = datasets.cifar10()
    run = rl.load("resnet20v1-cifar10")
    assert (
        run.evaluate(datasets.Split(data.test.images[:256], data.test.labels[:256])).accuracy > 0.8
    )
    assert Path(run.folder, run.model_file).is_file()
