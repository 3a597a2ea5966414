"""Episodes as small files, their exact replay by simulating them again, and films of it."""

from sim.recording.film import beside, camera, draw, pictures
from sim.recording.replay import DivergenceError, Frame, frame_rate, make_envs, replay
from sim.recording.session import Session, record_episode
from sim.recording.states import States
from sim.recording.traces import Case, Origin, Trace, Traces

__all__ = [
    "Case",
    "DivergenceError",
    "Frame",
    "Origin",
    "Session",
    "States",
    "Trace",
    "Traces",
    "beside",
    "camera",
    "draw",
    "frame_rate",
    "make_envs",
    "pictures",
    "record_episode",
    "replay",
]
