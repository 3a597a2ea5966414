"""Are recorded episodes still what they were, and does the simulator still do the same: batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from sim.evaluation.driver import Driver
from sim.recording.replay import (
    REWARD_TOLERANCE,
    DivergenceError,
    Outcomes,
    begin,
    hasher,
    hashes_of,
    make_envs,
    needs_driver,
    replay,
)
from sim.recording.traces import Case, Traces

DriverOf = Callable[[Case], Driver | None]
"""Makes the driver of a trace, where its replay needs one."""


@dataclass(frozen=True)
class Finding:
    """An episode that is not, or does not replay, as it was recorded.

    Attributes:
        index, seed: of the episode. step: the first policy step that differs; -1 for the reset, None for none.
        edited: the trace's contents are not those recorded; else it is the simulation that differs.
        message: what and where, one line.
    """

    index: int
    seed: int
    step: int | None
    edited: bool
    message: str


def verify(traces: Traces, driver_of: DriverOf = lambda case: None, device: str = "cpu") -> list[Finding]:
    """Simulates all episodes of a file again, side by side, and compares each hash, reward and end.

    Args:
        traces: read with `check=False`, so that an edited file is looked into and not refused.
        driver_of: asked for the driver of traces that were driven through the world.
        device: to simulate on.

    Returns:
        a finding for each episode at fault, in order; none if all is as it was recorded.
    """
    case = traces.episode(0).case
    envs = make_envs(case.id, case.config, case.precision, device, len(traces))
    asked = len(traces.hashes) and needs_driver(case, traces.hashes[0], envs, traces.seeds.tolist())
    driver = driver_of(case) if asked else None
    hashes, wrong_reward, wrong_end = _simulate(traces, envs, driver)
    findings = []
    for index, steps in enumerate(map(int, traces.steps)):
        wrong_hash = np.flatnonzero(hashes[: steps + 1, index] != traces.hashes[: steps + 1, index])
        steps_at_fault = [np.flatnonzero(flags[:steps, index]) for flags in (wrong_reward, wrong_end)]
        finding = _judge(traces, index, wrong_hash, *steps_at_fault)
        if finding is not None and not finding.edited:
            finding = _located(traces, finding, driver, device)
        if finding is not None:
            findings.append(finding)
    return findings


def _simulate(traces: Traces, envs: Any, driver: Driver | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the hashes [S + 1, N], and bool [S, N] twice: where the reward and where the end is another."""
    if not len(traces.hashes):
        raise ValueError("these traces have no state hashes: they were not recorded in this simulator")
    begin(driver, envs, [int(seed) for seed in traces.seeds])
    state_hash, outcomes = hasher(envs), Outcomes(len(traces))
    hashes, wrong_reward, wrong_end = [hashes_of(state_hash)], [], []
    for step in range(int(np.max(traces.steps))):
        actions, refused = _playable(traces.actions[step], step < traces.steps, envs.single_action_space)
        outcome = envs.step(torch.as_tensor(actions, device=envs.device))
        reward, terminated, truncated = outcomes.after(outcome)
        hashes.append(hashes_of(state_hash))
        wrong_reward.append(~(np.abs(reward - traces.rewards[step]) <= REWARD_TOLERANCE))
        last = step == traces.steps - 1
        cut_off = last & traces.truncated & ~traces.terminated  # perhaps by the recorder alone
        wrong_end.append((terminated != (last & traces.terminated)) | (truncated & ~(last & traces.truncated)))
        wrong_end[-1] |= (last & traces.truncated & ~truncated) & ~cut_off | refused
    return np.stack(hashes), np.stack(wrong_reward), np.stack(wrong_end)


def _playable(actions: np.ndarray, going: np.ndarray, space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the actions [N, ...] of a step that can be taken, and which of the episodes `going` on had another one.

    An episode that is over, and one whose action was edited into something outside the space, gets another's action.
    """
    usable = going & np.array([_contains(space, action) for action in actions])
    if not usable.any():
        raise ValueError("no action of a step lies in the action space")
    actions = actions.copy()
    actions[~usable] = actions[usable][0]
    return actions, going & ~usable


def _contains(space: Any, action: np.ndarray) -> bool:
    """Is an action, of several agents theirs side by side, in the space."""
    if isinstance(space, spaces.Tuple):
        return all(_contains(one, part) for one, part in zip(space.spaces, action, strict=True))
    if isinstance(space, spaces.Discrete):
        return bool(0 <= action - space.start < space.n)
    return bool(((action >= space.low) & (action <= space.high)).all())


def _judge(
    traces: Traces, index: int, wrong_hash: np.ndarray, wrong_reward: np.ndarray, wrong_end: np.ndarray
) -> Finding | None:
    """What the comparison of one episode says; `wrong_hash` holds positions in the hashes, 0 for the reset."""
    edits = [name for where, name in traces.edits if where == index]
    seed, steps = int(traces.seeds[index]), int(traces.steps[index])
    name = f"episode {index} (seed {seed})"
    places = {"hashes": wrong_hash - 1, "rewards": wrong_reward, "ends": wrong_end}
    first = {array: int(where[0]) for array, where in places.items() if len(where)}
    if edits:
        if "actions" in edits and first:  # its hash is that of the state before the edited action took effect
            return Finding(index, seed, min(first.values()), True, f"{name}: {_edited('actions', min(first.values()))}")
        for array in ("hashes", "rewards", "ends"):
            if array in edits and array in first:
                return Finding(index, seed, first[array], True, f"{name}: {_edited(array, first[array])}")
        step = min(first.values()) if first else None
        then = "it replays the same" if step is None else f"it does not replay from {_place(step)} on"
        what = " and ".join(edits)
        return Finding(index, seed, step, True, f"{name}: its {what} were edited after it was recorded; {then}")
    if not first:
        return None
    step = min(first.values())
    if len(wrong_hash) and wrong_hash[-1] < steps:  # a simulation that left the trace does not come back
        return Finding(index, seed, step, True, f"{name}: {_edited('hashes', step)}, and the checksum with it")
    if not len(wrong_hash):
        array = next(iter(first))
        return Finding(index, seed, step, True, f"{name}: {_edited(array, step)}, and the checksum with it")
    return Finding(index, seed, step, False, name)


def _edited(array: str, step: int) -> str:
    one = {"actions": "the action", "hashes": "the hash", "rewards": "the reward", "ends": "the end"}[array]
    return f"{one} of {_place(step)} was edited after it was recorded"


def _place(step: int) -> str:
    return "the reset" if step < 0 else f"step {step}"


def _located(traces: Traces, finding: Finding, driver: Driver | None, device: str) -> Finding:
    """Adds where a single replay leaves the trace: with recorded states, the vehicle and the field."""
    trace = traces.episode(finding.index)
    envs = make_envs(trace.case.id, trace.case.config, trace.case.precision, device)
    step, message = finding.step, f"it replays as recorded alone, but not side by side from step {finding.step} on"
    try:
        for _ in replay(trace, envs, driver):
            pass
    except DivergenceError as error:
        step, message = error.step, str(error)
    except ValueError as error:
        message = str(error)
    message = f"episode {finding.index} (seed {finding.seed}): {message}{_other_versions(trace.case)}"
    return Finding(finding.index, finding.seed, step, False, message)


def _other_versions(case: Case) -> str:
    """Which packages are others than when the trace was recorded; empty if none is."""
    from sim.evaluation.runner import versions  # which imports this package on its way

    here = versions()
    changed = [
        f"{name} {version} (here {here.get(name)})"
        for name, version in case.versions.items()
        if here.get(name) != version
    ]
    return f"; it was recorded with {', '.join(changed)}" if changed else ""
