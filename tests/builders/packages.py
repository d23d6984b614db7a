"""Plug-ins in packages of their own, as pip installs them: each a module and its metadata."""

import textwrap
from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, modules: Mapping[str, str]) -> None:
    """Write `NAME_plug_in.py`, whose `Loader` is the loader NAME, for each text by its name."""
    for name, text in modules.items():
        (folder / f"{name}_plug_in.py").write_text(textwrap.dedent(text))
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        entry = f"[fastbench.loaders]\n{name} = {name}_plug_in:Loader\n"
        (info / "entry_points.txt").write_text(entry)
