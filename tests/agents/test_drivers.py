"""Which driver a command line gets."""

import json
import zipfile

import pytest

from agents.drivers import choose_driver, choose_environment
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import run_batch

SHORT = {"vehicles_count": 5, "duration": 4}


@pytest.mark.parametrize("algorithm", ["ppo", "dqn", "a2c"])
def test_an_sb3_zip_drives_once_trusted(tmp_path, algorithm):
    import stable_baselines3

    envs = HighwayEnv("highway-fast-v0", SHORT)
    model = getattr(stable_baselines3, algorithm.upper())("MlpPolicy", envs.env, seed=0, device="cpu")
    path = str(tmp_path / "model.zip")
    model.save(path)
    with pytest.raises(ValueError, match="--trust"):
        choose_driver(name=path, sb3_algo=algorithm)
    spec = choose_driver(name=path, trust=True, sb3_algo=algorithm)
    assert spec.name == "model.zip"
    driver = spec.build()
    assert driver.sees == "features"
    observation, _ = envs.reset(seed=3)
    action = driver.act(observation.repeat(4, 1, 1))
    assert action.shape == (4,)
    assert action[0].item() == model.predict(observation[0].numpy(), deterministic=True)[0]
    assert run_batch(envs, driver, [3])["length"][0] >= 1


def test_a_hindsight_zip_parks_without_its_replay_buffer(tmp_path):
    from stable_baselines3 import SAC, HerReplayBuffer

    envs = HighwayEnv("parking-v0", {"duration": 1})
    model = SAC("MultiInputPolicy", envs.env, replay_buffer_class=HerReplayBuffer, seed=0, device="cpu")
    path = str(tmp_path / "model.zip")
    model.save(path)
    driver = choose_driver(name=path, trust=True, sb3_algo="sac").build()
    observation, _ = envs.reset(seed=3)
    single = {name: part[0].numpy() for name, part in observation.items()}
    expected = model.predict(single, deterministic=True)[0]
    assert driver.act(observation)[0].tolist() == expected.tolist()
    assert run_batch(envs, driver, [3])["length"][0] == 5


def test_without_trust_the_zip_is_not_opened(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"not even a zip")
    with pytest.raises(ValueError, match="add --trust"):
        choose_driver(name=str(tmp_path / "model.zip"))


def test_bad_zips_and_algorithms_are_one_line(tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(b"not even a zip")
    with pytest.raises(ValueError, match="is not a zip file"):
        choose_driver(name=str(path), trust=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", "nothing")
    with pytest.raises(ValueError, match="does not load as a PPO model") as caught:
        choose_driver(name=str(path), trust=True).build()
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="there are ppo, dqn, a2c, sac"):
        choose_driver(name=str(path), trust=True, sb3_algo="qrdqn")


def test_the_environment_is_the_runs_unless_another_is_asked_for(tmp_path):
    content = {
        "algo": "ppo",
        "env": {"id": "highway-v0", "config": {"lanes_count": 2}, "num_envs": 1, "precision": "float32"},
        "spaces": {},
        "config": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(SHORT))
    assert choose_environment() == ("highway-fast-v0", None)
    assert choose_environment(tmp_path) == ("highway-v0", {"lanes_count": 2})
    assert choose_environment(tmp_path, env="highway-v0") == ("highway-v0", {"lanes_count": 2})
    assert choose_environment(tmp_path, env="highway-fast-v0") == ("highway-fast-v0", None)
    assert choose_environment(tmp_path, config_file=other) == ("highway-v0", SHORT)
    other.write_text("[1]")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        choose_environment(config_file=other)
    other.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        choose_environment(config_file=other)


def test_baselines_build_by_name():
    for name in ("random", "idle", "idm"):
        assert choose_driver(name=name).build().sees == ("world" if name == "idm" else "features")
    with pytest.raises(ValueError, match="unknown driver 'idl'"):
        choose_driver(name="idl")


def test_search_and_constant_drivers_take_settings():
    assert choose_driver(name="search:depth=3,beam=7").build().settings.depth == 3
    assert choose_driver(name="search").build().settings.beam == 32
    assert choose_driver(name="constant:SLOWER").build().action == "SLOWER"
    assert choose_driver(name="blind").build().action == "FASTER"
    for name in ("search:deep=3", "search:depth", "search:depth=0", "search:beam=-2"):
        with pytest.raises(ValueError, match="search"):
            choose_driver(name=name)
