"""A model on disk: what it is as JSON, its weights as safetensors; nothing is pickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FACTS, WEIGHTS = "model.json", "model.safetensors"
SCHEMA = 1


@dataclass(frozen=True)
class ModelFacts:
    """What a model is.

    Attributes:
        kind: of which network, such as "one-stage".
        classes: names, of labels 1, 2, ... (from 0 where there is no background).
        network: what the network is built from.
        training: on what and how it was trained.
    """

    kind: str
    classes: tuple[str, ...]
    network: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Yield a path beside this one; what was written there is then moved to its place, whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def save_model(folder: Path, facts: ModelFacts, weights: dict[str, Tensor]) -> None:
    """Write a model into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with moved_into_place(folder / WEIGHTS) as path:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, path)
    with moved_into_place(folder / FACTS) as path:
        path.write_text(json.dumps({"schema": SCHEMA} | asdict(facts), indent=1) + "\n", encoding="utf-8")


def load_facts(folder: Path, kind: str | None = None) -> ModelFacts:
    """Return what the model in a folder is.

    Raises:
        FileNotFoundError: there is none. ValueError: it cannot be read, or is of another kind.
    """
    path = Path(folder) / FACTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no model: there is no {FACTS}")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        facts = ModelFacts(stored["kind"], tuple(stored["classes"]), stored["network"], stored["training"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no model description: {error}") from error
    if stored.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {stored.get('schema')!r}; this version reads {SCHEMA}")
    if kind is not None and facts.kind != kind:
        raise ValueError(f"{folder} holds a model of kind {facts.kind!r}; expected {kind!r}")
    return facts


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fill a model with the weights in a folder.

    Raises:
        ValueError: they are of another network, or cannot be read.
    """
    path = Path(folder) / WEIGHTS
    try:
        weights = load_file(path)
    except Exception as error:  # safetensors has an error class of its own for each kind of damage
        raise ValueError(f"{path} cannot be read: {error}") from error
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    for name in [*wanted, *weights]:
        has, needs = weights[name].shape if name in weights else None, wanted.get(name)
        if has != needs:
            raise ValueError(f"{path} is of another network: {name} has shape {has}, expected {needs}")
    model.load_state_dict(weights)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of the weights in a model folder; FileNotFoundError where there are none."""
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no weights: there is no {WEIGHTS}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
