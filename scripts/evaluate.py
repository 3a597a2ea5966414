"""Judge a driver closed-loop: on a suite, with a report, or over a list of seeds, here or in the real highway-env.

python scripts/evaluate.py runs/x --suite highway-core --out runs/x/judged
python scripts/evaluate.py runs/x --simulator highway-env --episodes 200 --seed 1000 --json x.json
"""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sim
from agents.drivers import choose_driver, choose_environment, run_of
from sim.command import command, refuse_given
from sim.evaluation.driver import DriverSpec
from sim.evaluation.harness import Settings
from sim.evaluation.judge import Options, headline, judge
from sim.evaluation.runner import evaluate
from sim.evaluation.suites import load_suite


@dataclass(frozen=True)
class Arguments:
    """Judge a driver closed-loop on a --suite, or over the seeds SEED .. SEED + EPISODES - 1."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of scripts/train.py: its policy, its environment."""
    driver: str | None = None
    """random, idle, idm, blind, constant:ACTION, search:depth=8 or a Stable-Baselines3 FILE.zip, instead of the run's
    policy; or stack:detector=FOLDER, which lets the run's policy drive by cameras (docs/stack.md)."""
    options: tyro.conf.OmitArgPrefixes[Options] = field(default_factory=Options)
    simulator: str = "ours"
    """ours or highway-env."""
    episodes: int = 200
    seed: int = 0
    json: Path | None = None
    """Where to write the figures as JSON."""
    env: str | None = None
    """Environment id; the run's, or highway-fast-v0, when left out."""
    env_config: Path | None = None
    """JSON file with an environment config, instead of the run's."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    device: str = "cpu"
    precision: str = "float32"
    processes: int | None = None
    """Worker processes for highway-env; one a core when left out."""
    trust: bool = False
    """Load the pickled code of a Stable-Baselines3 zip."""
    sb3_algo: str = "ppo"
    """The algorithm of the zip: ppo, dqn, a2c, sac, td3 or ddpg."""


def judge_suite(spec: DriverSpec, arguments: Arguments) -> int:
    """Drives a suite, prints the headline and returns the exit code."""
    options, out = arguments.options, arguments.options.out
    if out is None:
        raise ValueError("--suite needs --out FOLDER for its report")
    reference = choose_driver(name="search") if options.counterfactuals else None
    settings = Settings(arguments.device, arguments.precision, options.batch_size, reference=reference)
    weights = None
    run = run_of(arguments.run, arguments.driver)
    if run and (not arguments.driver or arguments.driver.startswith("stack:")):
        weights, (_, config) = run / "policy.safetensors", choose_environment(run)
        settings = replace(settings, observation=config["observation"])
    report = judge(spec, load_suite(options.suite), out, settings, weights, options, sys.stderr.isatty())
    print(f"{headline(report)}\n\n{out}: report.html, report.json, traces; {report['run']['seconds']} s")
    return 0 if report["n_run"] else 1


@command
def main(arguments: Arguments) -> int:
    """Runs the evaluation, prints its table and returns the exit code."""
    if arguments.json and not (folder := arguments.json.absolute().parent).is_dir():
        raise FileNotFoundError(f"--json: the folder {folder} does not exist")
    if arguments.scenario:
        sim.load_scenarios(arguments.scenario)
    spec = choose_driver(arguments.run, arguments.driver, arguments.trust, arguments.sb3_algo)
    if arguments.options.suite:
        of_seeds = ("simulator", "episodes", "seed", "json", "env", "env_config", "processes")
        refuse_given(arguments, of_seeds, "means nothing with --suite")
        return judge_suite(spec, arguments)
    refuse_given(arguments.options, vars(arguments.options), "needs --suite")
    run = run_of(arguments.run, arguments.driver)
    id, config = choose_environment(run, arguments.env, arguments.env_config)
    seeds, where = range(arguments.seed, arguments.seed + arguments.episodes), (arguments.simulator, arguments.device)
    result = evaluate(spec, id, config, seeds, *where, arguments.precision, arguments.processes, sys.stderr.isatty())
    print(result.table())
    if arguments.json:
        arguments.json.write_text(json.dumps(result.as_dict(), indent=2, allow_nan=False) + "\n")
    return 0 if result.n_run else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
