"""The scenarios, one file a family; this table is the only place that lists the ids."""

from sim.scenarios.base import Scenario
from sim.scenarios.exit import Exit
from sim.scenarios.highway import Highway
from sim.scenarios.intersection import Intersection
from sim.scenarios.lane_keeping import LaneKeeping
from sim.scenarios.merge import Merge, MergeGeneric
from sim.scenarios.parking import Parking
from sim.scenarios.racetrack import Racetrack, RacetrackLarge, RacetrackOval
from sim.scenarios.roundabout import Roundabout, RoundaboutGeneric
from sim.scenarios.two_way import TwoWay
from sim.scenarios.u_turn import UTurn

SCENARIOS: dict[str, Scenario] = {
    "highway-v0": Highway(fast=False),
    "highway-fast-v0": Highway(fast=True),
    "intersection-v0": Intersection(),
    "intersection-v1": Intersection(continuous=True),
    "intersection-v2": Intersection(connected=True),
    "intersection-multi-agent-v0": Intersection(multi_agent=True),
    "intersection-multi-agent-v1": Intersection(multi_agent=True, per_agent=True),
    "intersection-multi-agent-v2": Intersection(multi_agent=True, connected=True, per_agent=True),
    "exit-v0": Exit(),
    "exit-v1": Exit(connected=True),
    "merge-v0": Merge(),
    "merge-v1": Merge(connected=True),
    "merge-generic-v0": MergeGeneric(),
    "merge-generic-v1": MergeGeneric(connected=True),
    "two-way-v0": TwoWay(),
    "lane-keeping-v0": LaneKeeping(),
    "parking-v0": Parking(),
    "parking-ActionRepeat-v0": Parking("ActionRepeat"),
    "parking-parked-v0": Parking("parked"),
    "racetrack-v0": Racetrack(),
    "racetrack-v1": Racetrack(connected=True),
    "racetrack-large-v0": RacetrackLarge(),
    "racetrack-large-v1": RacetrackLarge(connected=True),
    "racetrack-oval-v0": RacetrackOval(),
    "racetrack-oval-v1": RacetrackOval(connected=True),
    "roundabout-v0": Roundabout(),
    "roundabout-v1": Roundabout(connected=True),
    "roundabout-generic-v0": RoundaboutGeneric(),
    "roundabout-generic-v1": RoundaboutGeneric(connected=True),
    "u-turn-v0": UTurn(),
    "u-turn-v1": UTurn(connected=True),
}
