"""Families in files: our own JSON, and the files of the public code of Physics of Language Models."""

import json
import os
from pathlib import Path
from typing import Any

from toolkit.core.errors import argument_error, reject, require
from toolkit.core.files import atomic_write
from toolkit.grammars.families import GrammarFamily, LevelledGrammar

_FORMAT = "levelled grammar family"
_TOKENS_ELSEWHERE = ("content_depth", "multi_vocab", "double_data_layer", "rand_flip")
"""Settings of that code under which documents are not what the rules say."""


def to_json(family: GrammarFamily, path: str | Path | None = None) -> str:
    """Write a whole family, probabilities and names included, as JSON.

    Args:
        family: to be written.
        path: a file to write it to as well; whole or not at all.

    Returns:
        The text.

    Raises:
        toolkit.core.errors.WriteError: the file cannot be written.
    """
    kept = {
        "format": _FORMAT,
        "name": family.name,
        "sizes": family.sizes,
        "terminals": family.terminals,
        "rules": family.rules,
        "probs": family.probs,
        "choice_probs": family.choice_probs,
    }
    text = json.dumps(kept, ensure_ascii=False)
    if path is not None:
        with atomic_write(path) as file:
            file.write(text.encode())
    return text


def from_json(source: str | Path | dict[str, Any]) -> GrammarFamily:
    """Read a family that :func:`to_json` wrote.

    Args:
        source: the text, the file, or what it holds.

    Returns:
        The family, a :class:`LevelledGrammar` where no level has several sets of rules.

    Raises:
        TypeError: the source is none of these.
        ValueError: not such a file, or rules that are no family.
        OSError: the file cannot be read.
    """
    held = _held("from_json", "source", source)
    require(held.get("format") == _FORMAT, "from_json", "source", f"the format {_FORMAT!r}", held.get("format"))
    try:
        rules = held["rules"]
        kind = LevelledGrammar if all(len(level) == 1 for level in rules) else GrammarFamily
        return kind(
            held["sizes"],
            rules,
            held.get("probs"),
            held.get("choice_probs"),
            terminals=held.get("terminals"),
            name=str(held.get("name", "")),
        )
    except (KeyError, TypeError) as error:
        raise argument_error("from_json", "source", "sizes and rules", repr(error)) from error


def from_physicslm4_json(path: str | Path | dict[str, Any], *, name: str = "") -> LevelledGrammar:
    """Read a grammar of the public code of Physics of Language Models (facebookresearch/PhysicsLM4, ``Lano-cfg``).

    Its terminals are numbered from 1, and so are their names here; alternatives are equally likely.

    Args:
        path: the file, the text in it, or what it holds.
        name: for captions; default: the file's name.

    Raises:
        TypeError: the path is none of these.
        ValueError: not such a file, or one in which documents are more than the rules say.
        OSError: the file cannot be read.
    """
    operation = "from_physicslm4_json"
    held = _held(operation, "path", path)
    for setting in _TOKENS_ELSEWHERE:
        require(held.get(setting) is None, operation, "path", f"no setting {setting!r}", held.get(setting))
    try:
        depth, sizes, nodes = int(held["depth"]), [int(size) for size in held["sizes"]], held["all"]
        rules = [[[node["children"] for node in level]] for level in nodes[:depth]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise argument_error(
            operation, "path", "depth, sizes and all: a list of symbols a level", repr(error)
        ) from error
    require(len(sizes) == depth + 1, operation, "path", f"{depth + 1} sizes", sizes)
    stem = "" if isinstance(path, dict) or (isinstance(path, str) and _is_text(path)) else Path(path).stem
    terminals = [str(number + 1) for number in range(sizes[-1])]
    try:
        return LevelledGrammar(sizes, rules, terminals=terminals, name=name or stem)
    except TypeError as error:
        raise argument_error(operation, "path", "lists of children for every symbol", repr(error)) from error


def _held(operation: str, argument: str, source: str | Path | dict[str, Any]) -> dict[str, Any]:
    if not isinstance(source, str | os.PathLike | dict):
        reject(operation, argument, "a file, its text or what it holds", type(source).__name__, kind=TypeError)
    if not isinstance(source, dict):
        text = source if isinstance(source, str) and _is_text(source) else Path(source).read_text(encoding="utf-8")
        try:
            source = json.loads(text)
        except ValueError as error:
            raise argument_error(operation, argument, "JSON", str(error)) from error
    if not isinstance(source, dict):
        reject(operation, argument, "a JSON object", type(source).__name__)
    return source


def _is_text(source: str) -> bool:
    return source.lstrip().startswith("{")
