"""`fastbench engines`: the list, on 80 columns and wider."""

from __future__ import annotations

import pytest
from builders.plug_ins import ENGINES, PlugIn
from rich.console import Console

from fastbench.cli.engines import render_list
from fastbench.cli.main import main
from fastbench.core import ask
from fastbench.core.engine_facts import BUILT_IN
from fastbench.engines import registry
from fastbench.engines.registry import Listed


def lines_of(renderable: object, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits(width: int) -> None:
    listed = [
        *(
            Listed(
                name=name,
                summary=entry.summary,
                formats=entry.formats,
                quantizes=entry.quantizes,
                options=entry.options,
                why_not="torch_tensorrt is not installed" if entry.needs_gpu else None,
                lacks=('does not quantise: nncf is not installed; pip install "x"',),
            )
            for name, entry in BUILT_IN.items()
        ),
        Listed(name="mine", summary="My own", origin="my_package:Mine, of my-package 1.0"),
    ]
    lines = lines_of(render_list(listed, is_asked=False), width)
    assert max(map(len, lines)) <= width
    heads = [line.split() for line in lines if line and line[0] not in " ─"]
    first = {head[0]: head[1] for head in heads}
    assert {name: first[name] for name in (*BUILT_IN, "mine")} == {
        **dict.fromkeys(BUILT_IN, "yes"), "tensorrt": "no", "mine": "?",
    }  # fmt: skip
    text = " ".join(" ".join(lines).split())
    assert "quantises to: int8 · files: OpenVINO IR, ONNX options: hint" in text
    assert 'here it does not quantise: nncf is not installed; pip install "x"' in text
    assert "not here: torch_tensorrt is not installed" in text
    assert "plug-in: my_package:Mine, of my-package 1.0" in text
    assert "fastbench engines --check" in text
    assert "--check" not in " ".join(lines_of(render_list(listed, is_asked=True), width))


def test_the_command(plug_in: PlugIn, capsys: pytest.CaptureFixture[str]) -> None:
    plug_in("mine", ImportError("imported after all"), ENGINES)
    assert main(["engines"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "eager yes PyTorch, operation by operation" in text
    assert "mine ? plug-in: tests:mine, of tests 1.0" in text
    assert "imported after all" not in text


def test_with_check_each_is_asked(
    plug_in: PlugIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in("mine", ImportError("cannot import name 'x'"), ENGINES)
    asked: list[str] = []

    def here(names: list[str], describe: object, unheard: object, limit_s: float) -> object:
        assert (describe, unheard) == (registry.describe, registry.unheard)
        asked.extend(names)
        return [registry.glance("eager"), registry.describe("mine")]

    monkeypatch.setattr(ask, "ask", here)
    assert main(["engines", "--check"]) == 0
    assert asked == [*BUILT_IN, "mine"]
    text = " ".join(capsys.readouterr().out.split())
    assert "mine no plug-in: tests:mine" in text
    assert "not here: ImportError: cannot import name 'x'" in text
