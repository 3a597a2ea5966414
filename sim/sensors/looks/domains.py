"""Named domains: what light, weather, roads and cameras a driver meets, drawn once an episode.

A domain gives each knob a range. A knob is a field of `Look`, or stands behind several that belong together: the sun's
height decides its strength, the colour of its light and of the sky, and fog has the colour of the horizon.

Held-out domains are for tests alone: each goes outside what all training domains together can show.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sim.config import require_known
from sim.sensors.looks.look import CLEAR


class Span(NamedTuple):
    """What a knob may be: evenly spread from low to high in a share `chance` of the episodes, else as in "clear"."""

    low: float
    high: float
    chance: float = 1.0


SCENE: dict[str, float] = {
    "sun_height": 52.0,  # above the horizon [degrees]; negative after sunset
    "sun_azimuth": 215.0,  # [degrees] from x towards y
    "clouds": 0.0,  # how much of the sky they hide, 0..1
    "gloom": 0.0,  # how much of the daylight thick clouds swallow, 0..1
    "dust": 0.0,  # sand in the air, 0..1
    "asphalt": 0.098,  # albedo
    "asphalt_warmth": -0.2,  # -1 bluish to 1 brownish
    "dryness": 0.0,  # of the grass, 0..1
    "snow": 0.0,  # share of the ground under snow, 0..1; a road is cleared, not wholly
    "shoulder": 0.25,  # albedo
    "paint": 0.8,  # albedo
    "yellow": 0.0,  # how yellow the paint is, 0..1
}
"""The knobs that stand behind several fields, as they are in "clear"."""

PLAIN = (
    "fog", "headlights", "lamps", "texture", "wear", "wet", "hue", "camera_x", "camera_y", "camera_z", "camera_yaw",
    "camera_pitch", "camera_roll", "focal", "exposure", "contrast", "gamma", "blur", "noise", "jpeg", "dirt", "streaks",
    "occlusion",
)  # fmt: skip
"""The fields of `Look` that are knobs themselves."""

KNOBS: dict[str, float] = SCENE | {name: CLEAR[name] for name in PLAIN}


@dataclass(frozen=True)
class Domain:
    """A range for each knob.

    Attributes:
        name, about: what it is called, and what it looks like in a line.
        spans: (low, high) or (low, high, chance) of knobs; the others are as in "clear".
        novel: of a held-out domain, the knobs in which it lies wholly outside every training domain.

    Raises:
        ValueError: an unknown knob, or a range that is upside down.
    """

    name: str
    about: str
    spans: Mapping[str, Sequence[float]] = field(default_factory=dict)
    novel: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_known(self.spans, KNOBS, f"knob of domain {self.name!r}")
        for knob, span in self.spans.items():
            if not isinstance(span, Sequence) or not 2 <= len(span) <= 3:
                raise ValueError(f"domain {self.name!r}: {knob} is {span!r}; it must be (low, high) or with a chance")
            low, high, chance = Span(*span)
            if not (-math.inf < low <= high < math.inf and 0 <= chance <= 1):
                raise ValueError(f"domain {self.name!r} has {knob} from {low} to {high} with chance {chance}")

    @property
    def held_out(self) -> bool:
        """Is it for tests alone."""
        return bool(self.novel)

    def span(self, knob: str) -> Span:
        """Return the range of a knob."""
        value = KNOBS[knob]
        return Span(*self.spans[knob]) if knob in self.spans else Span(value, value)


# What differs from car to car and from road to road in any weather. Angles in radians, a degree is 0.0175.
_MOUNTING = {
    "camera_x": (-0.1, 0.1),
    "camera_y": (-0.1, 0.1),
    "camera_z": (-0.1, 0.15),
    "camera_yaw": (-0.02, 0.02),
    "camera_pitch": (-0.02, 0.02),
    "camera_roll": (-0.015, 0.015),
    "focal": (0.97, 1.03),
}
_ROAD = {
    "asphalt": (0.06, 0.15),
    "asphalt_warmth": (-0.6, 0.6),
    "dryness": (0.0, 0.6),
    "shoulder": (0.17, 0.32),
    "paint": (0.62, 0.85),
    "yellow": (0.0, 1.0, 0.2),
    "texture": (0.2, 0.5),
    "wear": (0.0, 0.25),
    "hue": (-0.1, 0.1),
}
_SENSOR = {
    "exposure": (0.85, 1.15),
    "contrast": (0.9, 1.1),
    "gamma": (0.9, 1.1),
    "noise": (0.5, 3.0),
    "blur": (0.0, 0.5),
    "jpeg": (60, 95, 0.3),
    "dirt": (0.02, 0.1, 0.15),
    "occlusion": (0.02, 0.08, 0.05),
}
_USUAL = _MOUNTING | _ROAD | _SENSOR | {"sun_azimuth": (0, 360)}

_TRAINING = (
    Domain("clear", "a summer's day through a perfect camera; nothing is random"),
    Domain(
        "day",
        "sun at any height but low, few clouds; roads, colours and cameras of every kind",
        _USUAL | {"sun_height": (18, 70), "clouds": (0.0, 0.4), "fog": (0.0003, 0.002)},
    ),
    Domain(
        "overcast",
        "no sun and no shadows under a grey sky",
        _USUAL | {"sun_height": (15, 60), "clouds": (0.85, 1.0), "gloom": (0.0, 0.25), "fog": (0.001, 0.005)},
    ),
    Domain(
        "low-sun",
        "long shadows, warm light and at times a sun that blinds",
        _USUAL
        | {"sun_height": (3, 12), "clouds": (0.0, 0.3), "fog": (0.001, 0.004), "exposure": (0.85, 1.15)}
        | {"contrast": (1.0, 1.2), "lamps": (0.2, 0.6, 0.3)},
    ),
    Domain(
        "fog",
        "one sees 40 to 200 m",
        _USUAL
        | {"sun_height": (15, 50), "clouds": (0.7, 1.0), "fog": (0.015, 0.07), "lamps": (0.4, 1.0, 0.7)}
        | {"contrast": (0.8, 1.0), "wet": (0.0, 0.4)},
    ),
    Domain(
        "rain",
        "a wet road that mirrors a grey sky, streaks in the air, drops on the lens",
        _USUAL
        | {"sun_height": (15, 50), "clouds": (0.9, 1.0), "gloom": (0.1, 0.35), "fog": (0.003, 0.012)}
        | {"wet": (0.6, 1.0), "streaks": (0.25, 0.7), "dirt": (0.03, 0.15, 0.7), "lamps": (0.3, 1.0)},
    ),
    Domain(
        "night",
        "the own headlights, the others' lamps, and a sensor that strains",
        _USUAL
        | {"sun_height": (-40, -18), "clouds": (0.0, 1.0), "headlights": (0.7, 1.0), "lamps": (0.8, 1.0)}
        | {"exposure": (0.95, 1.35), "noise": (3.0, 9.0), "blur": (0.3, 0.9), "fog": (0.001, 0.004)},
    ),
    Domain(
        "worn-road",
        "half of the paint is gone, the asphalt is patched and pale",
        _USUAL
        | {"sun_height": (18, 60), "clouds": (0.0, 0.6), "wear": (0.35, 0.75), "texture": (0.6, 1.0)}
        | {"asphalt": (0.08, 0.19), "paint": (0.4, 0.7), "dryness": (0.3, 1.0)},
    ),
    Domain(
        "old-camera",
        "a cheap, dirty, badly set camera: noise, blur, strong compression",
        _USUAL
        | {"sun_height": (18, 65), "clouds": (0.0, 0.9), "exposure": (0.6, 1.5), "contrast": (0.7, 1.3)}
        | {"gamma": (0.75, 1.35), "noise": (3.0, 12.0), "blur": (0.3, 1.0), "jpeg": (15, 60), "dirt": (0.05, 0.25, 0.7)}
        | {"occlusion": (0.03, 0.15, 0.3)},
    ),
)

_HELD_OUT = (
    Domain(
        "dusk",
        "the sun has just set: a glowing horizon, dark ground, first lights",
        _USUAL
        | {"sun_height": (-7, -1.5), "clouds": (0.0, 0.5), "headlights": (0.2, 0.6), "lamps": (0.5, 1.0)}
        | {"noise": (2.0, 6.0), "blur": (0.2, 0.7), "exposure": (1.0, 1.4)},
        novel=("sun_height",),
    ),
    Domain(
        "storm",
        "a cloudburst in dim light: dense streaks, spray, a lens full of drops",
        _USUAL
        | {"sun_height": (10, 40), "clouds": (1.0, 1.0), "gloom": (0.6, 0.85), "fog": (0.015, 0.04), "wet": (0.9, 1.0)}
        | {"streaks": (0.8, 1.0), "dirt": (0.2, 0.4), "lamps": (0.8, 1.0), "headlights": (0.3, 0.7)}
        | {"noise": (2.0, 6.0)},
        novel=("gloom", "streaks"),
    ),
    Domain(
        "snow",
        "white verges, a greyish road and markings half covered",
        _USUAL
        | {"sun_height": (8, 30), "clouds": (0.4, 1.0), "snow": (0.6, 1.0), "wear": (0.3, 0.7), "fog": (0.003, 0.012)}
        | {"wet": (0.0, 0.4), "lamps": (0.3, 1.0, 0.6)},
        novel=("snow",),
    ),
    Domain(
        "sandstorm",
        "orange dust in the air and on everything",
        _USUAL
        | {
            "sun_height": (20, 60),
            "clouds": (0.2, 0.8),
            "dust": (0.6, 1.0),
            "fog": (0.008, 0.03),
            "dryness": (0.8, 1.0),
        }
        | {"contrast": (0.75, 1.0), "lamps": (0.3, 1.0, 0.6)},
        novel=("dust",),
    ),
)

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (*_TRAINING, *_HELD_OUT)}
"""Every domain by its name."""
TRAINING = tuple(domain.name for domain in _TRAINING)
"""What a model may be trained in."""
HELD_OUT = tuple(domain.name for domain in _HELD_OUT)
"""What it is tested in besides."""
MIXTURES: dict[str, tuple[str, ...]] = {"training": TRAINING, "held-out": HELD_OUT, "all": (*TRAINING, *HELD_OUT)}
"""Names for several domains, of which each episode draws one."""


def domain_named(name: str) -> Domain:
    """Return one domain.

    Raises:
        ValueError: no such domain; names the nearest one.
    """
    require_known([name], DOMAINS, "domain")
    return DOMAINS[name]


def domains_named(domain: Any) -> tuple[Domain, ...]:
    """Return the domains that are meant by a name, a mixture's name, a domain, or a sequence of those.

    Raises:
        TypeError: something else.
        ValueError: an unknown name, or no domain at all; names the nearest one.
    """
    if isinstance(domain, Domain):
        return (domain,)
    if isinstance(domain, str):
        require_known([domain], [*DOMAINS, *MIXTURES], "domain")
        return tuple(DOMAINS[name] for name in MIXTURES.get(domain, (domain,)))
    if not isinstance(domain, Sequence):
        raise TypeError(f"domain is {domain!r}; it must be a name such as 'clear' or a list of names")
    if not domain:
        raise ValueError("domain is an empty list; name at least one")
    return tuple(one for part in domain for one in domains_named(part))
