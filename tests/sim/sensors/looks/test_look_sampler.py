import numpy as np
import pytest
import torch
import warp as wp
from scipy import stats

from sim.sensors.looks.domains import DOMAINS, KNOBS, PLAIN, SCENE, TRAINING, Domain
from sim.sensors.looks.look import CLEAR, FIELD, clear_looks
from sim.sensors.looks.look_sampler import LookSampler
from tests.sim.sensors.pictures import drawn_looks, everywhere, named_worlds, run

EPISODES = torch.arange(1, 601) * 7919


def column(sampler, field):
    return sampler.tensor[:, FIELD[field]].double().numpy()


def colours(sampler, name):
    return np.stack([column(sampler, f"{name}_{channel}") for channel in "rgb"], axis=-1)


def test_clear_is_the_look_that_is_written_down():
    looks = drawn_looks("clear", EPISODES[:5]).tensor
    assert torch.allclose(looks, clear_looks(5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", DOMAINS)
def test_each_knob_keeps_its_range_and_fills_it_evenly(name):
    domain, sampler = DOMAINS[name], drawn_looks(name, EPISODES)
    for field in PLAIN:
        span, values = domain.span(field), column(sampler, field)
        random = values[np.abs(values - KNOBS[field]) > 1e-6] if span.chance < 1 else values
        assert random.min() >= np.float32(span.low) - 1e-6 and random.max() <= np.float32(span.high) + 1e-6
        if span.low < span.high:
            assert stats.kstest(random, "uniform", (span.low, span.high - span.low)).pvalue > 1e-5, field
        if span.chance < 1:
            assert stats.binomtest(len(random), len(values), span.chance).pvalue > 1e-5, field


@pytest.mark.parametrize("name", DOMAINS)
def test_the_light_is_that_of_the_suns_height(name):
    domain, sampler = DOMAINS[name], drawn_looks(name, EPISODES)
    sun = np.stack([column(sampler, f"sun_{axis}") for axis in "xyz"], axis=-1)
    assert np.abs(np.linalg.norm(sun, axis=-1) - 1).max() < 1e-6
    height = np.degrees(np.arcsin(sun[:, 2]))
    span = domain.span("sun_height")
    assert height.min() >= span.low - 1e-3 and height.max() <= span.high + 1e-3
    if span.low < span.high:
        assert stats.kstest(height, "uniform", (span.low, span.high - span.low)).pvalue > 1e-5
    azimuth = np.degrees(np.arctan2(sun[:, 1], sun[:, 0])) % 360
    if name != "clear":
        assert stats.kstest(azimuth, "uniform", (0, 360)).pvalue > 1e-5
    assert (column(sampler, "sun")[height < -1] == 0).all()
    for name in ("top", "horizon", "asphalt", "grass", "shoulder", "paint"):
        assert (colours(sampler, name) > 0).all() and (colours(sampler, name) <= 1).all()


def scenes(**knobs):
    """Looks in which only these knobs differ from "clear"."""
    domain = Domain("one", "", {knob: (value, value) for knob, value in knobs.items()})
    return drawn_looks(domain, [1])


def test_a_lower_sun_is_weaker_warmer_and_reddens_the_horizon():
    heights = [scenes(sun_height=height) for height in (60, 40, 20, 10, 4)]
    for field in ("sun", "ambient"):
        values = [column(look, field)[0] for look in heights]
        assert values == sorted(values, reverse=True)
    for name in ("light", "horizon"):
        warmth = [colours(look, name)[0, 0] / colours(look, name)[0, 2] for look in heights]
        assert warmth == sorted(warmth)
    assert colours(heights[-1], "horizon")[0, 0] > colours(heights[-1], "horizon")[0, 2]


def test_night_is_dark_and_dusk_between():
    night, dusk, day = (scenes(sun_height=height) for height in (-25, -4, 30))
    for name in ("top", "horizon"):
        low, middle, high = (colours(look, name)[0].max() for look in (night, dusk, day))
        assert low < 0.02 < middle / 2 and 1.5 * middle < high
    assert column(night, "ambient")[0] < 0.01 < 0.05 < column(dusk, "ambient")[0] < column(day, "ambient")[0] / 1.5
    assert column(night, "sun")[0] == column(dusk, "sun")[0] == 0


def test_clouds_hide_the_sun_and_grey_the_sky():
    cloudy = scenes(clouds=1)
    assert column(cloudy, "sun")[0] == 0 and column(cloudy, "ambient")[0] > CLEAR["ambient"]
    assert np.ptp(colours(cloudy, "horizon")[0]) < 0.1 < np.ptp([CLEAR[f"horizon_{c}"] for c in "rgb"])
    assert column(scenes(clouds=1, gloom=0.8), "ambient")[0] < 0.3 * column(cloudy, "ambient")[0]


def test_snow_whitens_the_verge_more_than_the_road():
    snow = scenes(snow=1)
    assert colours(snow, "grass")[0].min() > 0.75 and 0.2 < colours(snow, "asphalt")[0].min() < 0.5
    assert np.array_equal(colours(snow, "paint")[0], colours(scenes(), "paint")[0])


def test_dust_colours_light_and_sky():
    dusty = scenes(dust=1)
    for name in ("light", "horizon", "top"):
        red, green, blue = colours(dusty, name)[0]
        assert red > green > blue


def test_each_episode_of_a_mixture_draws_a_domain():
    sampler = drawn_looks("training", EPISODES)
    counts = np.bincount(sampler.choice.numpy(), minlength=len(TRAINING))
    assert stats.chisquare(counts).pvalue > 1e-4
    for number, name in enumerate(TRAINING):
        alone = drawn_looks(name, EPISODES)
        mine = sampler.choice == number
        assert torch.equal(sampler.tensor[mine], alone.tensor[mine])
    weighted = drawn_looks(["fog", "rain"], EPISODES, weights=[1, 3])
    assert stats.binomtest(int(weighted.choice.sum()), len(EPISODES), 0.75).pvalue > 1e-4


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, 1, 1], [1, float("nan")]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="2 positive numbers"):
        drawn_looks(["fog", "rain"], [1], weights=weights)


def test_a_look_is_the_same_in_any_batch_place_order_and_thread_count():
    together = drawn_looks("all", EPISODES, threads=1)
    turned = drawn_looks("all", EPISODES.flip(0), threads=2)
    assert torch.equal(together.tensor, turned.tensor.flip(0)) and torch.equal(together.choice, turned.choice.flip(0))
    for place in (0, 77, 599):
        assert torch.equal(drawn_looks("all", EPISODES[place : place + 1]).tensor[0], together.tensor[place])


def test_only_the_worlds_of_the_mask_are_drawn_and_again_gives_the_same():
    sampler = drawn_looks("rain", EPISODES[:40])
    before = sampler.tensor.clone()
    run(sampler.launches(everywhere(40)), 40)
    assert torch.equal(sampler.tensor, before)

    world = named_worlds(EPISODES[:40])
    half = torch.arange(40) % 2 == 0
    sampler = LookSampler("rain", world.struct(), 40)
    run(sampler.launches(wp.from_torch(half)), 40)
    assert torch.equal(sampler.tensor[half], before[half])
    assert torch.equal(sampler.tensor[~half], clear_looks(20))


def test_knobs_have_nothing_to_do_with_each_other():
    sampler = drawn_looks("old-camera", EPISODES)
    fields = [name for name in PLAIN if DOMAINS["old-camera"].span(name).chance == 1 and np.std(column(sampler, name))]
    table = np.corrcoef([column(sampler, name) for name in fields])
    assert len(fields) > 10 and np.abs(table - np.eye(len(fields))).max() < 0.2
    assert len(SCENE) + len(PLAIN) == len(KNOBS)
