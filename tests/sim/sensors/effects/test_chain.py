import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from sim.sensors.effects.chain import EFFECTS, Effects
from sim.sensors.looks.domains import DOMAINS, TRAINING, Domain
from sim.sensors.looks.look import CLEAR
from tests.sim.sensors.pictures import drawn_looks, named_worlds, spoiled

RAMP = torch.arange(256, dtype=torch.uint8).repeat(3, 32, 1)
STRONG = {
    "exposure": 1.3, "contrast": 1.2, "gamma": 0.8, "noise": 9.0, "jpeg": 30.0, "dirt": 0.3, "streaks": 0.8,
    "occlusion": 0.2,
}  # fmt: skip


def grey(level, height=96, width=128):
    return torch.full((3, height, width), level, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("fields", "curve"),
    [
        ({"exposure": 0.6}, lambda x: 0.6 * x),
        ({"exposure": 1.7}, lambda x: min(1.7 * x, 255)),
        ({"contrast": 1.5}, lambda x: min(max(127.5 + 1.5 * (x - 127.5), 0), 255)),
        ({"contrast": 0.5}, lambda x: 127.5 + 0.5 * (x - 127.5)),
        ({"gamma": 2.2}, lambda x: 255 * (x / 255) ** 2.2),
        ({"gamma": 0.7}, lambda x: 255 * (x / 255) ** 0.7),
        ({"exposure": 2.0, "gamma": 0.5}, lambda x: 255 * min(2 * x / 255, 1) ** 0.5),
    ],
)
def test_exposure_contrast_and_gamma_are_pillows_point(fields, curve):
    expected = Image.fromarray(RAMP[0].numpy()).point([round(curve(x)) for x in range(256)])
    out = spoiled(RAMP, fields, ["sensor"])[0, 0]
    assert np.abs(out.int().numpy() - np.array(expected, dtype=int)).max() <= 1  # halves may go either way
    assert (out[0].numpy() == np.array(expected)).mean() > 0.95


@pytest.mark.parametrize("amplitude", [2.0, 8.0])
def test_noise_has_the_stated_deviation_at_middle_grey(amplitude):
    noise = spoiled(grey(128), {"noise": amplitude}, ["sensor"])[0, 0].double() - 128
    count = noise.numel()
    assert abs(float(noise.std()) / np.hypot(amplitude, np.sqrt(1 / 12)) - 1) < 4 / np.sqrt(2 * count)
    assert abs(float(noise.mean())) < 4 * amplitude / np.sqrt(count)
    # Rounded to whole numbers; spread evenly over each, they are Gaussian again, but for the square of a step.
    spread = noise + torch.rand(noise.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    assert stats.kstest((spread / spread.std()).flatten().numpy(), "norm").statistic < 0.015


def test_noise_grows_with_light_and_is_other_in_each_channel_pixel_frame_and_episode():
    dark, bright = (float(spoiled(grey(x), {"noise": 4.0}, ["sensor"]).double().std()) for x in (40, 215))
    assert dark < 3.3 < 4 < bright < 5.5
    channels = spoiled(grey(128), {"noise": 4.0}, ["sensor"])[0, 0].double().flatten(1)
    frame = spoiled(grey(128), {"noise": 4.0}, ["sensor"], steps=1)[0, 0].double().flatten(1)
    episode = spoiled(grey(128), {"noise": 4.0}, ["sensor"], episodes=(6,))[0, 0].double().flatten(1)
    rows = [*channels, frame[0], episode[0], channels[0].roll(1), channels[0].roll(4), channels[0].roll(128)]
    table = np.corrcoef(torch.stack(rows).numpy())
    assert np.abs(table - np.eye(len(rows))).max() < 5 / np.sqrt(96 * 128)


@pytest.mark.parametrize("size", [(96, 128), (24, 24)])
def test_cameras_do_not_share_their_noise(size):
    one, other = spoiled(grey(128, *size), {"noise": 4.0}, ["sensor"], cameras=2)[0].double().flatten(1)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))


def test_a_clear_look_changes_nothing():
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 30, 41)).astype(np.uint8))
    assert torch.equal(spoiled(image, {}, list(EFFECTS))[0, 0], image)


@pytest.mark.parametrize("effect", [name for name in EFFECTS if name != "blur"])
def test_a_picture_is_spoiled_alike_in_any_batch_place_order_and_thread_count(effect):
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 40, 50)).astype(np.uint8))
    episodes, steps = torch.arange(1, 41) * 104729, torch.arange(40) % 7
    fields = {field: STRONG[field] * (0.5 + 0.5 * (torch.arange(40) % 3) / 2) for field in EFFECTS[effect]}
    turned = {field: values.flip(0) for field, values in fields.items()}
    together = spoiled(image, fields, [effect], episodes, steps, cameras=2)
    other = spoiled(image, turned, [effect], episodes.flip(0), steps.flip(0), cameras=2, threads=2)
    assert torch.equal(together, other.flip(0)) and not torch.equal(together[0], together[1])
    for place in (0, 13, 39):
        own = {field: values[place] for field, values in fields.items()}
        alone = spoiled(image, own, [effect], episodes[place : place + 1], steps[place : place + 1], cameras=2)
        assert torch.equal(alone[0], together[place])


def test_only_effects_that_a_domain_can_show_are_launched():
    rgb = torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8)
    world = named_worlds([1]).struct()

    def names(domain, **options):
        return Effects(drawn_looks(domain, [1]), world, rgb, **options).names

    assert names("clear") == [] and Effects(drawn_looks("clear", [1]), world, rgb).launches(None) == []
    assert names(Domain("one", "", {"streaks": (0.0, 0.3)})) == ["streaks"]
    assert names(Domain("one", "", {"gamma": (1.2, 1.2)})) == ["sensor"]
    assert names(["clear", "rain"]) == names("rain") == list(EFFECTS)
    assert names("rain", only=["jpeg"]) == ["jpeg"] and names("rain", only=[]) == []
    with pytest.raises(ValueError, match="unknown effect 'jpg'; did you mean 'jpeg'"):
        names("rain", only=["jpg"])
    fields = [field for group in EFFECTS.values() for field in group]
    assert len(fields) == len({*fields}) and {*fields} <= {*CLEAR}
    assert {name for name in TRAINING if DOMAINS[name].span("streaks").high > 0} == {"rain"}
