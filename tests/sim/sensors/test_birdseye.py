"""The bird's-eye raster: shapely measures which share of each pixel a rectangle covers, geometry says where it is."""

import numpy as np
import pytest
import shapely
import torch
import warp as wp

import sim
from sim.engine.lanes import StraightLane
from sim.engine.launch import Program
from sim.engine.network import Network
from sim.engine.state import PRECISIONS, Kind
from sim.sensors.birdseye import CLASSES, COLOURS, BirdsEye, Tone, View
from sim.world import Sizes, World

FAR = 9_000.0  # m, where float32 knows a place to a millimetre


class Scene:
    """One world of things placed by hand; the first is the ego."""

    def __init__(self, *things, objects=(), goal=-1, network=None, precision="float64", device="cpu", copies=1):
        self.network = network or Network.straight(4)
        self.device, self.precision, self.copies = torch.device(device), precision, copies
        everything = [*things, *objects]
        self.world = World.allocate(copies, Sizes(vehicles=len(everything) + 2), self.device, precision)
        for slot, thing in enumerate(everything):
            kind = Kind.IDM if slot < len(things) else Kind.OBSTACLE
            known = {"kind": kind, "heading": 0.0, "length": 5.0, "width": 2.0, "speed": 20.0} | thing
            known |= {"cos_heading": np.cos(known["heading"]), "sin_heading": np.sin(known["heading"])}
            for name, value in known.items():
                getattr(self.world, name)[:, slot] = value
        self.world.count[:] = len(everything)
        self.world.objects[:] = len(objects)
        self.world.goal[:] = goal

    def seen(self, threads=1, mask=None, **view):
        """Pictures [N, channels, height, width]."""
        table = self.network.table(PRECISIONS[self.precision], self.device, sweep=False)
        shape = (self.copies, self.world.x.shape[1])
        raster = BirdsEye(View(**view), self.network, table, self.world.struct(), shape, self.device)
        shown = torch.ones(self.copies, dtype=torch.bool, device=self.device) if mask is None else mask
        Program(raster.launches(wp.from_torch(shown)), self.copies, self.device, threads)()
        return raster.pictures.cpu().numpy()


def rectangle(x, y, heading, length=5.0, width=2.0):
    """A rectangle around (x, y)."""
    box = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
    turned = shapely.affinity.rotate(box, heading, origin=(0, 0), use_radians=True)
    return shapely.affinity.translate(turned, x, y)


def covered(shape, view):
    """Which share of each pixel a shape covers; the picture's axes are the world's, (0, 0) is the ego's place."""
    column, row = np.meshgrid(np.arange(view.width), np.arange(view.height))
    left = (column - view.centering[0] * view.width) / view.scaling
    top = (row - view.centering[1] * view.height) / view.scaling
    pixels = shapely.box(left, top, left + 1 / view.scaling, top + 1 / view.scaling)
    return shapely.area(shapely.intersection(pixels, shape)) * view.scaling**2


def assert_covers(channel, shape, view, worst):
    """The channel shows the shape's coverage: each pixel within `worst`, the sum within 5 %."""
    expected = covered(shape, view)
    np.testing.assert_allclose(channel / 255, expected, atol=worst)
    assert channel.sum() / 255 == pytest.approx(expected.sum(), rel=0.05)


@pytest.mark.parametrize("heading", [0.0, 0.3, np.pi / 4, 1.4, -2.6, 3.1])
@pytest.mark.parametrize("scaling", [1.25, 4.0])
def test_a_vehicle_covers_what_its_rectangle_covers(heading, scaling, device):
    ego, other = {"x": FAR, "y": 4.3, "heading": -0.8}, {"x": FAR + 7.13, "y": 9.41, "heading": heading}
    options = {"width": 60, "height": 48, "scaling": scaling, "align": "world", "channels": "classes"}
    [picture] = Scene(ego, other, device=device).seen(**options)
    view = View(**options)
    channels = dict(zip(CLASSES, picture, strict=True))
    assert_covers(channels["ego"], rectangle(0, 0, -0.8), view, 0.15)
    assert_covers(channels["vehicles"], rectangle(7.13, 5.11, heading), view, 0.15)
    assert channels["obstacles"].max() == channels["goals"].max() == 0


def test_a_picture_along_the_axes_is_exact(device):
    ego, other = {"x": FAR, "y": 4.0}, {"x": FAR + 10.3, "y": 8.6}
    options = {"width": 60, "height": 40, "scaling": 2.0, "channels": "classes"}
    [picture] = Scene(ego, other, device=device).seen(**options)
    assert_covers(picture[2], rectangle(0, 0, 0), View(**options), 0.01)
    assert_covers(picture[3], rectangle(10.3, 4.6, 0), View(**options), 0.01)
    # Lanes from y = -2 to 14 m, the asphalt 0.35 m wider on both sides.
    assert_covers(picture[0], shapely.box(-500, -6.35, 500, 10.35), View(**options), 0.01)


@pytest.mark.parametrize("align", ["ego", "road", "world"])
def test_what_points_to_the_right(align, device):
    """A thing 10 m ahead of the ego, 4 m to the right, is there in the picture whatever the ego's heading is."""
    for heading in (0.0, 0.9, -2.0):
        turn = {"ego": 0.0, "road": heading, "world": heading}[align]
        ahead, right = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
        x, y = (300.0, 6.0) + 10 * ahead + 4 * right
        ego = {"x": 300.0, "y": 6.0, "heading": heading}
        mark = {"x": x, "y": y, "length": 1.0, "width": 1.0, "heading": heading}
        options = {"width": 80, "height": 80, "scaling": 2.5, "centering": (0.5, 0.5), "align": align}
        [picture] = Scene(ego, objects=[mark], device=device).seen(**options, channels=["obstacles", "ego"])
        row, column = np.indices(picture[0].shape) + 0.5
        weight = picture[0] / picture[0].sum()
        place = np.array([(weight * column).sum(), (weight * row).sum()]) / 2.5 - 16
        expected = np.cos(turn) * np.array([10, 4]) + np.sin(turn) * np.array([-4, 10])
        np.testing.assert_allclose(place, expected, atol=0.02)
        assert picture[1, 40, 40] == 255


def test_a_road_that_bends_is_shown_along_its_lane(device):
    """On a lane that runs down the map the picture is turned by a quarter; the ego drives aslant on it."""
    down = Network({"a": {"b": [StraightLane((0.0, 0.0), (0.0, 200.0))]}})
    ego = {"x": 0.0, "y": 50.0, "heading": np.pi / 2 + 0.2}
    mark = {"x": 0.0, "y": 70.0, "length": 1.0, "width": 1.0}
    options = {"width": 80, "height": 40, "scaling": 2.0, "centering": (0.25, 0.5), "align": "road"}
    [picture] = Scene(ego, objects=[mark], network=down, device=device).seen(**options, channels=["obstacles", "ego"])
    row, column = np.argwhere(picture[0] > 100).mean(axis=0) + 0.5
    assert (row, column) == pytest.approx((20, 60), abs=0.3)  # straight ahead on the lane
    seen = np.argwhere(picture[1] > 128) - (20, 20)
    assert np.polyfit(seen[:, 1], seen[:, 0], 1)[0] == pytest.approx(np.tan(0.2), abs=0.08)


def test_the_ego_stands_at_the_centering(device):
    for centering in ((0.3, 0.5), (0.5, 0.75), (0.1, 0.9)):
        options = {"width": 100, "height": 60, "scaling": 3.0, "centering": centering, "channels": ["ego"]}
        [[picture]] = Scene({"x": 50.0, "y": 4.0, "heading": 1.1}, device=device).seen(**options)
        row, column = np.indices(picture.shape) + 0.5
        middle = [(picture * column).sum() / picture.sum(), (picture * row).sum() / picture.sum()]
        np.testing.assert_allclose(middle, [100 * centering[0], 60 * centering[1]], atol=0.15)


def test_colours_and_a_front_that_shows_the_heading(device):
    things = [{"x": 100.0, "y": 4.0}, {"x": 115.0, "y": 4.0, "heading": np.pi}, {"x": 125.0, "y": 4.0, "crashed": True}]
    objects = [{"x": 132.0, "y": 4.0, "length": 2.0}, {"x": 136.0, "y": 4.0, "kind": Kind.LANDMARK, "length": 2.0}]
    options = {"width": 180, "height": 80, "scaling": 4.0, "centering": (0.1, 0.5)}
    picture = Scene(*things, objects=objects, goal=4, device=device).seen(**options)[0].transpose(1, 2, 0)
    at = lambda x, y: tuple(picture[int(40 + 4 * (y - 4)), int(18 + 4 * (x - 100))])  # noqa: E731
    assert at(99.0, 4.0) == COLOURS[Tone.EGO]
    assert at(102.0, 4.0) == at(113.0, 4.0) == at(127.0, 4.0) == COLOURS[Tone.FRONT]
    assert at(116.0, 4.0) == COLOURS[Tone.TRAFFIC]
    assert at(124.0, 4.0) == COLOURS[Tone.CRASHED]
    assert at(132.0, 4.0) == COLOURS[Tone.OBSTACLE]
    assert at(136.0, 4.0) == COLOURS[Tone.GOAL]
    assert at(108.0, 4.0) == COLOURS[Tone.ROAD]
    assert at(108.0, -5.0) == COLOURS[Tone.GRASS]
    other = Scene(*things, objects=objects, device=device).seen(**options)[0].transpose(1, 2, 0)
    assert tuple(other[40, 18 + 4 * 36]) == COLOURS[Tone.OTHER_GOAL]


@pytest.mark.parametrize("heading", [0.4, 2.2, -1.9])
def test_a_turned_vehicle_in_colours(heading, device):
    """It changes the pixels that its rectangle covers, and its front lies where it is heading."""
    ego, other = {"x": 100.0, "y": 4.0}, {"x": 110.0, "y": 4.0, "heading": heading}
    options = {"width": 100, "height": 80, "scaling": 5.0, "centering": (0.1, 0.5)}
    [picture], [empty] = (Scene(*things, device=device).seen(**options) for things in ([ego, other], [ego]))
    share = covered(rectangle(10, 0, heading), View(**options))
    changed = (picture != empty).any(axis=0)
    assert changed[share > 0.15].all()
    assert changed[share == 0].sum() < 0.02 * changed.sum()
    front = (picture.transpose(1, 2, 0) == COLOURS[Tone.FRONT]).all(axis=-1) & changed
    row, column = np.argwhere(front).mean(axis=0) + 0.5 - (40, 60)
    assert (column / 5, row / 5) == pytest.approx((1.875 * np.cos(heading), 1.875 * np.sin(heading)), abs=0.15)


def test_speed_and_heading_channels(device):
    ego, other = (
        {"x": 0.0, "y": 4.0, "heading": 0.5, "speed": 30.0},
        {"x": 12.0, "y": 4.0, "heading": 2.0, "speed": 10.0},
    )
    options = {"width": 80, "height": 80, "scaling": 3.0, "channels": ["speed", "ahead", "aside"]}
    [picture] = Scene(ego, other, device=device).seen(**options)
    turn = np.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]])
    column, row = (turn @ (12.0, 0.0)) * 3 + (24, 40)
    np.testing.assert_allclose(picture[:, 40, 24], [255 * 30 / 40, 255, 128], atol=1)
    expected = [255 * 10 / 40, 128 + 127 * np.cos(1.5), 128 + 127 * np.sin(1.5)]
    np.testing.assert_allclose(picture[:, int(row), int(column)], expected, atol=1)
    assert (picture[:, 0, 0] == 0).all()


def test_bytes_do_not_depend_on_batch_place_threads_or_mask(device):
    rng = np.random.default_rng(0)
    things = [{"x": float(x), "y": float(y), "heading": float(h)} for x, y, h in rng.uniform(-2, 30, size=(12, 3))]
    one = Scene(*things, device=device).seen()
    many = Scene(*things, device=device, copies=70)
    assert (many.seen(threads=1) == one).all()
    assert (many.seen(threads=3) == one).all()
    mask = torch.zeros(70, dtype=torch.bool, device=device)
    mask[[3, 40]] = True
    some = many.seen(threads=2, mask=mask)
    assert (some[[3, 40]] == one).all()
    assert some.sum() == 2 * int(one.astype(np.int64).sum())


def test_float32_and_float64_show_the_same(device):
    things = [{"x": 9_000.0 + 3 * i, "y": 4.0 * (i % 4), "heading": 0.1 * i} for i in range(8)]
    for channels in ("rgb", "classes"):
        found = [Scene(*things, precision=p, device=device).seen(channels=channels)[0] for p in PRECISIONS]
        difference = np.abs(found[0].astype(int) - found[1])
        assert difference.mean() < 0.05
        assert difference.max() <= 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width is 0; it must be an integer from 8"),
        ({"height": 84.0}, "height is 84.0; it must be an integer"),
        ({"height": True}, "height is True"),
        ({"scaling": 0}, "scaling is 0; it must be above 0 px/m"),
        ({"scaling": float("inf")}, "scaling is inf"),
        ({"centering": [0.3]}, "centering is .* two numbers"),
        ({"centering": [0.3, 1.5]}, "two shares from 0 to 1"),
        ({"align": "car"}, "unknown bird's-eye align 'car'"),
        ({"channels": "gray"}, "unknown bird's-eye channels 'gray'; allowed: classes, rgb"),
        ({"channels": ["road", "rode"]}, "unknown bird's-eye channel 'rode'; did you mean 'road'"),
        ({"channels": ["road", "road"]}, "names a channel twice"),
        ({"stack": 0}, "stack is 0; it must be an integer of at least 1"),
        ({"colour": 1}, "unknown observation key 'colour'"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec("highway-fast-v0", 2, config={"observation": {"type": "BirdsEye", **options}})


def test_channels_of_another_type():
    with pytest.raises(TypeError, match="channels is 3; it must be 'rgb', 'classes' or a list of names"):
        View(channels=3)


def test_more_pictures_than_fit_are_refused():
    view, network = View(width=4096, height=4096), Network.straight(1)
    with pytest.raises(
        MemoryError, match=r"100000 bird's-eye pictures of 4096 x 4096 with 3 channels need 5,033\.2 GB"
    ):
        BirdsEye(view, network, None, None, (100_000, 1), torch.device("cpu"))
