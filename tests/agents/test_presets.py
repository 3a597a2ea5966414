"""Which settings a kind of problem gets."""

import pytest

from agents import dqn, ppo
from agents.presets import config_for
from sim.config import complete


def test_driving_by_meta_actions_has_the_defaults():
    for id in ("highway-v0", "two-way-v0", "intersection-multi-agent-v0"):
        assert config_for("ppo", complete(id, None)) == ppo.Config()
        assert config_for("dqn", complete(id, None)) == dqn.Config()


@pytest.mark.parametrize("id", ["racetrack-v0", "lane-keeping-v0", "parking-v0", "intersection-v1"])
def test_steering_looks_further_ahead(id):
    steering = config_for("ppo", complete(id, None))
    assert steering.gamma > ppo.Config().gamma and steering.gae_lambda > ppo.Config().gae_lambda
    ppo.check(steering)


def test_the_kind_counts_and_not_the_id():
    steered = complete("highway-v0", {"action": {"type": "ContinuousAction"}})
    assert config_for("ppo", steered) == config_for("ppo", complete("racetrack-v0", None))


@pytest.mark.parametrize("kind", ["GrayscaleObservation", "BirdsEye", "Camera"])
def test_actor_and_critic_share_their_view_of_pictures(kind):
    seen = config_for("ppo", complete("highway-fast-v0", {"observation": {"type": kind}}))
    assert seen.network.shared and seen.learning_rate < ppo.Config().learning_rate
    ppo.check(seen)
