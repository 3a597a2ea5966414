"""A window to drive in by keyboard: what is on the road, what the keys do, and the drive as a trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pygame

from sim.keyboard import Keyboard
from sim.overlays import OVERLAYS, Overlays, overlay_of
from sim.recording.film import camera, draw, moments
from sim.recording.replay import Frame, frame_rate
from sim.recording.session import Session
from sim.recording.traces import Trace

PICTURES = 30.0
"""Pictures a second of watching below which places between the frames are drawn too [Hz]."""
LIT = 0.5
"""How long the name of a meta-action stays lit [s]."""
WORD = 3.0
"""How long a message stays [s]."""
REST = 0.02
"""How long to wait between two looks at the keyboard [s]."""
STARTS = "arrow keys drive · space pauses · r again · n next seed · h help · q quits"


class Cockpit:
    """Drives episodes of one id by keyboard, in real time.

    Args:
        envs: one world. seed: of the first episode.
        overlays: names of `OVERLAYS` that are shown from the start; keys 1 to 9 switch them.
        speed: simulated seconds a second of watching.
        now, sleep: the clock.

    Raises:
        ValueError: an unknown overlay, or one that means nothing in this id; a speed that is not positive.
    """

    def __init__(
        self,
        envs: Any,
        seed: int = 0,
        overlays: Iterable[str] = (),
        speed: float = 1.0,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ):
        if not speed > 0:
            raise ValueError(f"--speed must be positive, got {speed}")
        self.envs, self.seed, self.speed = envs, int(seed), float(speed)
        self._now, self._sleep = now, sleep
        self._driver = Keyboard(envs.device)
        self._shown = {name: overlay_of([name], envs) for name in overlays}
        self._renderer = camera(envs, self._possible())
        self._paused = self._help = self._touched = False
        self._wish = ""  # "again", "next" or "quit"
        self._word, self._word_ends = STARTS, self._now() + 2 * WORD
        self._lit: tuple[str, float] | None = None
        self.trace: Trace | None = None

    def run(self) -> Trace | None:
        """Drives until the window is closed; returns the last episode that got a step far, None without one.

        Raises:
            NoDisplayError: there is no window to drive in.
        """
        try:
            while self._wish != "quit":
                self._wish = ""
                self._drive(Session(self._driver, self.envs, self.seed, "keyboard"))
                self.seed += self._wish == "next"
        finally:
            self._renderer.close()
        return self.trace

    def _possible(self) -> list[str]:
        """The overlays that mean something here."""
        possible = []
        for name in OVERLAYS:
            try:
                overlay_of([name], self.envs)
            except ValueError:
                continue
            possible.append(name)
        return possible

    def _drive(self, session: Session) -> None:
        """One episode, until it is over and somebody wants something else."""
        rate = frame_rate(self.envs)
        steps = max(1, round(PICTURES / (rate * self.speed)))
        due, last = self._now(), None
        try:
            for frame, moment in moments(session.frames(), rate, steps):
                last = (frame, moment)
                whole = moment is frame.world
                if whole:
                    for overlay in self._shown.values():
                        overlay.note(frame)
                if self._now() <= due or whole:  # a machine that is too slow leaves out what lies between the frames
                    self._draw(frame, moment)
                due = self._wait(max(due, self._now() - 1 / PICTURES) + 1 / (rate * steps * self.speed))
                if self._paused:
                    self._rest(frame, moment, lambda: not self._paused)
                    due = self._now()
                if self._wish:
                    return
        finally:
            if session.steps:
                self.trace = session.trace()
        self._word_ends = self._now()
        self._rest(*last, note=f"{_end(session)}\nreturn {session.total:.2f} · r again · n next seed · q quits")

    def _rest(self, frame: Frame, moment: Any, goes_on: Callable[[], bool] = bool, note: str = "") -> None:
        """Shows a moment until it `goes_on` or somebody wants something else; draws again what a key changes."""
        while not (goes_on() or self._wish):
            self._touched, speaks = False, self._speaks()
            self._draw(frame, moment, note)
            while not (goes_on() or self._wish or self._touched or speaks != self._speaks()):
                self._sleep(REST)
                self._hear()

    def _wait(self, due: float) -> float:
        """Hears the keyboard until it is time for the next picture; returns when that is."""
        while not self._wish:
            self._hear()
            left = due - self._now()
            if left <= 0:
                break
            self._sleep(min(left, REST))
        return due

    def _draw(self, frame: Frame, moment: Any, note: str = "") -> None:
        """Shows a moment in the window."""
        if self._lit and frame.hud.action == "IDLE" and 0 <= frame.time - self._lit[1] < LIT:
            frame = replace(frame, hud=replace(frame.hud, action=self._lit[0]))
        elif frame.hud.actions and frame.hud.action != "IDLE":
            self._lit = (frame.hud.action, frame.time)
        overlays = Overlays([part for overlay in self._shown.values() for part in overlay.parts])
        frame = replace(frame, hud=replace(frame.hud, note=self._note(note)))
        draw(self._renderer, frame, moment, overlays)
        self._hear(show=True)

    def _note(self, end: str) -> str:
        """What is written large: the keys, if asked for; how the episode ended; a message."""
        if self._help:
            switches = [f"{number + 1} {name}{' (on)' if name in self._shown else ''}" for number, name in _numbered()]
            return "\n".join([STARTS, " · ".join(switches[:5]), " · ".join(switches[5:])])
        if self._speaks():
            return self._word
        return end or ("paused\nspace goes on" if self._paused else "")

    def _speaks(self) -> bool:
        """Is there a message to be read."""
        return self._now() < self._word_ends

    def _hear(self, show: bool = False) -> None:
        """Takes the events of the window, which is opened the first time."""
        shown = self._renderer.show(handle=self._handle) if show else self._renderer.hear(self._handle)
        if not shown:
            self._wish = "quit"

    def _handle(self, event: pygame.event.Event) -> None:
        self._driver.hear(event)
        if event.type != pygame.KEYDOWN:
            return
        self._touched = True
        if event.key == pygame.K_SPACE:
            self._paused, self._word_ends = not self._paused, self._now()
        elif event.key == pygame.K_h:
            self._help = not self._help
        elif event.key in (pygame.K_r, pygame.K_n):
            self._wish, self._paused = "again" if event.key == pygame.K_r else "next", False
        for number, name in _numbered():
            if event.key == pygame.K_1 + number:
                self._switch(name)

    def _switch(self, name: str) -> None:
        """Shows an overlay or hides it, or says why it means nothing here."""
        if name in self._shown:
            del self._shown[name]
            self._say(f"{name} off")
            return
        try:
            self._shown[name] = overlay_of([name], self.envs)
            self._say(f"{name} on")
        except ValueError as error:
            self._say(str(error).split(":")[0])

    def _say(self, word: str) -> None:
        self._word, self._word_ends = word, self._now() + WORD


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(OVERLAYS))[:9]


def _end(session: Session) -> str:
    """How an episode ended."""
    world = session.envs.world
    if bool(world.crashed[0, int(world.ego[0, 0])]):
        return "crashed"
    return "time is up" if session.trace().truncated[-1] else "over"
