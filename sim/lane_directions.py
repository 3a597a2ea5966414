"""Which way the lanes run at any place of the map, for many places of many worlds at once."""

from typing import Any

import torch
import warp as wp
from torch import Tensor

from sim.engine import lanes as lane
from sim.engine.elementary import TWO_PI
from sim.engine.launch import Program
from sim.engine.network import closest_lane
from sim.provenance import usable_cores


@wp.kernel(enable_backward=False, module="unique")
def look_up(
    lanes: Any,
    world: Any,
    count: wp.array(dtype=wp.int32),
    places: wp.array3d(dtype=wp.float64),
    found: wp.array3d(dtype=wp.float64),
    first: int,
):
    """Write the heading of the lane nearest to the first `count` of `places` [N, K, 2] (x, y), and how far it is aside.

    `found` [N, K, 2]: heading [rad] and the distance from the lane's centre line, to its right [m]. `closest_lane`
    counts an angle like metres, so it is asked for each of four directions.
    """
    w = first + wp.tid()
    own = world.cars[w, 0].x  # of whose type the map is
    for k in range(count[0]):
        least = wp.float64(1.0e9)
        for quarter in range(4):
            x = type(own)(places[w, k, 0])
            y = type(own)(places[w, k, 1])
            on, s, lateral = closest_lane(lanes, x, y, type(own)(quarter) * type(own)(0.25 * TWO_PI), 0)
            if wp.abs(wp.float64(lateral)) < least:
                least = wp.abs(wp.float64(lateral))
                found[w, k, 0] = wp.float64(lane.heading_at(lanes, on, s))
                found[w, k, 1] = wp.float64(lateral)


class LaneDirections:
    """Looks lanes up on the map of an environment; the launch is recorded once.

    Args:
        envs: a `VectorEnv`, whose map it is.
        places: K, how many places there are in each world.
    """

    def __init__(self, envs: Any, places: int) -> None:
        n, binding = envs.num_envs, envs.binding
        self._places = torch.zeros(n, places, 2, dtype=torch.float64, device=envs.device)
        self._count = torch.zeros(1, dtype=torch.int32, device=envs.device)
        self._found = torch.zeros(n, places, 2, dtype=torch.float64, device=envs.device)
        buffers = [wp.from_torch(tensor) for tensor in (self._count, self._places, self._found)]
        launch = (look_up, [binding.lanes, binding.world, *buffers])
        self._program = Program([launch], n, envs.device, len(usable_cores()))

    def __call__(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heading of the lane nearest to each place [rad] and its offset to the right of it [m].

        Args:
            place: x, y [N, M, 2], M at most K [m].

        Raises:
            ValueError: there are more places than K.
        """
        count = place.shape[1]
        if count > self._places.shape[1]:
            raise ValueError(f"{count} places in a world; this was made for {self._places.shape[1]}")
        self._places[:, :count] = place
        self._count.fill_(count)
        self._program()
        found = self._found[:, :count].clone()
        return found[..., 0], found[..., 1]
