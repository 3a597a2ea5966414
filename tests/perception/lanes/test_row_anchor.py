"""The row-anchor network: what its numbers mean, and that it can learn."""

import numpy as np
import pytest
import torch

from perception.data.lanes import ABSENT, ORDERS, rows_of
from perception.lanes.row_anchor import LEAST_POINTS, SLOTS, RowAnchor, RowAnchorConfig, row_anchor_loss

SMALL = RowAnchorConfig(64, 96, 32, (8, 8, 16, 16, 16), (1, 1, 1, 1), 8, 4, 8, 16)


def test_there_is_a_slot_for_each_line_of_the_labels():
    assert len(SLOTS) == len(ORDERS) == 4
    assert [name.endswith("left") for name in SLOTS] == [order < 0 for order in ORDERS]
    assert [name.startswith("next") for name in SLOTS] == [abs(order) > 1 for order in ORDERS]


def test_the_default_is_below_a_million_parameters_and_reaches_both_edges():
    network = RowAnchor(RowAnchorConfig())
    assert sum(weight.numel() for weight in network.parameters()) < 1e6
    assert network.anchors.tolist() == rows_of(192)
    assert network.middles[0] <= 0 and network.middles[-1] >= 320
    columns, exists = network(torch.zeros(2, 3, 192, 320, dtype=torch.uint8))
    assert columns.shape == (2, 4, 28, len(network.middles)) and exists.shape == (2, 4, 28)


def test_rows_are_taken_from_where_they_lie():
    """A feature that is the height of its cell's middle must be that of the anchors between the cells."""
    network = RowAnchor(RowAnchorConfig())
    heights = 64 + (torch.arange(32) + 0.5) * 4
    taken = torch.lerp(heights[network.low], heights[network.low + 1], network.share[:, 0])
    assert torch.allclose(taken[:-1], network.anchors[:-1])
    assert taken[-1] == heights[-1]  # below the middle of the last there is none to go on to


def test_places_are_expectations_around_the_likeliest_column():
    network = RowAnchor(SMALL)
    columns = torch.full((3, len(network.middles)), -1e4)
    columns[0, 5] = 0.0
    columns[1, 5:7] = 0.0  # half way
    columns[2, 3], columns[2, 12] = 0.1, 0.0  # another line, far away
    assert network.places(columns).tolist() == pytest.approx([18.0, 20.0, 10.0])


class Free(torch.nn.Module):
    """Stands for a network: its logits are what it learns."""

    def __init__(self, shape):
        super().__init__()
        real = RowAnchor(SMALL)
        self.config, self.middles, self.places = real.config, real.middles, real.places
        self.columns = torch.nn.Parameter(torch.zeros(*shape, len(real.middles)))
        self.exists = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, images):
        return self.columns, self.exists


def test_the_loss_is_least_at_the_true_places():
    truth = torch.tensor([[[0.0, 0.3, 17.9, ABSENT, 63.8, 64.0, 31.0, 33.3]] * 4])
    network = Free((1, 4, 8))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.5)
    for _ in range(150):
        parts = row_anchor_loss(network, None, truth)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    there = truth != ABSENT
    found = network.places(network.columns.detach())
    assert torch.allclose(found[there], truth[there], atol=0.05)
    assert torch.equal(network.exists > 0, there)


def test_a_batch_without_a_line_has_a_finite_loss():
    network = RowAnchor(SMALL)
    images = torch.zeros(2, 3, 96, 64, dtype=torch.uint8)
    parts = row_anchor_loss(network, images, torch.full((2, 4, 8), float(ABSENT)))
    parts["loss"].backward()
    assert parts["place"] == 0.0 and torch.isfinite(parts["existence"])


def pictures(generator, count):
    """Dark roads with bright slanted lines in the two inner slots, the right one sometimes missing; and where."""
    rows = np.array(rows_of(96, 8))
    images = np.full((count, 3, 96, 64), 60, dtype=np.uint8)
    truth = np.full((count, 4, 8), float(ABSENT), dtype=np.float32)
    for i in range(count):
        for slot, low in ((1, 6), (2, 36)):
            if slot == 2 and generator.random() < 0.3:
                continue
            near, far = generator.uniform(low, low + 20, 2)
            truth[i, slot] = far + (near - far) * (rows - rows[0]) / (rows[-1] - rows[0])
            for y in range(48, 96):
                x = int(far + (near - far) * (y - rows[0]) / (rows[-1] - rows[0]))
                images[i, :, y, max(x - 1, 0) : x + 2] = 230
    return torch.from_numpy(images), torch.from_numpy(truth)


def test_it_learns_to_find_lines_it_has_not_seen():
    torch.manual_seed(0)
    generator = np.random.default_rng(1)
    network = RowAnchor(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3)
    for _ in range(110):
        loss = row_anchor_loss(network, *pictures(generator, 16))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    images, truth = pictures(generator, 64)
    found = network.predict(images)
    both = (found != ABSENT) & (truth != ABSENT)
    assert ((found != ABSENT) == (truth != ABSENT)).float().mean() > 0.97
    assert (found - truth)[both].abs().median() < 1.0  # the lines lie anywhere in 20 px
    larger = network.predict(images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    same = (larger != ABSENT) & (found != ABSENT)
    assert (larger / 2 - found)[same].abs().median() < 0.5


def test_lines_of_too_few_points_are_none_and_places_stay_in_the_frame():
    network = RowAnchor(SMALL).eval()
    columns = torch.full((1, 4, 8, len(network.middles)), -1e4)
    columns[..., 0] = 0.0  # the middle of this column is outside
    exists = torch.full((1, 4, 8), -5.0)
    exists[0, 0, : LEAST_POINTS - 1] = 5.0
    exists[0, 1, :LEAST_POINTS] = 5.0
    network.forward = lambda images: (columns, exists)
    found = network.predict(torch.zeros(1, 3, 96, 64, dtype=torch.uint8))
    assert (found[0, 0] == ABSENT).all() and (found[0, 1, :LEAST_POINTS] == 0.0).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 4, 96, 64, dtype=torch.uint8), r"uint8 \(1, 4, 96, 64\)"),
        (torch.zeros(3, 96, 64, dtype=torch.uint8), r"\(3, 96, 64\)"),
        (torch.zeros(1, 3, 96, 64), "float32"),
        (np.zeros((1, 3, 96, 64), np.uint8), "ndarray"),
        (torch.zeros(1, 3, 0, 64, dtype=torch.uint8), "nothing in them"),
    ],
)
def test_what_is_no_picture_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        RowAnchor(SMALL).eval().predict(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 300}, "multiples of 32"),
        ({"top": 60}, "multiples of 32"),
        ({"top": -32}, "multiples of 32"),
        ({"height": 256, "top": 192}, "upper half"),
        ({"rows": 1}, "at least 2 rows"),
        ({"blocks": (1, 1)}, "blocks four"),
        ({"finest": 3}, "finest is 3"),
    ],
)
def test_impossible_networks(change, message):
    with pytest.raises(ValueError, match=message):
        RowAnchorConfig(**change)


@pytest.mark.parametrize("scale", [1, 3.75, 5.625])
def test_lines_in_larger_pictures_are_where_they_are(scale):
    """Rows and x of a straight line at the network's anchors, in the pixels of the picture."""
    network, height, width = RowAnchor(SMALL).eval(), round(96 * scale), round(64 * scale)
    columns = torch.full((1, 4, 8, len(network.middles)), -1e4)
    wanted = 10 + 0.4 * network.anchors
    index = torch.stack([(x - network.middles).abs().argmin() for x in wanted])
    columns[0, :, torch.arange(8), index] = 0.0
    network.forward = lambda images: (columns, torch.full((1, 4, 8), 5.0))
    x = network.predict(torch.zeros(1, 3, height, width, dtype=torch.uint8))[0, 0]
    line = scale * network.middles[index]
    assert torch.allclose(x, line) and torch.allclose(network.rows(height), scale * network.anchors)
    assert (x - (10 * scale + 0.4 * network.rows(height))).abs().max() <= 1.001 * scale * 0.5 * SMALL.finest
