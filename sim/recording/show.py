"""Episodes as films or in a window: one, or two drivers of one case beside each other, whole or around a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.overlays import names_of, overlay_of
from sim.recording.film import beside, camera, pictures
from sim.recording.folder import REPORT, EvaluationFolder, around
from sim.recording.replay import frame_rate, make_envs, needs_driver, playback, replay
from sim.recording.traces import Trace, Traces
from sim.recording.verify import DriverOf, verify
from sim.render import Renderer
from sim.video import write_video


@dataclass(frozen=True)
class Selection:
    """What to show of the folder of an evaluation."""

    case: str | None = None
    """GROUP/SEED of an evaluation folder."""
    where: str | None = None
    """Film all cases of an evaluation folder that meet this ("min_ttc < 0.5 and not success"); --out is a folder."""
    against: Path | None = None
    """Another evaluation folder: its driver is shown beside, on the same case."""
    from_worst: str | None = None
    """Show only the seconds around the worst moment of this metric."""
    recorded: bool = False
    """Show the states that were recorded, of failures and a sample, instead of simulating again."""


@dataclass(frozen=True)
class Show:
    """Pictures in the order of time.

    Attributes:
        images: uint8 [H, W, 3]. fps: of them to a second of watching. renderer: has the window.
    """

    images: Iterator[np.ndarray]
    fps: float
    renderer: Renderer

    def write(self, path: Path) -> int:
        """Writes a film; returns of how many pictures."""
        return write_video(path, tqdm(self.images, unit="picture", disable=None), self.fps)

    def play(self) -> None:
        """Shows the pictures in a window, until it is closed; NoDisplayError where there is no display."""
        for image in self.images:
            if not self.renderer.show(image):
                return
            time.sleep(1 / self.fps)

    def present(self, path: Path | None, what: str) -> str:
        """Writes a film, or plays in a window when `path` is None; returns what there is to say."""
        if path is None:
            self.play()
            return what
        return f"{path}: {self.write(path)} pictures, {what}"

    def beside(self, other: Show) -> Show:
        """Returns both in step."""
        return Show(beside(self.images, other.images), self.fps, self.renderer)


@dataclass(frozen=True)
class Stage:
    """How episodes are simulated again and what is drawn over them.

    Attributes:
        driver_of: makes the driver of a trace, where its replay needs one. device: to simulate on.
        overlays: names of `sim.overlays.OVERLAYS`, with commas between. speed: simulated seconds a second of watching.
        recorded: show the recorded states instead.
    """

    driver_of: DriverOf
    device: str = "cpu"
    overlays: str | None = None
    speed: float = 1.0
    recorded: bool = False

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"--speed must be positive, got {self.speed}")

    def show(self, trace: Trace, frame: int | None = None, envs: Any = None) -> Show:
        """Returns the pictures of an episode, or of the seconds around one of its frames.

        `envs` is the world to simulate it in, where a new one of the trace's id and config would not do.
        """
        case, names = trace.case, names_of(self.overlays)
        envs = make_envs(case.id, case.config, case.precision, self.device) if envs is None else envs
        plans = "plan" in names
        for name, missing in (("seen", "observations"), ("camera", "observations"), ("plan", "plans")):
            if self.recorded and name in names:
                raise ValueError(f"--recorded holds no {missing}: the overlay {name!r} needs the simulation")
        asked = plans or (not self.recorded and needs_driver(case, trace.hashes[:1], envs, [case.seed]))
        driver = self.driver_of(case) if asked else None
        overlay = overlay_of(names, envs, driver) if names else None
        renderer, rate = camera(envs, names), frame_rate(envs)
        frames = playback(trace, envs) if self.recorded else replay(trace, envs, driver, plans)
        if frame is not None:  # what remembers has seen the frames before too
            frames = around(overlay.noted(frames) if overlay else frames, frame, rate)
        images, fps = pictures(renderer, frames, rate, overlay)
        return Show(images, fps * self.speed, renderer)

    def show_folder(self, source: Path | None, selection: Selection, out: Path | None) -> str | None:
        """Shows what is asked for of the folder of an evaluation, or of a search for failures, and says something.

        Returns None where `source` is neither. Arguments as of `show_evaluation`.
        """
        if source and (source / REPORT).is_file():
            return self.show_evaluation(source, selection, out)
        from sim.evaluation import falsification  # which imports this package on its way

        if source and (source / falsification.FAILURES).is_file():
            case, trace = falsification.load_failure(source, selection.case or "")
            envs = falsification.edited_envs(case, trace, self.device)
            return self.show(trace, envs=envs).present(out, case["about"])
        return None

    def show_evaluation(self, source: Path, selection: Selection, out: Path | None) -> str:
        """Shows a case of an evaluation folder, or films it or all that meet a condition; returns what there is to say.

        Args:
            source: the folder.
            selection: what to show of it.
            out: a film, or with `where` a folder for films; a window when None.
        """
        folder, against = EvaluationFolder(source), selection.against and EvaluationFolder(selection.against)
        if selection.where:
            cases = folder.where(selection.where)
            if not cases:
                raise ValueError(f"none of the {len(folder.cases)} cases of {source} meets {selection.where!r}")
            if out is None or out.suffix:
                raise ValueError(f"--where films many cases: give a folder as --out, not {out}")
            out.mkdir(parents=True, exist_ok=True)
            for case in cases:
                metric = selection.from_worst if selection.from_worst in case["frames"] else None
                show = self.show_case(folder, case["case"], metric, against)
                show.write(out / f"{case['case'].replace('/', '-')}.mp4")
            return f"{out}: {len(cases)} films"
        if selection.case is None:
            raise ValueError(f"{source} holds {len(folder.cases)} cases: give --case GROUP/SEED, --where or --verify")
        show = self.show_case(folder, selection.case, selection.from_worst, against)
        return show.present(out, selection.case)

    def show_case(
        self, folder: EvaluationFolder, name: str, metric: str | None = None, against: EvaluationFolder | None = None
    ) -> Show:
        """Returns the pictures of a case of an evaluation.

        Args:
            folder: of the evaluation.
            name: of the case.
            metric: show only the seconds around its worst moment.
            against: another evaluation, whose driver of the same case is shown beside.
        """
        case = folder.case(name)
        frame = None if metric is None else folder.worst_frame(case, metric)
        show = self.show(folder.trace(case), frame)
        return show if against is None else show.beside(self.show(against.trace(against.case(name)), frame))

    def verify(self, source: Path | None, say: Callable[[str], object]) -> bool:
        """Simulates a trace, or all of an evaluation folder, again, and says a line for each thing that is wrong.

        Returns whether nothing is. ValueError if `source` is neither.
        """
        if source is None or not (source.is_dir() or source.suffix == ".npz"):
            raise ValueError(f"--verify needs a trace (.npz) or a folder of scripts/evaluate.py --suite, not {source}")
        folder = EvaluationFolder(source) if source.is_dir() else None
        episodes = hashes = wrong = 0
        for name in folder.files if folder else [str(source)]:
            try:
                traces = folder.traces(name, check=False) if folder else Traces.load(name, check=False)
                findings = [f"{name}: {finding.message}" for finding in verify(traces, self.driver_of, self.device)]
                episodes, hashes = episodes + len(traces), hashes + int((traces.steps + 1).sum())
            except (ValueError, OSError) as error:
                findings = [str(error) if name in str(error) else f"{name}: {error}"]
            wrong += len(findings)
            for finding in findings:
                say(finding)
        if wrong:
            say(f"{wrong} things are not as they were recorded, in {episodes} episodes that could be simulated again")
        else:
            say(f"{episodes} episodes replay as they were recorded: all {hashes} state hashes are the same")
        return not wrong
