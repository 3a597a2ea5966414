"""A detector of striped rectangles on noise, of the classes and size of the real one, trained in seconds."""

from functools import cache

import torch

from perception.cameras import HEIGHT, WIDTH
from perception.detection.detector import OneStageDetector
from perception.detection.learning import CLASSES
from perception.detection.losses import detection_loss
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.trust.detector_trials import Trial


def rectangles(count: int, seed: int) -> Trial:
    """Pictures with one rectangle each, labels 1 (striped upright) and 2 (level) in turn."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(80, 120, (count, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    lessons, truths = [], []
    for i in range(count):
        x, y = (int(torch.randint(0, most, (), generator=generator)) for most in (WIDTH - 60, HEIGHT - 50))
        box = torch.tensor([[x, y, x + 48, y + 36]], dtype=torch.float32)
        stripes = 40 * (
            torch.stack(torch.meshgrid(torch.arange(36), torch.arange(48), indexing="ij"))[1 - i % 2] // 2 % 2
        )
        images[i, :, y : y + 36, x : x + 48] += (stripes - 20).to(torch.uint8)  # wraps around: subtracts
        label = torch.tensor([1 + i % 2])
        lessons.append({"boxes": box, "labels": label, "ignore": torch.zeros(1, dtype=torch.bool)})
        truths.append({"boxes": box, "labels": label, "visibility": torch.ones(1), "distance": torch.ones(1)})
    return Trial(images, lessons, truths)


@cache
def small_detector(steps: int = 60) -> OneStageDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = OneStage(OneStageConfig(CLASSES, WIDTH, HEIGHT, (8, 8, 16, 16, 16), (1, 1, 1, 1), 16, 12)).train()
        optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
        trial = rectangles(32, seed=1)
        for step in range(steps):
            rows = [(4 * step + i) % 32 for i in range(4)]
            loss = detection_loss(network, trial.images[rows], [trial.lessons[row] for row in rows])["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return OneStageDetector(network)
