"""highway-env's own picture of the scene in shades of grey, the last few of them stacked.

Source: highway_env/envs/common/observation.py `GrayscaleObservation`, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine.lanes import LineType
from sim.observations.base import Binding, ObservationType, Setting
from sim.scenarios.base import is_number, number_pair
from sim.scenarios.parking import Parking
from sim.sensors.stack import FrameStack
from sim.sensors.viewer.lines import (
    COLUMNS_PER_THREAD,
    SHORTEST_STRIPE,
    STRIPE_LENGTH,
    STRIPE_SPACING,
    STRIPE_WIDTH,
    MarkedLane,
    draw_view,
)
from sim.sensors.viewer.things import View

# RGB, in the order of `viewer_things.Shade`
SURFACES = ((100, 100, 100), (255, 255, 255), (60, 60, 60))
PAINTS = ((200, 200, 0), (255, 100, 100), (100, 200, 255), (50, 200, 0))  # in the order of `viewer_things.Paint`
LIGHTER = 0.68  # by which a colour is divided for headlights
MOST_PIXELS = 4096  # along a side: beyond it, products of pixels in 65536ths leave 32 bits

KEYS = {"type", "observation_shape", "stack_size", "weights", "scaling", "centering_position"}


def shades(weights: np.ndarray) -> np.ndarray:
    """Return the grey of each colour as `Shade` counts them, uint8: as highway-env does, cut not rounded."""
    colours = list(SURFACES)
    for paint in PAINTS:
        colours += [paint, tuple(min(int(one / LIGHTER), 255) for one in paint)]
    return np.dot(np.array(colours, dtype=np.uint8), weights).clip(0, 255).astype(np.uint8)


def stripe_table(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return every stripe that highway-env's viewer can draw, and each marked lane's place among them.

    Along a lane they begin at multiples of `STRIPE_SPACING` and are cut off at its end. A continuous line is made of
    them too; a CONTINUOUS_LINE goes from the start of one to the end of another.

    Returns:
        The rows of `MarkedLane`, and start x, y and end x, y of each stripe [m], float64 `[S, 4]`.
    """
    rows, table = [], []
    for number, lane in enumerate(network.lanes):
        if not any(lane.line_types):
            continue
        length = float(lane.length)
        starts = np.arange(math.floor(length / STRIPE_SPACING) + 2) * STRIPE_SPACING
        widths = lane.width_samples() if hasattr(lane, "width_samples") else np.array([lane.width])
        width = widths[np.clip(starts, 0, len(widths) - 1).astype(int)]
        lines = []
        for side, kind in enumerate(lane.line_types):
            covered = STRIPE_SPACING if kind == LineType.CONTINUOUS else STRIPE_LENGTH
            ends = [lane.position(np.minimum(s, length), (side - 0.5) * width) for s in (starts, starts + covered)]
            lines.append(np.stack([*ends[0], *ends[1]], axis=-1))
        corners = np.concatenate(lines).reshape(-1, 2)
        low, high = corners.min(axis=0), corners.max(axis=0)
        drawn = int((length - starts > SHORTEST_STRIPE).sum())
        place = (number, *lane.line_types, sum(map(len, table)), len(starts), drawn, length, *low, *high)
        rows.append(place)
        table += lines
    return np.array(rows, dtype=MarkedLane.numpy_dtype()), np.concatenate(table or [np.zeros((0, 4))])


class GrayscaleObservation(ObservationType):
    """What highway-env's viewer shows around the ego, uint8 `[stack, W, H]`: the newest picture is the last.

    A reset blackens the older pictures. Each call of `VectorEnv.observe` takes a picture, as each `observe` does there.
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, KEYS, "observation key")
        for key in ("observation_shape", "stack_size", "weights"):
            if key not in options:
                raise ValueError(f"the GrayscaleObservation needs {key}, as in highway-env")
        size = number_pair(options["observation_shape"], "observation observation_shape")
        if not all(float(side).is_integer() and 1 <= side <= MOST_PIXELS for side in size):
            wanted = f"two integers, width and height, from 1 to {MOST_PIXELS}"
            raise ValueError(f"observation observation_shape is {size!r}; it must be {wanted}")
        self.size = (int(size[0]), int(size[1]))
        self.frames = options["stack_size"]
        if isinstance(self.frames, bool) or not isinstance(self.frames, int) or self.frames < 1:
            raise ValueError(f"observation stack_size is {self.frames!r}; it must be an integer of at least 1")
        weights = options["weights"]
        fits = isinstance(weights, (list, tuple, np.ndarray)) and len(weights) == 3 and all(map(is_number, weights))
        if not fits or not np.isfinite(weights).all():
            raise ValueError(f"observation weights is {weights!r}; it must be three numbers, of red, green and blue")
        self.shades = shades(np.asarray(weights, dtype=float))
        config = setting.config
        self.scaling = options.get("scaling") or config["scaling"]
        if not is_number(self.scaling) or not 0 < self.scaling < math.inf:
            raise ValueError(f"observation scaling is {self.scaling!r}; it must be above 0 px/m and finite")
        centering = options.get("centering_position") or config["centering_position"]
        self.centering = number_pair(centering, "observation centering_position")
        if config["show_trajectories"]:
            raise ValueError(
                "the GrayscaleObservation shows no trajectories: config['show_trajectories'] must be False"
            )
        self.agent = agent
        self.space = spaces.Box(0, 255, shape=(self.frames, *self.size), dtype=np.uint8)

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the stacks `[N, stack, W, H]`."""
        place, network = str(binding.device), binding.setting.network
        width, height = self.size
        view = View()
        view.scaling = float(self.scaling)
        view.ahead = self.centering[0] * width / self.scaling
        view.beside = self.centering[1] * height / self.scaling
        view.line = max(int(STRIPE_WIDTH * self.scaling), 1)
        view.window = int(2 * (height + width) / (STRIPE_SPACING * self.scaling))
        view.green_egos = int(isinstance(binding.setting.scenario, Parking))
        view.shades = wp.array(self.shades, dtype=wp.uint8, device=place)
        lanes, stripes = stripe_table(network)
        self._stack = FrameStack((1, width, height), self.frames, binding.num_worlds, binding.device)
        self._threads = -(-width // COLUMNS_PER_THREAD) if binding.device.type == "cuda" else 1
        self._before = [
            network.table(wp.float64, binding.device, sweep=False),
            binding.world,
            view,
            wp.array(lanes, dtype=MarkedLane, device=place),
            wp.array(stripes, dtype=wp.vec4d, device=place),
        ]
        self._after = [self.agent, self._threads, wp.from_torch(self._stack.newest[:, 0])]
        return self._stack.tensor

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launch that blackens the stack."""
        return self._stack.begin_launches(mask)

    def launches(self, mask: Any, reset: bool = False) -> list[tuple]:
        """Return the launches that make room in the stack and draw."""
        drawing = (draw_view, [*self._before, mask, *self._after], self._threads)
        return [*(self.begin_launches(mask) if reset else []), *self._stack.launches(mask), drawing]
