"""Drive any environment with the arrow keys, in a window; the same controls as highway-env's manual control.

python scripts/drive.py --env highway-v0
python scripts/drive.py --env parking-v0 --seed 3 --overlay trail,metrics --save-trace mine.npz
python scripts/replay.py mine.npz --out mine.mp4
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sim
from agents.drivers import read_config
from sim.actions import MultiAgentAction
from sim.command import command
from sim.keyboard import live_config
from sim.overlays import names_of
from sim.recording import make_envs
from sim.recording.cockpit import Cockpit
from sim.render import NoDisplayError


@dataclass(frozen=True)
class Arguments:
    """Drive: right FASTER, left SLOWER, up and down change lanes; or, where the ego is steered, pedals and a wheel.

    Space pauses, r drives the seed again, n the next one, h lists the overlays on the keys 1 to 9, q quits.
    """

    env: str = "highway-v0"
    """Environment id; of several agents the first is driven, and the others idle."""
    seed: int = 0
    env_config: Annotated[Path | None, tyro.conf.arg(aliases=["--config"])] = None
    """JSON file with an environment config."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    speed: float = 1.0
    """Simulated seconds a second of watching."""
    rate: float | None = None
    """How often keys are heard, times a simulated second (policy_frequency); every frame where that changes nothing
    else. Rewards are paid a decision: --rate 1 earns what a driver of highway-v0 does."""
    overlay: str | None = None
    """What to show from the start: any of ttc, rss, seen, camera, trail, metrics, minimap, scale, commas between."""
    save_trace: Path | None = None
    """Where to write the last drive as a trace (.npz), which scripts/replay.py shows again."""
    precision: str = "float64"


def check_trace_path(path: Path | None) -> None:
    """Raises ValueError or FileNotFoundError for a trace that could not be written, before anybody has driven."""
    if path is not None and path.suffix != ".npz":
        raise ValueError(f"a trace is written to *.npz, not {path.name!r}")
    if path is not None and not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist")


@command
def main(arguments: Arguments) -> int:
    """Opens the window and returns the exit code."""
    cockpit = None
    try:
        check_trace_path(arguments.save_trace)
        if arguments.scenario:
            sim.load_scenarios(arguments.scenario)
        config = read_config(arguments.env_config) if arguments.env_config else None
        config = live_config(arguments.env, config, arguments.rate)
        envs = make_envs(arguments.env, config, arguments.precision)
        if isinstance(envs.action_type, MultiAgentAction):
            print(f"{arguments.env} has {envs.action_type.agents} agents: you drive the first, the others idle")
        cockpit = Cockpit(envs, arguments.seed, names_of(arguments.overlay), arguments.speed)
        cockpit.run()
    except KeyboardInterrupt:
        print()
    except NoDisplayError as error:
        raise NoDisplayError(f"{str(error).split(';')[0]}; driving by keyboard needs one") from None
    trace = cockpit.trace if cockpit else None
    if trace is None:
        print("nothing was driven")
        return 0
    rate = envs.config["policy_frequency"]
    print(f"seed {trace.case.seed}: {len(trace.actions)} decisions at {rate:g} Hz, return {trace.rewards.sum():.2f}")
    if arguments.save_trace:
        trace.save(arguments.save_trace)
        print(f"{arguments.save_trace} holds it: python scripts/replay.py {arguments.save_trace}")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
