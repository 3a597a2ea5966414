"""The scenarios, one file a family; this table is the only place that lists the ids."""

from sim.scenarios.base import Scenario
from sim.scenarios.highway import Highway

SCENARIOS: dict[str, Scenario] = {
    "highway-v0": Highway(fast=False),
    "highway-fast-v0": Highway(fast=True),
}
