"""Episodes on the roads of the real scenarios: the ego, and others, put at lane coordinates frame by frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sim.config import complete, scenario
from sim.engine.network import Network
from sim.evaluation.episodes import Episodes
from tests.sim.evaluation.metrics.hand_made import DT, Car, changed_facts, episodes

Place = tuple[int, float]  # lane, s [m]


def road(id: str, config: dict | None = None) -> Network:
    """Returns the network of an id."""
    return scenario(id).network(complete(id, config))


def walk(network: Network, edges: list[tuple[str, str, int]], step: float, start: float = 0.0) -> list[Place]:
    """Returns places every `step` [m] along lanes that follow one another, from `start` [m] on the first to the end."""
    places, s = [], start
    for edge in edges:
        number = network.lane_number(*edge)
        length = network.lanes[number].length
        while s <= length:
            places.append((number, s))
            s += step
        s -= length
    return [*places, (number, length)]


def car(network: Network, places: list[Place], speed: Any, lateral: float = 0.0, **rest: Any) -> Car:
    """Returns a vehicle that is at these places, a frame each, turned as the lane is."""
    at = [(network.lanes[i].position(s, lateral), network.lanes[i].heading_at(s)) for i, s in places]
    x, y = (np.array([float(point[k]) for point, _ in at]) for k in (0, 1))
    heading = np.array([float(angle) for _, angle in at])
    return Car(x, y, speed, heading, lane=np.array([i for i, _ in places]), **rest)


def drive(
    id: str, places: list[Place], speed: Any, others: tuple[Car, ...] = (), config: dict | None = None, **fields: Any
) -> Episodes:
    """Returns one episode of an id in which the ego is at these places; its lane facts are those of the places."""
    network = road(id, config)
    made = episodes(
        [car(network, places, speed), *others],
        **{"id": id, "config": complete(id, config), "network": network, "dt": DT, **fields},
    )
    number = torch.tensor([i for i, _ in places])
    s = torch.tensor([[float(at)] for _, at in places], dtype=torch.float64)
    counts = np.repeat(np.diff(network.edge_first), np.diff(network.edge_first))
    index = torch.tensor([network.lane_index(int(i))[2] for i in number])[:, None]
    return changed_facts(
        made,
        s=s,
        lateral=0.0 * s,
        lane_heading=made.of_ego("heading"),
        lane_index=index,
        lane_count=torch.from_numpy(counts)[number][:, None],
        off_road=-1.0 + 0.0 * s,
    )


def with_goal(made: Episodes, success: bool) -> Episodes:
    """Returns the episodes as those of an id that reports its success."""
    return changed_facts(replace(made, success=torch.full_like(made.success, success), reports_success=True))
