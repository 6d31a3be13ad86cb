"""Where boxes and arrows stand: nothing overlaps, texts are legible, a skip is seen at once."""

from itertools import combinations

import keras
import matplotlib.colors
import pytest
from keras import layers
from nets import net

from resnet_lib import diagrams, graphs


def inception():
    x = inputs = keras.Input((16, 16, 8))

    def conv(filters, kernel):
        return layers.Conv2D(filters, kernel, padding="same")

    paths = [conv(8, 1)(x), conv(8, 5)(conv(4, 1)(x)), conv(8, 3)(conv(4, 1)(x))]
    return keras.Model(inputs, layers.Add()([layers.Concatenate()(paths), conv(24, 1)(x)]))


PANELS = {
    "plain": ("plain small", "stage1_block1"),
    "identity": ("v1", "stage1_block1"),
    "projection": ("v1", "stage2_block1"),
    "shortcut A": ("v1 paper", "stage2_block1"),
    "bottleneck": ("resnet50", "conv2_block1"),
    "pre-activation": ("v2", "stage2_block1"),
    "inception": (inception, None),
    "network": ("v1", None),
    "bottleneck network": ("resnet50", None),
    "deep network": ("v1 deep", None),
}


def panel_of(model, name, title="A title"):
    found = graphs.read(model() if callable(model) else net(model), name)
    is_block = isinstance(found, graphs.Block)
    return (diagrams.place_block if is_block else diagrams.place_network)(found, title)


def piece_edges(piece):
    across, down = piece.width / 2, piece.height / 2
    return piece.x - across, piece.y - down, piece.x + across, piece.y + down


def note_edges(note):
    width = diagrams.text_width(note.text, note.points)
    left = note.x - width * {"left": 0, "center": 0.5, "right": 1}[note.align]
    tall = 0.055 * (1 + note.text.count("\n"))
    return left, note.y - tall, left + width, note.y + tall


def overlap(one, other):
    return (
        min(one[2], other[2]) - max(one[0], other[0]) > 0.005
        and min(one[3], other[3]) - max(one[1], other[1]) > 0.005
    )


@pytest.mark.parametrize("model, name", PANELS.values(), ids=PANELS)
def test_nothing_overlaps_and_nothing_sticks_out(model, name):
    panel = panel_of(model, name)
    edges = [*map(piece_edges, panel.pieces), *map(note_edges, panel.notes)]
    assert not [pair for pair in combinations(edges, 2) if overlap(*pair)]
    edges += [(x, y, x, y) for line in panel.lines for x, y in line.corners]
    for left, top, right, bottom in edges:
        assert left >= 0 and top >= 0
        assert right <= panel.width and bottom <= panel.height


@pytest.mark.parametrize("model, name", PANELS.values(), ids=PANELS)
def test_labels_fit_into_their_boxes_and_are_legible(model, name):
    panel = panel_of(model, name)
    for piece in panel.pieces:
        if piece.kind != "sum":
            points = diagrams.SMALL if piece.height < diagrams.HEIGHT else diagrams.TEXT
            assert diagrams.text_width(piece.label, points) + 0.1 <= piece.width
    assert min(diagrams.TEXT, diagrams.SMALL, *(note.points for note in panel.notes)) >= 8


def through(line, piece):
    """Whether a line runs through a box, and not only up to its edge."""
    left, top, right, bottom = piece_edges(piece)
    for (ax, ay), (bx, by) in zip(line.corners, line.corners[1:], strict=False):
        across = min(max(ax, bx) + 0.01, right) - max(min(ax, bx) - 0.01, left)
        down = min(max(ay, by) + 0.01, bottom) - max(min(ay, by) - 0.01, top)
        if min(across, down) > 0.011:
            return True
    return False


@pytest.mark.parametrize("model, name", PANELS.values(), ids=PANELS)
def test_no_line_runs_through_a_box_but_a_side_path_through_its_own(model, name):
    panel = panel_of(model, name)
    for line in panel.lines:
        side = len(line.corners) == 4
        own = (line.corners[1][0] + line.corners[2][0]) / 2 if side else None
        for piece in panel.pieces:
            assert (side and piece.x == pytest.approx(own)) or not through(line, piece)


def skips(panel):
    return [line for line in panel.lines if line.skip]


def test_the_skip_leaves_the_input_and_ends_at_the_addition():
    panel = panel_of("v1", "stage2_block1")
    [skip] = skips(panel)
    [addition] = [piece for piece in panel.pieces if piece.kind == "sum"]
    first = panel.pieces[0]
    assert skip.corners[0][0] == first.x and skip.corners[0][1] < first.y - first.height / 2
    assert skip.corners[-1] == pytest.approx((addition.x + addition.width / 2, addition.y))
    assert [piece.label for piece in panel.pieces if piece.skip] == ["conv 1x1, 32, /2", "BN"]
    arc = skip.corners[1][0]
    assert all(piece.x == arc for piece in panel.pieces if piece.skip)


def test_a_plain_block_has_no_arc_and_an_identity_nothing_on_it():
    assert skips(panel_of(*PANELS["plain"])) == []
    panel = panel_of(*PANELS["identity"])
    assert len(skips(panel)) == 1
    assert not any(piece.skip for piece in panel.pieces)


def test_a_skip_differs_from_a_branch_in_colour_width_and_dash():
    skip, branch = diagrams.SKIP, diagrams.BRANCH
    assert skip["linewidth"] > 2 * branch["linewidth"]
    assert skip["linestyle"] != branch["linestyle"]
    assert matplotlib.colors.to_rgb(skip["color"]) != matplotlib.colors.to_rgb(branch["color"])


def test_shapes_stand_at_both_ends_and_where_they_change():
    notes = [note.text for note in panel_of("v1", "stage2_block1", "").notes]
    assert sorted(notes) == sorted(["32x32x16", "16x16x32", "16x16x32", "16x16x32"])
    notes = [note.text for note in panel_of("v1", "stage1_block1", "").notes]
    assert notes == ["32x32x16", "32x32x16"]


def test_a_network_has_an_arc_over_each_block_and_leaves_out_the_middle_of_long_rows():
    assert len(skips(panel_of(*PANELS["network"]))) == 9
    assert skips(panel_of(PANELS["plain"][0], None)) == []
    deep = panel_of(*PANELS["deep network"])
    assert [n.text for n in deep.notes if "more" in n.text] == [
        f"{number} more\nlike these" for number in (7, 6, 6)
    ]
    assert deep.width < 9.5


def test_panels_stand_side_by_side_in_even_rows():
    panels = [diagrams.Panel(2.0, 1.0) for _ in range(5)]
    assert diagrams.beside(panels, width=11, gap=0.1).width == pytest.approx(10.4)
    rows = diagrams.beside(panels, width=9, gap=0.1)
    assert (rows.width, rows.height) == (pytest.approx(6.2), pytest.approx(2.1))
    wide = diagrams.beside([diagrams.Panel(20.0, 1.0), diagrams.Panel(2.0, 1.0)])
    assert wide.width == 20
