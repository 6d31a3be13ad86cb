"""Temperature, calibration error, threshold and AUROC, on numbers whose answer is known."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from small import DATA, train

import resnet_lib as rl
from resnet_lib import calibration, cards, datasets, prediction, records

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(4000, 5)) * 2
LABELS = (prediction.softmax(LOGITS).cumsum(axis=1) > RANDOM.random((4000, 1))).argmax(axis=1)


@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_the_temperature_undoes_what_the_logits_were_multiplied_by(factor):
    found = calibration.temperature(factor * LOGITS, LABELS)
    assert found == pytest.approx(factor, rel=0.05)
    best = calibration.log_likelihood(factor * LOGITS, LABELS, found)
    for other in (0.98 * found, 1.02 * found):
        assert calibration.log_likelihood(factor * LOGITS, LABELS, other) > best


def test_the_temperature_is_that_of_the_probabilities_logarithms_too():
    logs = np.log(prediction.softmax(3 * LOGITS))
    expected = calibration.temperature(3 * LOGITS, LABELS)
    assert calibration.temperature(logs, LABELS) == pytest.approx(expected, rel=1e-4)


def test_where_no_temperature_can_be_told():
    right = LOGITS.argmax(axis=1)
    assert calibration.temperature(LOGITS, right) is None
    assert calibration.temperature(LOGITS, (right + 1) % 5) == pytest.approx(20, rel=1e-6)


def test_the_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.38, 0.62]])
    found = calibration.bins(probabilities, np.array([0, 1, 1, 1]), number=10)
    # 0.9 and 0.9, of which one is right; 0.6; 0.62.
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 2, 0]
    assert found.error == pytest.approx((2 * 0.4 + 0.4 + 0.38) / 4)
    sure = calibration.bins(np.eye(3), np.arange(3))
    assert (sure.error, sure.count[-1]) == (0, 3)
    assert calibration.bins(prediction.softmax(LOGITS), LABELS).error < 0.02
    assert calibration.bins(prediction.softmax(3 * LOGITS), LABELS).error > 0.1


def test_auroc_is_how_often_the_known_one_is_ahead():
    assert calibration.auroc(np.array([1.0, 2, 3]), np.array([0.0, 2])) == pytest.approx(4.5 / 6)
    known, others = RANDOM.normal(1, 1, 200).round(1), RANDOM.normal(0, 1, 300).round(1)
    ahead = (known[:, None] > others) + 0.5 * (known[:, None] == others)
    assert calibration.auroc(known, others) == pytest.approx(ahead.mean())
    assert calibration.auroc(others, known) == pytest.approx(1 - ahead.mean())


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.95, 0.99])
def test_the_threshold_keeps_what_it_should(keep):
    for n in (1, 7, 100, 1001):
        values = RANDOM.normal(size=n)
        kept = np.mean(values >= calibration.threshold(values, keep))
        assert keep <= kept < keep + 1 / n


def scored(scores, labels):
    familiar = {kind: prediction.familiarity(scores, kind) for kind in ("energy", "probability")}
    return calibration.Scored(scores, labels, familiar)


def test_what_is_found_is_tried_on_other_pictures():
    fitted, apart = (
        scored(3 * LOGITS[:2000], LABELS[:2000]),
        scored(3 * LOGITS[2000:], LABELS[2000:]),
    )
    others = scored(LOGITS[:500] / 2, LABELS[:500]).familiar
    found = calibration.calibrate(fitted, apart, others, keep=0.9)
    assert found.before.error > 0.1 > 3 * found.after.error
    assert (found.apart, found.fitted, found.measured) == (True, 2000, 2000)
    assert found.kept == pytest.approx(0.9, abs=0.03)
    assert found.kept == np.mean(apart.familiar["energy"] >= found.threshold)
    assert found.refused == np.mean(others["energy"] < found.threshold) > 0.1
    for kind in ("energy", "probability"):
        expected = calibration.auroc(apart.familiar[kind], others[kind])
        assert found.aurocs[kind] == expected
        assert f"{expected:.3f} by {cards.SCORES[kind]}" in repr(found)
    assert "that it was not found on" in repr(found)
    same = calibration.calibrate(fitted)
    assert "the same that it was found on" in repr(same)
    assert (same.refused, same.aurocs) == (None, {})
    json.dumps(found.settings(), allow_nan=False)


def test_few_pictures_and_those_that_are_all_right_are_told():
    with pytest.warns(UserWarning, match="8 pictures are few for a threshold that keeps 95%"):
        calibration.calibrate(scored(LOGITS[:8], LABELS[:8]))
    with pytest.warns(UserWarning, match="do not tell a temperature"):
        found = calibration.calibrate(scored(LOGITS, LOGITS.argmax(axis=1)))
    assert found.temperature == 1


@pytest.mark.parametrize("options", [{"keep": 1}, {"keep": 0}, {"keep": "x"}, {"score": "energie"}])
def test_options_that_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"Expected `{name}`"):
        calibration.calibrate(scored(LOGITS, LABELS), **options)


# A run that is calibrated


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "run"
    train(folder, epochs=1)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "run")


NOISE = RANDOM.integers(0, 256, (40, 16, 16, 3), "uint8")


def weights(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read("model.weights.h5")


def test_a_run_is_calibrated_in_its_file(folder):
    path, before = folder / "model.keras", weights(folder / "model.keras")
    run = rl.load(folder)
    uncalibrated = run.predict(DATA.test)
    assert {each.known for each in uncalibrated} == {None}
    labels = np.zeros(len(NOISE), int)
    others = datasets.Dataset(*[datasets.Split(NOISE, labels)] * 3, ("noise", "none"), "noise")
    found = run.calibrate(DATA, others=others, keep=0.8)
    assert len(found.unfamiliar) == len(NOISE)
    assert found.aurocs == run.calibrate(DATA, others=NOISE, keep=0.8).aurocs
    assert (found.fitted, found.measured, found.apart) == (64, 64, True)
    assert found.saved == "model.keras"
    assert weights(path) == before
    assert records.is_whole(path)
    assert not list(folder.glob("*.part"))
    card = rl.load(path).card
    assert (card["temperature"], card["threshold"]) == (found.temperature, found.threshold)
    assert card["calibrated"]["auroc"] == found.aurocs
    again = rl.load(folder)
    answers = again.predict(DATA.test)
    np.testing.assert_array_equal(answers.probabilities, run.predict(DATA.test).probabilities)
    scores = again._asked()(DATA.test.images)
    assert answers.probabilities == pytest.approx(prediction.softmax(scores / found.temperature))
    known = prediction.familiarity(scores, "energy") >= found.threshold
    assert [each.known for each in answers] == known.tolist()
    assert answers.names.count("none of these") == np.sum(~known)
    assert np.mean(known) == pytest.approx(found.kept)
    assert again.evaluate(DATA).refused == pytest.approx(1 - found.kept)
    assert f"temperature {found.temperature:.3g}" in str(again)
    assert again.load_model().get_weights()


def test_of_a_set_the_validation_part_decides_and_a_second_time_counts(folder):
    run = rl.load(folder)
    first = run.calibrate(DATA, keep=0.8)
    second = run.calibrate(DATA, keep=0.8)
    assert (first.temperature, first.threshold) == (second.temperature, second.threshold)
    by_part = run.calibrate(DATA.validation, keep=0.8)
    assert (by_part.temperature, by_part.threshold) == (first.temperature, first.threshold)
    assert not by_part.apart
    energies = prediction.familiarity(run._asked()(DATA.validation.images), "energy")
    assert np.mean(energies >= first.threshold) >= 0.8
    other = run.calibrate(DATA, score="probability", keep=0.5)
    assert rl.load(folder).card["score"] == "probability"
    assert rl.load(folder).card["threshold"] == other.threshold < 1


def test_a_run_that_is_kept_nowhere_and_one_that_comes_with_the_library(kept):
    for run in (records.Run(rl.load(kept).record, model=rl.load(kept).load_model()),):
        found = run.calibrate(DATA, keep=0.8)
        assert found.saved is None
        assert "the run alone" in repr(found)
        assert run.card["threshold"] == found.threshold
        assert "none of these" in run.predict(DATA.test).names
    shipped, small = rl.load("resnet20v1-shapes"), datasets.shapes(train=10, validation=20, test=20)
    path = records.RECORDED / "resnet20v1-shapes.keras"
    before = path.read_bytes()
    with pytest.warns(UserWarning):
        assert shipped.calibrate(small, keep=0.9).saved is None
    assert path.read_bytes() == before
    assert shipped.card["threshold"] is not None
    assert rl.load("resnet20v1-shapes").card["threshold"] is None


def test_a_file_that_cannot_be_written_stays_whole(folder, monkeypatch):
    run, before = rl.load(folder), (folder / "model.keras").read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        run.calibrate(DATA, keep=0.8)
    assert (folder / "model.keras").read_bytes() == before


def test_a_file_that_was_damaged_meanwhile_is_not_written_over(folder):
    run = rl.load(folder)
    run.predict(DATA.test.images[0])
    damaged = (folder / "model.keras").read_bytes()[:-100]
    (folder / "model.keras").write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        run.calibrate(DATA, keep=0.8)
    assert (folder / "model.keras").read_bytes() == damaged
