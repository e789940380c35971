"""Ensembles on disk: the members as a checkpoint holds them, and what the estimator knows beside them. No pickle."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core, features
from certssb._checks import parameter_error
from certssb._core import Cascade
from certssb._levels import Levels, Members, place
from certssb.exceptions import CheckpointError
from certssb.features import FeatureMap
from certssb.modules import Blueprint

_FILE = "estimator.json"
_VERSION = 1


def write(folder: Path, ensemble: Members, facts: dict[str, Any]) -> None:
    """Write members and facts; the facts last, so that a folder that has them is whole."""
    ensemble.save(folder)
    cascade = json.loads(ensemble.law.to_json()) if isinstance(ensemble, Levels) else None
    text = json.dumps({"version": _VERSION, "cascade": cascade, **facts}, indent=2)
    try:
        beside = folder / f".writing-{os.getpid()}-{secrets.token_hex(4)}"
        with open(beside, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, folder / _FILE)
    except OSError as error:
        raise CheckpointError(f"The ensemble cannot be saved in '{folder}': {error}.") from error


def read_facts(folder: Path) -> dict[str, Any]:
    """What the estimator knew."""
    try:
        facts = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"'{folder}' holds no saved ensemble: it has no {_FILE}.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{folder}' cannot be read: its {_FILE} is damaged ({error}).") from error
    if not isinstance(facts, dict) or facts.get("version") != _VERSION:
        version = facts.get("version") if isinstance(facts, dict) else None
        raise CheckpointError(
            f"'{folder}' cannot be read: it has version {version} of the format, not {_VERSION}."
        )
    return facts


def read_members(folder: Path, facts: dict[str, Any], model: Any, device: str, n_jobs: int | None) -> Members:
    """Read the members, of which none may be missing or damaged."""
    n_members = facts["n_members"]
    if facts["cascade"] is None:
        return _read_level(folder, n_members, model, device, n_jobs)
    law = _core.law_from_json(json.dumps(facts["cascade"]))
    if not isinstance(law, Cascade):
        raise CheckpointError(f"'{folder}' cannot be read: its law is no cascade.")
    folders = [Path(place(folder, g)) for g in range(len(law.levels))]
    return Levels(law, [_read_level(level, n_members, model, device, n_jobs) for level in folders])


def _read_level(folder: Path, n_members: int, model: Any, device: str, n_jobs: int | None) -> _core.Ensemble:
    record = json.loads(_core.Ensemble.record_of(folder))
    own = " " in record["model"]
    if own and (model is None or isinstance(model, str)):
        expected = f"the callable that makes the module '{record['model']}': load(path, model=...)"
        raise parameter_error("model", expected, repr(model))
    if not own and model is not None:
        raise parameter_error(
            "model", f"left out: the members are of the built-in '{record['model']}'", repr(model)
        )
    blueprint = Blueprint(model, sample_shape(record), record["n_classes"]) if own else None
    if blueprint is not None:
        blueprint.try_stacks(device, None)
    ensemble = _core.Ensemble.open(folder, device, n_jobs, blueprint)
    ensemble.truncate(n_members)
    if ensemble.n_members != n_members:
        raise CheckpointError(
            f"'{folder}' cannot be read: {n_members - ensemble.n_members} of {n_members} members are missing or damaged."
        )
    return ensemble


def sample_shape(record: dict[str, Any]) -> tuple[int, ...]:
    """Shape of one sample, from a record."""
    shape = record["shape"]
    if "flat" in shape:
        return (int(shape["flat"]),)
    image = shape["image"]
    return int(image["channels"]), int(image["height"]), int(image["width"])


def classes_to_json(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Labels with their type."""
    return {"type": classes.dtype.str, "values": classes.tolist()}


def classes_from_json(facts: dict[str, Any]) -> npt.NDArray[Any]:
    """Labels as they were."""
    return np.array(facts["values"], dtype=facts["type"])


def map_to_json(given: FeatureMap | None) -> dict[str, Any] | None:
    """A feature map of this package by name and sizes; another one by its words."""
    if given is None:
        return None
    known = type(given) is getattr(features, type(given).__name__, None) and dataclasses.is_dataclass(given)
    sizes = dataclasses.asdict(given) if known else None  # type: ignore[call-overload]
    return {"name": type(given).__name__, "sizes": sizes, "words": given.before_noise()}


def map_from_json(facts: dict[str, Any] | None, given: FeatureMap | None) -> FeatureMap | None:
    """The map, or the user's own, which must say the same of itself."""
    if facts is None:
        if given is not None:
            raise parameter_error("features", "left out: the members were trained without a map", repr(given))
        return None
    if given is None and facts["sizes"] is not None and facts["name"] in features.__all__:
        given = getattr(features, facts["name"])(**facts["sizes"])
    if not isinstance(given, FeatureMap) or given.before_noise() != facts["words"]:
        raise parameter_error("features", f"the map of the saved ensemble ({facts['words']})", repr(given))
    return given
