"""Ensembles on disk: the members as a checkpoint holds them, and what the estimator knows beside them. No pickle."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from certssb import _core, features
from certssb._checks import parameter_error
from certssb._core import Cascade
from certssb.estimators._cascade_levels import Levels, Members, place
from certssb.exceptions import CertssbError, CheckpointError, FileError
from certssb.features import FeatureMap
from certssb.learners._choice import learner_of, set_size
from certssb.storage import _files, _seal
from certssb.storage._seal import classes_from_json, classes_to_json

__all__ = [
    "classes_from_json",
    "classes_to_json",
    "map_from_json",
    "map_to_json",
    "read_facts",
    "read_members",
    "sample_shape",
    "write",
]

_FILE = "estimator.json"
_OURS = re.compile(
    r"estimator\.json|manifest\.json|member-[0-9]{6,}\.safetensors|level-[0-9]+"
    r"|votes-[0-9a-f]{16}-[0-9]{6,}-[0-9]{6,}-[0-9a-f]{16}\.safetensors"
    r"|members-[0-9]{6,}-[0-9]{6,}-[0-9a-f]{16}\.safetensors|learners-[0-9a-f]{16}\.json"
    r"|history-(grown|(seen|planned)-[0-9]{6,})\.json|claim-[0-9]{6,}|\.certssb-[0-9a-f]{32}\.draft"
)


def write(folder: Path, ensemble: Members, facts: dict[str, Any], overwrite: bool) -> str:
    """Write members and facts; the facts last, so that a folder that has them is whole. Their fingerprint."""
    # A link to a folder stays one.
    folder = Path(os.path.realpath(folder))
    cascade = json.loads(ensemble.law.to_json()) if isinstance(ensemble, Levels) else None
    sealed = _seal.seal(
        {**facts, "cascade": cascade, "levels": [_level_facts(own) for own in _levels(ensemble)]}
    )
    try:
        if overwrite and _is_another(folder, sealed["levels"]):
            _check_ours(folder)
            _replace(folder, ensemble, sealed)
        else:
            _check_levels(folder, ensemble)
            _write_into(folder, ensemble, sealed)
    except OSError as error:
        raise CheckpointError(f"The ensemble cannot be saved in '{folder}': {error}") from error
    return str(sealed["fingerprint"])


def _levels(ensemble: Members) -> list[_core.Ensemble]:
    return list(ensemble.levels) if isinstance(ensemble, Levels) else [ensemble]


def _folders(folder: Path, n_levels: int | None) -> list[Path]:
    return [folder] if n_levels is None else [Path(place(folder, g)) for g in range(n_levels)]


def _level_facts(ensemble: _core.Ensemble) -> dict[str, Any]:
    return {
        "record": ensemble.record_digest(),
        "history": json.loads(ensemble.history()),
        "members": {str(number): digest for number, digest in ensemble.digests()},
    }


def _write_into(folder: Path, ensemble: Members, sealed: dict[str, Any]) -> None:
    ensemble.save(folder)
    _files.write(folder / _FILE, json.dumps(sealed, indent=1).encode())


def _replace(folder: Path, ensemble: Members, sealed: dict[str, Any]) -> None:
    """Write beside the folder, then change places."""
    draft = _core.DraftFolder(folder)
    beside = draft.path
    try:
        _write_into(beside, ensemble, sealed)
        draft.take_place()
    except CheckpointError as error:
        # Named by where it would have been.
        raise CheckpointError(str(error).replace(str(beside), str(folder))) from error
    finally:
        draft.discard()


def _is_another(folder: Path, levels: list[dict[str, Any]]) -> bool:
    """Whether a saved ensemble is there that has other members than these, or cannot be read."""
    if not (folder / _FILE).exists():
        return False
    try:
        there = read_facts(folder)["levels"]
    except CheckpointError:
        return True
    return [level["record"] for level in there] != [level["record"] for level in levels]


def _check_ours(folder: Path) -> None:
    """Refuse to replace a folder in which somebody keeps other things."""
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if not _OURS.fullmatch(name):
                raise CheckpointError(
                    f"'{folder}' cannot be overwritten: it holds '{os.path.join(root, name)}', which is not part of "
                    "a saved ensemble."
                )


def _check_levels(folder: Path, ensemble: Members) -> None:
    """Refuse before anything is written: levels one by one would leave half of them."""
    own = _levels(ensemble)
    if (folder / _FILE).exists() and _is_another(
        folder, [{"record": level.record_digest()} for level in own]
    ):
        for level, at in zip(
            own, _folders(folder, len(own) if isinstance(ensemble, Levels) else None), strict=True
        ):
            if (at / "manifest.json").exists() and _core.Ensemble.record_digest_of(
                at
            ) != level.record_digest():
                # Refused, with what differs.
                level.save(at)
        raise CheckpointError(
            f"The ensemble cannot be saved in '{folder}': another one is there. overwrite=True replaces it."
        )


def read_facts(folder: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """What the estimator knew, every value looked at."""
    try:
        content = _files.read(folder / _FILE, _files.TEXT_LIMIT)
        facts = _files.parse(content)
    except FileNotFoundError:
        aside = _core.replaced_folder(folder)
        hint = f" An earlier one that was being replaced is '{aside}'." if aside.exists() else ""
        raise CheckpointError(f"'{folder}' holds no saved ensemble: it has no {_FILE}.{hint}") from None
    except FileError as error:
        raise CheckpointError(str(error)) from error
    except _files.Damaged as error:
        raise CheckpointError(f"'{folder}' cannot be read: its {_FILE} is damaged ({error}).") from error
    try:
        checked = _seal.check(facts)
    except _files.Damaged as error:
        raise CheckpointError(f"'{folder}' cannot be read: its {_FILE} is damaged ({error}).") from error
    if fingerprint is not None and fingerprint != checked["fingerprint"]:
        raise CheckpointError(
            f"'{folder}' is not the ensemble that was asked for: its fingerprint is {checked['fingerprint']}, "
            f"not {fingerprint}."
        )
    return checked


def read_members(
    folder: Path,
    facts: dict[str, Any],
    model: Any,
    device: str,
    n_jobs: int | None,
    recipe: tuple[Any, Any] = (None, None),
    form: str | None = None,
    on_disk: bool = False,
) -> Members:
    """Read the members, of which none may be missing, damaged, or another than the one that was saved.

    `recipe` is the optimiser and the loss of a module's members, `form` that in which estimators were written; `on_disk`
    leaves values where they are until they are asked for.
    """
    if facts["cascade"] is None:
        return _read_level(folder, facts, facts["levels"][0], model, device, n_jobs, recipe, form, on_disk)
    try:
        law = _core.law_from_json(json.dumps(facts["cascade"]))
    except CertssbError as error:
        raise CheckpointError(f"'{folder}' cannot be read: its law is damaged ({error})") from error
    if not isinstance(law, Cascade) or len(law.levels) != len(facts["levels"]):
        raise CheckpointError(f"'{folder}' cannot be read: its law is not a cascade of that many levels.")
    levels = [
        _read_level(Path(place(folder, g)), facts, level, model, device, n_jobs, recipe, form, on_disk)
        for g, level in enumerate(facts["levels"])
    ]
    if [own.law for own in levels] != list(law.levels):
        raise CheckpointError(f"'{folder}' cannot be read: its law is not that of its levels.")
    return Levels(law, levels)


def _read_level(
    folder: Path,
    facts: dict[str, Any],
    level: dict[str, Any],
    model: Any,
    device: str,
    n_jobs: int | None,
    recipe: tuple[Any, Any],
    form: str | None,
    on_disk: bool,
) -> _core.Ensemble:
    record = json.loads(_core.Ensemble.record_of(folder))
    if _core.Ensemble.record_digest_of(folder) != level["record"]:
        raise CheckpointError(f"'{folder}' cannot be read: its manifest.json is not the one that was saved.")
    _check_record(folder, facts, record)
    own = " " in record["model"]
    if own and (model is None or isinstance(model, str)):
        expected = f"what makes the members of the model '{record['model']}': load(path, model=...)"
        raise parameter_error("model", expected, repr(model))
    for name, given in zip(("optimizer", "loss"), recipe, strict=True):
        if not own and given is not None:
            expected = f"left out: the members are of the built-in '{record['model']}'"
            raise parameter_error(name, expected, repr(given))
    if not own and model is not None:
        raise parameter_error(
            "model", f"left out: the members are of the built-in '{record['model']}'", repr(model)
        )
    learner = None
    if own:
        n_trusted = (record.get("trusted") or {"n": 0})["n"]
        size = set_size(_core.law_from_json(json.dumps(record["law"])), record["n_train"], n_trusted)
        learner = learner_of(model, sample_shape(record), record["n_classes"], size, n_jobs, form, recipe)
        learner.try_stacks(device, None)
    ensemble = _core.Ensemble.open(folder, device, n_jobs, learner, on_disk)
    n_members = facts["n_members"]
    ensemble.truncate(n_members)
    if ensemble.n_members != n_members:
        raise CheckpointError(
            f"'{folder}' cannot be read: {n_members - ensemble.n_members} of {n_members} members are missing or damaged."
        )
    found = {str(number): digest for number, digest in ensemble.digests()}
    if found != level["members"]:
        other = [name for name, digest in level["members"].items() if found.get(name) != digest]
        raise CheckpointError(
            f"'{folder}' cannot be read: its member {(other or ['beyond the last'])[0]} is not the one that was saved."
        )
    _check_history(folder, level["history"], json.loads(ensemble.history()))
    return ensemble


def _check_record(folder: Path, facts: dict[str, Any], record: dict[str, Any]) -> None:
    """What stands in both places has to agree."""
    words = None if facts["features"] is None else facts["features"]["words"]
    pairs = {
        "classes": (len(facts["classes"]["values"]), record["n_classes"]),
        "features": (words, record.get("before_noise")),
        "seed": (facts["seed"], record["seed"] if facts["seed"] is not None else None),
        "shape": (tuple(facts["shape"]), sample_shape(record) if words is None else tuple(facts["shape"])),
    }
    for name, (here, there) in pairs.items():
        if here != there:
            raise CheckpointError(
                f"'{folder}' cannot be read: its {_FILE} and its manifest.json disagree about '{name}' ({here!r}, {there!r})."
            )


def _check_history(folder: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """A folder may have learned since; it must not have forgotten."""
    for name, before in saved.items():
        kept = before <= now[name] if name == "grown" else set(before) <= set(now[name])
        if not kept:
            raise CheckpointError(
                f"'{folder}' cannot be read: its history lacks what was saved about '{name}'."
            )


def sample_shape(record: dict[str, Any]) -> tuple[int, ...]:
    """Shape of one sample, from a record."""
    shape = record["shape"]
    if "flat" in shape:
        return (int(shape["flat"]),)
    image = shape["image"]
    return int(image["channels"]), int(image["height"]), int(image["width"])


def map_to_json(given: FeatureMap | None) -> dict[str, Any] | None:
    """A feature map of this package by name and sizes; another one by its words."""
    return None if given is None else {**_made_of(given), "words": given.before_noise()}


def _made_of(given: FeatureMap) -> dict[str, Any]:
    """Name and sizes; of a composition the same of each of its maps. No sizes of what cannot be made from them."""
    name = type(given).__name__
    if type(given) is features.Composed:
        parts = [_made_of(one) for one in given.maps]
        return {
            "name": name,
            "sizes": None if any(part["sizes"] is None for part in parts) else {"maps": parts},
        }
    known = type(given) is getattr(features, name, None) and dataclasses.is_dataclass(given)
    return {"name": name, "sizes": dataclasses.asdict(given) if known else None}  # type: ignore[call-overload]


def _remade(facts: dict[str, Any]) -> FeatureMap:
    name, sizes = facts["name"], facts["sizes"]
    kind = getattr(features, name) if name in features.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, FeatureMap)) or sizes is None:
        raise parameter_error("features", "a map of certssb.features by its sizes", repr(name))
    if kind is features.Composed:
        sizes = {"maps": tuple(map(_remade, sizes["maps"]))}
    made: FeatureMap = kind(**sizes)
    return made


def map_from_json(facts: dict[str, Any] | None, given: FeatureMap | None) -> FeatureMap | None:
    """The map, or the user's own, which must say the same of itself."""
    if facts is None:
        if given is not None:
            raise parameter_error("features", "left out: the members were trained without a map", repr(given))
        return None
    if given is None and facts["sizes"] is not None and facts["name"] in features.__all__:
        try:
            given = _remade(facts)
        except (CertssbError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"The saved feature map '{facts['name']}' cannot be made: {error}"
            ) from error
    if not isinstance(given, FeatureMap) or given.before_noise() != facts["words"]:
        raise parameter_error("features", f"the map of the saved ensemble ({facts['words']})", repr(given))
    return given
