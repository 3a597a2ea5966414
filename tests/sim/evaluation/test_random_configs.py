import json

import pytest

from sim.evaluation.oracle import real_episodes, real_ids
from sim.evaluation.random_configs import KEYS, family_of, random_config


@pytest.mark.parametrize("env_id", real_ids())
def test_highway_env_plays_them(env_id):
    for seed in (100, 101):
        assert len(real_episodes(env_id, random_config(env_id, seed), [0], most=2)[0].rewards) > 0


@pytest.mark.slow
@pytest.mark.parametrize("env_id", real_ids())
def test_highway_env_plays_many(env_id):
    for seed in range(30):
        assert len(real_episodes(env_id, random_config(env_id, seed), [0], most=25)[0].rewards) > 0


def test_a_seed_gives_a_config_that_json_keeps():
    for env_id in real_ids():
        configs = [random_config(env_id, seed) for seed in range(30)]
        assert configs == [random_config(env_id, seed) for seed in range(30)]
        assert json.loads(json.dumps(configs)) == configs
        assert len({json.dumps(config) for config in configs}) >= 28


def test_every_key_is_drawn_and_left_out():
    for env_id in real_ids():
        configs = [random_config(env_id, seed) for seed in range(80)]
        for key in [*KEYS[family_of(env_id)], "observation", "action", "policy_frequency", "manual_control"]:
            assert 0 < sum(key in config for config in configs) < 80, (env_id, key)


def test_every_type_is_drawn():
    configs = [random_config(env_id, seed) for env_id in real_ids() for seed in range(40)]
    actions = [config["action"] for config in configs if "action" in config]
    seen = [config["observation"] for config in configs if "observation" in config]
    assert {action["type"] for action in actions} == {
        "DiscreteMetaAction", "ContinuousAction", "DiscreteAction", "MultiAgentAction"
    }  # fmt: skip
    flat = [part for one in seen for part in one.get("observation_configs", [one.get("observation_config", one)])]
    assert {one["type"] for one in [*seen, *flat]} == {
        "Kinematics", "ExitObservation", "OccupancyGrid", "TimeToCollision", "LidarObservation", "KinematicsGoal",
        "AttributesObservation", "TupleObservation", "MultiAgentObservation",
    }  # fmt: skip


@pytest.mark.parametrize("env_id", ["highway", "freeway-v0", ""])
def test_an_unknown_id_is_an_error(env_id):
    with pytest.raises(ValueError, match="no random configs"):
        random_config(env_id, 0)
