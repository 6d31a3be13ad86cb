"""Figures of answers: what is drawn is what the network said, and the alt text says it, too."""

from functools import cache

import matplotlib
import numpy as np
import pytest
from small import PICTURES

from resnet_lib import datasets, plots, records, verdicts
from resnet_lib.explain import similarity
from resnet_lib.inspection import Signal

COUNTS = [[3, 1, 0], [0, 4, 0], [2, 0, 5]]
NAMES = ["cat", "dog", "bird"]
RANDOM = np.random.default_rng(0)


def written_in(fig):
    return [text.get_text() for text in fig.findobj(matplotlib.text.Text) if text.get_text()]


@cache
def a_run():
    return records.recorded()["resnet20v1-shapes"]


def test_they_are_figures_like_the_others():
    assert plots.confusion is verdicts.confusion
    assert plots.mistakes is verdicts.mistakes and plots.maps is verdicts.maps


# Confusion


def test_confusion_says_what_is_confused():
    fig = plots.confusion(COUNTS, NAMES, title="three")
    assert "12 of 15 pictures are on the diagonal" in fig.alt
    assert fig.alt.endswith("Most often taken: bird for cat (2) and cat for dog (1).")
    assert {"3", "1", "4", "2", "5", "three", *NAMES} <= set(written_in(fig))
    assert plots.confusion([[2]], ["cat"]).alt.endswith("No class was taken for another.")


def test_confusion_of_a_run_is_that_of_its_record():
    run = a_run()
    fig = plots.confusion(run)
    counts = np.array(run.record["results"]["test_confusion"])
    assert f"{np.trace(counts)} of {counts.sum()}" in fig.alt
    assert run.source in fig.get_suptitle()
    shares = fig.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True))
    assert plots.confusion(run, title="").get_suptitle() == " "


def test_confusion_of_an_evaluation_is_its_own():
    class Evaluation:
        confusion, class_names, source = np.array(COUNTS), tuple(NAMES), "some pictures"

    fig = plots.confusion(Evaluation())
    assert fig.get_suptitle() == "some pictures"
    assert "12 of 15" in fig.alt


def test_a_hundred_classes_fit_without_counts():
    counts = np.diag(RANDOM.integers(1, 9, 100))
    fig = plots.confusion(counts, [f"class {i}" for i in range(100)])
    assert not fig.axes[0].texts
    assert max(fig.get_size_inches()) < 20
    assert len(fig.axes[0].get_xticks()) == 100


def test_what_cannot_be_drawn_is_refused():
    unfinished = records.Run({"model": {"name": "a"}, "dataset": {"source": "b"}, "history": {}})
    with pytest.raises(ValueError, match="run with test results"):
        plots.confusion(unfinished)
    with pytest.raises(ValueError, match="class_names"):
        plots.confusion(COUNTS)


# Mistakes


def noisy():
    """Pictures of which a trained network gets some wrong: shapes under noise."""
    images = PICTURES.test.images[:40].astype("float32")
    images = np.clip(images + RANDOM.normal(0, 60, images.shape), 0, 255).astype("uint8")
    return datasets.Split(images, PICTURES.test.labels[:40].copy())


SPLIT = noisy()


def test_mistakes_are_those_that_the_network_was_surest_of():
    run, split = a_run(), SPLIT
    found = run.predict(split.images)
    answers, sure = found.probabilities.argmax(axis=1), found.probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != split.labels)
    assert 3 < len(wrong) < 40
    fig = plots.mistakes(run, split, number=3, columns=2)
    assert f"{len(wrong)} of 40 wrong" in fig.get_suptitle()
    shown = [ax for ax in fig.axes if ax.images]
    assert len(shown) == 3
    best = wrong[np.argsort(-sure[wrong])[:3]]
    for ax, place in zip(shown, best, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), split.images[place])
        told = f"{found.class_names[split.labels[place]]}\ntaken for "
        told += f"{found.class_names[answers[place]]}, {sure[place]:.0%}"
        assert ax.get_title() == told
        assert told.replace("\n", " ") in fig.alt or ax is not shown[0]
    width, height = shown[0].get_window_extent().size
    assert min(width, height) > 120, "too small to look at"


def test_a_long_title_is_wrapped_and_a_long_name_cut():
    names = ["a name that is much longer than a picture is wide", "b"]
    fig = plots.confusion([[1, 0], [0, 1]], names, title="words " * 30)
    assert "\n" in fig.get_suptitle()
    fig.draw_without_rendering()
    assert fig._suptitle.get_window_extent().width < fig.bbox.width
    assert verdicts._short(names[0]) == "a name that is mu…"


def test_no_mistake_is_said():
    run = a_run()
    answers = run.predict(SPLIT.images).probabilities.argmax(axis=1)
    fig = plots.mistakes(run, datasets.Split(SPLIT.images, answers))
    assert "no mistake among 40 pictures" in written_in(fig)
    assert "0 of 40 wrong" in fig.alt


# Maps


def test_maps_stand_beside_their_pictures():
    pictures = PICTURES.test.images[:2]
    some = RANDOM.random((2, 32, 32))
    fig = plots.maps(pictures, {"one": some, "signed": some - 0.5}, titles=["$a", "b"], title="two")
    assert fig.alt == "2 pictures, each beside its maps: one and signed."
    assert {"one", "signed", r"\$a", "b"} <= set(written_in(fig))
    picture, plain, signed, *_ = fig.axes
    np.testing.assert_array_equal(picture.images[0].get_array(), pictures[0])
    assert similarity(plain.images[1].get_array(), some[0]) == pytest.approx(1)
    low, high = signed.images[1].get_clim()
    assert low == -high, "nothing is not in the middle"
    assert plain.images[1].get_clim()[0] == 0


def test_one_picture_with_an_empty_map_is_drawn():
    fig = plots.maps(np.zeros((8, 8, 1), "uint8"), {"none": np.zeros((8, 8))}, alt="Nothing.")
    fig._repr_mimebundle_()
    assert fig.alt == "Nothing."
    assert len(fig.axes) == 2


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 8, 8\).*'a' of shape \(1, 4, 4\)"):
        plots.maps(np.zeros((8, 8, 3)), {"a": np.zeros((4, 4))})
    with pytest.raises(ValueError, match="title for each of 1 pictures"):
        plots.maps(np.zeros((8, 8, 3)), {"a": np.zeros((8, 8))}, titles=[])
    with pytest.raises(ValueError, match="something to draw"):
        plots.maps(np.zeros((8, 8, 3)), {})


# By block


def test_blocks_are_bars_and_the_whole_a_line():
    names = ("whole", "stage1_block1", "stage1_block2", "stage2_block1")
    signal = Signal("accuracy", names, np.array([0.9, 0.5, np.nan, 0.7]))
    fig = plots.by_block(signal, title="without")
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    np.testing.assert_array_equal(heights, [0.5, np.nan, 0.7])
    assert fig.axes[0].lines[0].get_ydata()[0] == 0.9
    assert fig.alt.endswith("Smallest 0.5 at stage1_block1, largest 0.7 at stage2_block1.")
    assert {"stage1_block2", "without"} <= set(written_in(fig))
    two = plots.by_block({"a": signal, "b": signal})
    assert len(two.axes[0].patches) == 6 and "for a and b" in two.alt
    with pytest.raises(ValueError, match="same blocks"):
        plots.by_block({"a": signal, "b": Signal("accuracy", names[1:], signal.values[1:])})
    nothing = Signal("accuracy", names, np.full(4, np.nan))
    assert plots.by_block(nothing).alt.endswith("None could be measured.")
