"""Figures of how sure a network is."""

import numpy as np
import pytest
from test_calibration import LABELS, LOGITS, scored

from resnet_lib import calibration, plots


@pytest.fixture(scope="module")
def found():
    others = scored(LOGITS[:500] / 2, LABELS[:500]).familiar
    return calibration.calibrate(scored(3 * LOGITS, LABELS), None, others)


def test_the_bars_are_as_high_as_the_share_that_is_right(found):
    figure = plots.reliability(found, title="a $ sign")
    for ax, bins in zip(figure.axes, (found.before, found.after), strict=True):
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_allclose(heights, bins.accuracy[bins.count > 0])
        middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
        np.testing.assert_allclose(middles, (np.flatnonzero(bins.count) + 0.5) / 15)
        assert f"{bins.error:.1%}" in ax.get_title()
        assert f"{bins.error:.1%}" in figure.alt
        written = [text.get_text() for text in ax.texts]
        assert written[: len(heights)] == [str(count) for count in bins.count if count]


def test_known_and_unknown_pictures_are_drawn_as_shares(found):
    figure = plots.familiarity(found)
    (ax,) = figure.axes
    heights = np.array([bar.get_height() for bar in ax.patches])
    assert heights.sum() == pytest.approx(2)
    assert ax.lines[0].get_xdata()[0] == found.threshold
    assert f"{found.refused:.1%}" in figure.alt
    assert f"{found.aurocs['energy']:.3f}" in ax.get_title()
    alone = plots.familiarity(calibration.calibrate(scored(3 * LOGITS, LABELS)))
    assert sum(bar.get_height() for bar in alone.axes[0].patches) == pytest.approx(1)
