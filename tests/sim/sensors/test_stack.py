"""A stack of pictures against NumPy's roll."""

import numpy as np
import pytest
import torch
import warp as wp

from sim.sensors.stack import FrameStack

SHAPES = [(1, 4, 6), (3, 8, 16), (1, 5, 7)]  # the last is moved byte by byte


def run(launches, worlds, device):
    for kernel, inputs, threads in launches:
        wp.launch(kernel, dim=(worlds, threads), inputs=[*inputs, 0], device=str(device))


def flags(values, device):
    return wp.from_torch(torch.tensor(values, device=device))


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_move_on_in_masked_worlds_alone(shape, frames, device):
    rng = np.random.default_rng(0)
    stack = FrameStack(shape, frames, 3, device)
    expected = np.zeros((3, frames * shape[0], *shape[1:]), dtype=np.uint8)
    assert stack.tensor.shape == expected.shape and not stack.tensor.any()
    for step in range(2 * frames):
        mask = [True, step % 2 == 0, step < frames]
        picture = rng.integers(256, size=(3, *shape), dtype=np.uint8)
        source = torch.from_numpy(picture).to(device)
        if step % 3 == 0:  # a renderer that writes into the stack itself
            run(stack.launches(flags(mask, device)), 3, device)
            chosen = torch.tensor(mask, device=device)
            stack.newest[chosen] = source[chosen]
        else:
            run(stack.launches(flags(mask, device), source), 3, device)
        for world in np.flatnonzero(mask):
            expected[world] = np.roll(expected[world], -shape[0], axis=0)
            expected[world, -shape[0] :] = picture[world]
        assert (stack.tensor.cpu().numpy() == expected).all()
    run(stack.begin_launches(flags([False, True, False], device)), 3, device)
    expected[1] = 0
    assert (stack.tensor.cpu().numpy() == expected).all()


def test_the_newest_picture_is_part_of_the_stack(device):
    stack = FrameStack((2, 4, 4), 3, 2, device)
    stack.newest.fill_(7)
    assert stack.tensor[:, 4:].eq(7).all() and not stack.tensor[:, :4].any()
