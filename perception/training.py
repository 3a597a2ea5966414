"""One training loop for all perception models: AdamW, cosine rate, averaged weights; it can be killed and goes on.

A folder holds:

    model.json               what the model is: see `perception.model_folder`
    model.safetensors        its averaged weights, the ones to use
    checkpoint.safetensors   all that training needs to go on to the same weights (the header holds the counters)
    metrics.csv              one row every `LOG_EVERY` steps: step, seconds, rate and the parts of the loss
    nan_batch.npz            only after a loss that is no number: what it was computed from

Each file is written beside its place and moved there, so a kill at any moment leaves the previous one whole.
"""

from __future__ import annotations

import csv
import json
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn
from tqdm import tqdm

from perception.model_folder import ModelFacts, load_facts, moved_into_place, save_model
from sim.command import Interrupt

CHECKPOINT, METRICS, BAD_BATCH = "checkpoint.safetensors", "metrics.csv", "nan_batch.npz"
LOG_EVERY = 20
"""Steps from one row of metrics.csv to the next."""
FREE = ("time_limit_s", "threads", "checkpoint_every_s")
"""Of a recipe and of the settings, what may differ where a training goes on."""


class Batches(Protocol):
    """An endless iterator that can go on from a position."""

    def __next__(self) -> Any: ...

    def state_dict(self) -> dict[str, int]:
        """Where it is: a few integers."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from there."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        steps: updates in all; the rate falls to zero at the last.
        time_limit_s: where given, the rate falls to zero then, if the steps have not ended it before [s].
        rate: the highest learning rate. warm_up: steps until it is reached.
        weight_decay: of weights with more than one axis.
        clip: largest norm of the gradient.
        averaging: of the weights, a step's share is 1 - averaging.
        checkpoint_every_s: time between checkpoints [s].
        seed: of whatever the loss draws.
    """

    steps: int
    time_limit_s: float | None = None
    rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 0.05
    clip: float = 10.0
    averaging: float = 0.998
    checkpoint_every_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "rate", "clip", "checkpoint_every_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}; it must be a number above 0")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise ValueError(f"time_limit_s is {self.time_limit_s!r}; it must be None or above 0")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging is {self.averaging!r}; it must be in [0, 1)")


class Training:
    """A model in training.

    Args:
        model: on its device; `loss(model, batch)` is called in training mode.
        facts: what the model is, for its folder; `training["recipe"]` says how it is trained. Where it goes on, what
            else `training` tells is taken over from the folder.
        loss: returns the parts of the loss by name, among them "loss".
        batches: what it learns from.
        folder: new or empty, or of the same training, begun before: then it goes on.
        settings: see `TrainingSettings`.

    Raises:
        FileExistsError: the folder holds another training, or something else. ValueError: a damaged checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        facts: ModelFacts,
        loss: Callable[[nn.Module, Any], dict[str, Tensor]],
        batches: Batches,
        folder: Path,
        settings: TrainingSettings,
    ) -> None:
        self.model, self.facts, self.loss, self.batches = model, facts, loss, batches
        self.folder, self.settings = folder, settings
        matrices = [weight for weight in model.parameters() if weight.ndim > 1]
        vectors = [weight for weight in model.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate)
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        stored = folder / CHECKPOINT
        if stored.is_file():
            self._require_same()
            self._load(stored)
        elif folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty and holds no training to go on with; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, progress: bool = True) -> None:
        """Train to the end, or to the time limit; the folder then holds the model. Ctrl-C leaves a checkpoint.

        Raises:
            FloatingPointError: the loss or its gradient is no number; the batch is saved for inspection.
        """
        settings = self.settings
        self.model.train()
        if not (self.folder / CHECKPOINT).is_file():
            self.save()  # so that a training killed at any moment goes on
        begun, saved = time.monotonic() - self.seconds, time.monotonic()
        bar = tqdm(total=settings.steps, initial=self.step, disable=not progress, unit="step", file=sys.stderr)
        with Interrupt() as interrupt, closing(_Ahead(self.batches)) as source, bar:
            while self.step < settings.steps and (share := self._progress()) < 1.0 and not interrupt.requested:
                batch, after = next(source)
                torch.manual_seed(settings.seed * 1_000_003 + self.step)
                rate = settings.rate * min((self.step + 1) / settings.warm_up, 0.5 + 0.5 * math.cos(math.pi * share))
                parts = self._update(batch, rate)
                self.position = after
                self.step += 1
                self.seconds = time.monotonic() - begun
                bar.update(1)
                if self.step % LOG_EVERY == 0 or self.step == settings.steps:
                    bar.set_postfix({name: f"{value:.3f}" for name, value in parts.items()})
                    self._log({"step": self.step, "seconds": round(self.seconds, 1), "rate": rate} | parts)
                if time.monotonic() - saved > settings.checkpoint_every_s:
                    self.save()
                    saved = time.monotonic()
        self.save()
        if interrupt.requested:
            raise KeyboardInterrupt

    def _progress(self) -> float:
        limit = self.settings.time_limit_s
        return max(self.step / self.settings.steps, self.seconds / limit if limit else 0.0)

    def _update(self, batch: Any, rate: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        parts = self.loss(self.model, batch)
        values = {name: float(value.detach()) for name, value in parts.items()}
        self._require_number("loss", values["loss"], batch)
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._require_number("gradient", float(norm), batch)
        self.optimizer.step()
        # The average warms up with the weights, else the first ones would weigh on it for long.
        share = 1 - min(self.settings.averaging, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)
            else:
                self.average[name].copy_(value)
        return values

    def _log(self, row: dict[str, float]) -> None:
        path = self.folder / METRICS
        new = not path.is_file()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def _require_number(self, what: str, value: float, batch: Any) -> None:
        if math.isfinite(value):
            return
        arrays = {name: np.asarray(value.detach().cpu()) for name, value in _tensors(batch, "batch")}
        np.savez(self.folder / BAD_BATCH, **arrays)
        raise FloatingPointError(
            f"the {what} is {value} at step {self.step}; its batch is in {self.folder / BAD_BATCH}"
        )

    def save(self) -> None:
        """Write the model and the checkpoint."""
        names = [name for name, _ in self.model.named_parameters()]
        kept = {f"weight.{name}": value for name, value in self.model.state_dict().items()}
        kept |= {f"average.{name}": value for name, value in self.average.items()}
        for name, weight in self.model.named_parameters():
            kept |= {f"moment.{key}.{name}": value for key, value in self.optimizer.state.get(weight, {}).items()}
        counters = {
            "step": self.step,
            "seconds": self.seconds,
            "position": getattr(self, "position", self.batches.state_dict()),
            "settings": asdict(self.settings),
            "parameters": len(names),
        }
        kept = {name: value.detach().cpu().contiguous().clone() for name, value in kept.items()}
        with moved_into_place(self.folder / CHECKPOINT) as path:
            save_file(kept, path, metadata={"counters": json.dumps(counters)})
        save_model(self.folder, self.facts, self.average)

    def _require_same(self) -> None:
        """Take over what the folder's model.json tells; FileExistsError where it is of another training."""
        there, here = (json.loads(json.dumps(asdict(one))) for one in (load_facts(self.folder), self.facts))
        differing = [name for name in ("kind", "classes", "network") if there[name] != here[name]]
        recipes = [one["training"].get("recipe", {}) for one in (there, here)]
        self._refuse(differing or _differing(*recipes))
        self.facts.training.update({name: value for name, value in there["training"].items() if name != "recipe"})

    def _refuse(self, differing: list[str]) -> None:
        if differing:
            what = ", ".join(differing)
            raise FileExistsError(f"{self.folder} holds another training: other {what}; choose another folder")

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                counters = json.loads(file.metadata()["counters"])
            kept = load_file(path)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} can't be read: {error}; delete the folder to begin anew") from None
        self._refuse(_differing(counters["settings"], asdict(self.settings)))
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        found = {name[7:]: value.shape for name, value in kept.items() if name.startswith("weight.")}
        self._refuse(["network"] * (found != shapes))
        self.model.load_state_dict({name: kept[f"weight.{name}"] for name in shapes})
        self.average = {name: kept[f"average.{name}"].to(value.device) for name, value in self.average.items()}
        for name, weight in self.model.named_parameters():
            moments = {key: kept.get(f"moment.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if moments["step"] is not None:
                place = {key: value.to(weight.device if key != "step" else "cpu") for key, value in moments.items()}
                self.optimizer.state[weight] = place
        self.step, self.seconds, self.position = counters["step"], counters["seconds"], counters["position"]
        self.batches.load_state_dict(self.position)
        self._drop_rows()

    def _drop_rows(self) -> None:
        """Drop the rows of steps after the checkpoint, which come again."""
        path = self.folder / METRICS
        if not path.is_file() or not path.stat().st_size:
            return
        head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in rows if int(row.partition(",")[0]) <= self.step]
        with moved_into_place(path) as part:
            part.write_text("".join([head, *kept]), encoding="utf-8")


def _differing(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The names of what differs and may not."""
    return [name for name, value in here.items() if name not in FREE and there.get(name) != value]


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch by a path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _tensors(part, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _tensors(part, f"{name}.{i}")
    elif hasattr(value, "__dataclass_fields__"):
        for key in value.__dataclass_fields__:
            yield from _tensors(getattr(value, key), f"{name}.{key}")


class _Ahead:
    """Fetches the next batch on a thread of its own while the present one is learned from."""

    def __init__(self, batches: Batches) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._batches = batches
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def _fetch(self) -> None:
        while not self._closed.is_set():
            try:
                item = (next(self._batches), self._batches.state_dict())
            except BaseException as error:  # it is raised where the batch is asked for
                item = error
            while not self._closed.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def __next__(self) -> tuple[Any, dict[str, int]]:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
