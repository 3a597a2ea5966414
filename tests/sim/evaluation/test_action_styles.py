import numpy as np
import pytest
from gymnasium import spaces

from sim.evaluation.action_styles import action_at, draw_actions, stacked

META = {"type": "DiscreteMetaAction"}
GRID = {"type": "DiscreteAction"}
FLOATS = {"type": "ContinuousAction"}
BOX = spaces.Box(-1, 1, (2,), np.float32)
SPACES = [(spaces.Discrete(5), META), (spaces.Discrete(9), GRID), (BOX, FLOATS)]
TWO = spaces.Tuple([spaces.Discrete(3), spaces.Discrete(3)])


@pytest.mark.parametrize("style", ["random", "gentle", "idle"])
@pytest.mark.parametrize(("space", "action"), SPACES, ids=["meta", "grid", "floats"])
def test_actions_of_the_space_the_same_for_any_number_of_steps(style, space, action):
    actions = draw_actions(style, space, action, 4, 50)
    assert len(actions) == 50
    assert all(space.contains(one) for one in actions)
    np.testing.assert_array_equal(draw_actions(style, space, action, 4, 20), actions[:20])
    different = draw_actions(style, space, action, 5, 50)
    assert (different == actions).all() == (style == "idle")


def test_gentle_and_idle_actions():
    assert set(draw_actions("idle", spaces.Discrete(5), META, 0, 9)) == {1}
    assert set(draw_actions("idle", spaces.Discrete(9), GRID, 0, 9)) == {4}
    assert not draw_actions("idle", BOX, FLOATS, 0, 9).any()
    gentle = draw_actions("gentle", spaces.Discrete(5), META, 0, 1000)
    assert set(gentle) == set(range(5)) and 0.8 < (gentle == 1).mean() < 0.95
    assert 0.05 < np.abs(draw_actions("gentle", BOX, FLOATS, 0, 100)).max() <= 0.1
    assert np.abs(draw_actions("random", BOX, FLOATS, 0, 100)).max() > 0.9


def test_agents_act_apart():
    config = {"type": "MultiAgentAction", "action_config": META}
    actions = draw_actions("random", TWO, config, 0, 30)
    assert isinstance(actions, tuple) and [one.shape for one in actions] == [(30,), (30,)]
    assert (actions[0] != actions[1]).any()
    assert action_at(actions, 3) == (actions[0][3], actions[1][3])
    again = stacked([action_at(actions, t) for t in range(30)])
    np.testing.assert_array_equal(again, actions)


def test_a_function_may_draw():
    def threes(space, seed, steps):
        return np.full(steps, 3)

    assert draw_actions(threes, spaces.Discrete(5), META, 0, 4).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("style", ["follow", "wild"])
def test_what_cannot_be_drawn(style):
    with pytest.raises(ValueError, match=f"{style}.*random, gentle, idle"):
        draw_actions(style, BOX, FLOATS, 0, 4)
