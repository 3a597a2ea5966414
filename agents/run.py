"""One training run: its budget, its episode statistics, its progress line and metrics, its checkpoints.

A learner wraps its loop in a `Run` and calls `record` after every environment step and `end_iteration` at the
end of every iteration, the only moments at which a run is checkpointed or interrupted.
"""

import collections
import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
import tqdm
from torch import Tensor, nn

from agents import checkpoint
from sim.command import Interrupt

DEFAULT_TOTAL_STEPS = 5_000_000
"""Environment steps of a run for which neither a step nor a time budget is given."""

WINDOW_EPISODES = 100
"""Logged returns and rates are means over the last iterations that hold this many finished episodes."""


class Learner(Protocol):
    """What a run needs of a learner to save it and put it back."""

    policy: nn.Module

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: dict[str, Tensor]) -> None: ...


def linear(start: float, end: float, fraction: float) -> float:
    """The value at `fraction` (clipped to 0 .. 1) of the way from `start` to `end`."""
    return start + (end - start) * min(max(fraction, 0.0), 1.0)


class EpisodeStatistics:
    """Sums over finished episodes, kept on the device and read once an iteration."""

    def __init__(self, num_envs: int, device: torch.device):
        self.returns = torch.zeros(num_envs, device=device)
        self.lengths = torch.zeros(num_envs, device=device)
        self.sums = torch.zeros(5, device=device, dtype=torch.float64)  # episodes, return, length, crashes, successes
        self.reports_success = False
        self.speed = torch.zeros(2, device=device, dtype=torch.float64)  # steps, speed
        self.window: collections.deque[list[float]] = collections.deque()

    def record(self, reward: Tensor, terminated: Tensor, truncated: Tensor, info: dict[str, Any]) -> None:
        """Adds one step of every world, [N] each. If info names no crashes, termination counts as one.

        Where info names successes ([N], or [N, C] of the egos), so do the statistics.
        """
        last = info.get("final_info", info)
        done = terminated | truncated
        self.returns += reward
        self.lengths += 1
        crashed = last.get("crashed", terminated)
        self.reports_success = "is_success" in last
        success = last["is_success"].reshape(len(done), -1).all(1) if self.reports_success else torch.zeros_like(done)
        columns = torch.stack((torch.ones_like(self.returns), self.returns, self.lengths, crashed, success))
        self.sums += (columns * done).sum(1, dtype=torch.float64)
        self.returns.masked_fill_(done, 0)
        self.lengths.masked_fill_(done, 0)
        if "speed" in last:
            speed = last["speed"]
            self.speed += torch.stack((speed.new_tensor(speed.numel()), speed.sum()))

    def read(self) -> dict[str, float]:
        """Means over the window: NaN before the first episode ends."""
        self.window.append(self.sums.tolist())
        self.sums.zero_()
        while sum(sums[0] for sums in self.window) - self.window[0][0] >= WINDOW_EPISODES:
            self.window.popleft()
        episodes, returns, lengths, crashes, successes = (sum(column) for column in zip(*self.window, strict=True))
        steps, speed = self.speed.tolist()
        self.speed.zero_()
        scale = 1.0 / episodes if episodes else float("nan")
        figures = {
            "episode_return": returns * scale,
            "episode_length": lengths * scale,
            "crash_rate": crashes * scale,
            "speed": speed / steps if steps else float("nan"),
        }
        return figures | ({"success_rate": successes * scale} if self.reports_success else {})


class Metrics:
    """Writes each iteration's numbers to metrics.csv and TensorBoard, and shows them on the progress line."""

    def __init__(self, run_dir: Path | None, steps: int, show_progress: bool):
        self._file = self._rows = self._events = None
        if run_dir is not None:
            # Imported here: it takes a second, which runs without a folder need not wait for.
            from torch.utils.tensorboard import SummaryWriter

            self._path = run_dir / checkpoint.METRICS
            _drop_rows_after(self._path, steps)
            self._file = self._path.open("a", newline="")
            self._events = SummaryWriter(str(run_dir), purge_step=steps or None)
        self._bar = tqdm.tqdm(
            total=1.0,
            disable=not show_progress,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}",
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
        )

    def write(self, row: dict[str, float], progress: float) -> None:
        """One row, and the line; columns are fixed by the first row of the file."""
        if self._file is not None:
            if self._rows is None:
                self._rows = csv.DictWriter(self._file, fieldnames=list(row))
                if self._file.tell() == 0:
                    self._rows.writeheader()
            self._rows.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
            self._file.flush()
            for name, value in row.items():
                self._events.add_scalar(name, value, int(row["steps"]))
        line = f"{row['steps'] / 1e6:.2f}M steps, {row['steps_per_s']:,.0f} steps/s"
        line += f", return {row['episode_return']:.2f}, crashes {100 * row['crash_rate']:.1f} %"
        line += f", successes {100 * row['success_rate']:.1f} %" if "success_rate" in row else ""
        line += f", speed {row['speed']:.1f} m/s" if row["speed"] == row["speed"] else ""
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(min(progress, 1.0) - self._bar.n)

    def close(self) -> None:
        self._bar.refresh()
        self._bar.close()
        if self._file is not None:
            self._file.close()
            self._events.close()


def _drop_rows_after(path: Path, steps: int) -> None:
    """Forgets rows written after the checkpoint that a run resumes from: they will be written again."""
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines() or [""]
    # A row that a kill cut short has fewer columns.
    whole = [row for row in rows if row.count(",") == header.count(",")]
    kept = [header] + [row for row in whole if int(row.split(",", 1)[0]) <= steps]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(row + "\n" for row in kept))
    os.replace(temporary, path)


class Run:
    """A training run in progress; use it as a context manager around the learner's loop."""

    def __init__(
        self,
        description: dict[str, Any],
        budget: tuple[int | None, float | None],
        envs: Any,
        run_dir: str | Path | None = None,
        resume: bool = False,
        show_progress: bool = True,
        on_iteration: Callable[[dict[str, float]], None] | None = None,
    ):
        """Checks and opens the run folder, before any work is done.

        Args:
            description: content of `config.json`, from `checkpoint.describe`.
            budget: environment steps and wall-clock seconds after which to stop; None is no limit.
            envs: the environments, asked for their state at checkpoints.
            run_dir: run folder, or None to write nothing.
            resume: go on from the checkpoint in `run_dir`.
            show_progress: whether to show the progress line.
            on_iteration: called with the metrics of each iteration; may raise KeyboardInterrupt to stop.
        """
        self.total_steps, self.time_limit_s = budget
        if self.total_steps is None and self.time_limit_s is None:
            self.total_steps = DEFAULT_TOTAL_STEPS
        for name, limit in (("total_steps", self.total_steps), ("time_limit_s", self.time_limit_s)):
            if limit is not None and limit <= 0:
                raise ValueError(f"{name} must be positive, got {limit}")
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.checkpoint_every_s = float(description["config"]["checkpoint_every_s"])
        self.envs, self.show_progress, self.on_iteration = envs, show_progress, on_iteration
        self.statistics = EpisodeStatistics(envs.num_envs, envs.device)
        self.steps = self.iterations = 0
        self.finished = False
        """Whether the loop should end (budget used up, or a stop asked for); settled as iterations end."""
        self.saved: dict[str, Tensor] | None = None
        self._elapsed_before_s = 0.0
        if resume:
            self._open_existing(description)
        elif self.run_dir is not None:
            checkpoint.create(self.run_dir, description)

    def _open_existing(self, description: dict[str, Any]) -> None:
        if self.run_dir is None:
            raise ValueError("to resume, name the run folder")
        checkpoint.check_same_run(self.run_dir, description)
        self.saved, counters = checkpoint.load(self.run_dir)
        self.steps, self.iterations = counters["steps"], counters["iterations"]
        self._elapsed_before_s = counters["elapsed_s"]

    def __enter__(self) -> "Run":
        self._interrupt = Interrupt().__enter__()
        self._metrics = Metrics(self.run_dir, self.steps, self.show_progress)
        self._started = self._last_checkpoint = self._last_iteration = time.perf_counter()
        self._last_steps, self._iteration_s = self.steps, 0.0
        self.finished = self._out_of_budget()
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        self._interrupt.__exit__()

    def restore(self, learner: Learner) -> None:
        """Puts learner, environments and statistics back to the checkpoint, if this run resumes one."""
        if self.saved is None:
            return
        try:
            learner.load_state(checkpoint.part("learner", self.saved))
            self.statistics.returns.copy_(self.saved["run.returns"])
            self.statistics.lengths.copy_(self.saved["run.lengths"])
            self.envs.load_state_dict(checkpoint.part("envs", self.saved))
        except (KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{self.run_dir}: {checkpoint.CHECKPOINT} does not fit this run: {reason}") from error
        self.saved = None

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds of training, those before a resumption included."""
        return self._elapsed_before_s + time.perf_counter() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 .. 1; without a time limit it counts steps alone, and is repeatable."""
        used = 0.0 if self.total_steps is None else self.steps / self.total_steps
        if self.time_limit_s is not None:
            used = max(used, self.elapsed_s / self.time_limit_s)
        return min(used, 1.0)

    def _out_of_budget(self) -> bool:
        """Whether the budget is used up, or has no room for another iteration as long as the last."""
        late = self.time_limit_s is not None and self.elapsed_s + self._iteration_s > self.time_limit_s
        return late or (self.total_steps is not None and self.steps >= self.total_steps)

    def record(self, reward: Tensor, terminated: Tensor, truncated: Tensor, info: dict[str, Any]) -> None:
        """Counts one environment step of every world."""
        self.steps += len(reward)
        self.statistics.record(reward, terminated, truncated, info)

    def end_iteration(self, learner: Learner, metrics: dict[str, float]) -> None:
        """Logs the iteration; saves a checkpoint if one is due or the run ends here."""
        now = time.perf_counter()
        self._iteration_s = now - self._last_iteration
        self.iterations += 1
        row = {
            "steps": self.steps,
            "elapsed_s": self.elapsed_s,
            "steps_per_s": (self.steps - self._last_steps) / self._iteration_s,
        }
        row |= self.statistics.read() | metrics
        self._last_iteration, self._last_steps = now, self.steps
        self._metrics.write(row, self.progress)
        try:
            if self.on_iteration is not None:
                self.on_iteration(row)
        except KeyboardInterrupt:
            self._interrupt.requested = True
        self.finished = self._interrupt.requested or self._out_of_budget()
        if self.run_dir is not None and (self.finished or now - self._last_checkpoint >= self.checkpoint_every_s):
            self.save(learner)
            self._last_checkpoint = time.perf_counter()
        if self.finished and self._interrupt.requested and self.show_progress:
            where = "nothing was saved" if self.run_dir is None else f"resume with the checkpoint in {self.run_dir}"
            tqdm.tqdm.write(f"interrupted after {self.steps:,} steps: {where}", file=sys.stderr)

    def save(self, learner: Learner) -> None:
        """Writes the policy and a checkpoint now."""
        tensors = checkpoint.prefixed("learner", learner.state()) | checkpoint.prefixed("envs", self.envs.state_dict())
        tensors |= {"run.returns": self.statistics.returns, "run.lengths": self.statistics.lengths}
        counters = {"steps": self.steps, "iterations": self.iterations, "elapsed_s": self.elapsed_s}
        checkpoint.save(self.run_dir, learner.policy, tensors, counters)
