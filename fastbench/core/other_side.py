"""The second side of `--ab`: a configuration that differs in the options of `--ab` alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastbench.core.config import NOT_COMPARED, OPTIONS, RunConfig
from fastbench.core.errors import UsageError, did_you_mean
from fastbench.core.options import field_of, flag, parse_loader_option
from fastbench.core.preprocess_option import merged


def other_side(config: RunConfig) -> RunConfig:
    """The second configuration of `--ab`.

    Raises `UsageError` for an option or a value that cannot be.
    """
    texts: dict[str, list[str]] = {}
    for text in config.ab:
        name, equals, written = text.partition("=")
        field = field_of(name)
        if field == "ranks":
            raise UsageError(
                f"--ab is {text!r}, and each of its sides is one rank. Give a row for each "
                f"number: --ranks 1 --ranks 2."
            )
        if field in NOT_COMPARED:
            raise UsageError(
                f"--ab is {text!r}, and its windows do not depend on that. "
                f"Give an option of the pipeline, such as compile=true."
            )
        if not equals or field not in OPTIONS:
            known = [] if field in OPTIONS else [key for key in OPTIONS if key not in NOT_COMPARED]
            raise UsageError(
                f"--ab is {text!r}. Write OPTION=VALUE with an option that B has otherwise, "
                f"such as compile=true.{did_you_mean(field, known)}"
            )
        texts.setdefault(field, []).append(written)
    try:
        changes: dict[str, Any] = {}
        for field, its_texts in texts.items():
            values = OPTIONS[field].read(its_texts, several=True, is_text=True)
            if len(values) > 1 and not OPTIONS[field].is_tuple:
                raise UsageError(f"{flag(field)} has {len(values)} values. Give it one.")
            changes[field] = values if OPTIONS[field].is_tuple else values[0]
        if "preprocess" in changes:  # the fields that it does not set hold for B too
            changes["preprocess"] = merged(config.preprocess, changes["preprocess"])
        other = dataclasses.replace(config, **{**changes, "loader_option": ()}, ab=())
        # Options of a loader hold for B too, unless --ab sets them.
        settings: dict[tuple[str, str], str] = {}
        for text in (*config.loader_option, *changes.get("loader_option", ())):
            loader, (name, _) = parse_loader_option(text)
            if loader in other.loaders or text not in config.loader_option:
                settings[loader, name] = text
        return dataclasses.replace(other, loader_option=tuple(settings.values()))
    except UsageError as error:
        raise UsageError(f"--ab, the second side: {error}") from error
