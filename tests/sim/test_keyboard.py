"""The arrow keys do what they do in highway-env: against its own EventHandler, and drive by drive against it."""

from types import SimpleNamespace

import numpy as np
import pygame
import pytest
import torch
from highway_env.envs.common.action import ContinuousAction, DiscreteMetaAction
from highway_env.envs.common.graphics import EventHandler

import sim
from sim.actions import action_type
from sim.config import complete
from sim.evaluation.oracle import fresh_classes, make_real
from sim.keyboard import Keyboard, live_config
from sim.scenarios import SCENARIOS

ARROWS = (pygame.K_RIGHT, pygame.K_LEFT, pygame.K_UP, pygame.K_DOWN)


def event(key, down=True):
    return pygame.event.Event(pygame.KEYDOWN if down else pygame.KEYUP, key=key)


def presses(count, seed=0, keys=(*ARROWS, pygame.K_a, pygame.K_SPACE)):
    """Keys pressed and let go, several at once too, and other events between."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield event(keys[rng.integers(len(keys))], bool(rng.random() < 0.6))
        if rng.random() < 0.2:
            yield pygame.event.Event(pygame.MOUSEMOTION, pos=(1, 2), rel=(0, 0), buttons=(0, 0, 0))


def keyboard(config, frequency=15, egos=1):
    """A keyboard for an action config, without a world."""
    kind = action_type(config, egos)
    driver = Keyboard()
    whole = {"action": config, "policy_frequency": frequency}
    driver.prepare(SimpleNamespace(action_type=kind, single_action_space=kind.space, config=whole), [0])
    return driver


def real_handler(kind, **options):
    """highway-env's action type, which notes what it is told to do."""
    action = kind(SimpleNamespace(vehicle=None), **options)
    told = []
    action.act = told.append
    return action, told


@pytest.mark.parametrize("lateral", [True, False])
def test_a_press_is_the_meta_action_that_highway_env_takes(lateral):
    options = {"lateral": lateral}
    ours = keyboard({"type": "DiscreteMetaAction"} | options)
    theirs, told = real_handler(DiscreteMetaAction, **options)
    keys = ARROWS if lateral else [key for key in ARROWS if key != pygame.K_UP]  # there K_UP is a KeyError
    idle = theirs.actions_indexes["IDLE"]
    taken = []
    for one in presses(300, keys=(*keys, pygame.K_a)):
        EventHandler.handle_event(theirs, one)
        ours.hear(one)
        action = int(ours.act(None)[0])
        taken += [action] * (action != idle)
    assert taken == told and len(told) > 50


def test_without_lateral_actions_the_up_key_does_nothing():
    ours = keyboard({"type": "DiscreteMetaAction", "lateral": False})
    ours.hear(event(pygame.K_UP))
    assert int(ours.act(None)[0]) == 1  # SLOWER, IDLE, FASTER


def test_presses_between_two_decisions_come_in_their_order():
    ours = keyboard({"type": "DiscreteMetaAction"}, frequency=15)
    names = ["LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER"]
    for key in (pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_UP):
        ours.hear(event(key))
    assert [names[int(ours.act(None)[0])] for _ in range(4)] == ["FASTER", "FASTER", "LANE_LEFT", "IDLE"]
    slow = keyboard({"type": "DiscreteMetaAction"}, frequency=1)
    for key in (pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_UP):
        slow.hear(event(key))
    assert [names[int(slow.act(None)[0])] for _ in range(2)] == ["LANE_LEFT", "IDLE"]  # what is old is forgotten
    ours.hear(event(pygame.K_RIGHT))
    ours.reset(torch.ones(1, dtype=torch.bool))
    assert names[int(ours.act(None)[0])] == "IDLE"


@pytest.mark.parametrize("options", [{}, {"longitudinal": False}, {"lateral": False}])
def test_held_keys_steer_and_accelerate_as_in_highway_env(options):
    ours = keyboard({"type": "ContinuousAction"} | options)
    theirs, told = real_handler(ContinuousAction, **options)
    seen = set()
    for one in presses(300, seed=1):
        EventHandler.handle_event(theirs, one)
        theirs.last_action = told[-1] if told else theirs.last_action  # what the real `act` keeps
        ours.hear(one)
        action = ours.act(None)[0].numpy()
        np.testing.assert_array_equal(action, theirs.last_action)
        seen |= set(action.tolist())
    assert seen == {-0.7, 0.0, 0.7}


def test_on_a_grid_of_controls_the_nearest_is_taken():
    ours = keyboard({"type": "DiscreteAction", "actions_per_axis": 5})
    grid = [(a, b) for a in (-1, -0.5, 0, 0.5, 1) for b in (-1, -0.5, 0, 0.5, 1)]
    assert grid[int(ours.act(None)[0])] == (0, 0)
    ours.hear(event(pygame.K_UP))
    ours.hear(event(pygame.K_LEFT))
    assert grid[int(ours.act(None)[0])] == (0.5, -0.5)


def test_of_several_agents_the_first_is_driven():
    inner = {"type": "DiscreteMetaAction", "lateral": False}
    ours = keyboard({"type": "MultiAgentAction", "action_config": inner}, egos=2)
    ours.hear(event(pygame.K_RIGHT))
    assert ours.act(None).tolist() == [[2, 1]]
    steered = keyboard({"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction"}}, egos=2)
    steered.hear(event(pygame.K_UP))
    assert steered.act(None).tolist() == [[[0.7, 0.0], [0.0, 0.0]]]


def test_there_are_no_other_actions_to_drive_by():
    kinds = {complete(id, None)["action"]["type"] for id in SCENARIOS}
    assert kinds == {"DiscreteMetaAction", "ContinuousAction", "MultiAgentAction"}


DRIVES = {
    "highway-fast-v0": {3: [event(pygame.K_RIGHT)], 8: [event(pygame.K_UP)], 16: [event(pygame.K_LEFT)]},
    "merge-v0": {2: [event(pygame.K_LEFT)], 20: [event(pygame.K_DOWN)], 40: [event(pygame.K_RIGHT)]},
    "parking-v0": {
        1: [event(pygame.K_UP)],
        9: [event(pygame.K_RIGHT)],
        24: [event(pygame.K_RIGHT, False), event(pygame.K_DOWN)],
        40: [event(pygame.K_DOWN, False)],
    },
    "racetrack-v0": {4: [event(pygame.K_LEFT)], 7: [event(pygame.K_LEFT, False)], 12: [event(pygame.K_RIGHT)]},
}


@pytest.mark.parametrize("id", DRIVES)
def test_a_drive_is_the_one_of_highway_envs_manual_control(id):
    """Its EventHandler moves its own vehicle between two frames of an environment under manual control."""
    steps, seed, config = 60, 2, live_config(id, None)
    ours = sim.make(id, config)
    assert ours.config["policy_frequency"] == ours.config["simulation_frequency"]
    driver = Keyboard()
    driver.prepare(ours.envs, [seed])
    ours.reset(seed=seed)
    with fresh_classes():
        real = make_real(id, config | {"manual_control": True}).unwrapped
        real.reset(seed=seed)
        moved = []
        for frame in range(steps):
            for one in DRIVES[id].get(frame, []):
                EventHandler.handle_event(real.action_type, one)
                driver.hear(one)
            ours.step(driver.act(None)[0].numpy())
            real.step(real.action_type.space().sample())  # not listened to
            ego = int(ours.world.ego[0, 0])
            mine = [float(getattr(ours.world, name)[0, ego]) for name in ("x", "y", "heading", "speed")]
            theirs = [*real.vehicle.position, real.vehicle.heading, real.vehicle.speed]
            np.testing.assert_allclose(mine, theirs, atol=1e-8, err_msg=f"frame {frame}")
            moved.append(theirs)
        assert np.ptp(np.array(moved)[:, 3]) > 1 or np.ptp(np.array(moved)[:, 2]) > 0.05  # the keys did something
        real.close()


@pytest.mark.parametrize("id", ["highway-v0", "merge-v0", "roundabout-v0", "u-turn-v0", "exit-v0"])
def test_hearing_keys_at_every_frame_changes_nothing_else(id):
    """An idle ego and its traffic are where they are at the id's own rate."""
    places = []
    for config in (None, live_config(id, None)):
        env = sim.make(id, config)
        env.reset(seed=5)
        driver = Keyboard()
        driver.prepare(env.envs, [5])
        for _ in range(4 * env.config["policy_frequency"]):
            env.step(driver.act(None)[0].numpy())
        places.append(torch.stack([env.world.x[0], env.world.y[0], env.world.speed[0]]))
    torch.testing.assert_close(*places, rtol=0, atol=1e-9)


def test_rates():
    assert live_config("highway-v0", {"duration": 9}) == {"duration": 9, "policy_frequency": 15}
    assert live_config("highway-v0", None, 5) == {"policy_frequency": 5}
    assert live_config("intersection-v0", None) == {"policy_frequency": 1}  # its traffic enters at decisions
    assert live_config("two-way-v0", None) == {"policy_frequency": 1}  # 15 decisions are all there are
    for rate in (0, 4, 30, -1):
        with pytest.raises(ValueError, match="highway-v0 has 15 frames a second: keys can be heard 1, 3, 5, 15 times"):
            live_config("highway-v0", None, rate)
