"""Random traffic on the straight road, polygons by shapely, and what must leave every measure as it is."""

from dataclasses import replace

import numpy as np
import shapely
import torch

from sim.evaluation.metrics.boxes import Boxes
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, cruise, episodes, mirrored, moved, reordered, rotated, shuffled

SAME = {
    "rotated": lambda made: rotated(made, 1.1),
    "moved": lambda made: moved(made, -250.0, 75.0),
    "mirrored": mirrored,
    "vehicles in another order": lambda made: shuffled(made, seed=3),
}


def polygons(x, y, heading, length, width):
    """Shapely polygons of rectangles [P]."""
    end, side = np.array([1, 1, -1, -1]) / 2, np.array([1, -1, -1, 1]) / 2
    x, y, heading, length, width = (np.asarray(part, dtype=float)[..., None] for part in (x, y, heading, length, width))
    along, across = end * length, side * width
    corner_x = x + along * np.cos(heading) - across * np.sin(heading)
    corner_y = y + along * np.sin(heading) + across * np.cos(heading)
    return shapely.polygons(np.stack([corner_x, corner_y], axis=-1))


def of_car(car: Car):
    frames = len(np.atleast_1d(car.x))
    parts = (np.broadcast_to(part, frames) for part in (car.x, car.y, car.heading, car.length, car.width))
    return polygons(*parts)


def crash(ego: Car, *others: Car) -> list[Car]:
    """The scene up to one frame after the ego first touches somebody, from where on it is marked as crashed."""
    touching = np.any([shapely.intersects(of_car(ego), of_car(other)) for other in others], axis=0)
    assert touching.any(), "they never touch"
    contact = int(touching.argmax())
    end = contact + 2

    def cut(car: Car) -> Car:
        values = {name: part[:end] if np.ndim(part) else part for name, part in vars(car).items()}
        return replace(car, **values)

    return [cut(ego).crashing(contact), *map(cut, others)]


def random_cars(seed: int, cars: int = 6, frames: int = 40, dt: float = 0.1) -> list[Car]:
    """Cars that change lane, brake and turn; sizes differ, and the last is an obstacle."""
    rng = np.random.default_rng(seed)
    scene = []
    for i in range(cars):
        t = np.arange(frames) * dt
        heading = rng.uniform(-0.15, 0.15) * np.sin(t / rng.uniform(0.5, 2.0))
        acceleration = rng.uniform(-5, 3)
        speed = np.maximum(rng.uniform(5, 30) + acceleration * t, 0.0)
        kind, length, width = Kind.IDM, rng.uniform(4, 8), rng.uniform(1.6, 2.4)
        if i == cars - 1:
            heading, speed, kind, length = np.zeros(frames), np.zeros(frames), Kind.OBSTACLE, 2.0
        x = rng.uniform(-40, 60) * (i > 0) + np.cumsum(speed * np.cos(heading)) * dt
        y = 4.0 * rng.integers(0, 3) + rng.uniform(-0.5, 0.5) + np.cumsum(speed * np.sin(heading)) * dt
        scene.append(Car(x, y, speed, heading, acceleration, length, width, kind))
    return scene


def random_episodes(count: int = 24, **fields):
    """Episodes of random cars, those that touch ended by the crash."""
    scenes = []
    for seed in range(count):
        ego, *others = random_cars(seed, frames=25 + seed % 16)
        touching = any(shapely.intersects(of_car(ego), of_car(other)).any() for other in others)
        scenes.append(crash(ego, *others) if touching else [ego, *others])
    scenes.append([cruise(0.0, frames=20)])  # nobody else
    scenes.append([cruise(0.0, frames=1), cruise(30.0, frames=1)])  # one frame
    scenes.append(crash(cruise(0.0, frames=3), cruise(3.0, frames=3)))  # touching from the start
    return episodes(*scenes, **fields)


def assert_same(ours, theirs, **tolerance):
    """Two results of `measure` are equal; exactly where no tolerance is given."""
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        other = theirs[name]
        assert torch.equal(one.valid, other.valid), name
        torch.testing.assert_close(one.value, other.value, equal_nan=True, msg=lambda text, n=name: f"{n}: {text}",
                                   **(tolerance or {"rtol": 0, "atol": 0}))  # fmt: skip
        assert torch.equal(one.other, other.other), name
        assert torch.equal(one.frame, other.frame), name


def assert_alone_as_together(measure, made):
    """Each episode on its own, and all in another order, give the very bits of the batch."""
    together = measure(made)
    order = np.random.default_rng(0).permutation(len(made.frames)).tolist()
    others = measure(reordered(made, order))
    for place, i in enumerate(order):
        alone = measure(reordered(made, [i]))
        for name, one in together.items():
            for result, at in ((others[name], place), (alone[name], 0)):
                for part in ("value", "valid", "frame", "other"):
                    ours, theirs = getattr(one, part)[i], getattr(result, part)[at]
                    assert torch.equal(ours.nan_to_num(-1.0), theirs.nan_to_num(-1.0)), (name, part, i)


def boxes(x, y, heading, length, width, speed=0.0) -> Boxes:
    """Boxes from arrays or numbers."""
    parts = (np.atleast_1d(part) for part in (x, y, heading, length, width, speed))
    x, y, heading, length, width, speed = torch.broadcast_tensors(*(torch.as_tensor(part).double() for part in parts))
    return Boxes(x, y, heading.cos(), heading.sin(), length / 2, width / 2, speed)
