"""Where on the whole road that is, and how large: a small map and a scale bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.recording.film import Overlay
from sim.recording.replay import Frame
from sim.render import Chart, Minimap, ScaleBar


def minimap(envs: Any) -> Overlay:
    """Returns what draws the map; ValueError where the whole road fits into the frame."""
    chart, config = Chart(envs.network), envs.config
    if not chart.larger_than(np.array([config["screen_width"], config["screen_height"]]) / config["scaling"]):
        raise ValueError(f"the overlay 'minimap' shows nothing new: the whole road of {envs.id} fits into the picture")
    return lambda frame, moment: [Minimap(chart, moment)]


def scale_bar(frame: Frame, moment: Any) -> list[ScaleBar]:
    """How long a round number of metres is in the picture."""
    return [ScaleBar()]
