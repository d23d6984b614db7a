"""fastbench: how fast does this machine turn JPEGs into predictions, and are they still right?

`run` measures, and `loadtest` does under load; `read_records` reads what was measured, `compare`
holds two against each other. Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbench.api import compare, loadtest, read_records, run
    from fastbench.core.errors import FastbenchError
    from fastbench.report.collection import Records

    __version__: str

__all__ = ["FastbenchError", "Records", "__version__", "compare", "loadtest", "read_records", "run"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        found: Any = importlib.import_module("importlib.metadata").version("fastbench")
    elif name == "FastbenchError":
        found = importlib.import_module("fastbench.core.errors").FastbenchError
    elif name in __all__:
        found = getattr(importlib.import_module("fastbench.api"), name)
    else:
        raise AttributeError(f"module 'fastbench' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
