"""A classifier that tells apart in which quarter of a picture the bright spot is, trained in about a second."""

from functools import cache

import torch
from torch.nn import functional

from perception.classification.networks import NetworkConfig, build

SIZE = 12


def spots(count: int, seed: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures float [count, channels, 12, 12] in 0..1 and labels: the quarter of the spot."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = 0.4 * torch.rand(count, channels, SIZE, SIZE, generator=generator)
    row = (labels // 2) * 6 + torch.randint(1, 4, (count,), generator=generator)
    column = (labels % 2) * 6 + torch.randint(1, 4, (count,), generator=generator)
    for i in range(count):
        images[i, :, row[i] : row[i] + 2, column[i] : column[i] + 2] += 0.3
    return images, labels


@cache
def trained(network: str = "plain", seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(NetworkConfig(network, ("nw", "ne", "sw", "se"), 3, SIZE, SIZE))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        images, labels = spots(256, 10 + seed)
        for step in range(60):
            rows = torch.arange(64) + 64 * (step % 4)
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()
