"""What `scripts/conformance.py` compares, and its Markdown report."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import sim
from sim.config import require_known, scenario
from sim.evaluation.action_styles import STYLES
from sim.evaluation.conformance import OBSERVATION_TOLERANCE, REWARD_TOLERANCE, Case, Conformance
from sim.evaluation.random_configs import random_config
from sim.provenance import provenance

RANDOM_STEPS = 100  # longest episode of a random config: many have no end of their own
SHOWN = 20  # differences a report lists

# What highway-env 1.12.1 does differently from one run to the next, or from one process to the next.
NOTES = """Not compared, because highway-env does not repeat it from the same seed: the action in the info of `reset` \
and the reward terms that depend on it. Never drawn: racetrack-oval's `length` 0, whose road comes from an unseeded \
generator. IntersectionEnv changes three constants of its traffic's class for the whole process; each case is played \
with a fresh process's. NumPy's AVX-512 functions differ from the C library's in a last bit, so highway-env plays some \
episodes differently on other CPUs; it is played with the C library's. Ill-posed: highway-env parts from itself if \
every vehicle begins a last bit away."""


def chosen_cases(
    envs: Sequence[str],
    seeds: int,
    first_seed: int = 0,
    given: Sequence[Any] | None = None,
    configs: int = 0,
    config_seeds: int = 2,
    steps: int | None = None,
    actions: str = "random",
) -> list[Case]:
    """Return what to compare.

    Args:
        envs: ids.
        seeds: how many, of the default config or the given ones.
        first_seed: the first of them.
        given: configs instead of the default one.
        configs: how many random configs of each id there are besides.
        config_seeds: how many seeds each of those has.
        steps: longest episode; None plays to the end, a random config `RANDOM_STEPS`.
        actions: one of `STYLES`.

    Raises:
        TypeError, ValueError: an unknown id, key or style, a config that is no dict or cannot be built, a bad count.
    """
    counts = {"seeds": (seeds, 1), "first-seed": (first_seed, 0), "configs": (configs, 0)}
    counts |= {"config-seeds": (config_seeds, 1), "steps": (0 if steps is None else steps, 0)}
    for name, (value, least) in counts.items():
        if value < least:
            raise ValueError(f"--{name} is {value}; it must be at least {least}")
    require_known([actions], STYLES, "action style")
    if not envs:
        raise ValueError("--envs names no id")
    if given is not None and not given:
        raise ValueError("--config holds an empty list; it must hold a config dict, or a list of them")
    for env_id in envs:
        scenario(env_id)
    some, few = (tuple(range(first_seed, first_seed + count)) for count in (seeds, config_seeds))
    cases = []
    for env_id in envs:
        name = env_id.removeprefix("slipstream/")
        if given is None:
            cases.append(Case(name, None, some, steps, actions))
        for number, config in enumerate(given or []):
            if not isinstance(config, dict):
                raise TypeError(f"config {number} must be a dict, not {type(config).__name__}")
            sim.make_vec(name, config=config, precision="float64")  # says now what is wrong with it
            cases.append(Case(name, config, some, steps, actions, f"config {number}"))
        most = RANDOM_STEPS if steps is None else steps
        for number in range(first_seed, first_seed + configs):
            cases.append(Case(name, random_config(name, number), few, most, actions, f"random config {number}"))
    return cases


TABLE_HEAD = (
    "| id | resets equal | episodes equal | episodes of other configs equal | infos equal | steps compared "
    "| worst observation error | first difference |\n|---|--:|--:|--:|--:|--:|--:|---|"
)


def report(results: Sequence[Conformance]) -> str:
    """Return the table, the first differences with the configs that they need, and how it all was made."""
    unequal = [result for result in results if not result.equal]
    lines = [f"- {result.case.env_id} {line}" for result in unequal for line in differences(result)]
    configs = [
        f"- {result.case.env_id} {result.case.name}: `{json.dumps(result.case.config)}`"
        for result in unequal
        if result.case.config
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"- and {len(lines) - SHOWN} more"]
    made = provenance()
    commit = made["commit"] + " with changes" * made["uncommitted_changes"]
    end = (
        f"highway-env {made['versions']['highway-env']}, ours in float64; observations to {OBSERVATION_TOLERANCE:g} "
        f"(or a float32's last bit), rewards and infos to {REWARD_TOLERANCE:g}, every flag. "
        f"`{made['command']}`, commit {commit}, {made['cpu']}, {made['date']}."
    )
    parts = [table(results), "\n".join(lines), "\n".join(configs), NOTES, end]
    return "\n\n".join(part for part in parts if part)


def table(results: Sequence[Conformance]) -> str:
    """Return a Markdown table with a row an id: the default config, the others, and where the first episode parts."""
    ids = list(dict.fromkeys(result.case.env_id for result in results))
    return "\n".join([TABLE_HEAD, *(_row(i, [r for r in results if r.case.env_id == i]) for i in ids)])


def _row(env_id: str, results: Sequence[Conformance]) -> str:
    def share(some: Sequence[Conformance], bad: Callable[[Conformance], int]) -> str:
        seeds = sum(len(result.case.seeds) for result in some)
        return f"{seeds - sum(map(bad, some))} / {seeds}" if seeds else "-"

    def episodes(some: Sequence[Conformance]) -> str:
        ill_posed = sum(len(result.ill_posed) for result in some)
        return share(some, lambda result: len(result.differences)) + f" ({ill_posed} ill-posed)" * bool(ill_posed)

    played = [result for result in results if result.case.most != 0]
    parts = [
        share(results, lambda result: len(result.case.seeds) - result.resets_equal),
        episodes([result for result in played if not result.case.name]),
        episodes([result for result in played if result.case.name]),
        share(played, lambda result: len(result.info_differences)),
        f"{sum(result.steps for result in results)}",
        f"{max(result.worst for result in results):.1e}",
        next((line for result in results for line in differences(result)), "-"),
    ]
    return f"| {env_id} | {' | '.join(parts)} |"


def differences(result: Conformance) -> list[str]:
    """Return where each unequal episode of a case parts, the observations, rewards and flags before the infos."""
    name = f"{result.case.name} " if result.case.name else ""
    own = {seed: f" (highway-env parts from itself: {text})" for seed, text in result.ill_posed.items()}
    found = [(seed, text + own.get(seed, "")) for seed, text in result.differences.items()]
    return [f"{name}seed {seed}: {text}" for seed, text in [*found, *result.info_differences.items()]]
