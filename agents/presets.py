"""Settings for a kind of problem, where those that a learner has by default (highway driving by meta-actions) fail.

A kind is known by what the agent sees and does, never by its id: a config of one's own gets what suits it.
"""

from dataclasses import replace
from typing import Any

from agents import dqn, networks, ppo

ALGORITHMS = {"ppo": ppo, "dqn": dqn}

# Steering by itself: many small steps, whose effect shows late, so returns are longer, and a reward that may fall
# without bound with the distance from a lane or a goal. Noise explores enough.
STEERING = {"gamma": 0.99, "gae_lambda": 0.9, "learning_rate": 1e-3, "entropy_coef": 0.0, "normalize_reward": True}
# A goal is reached or missed after a hundred steps or more.
GOAL = STEERING | {"gae_lambda": 0.95}

# Most of the work is in the convolutions: actor and critic share them, and smaller steps keep both useful. What is
# near and happens soon is learned first, or the driver learns to crawl before it has learned to see.
PICTURES = {"learning_rate": 1e-3, "minibatch_size": 1024, "network": networks.Config(hidden=(128,), shared=True)}
PICTURES |= {"gamma": 0.85, "gamma_final": 0.97, "entropy_coef": 0.01}

PRESETS: dict[str, dict[tuple[str, str], dict[str, Any]]] = {
    "ppo": {
        ("KinematicsGoal", "ContinuousAction"): GOAL,
        ("", "ContinuousAction"): STEERING,
        ("", "DiscreteAction"): STEERING,
        ("GrayscaleObservation", "DiscreteMetaAction"): PICTURES,
        ("BirdsEye", "DiscreteMetaAction"): PICTURES,
        ("Camera", "DiscreteMetaAction"): PICTURES,
    },
    "dqn": {},
}
"""By algorithm: (type of observation, type of action) -> settings that differ; "" is any observation."""


def config_for(algorithm: str, env_config: dict[str, Any]) -> Any:
    """Returns the settings of `algorithm` ("ppo" or "dqn") for an environment with the whole config `env_config`."""
    table = PRESETS[algorithm]
    sees, does = env_config["observation"].get("type", ""), env_config["action"].get("type", "")
    return replace(ALGORITHMS[algorithm].Config(), **table.get((sees, does), table.get(("", does), {})))
