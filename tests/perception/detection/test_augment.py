"""What pictures may be changed to."""

import torch

from perception.detection.augment import UNCHANGED, augmented, through_drops


def changed(images, seed=0):
    return augmented(images, torch.Generator().manual_seed(seed))


def test_a_share_of_the_pictures_stays_as_it_is_and_the_others_do_not():
    images = torch.randint(0, 256, (800, 3, 8, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    same = (changed(images) == images).flatten(1).all(1).float().mean().item()
    assert abs(same - UNCHANGED) < 4 * (UNCHANGED * (1 - UNCHANGED) / 800) ** 0.5


def test_the_generator_decides_and_the_input_is_left_alone():
    images = torch.randint(0, 256, (16, 3, 8, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    before = images.clone()
    assert torch.equal(changed(images), changed(images)) and not torch.equal(changed(images), changed(images, 1))
    assert torch.equal(images, before)


def test_things_stay_where_they_are():
    """A bright square on dark ground is still the brightest place of its row, but where drops turn it upside down."""
    images = torch.full((200, 3, 24, 24), 40, dtype=torch.uint8)
    images[:, :, 8:16, 8:16] = 200
    brightness = changed(images).float().mean(1)
    inside, outside = brightness[:, 8:16, 9:15].mean((1, 2)), brightness[:, 8:16, :7].mean((1, 2))
    assert (inside >= outside).float().mean() > 0.95 and (inside > outside + 20).float().mean() > 0.85


def test_grey_values_move_both_ways():
    means = changed(torch.full((400, 3, 8, 8), 128, dtype=torch.uint8)).float().mean((1, 2, 3))
    assert (means < 100).float().mean() > 0.1 and (means > 160).float().mean() > 0.1


def test_drops_change_only_what_they_cover():
    """Ground that is bright below and dark above: a drop shows it upside down, so it is never brighter below."""
    image = torch.zeros(3, 60, 100)
    image[:, 30:] = 0.9
    touched = []
    for seed in range(50):
        wet = through_drops(image, torch.Generator().manual_seed(seed))
        touched.append(float((wet != image).float().mean()))
        assert (wet[:, 36:] <= 0.9 + 1e-6).all() and (wet >= -1e-6).all()
    assert min(touched) > 0 and max(touched) < 0.9
