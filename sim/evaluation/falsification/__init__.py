"""Search for the failures of a driver: scenes near the nominal ones in which it has an avoidable accident."""

from sim.evaluation.falsification.ground import Cases, Outcomes, ProvingGround
from sim.evaluation.falsification.outcome import FAILURES, edited_envs, film, load_failure
from sim.evaluation.falsification.samplers import METHODS
from sim.evaluation.falsification.scene import Edit, EditedEnvs, SceneEditor
from sim.evaluation.falsification.search import Search, Settings
from sim.evaluation.falsification.space import Levels, Offset, Space, chosen_space, default_space
from sim.evaluation.falsification.summary import Wanted, conclude

__all__ = [
    "FAILURES",
    "METHODS",
    "Cases",
    "Edit",
    "EditedEnvs",
    "Levels",
    "Offset",
    "Outcomes",
    "ProvingGround",
    "SceneEditor",
    "Search",
    "Settings",
    "Space",
    "Wanted",
    "chosen_space",
    "conclude",
    "default_space",
    "edited_envs",
    "film",
    "load_failure",
]
