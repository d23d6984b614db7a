"""Engines by name: what is listed of each, what is missing, and plug-ins."""

from __future__ import annotations

import pytest
from builders.not_installed import EVERY, hide
from builders.plug_ins import ENGINES, PlugIn

from fastbench.core.engine_facts import BUILT_IN
from fastbench.core.errors import EngineMissingError, UnknownNameError, UsageError
from fastbench.engines import registry
from fastbench.engines.base import EngineSpec, Run


class Mine:
    """Runs it my way.

    And more.
    """

    options = ("speed",)

    def __init__(self, spec: EngineSpec) -> None:
        raise AssertionError("it is not made here")


def mine(spec: EngineSpec) -> Run:
    raise AssertionError("it is not made here")


def test_every_engine_is_listed_and_none_imported(plug_in: PlugIn) -> None:
    plug_in("mine", ImportError("imported after all"), ENGINES)
    listed = {each.name: each for each in registry.listing()}
    assert [*listed] == [*BUILT_IN, "mine"]
    assert listed["mine"].origin == "tests:mine, of tests 1.0"
    assert listed["onnxruntime"].formats == ("ONNX",)
    assert listed["compile"].quantizes == ("int8", "fp8")
    assert listed["openvino"].options == ("hint", "device")


@pytest.mark.parametrize(
    ("module", "engine", "why_not", "lacks"),
    [
        ("onnxruntime", "onnxruntime", 'onnxruntime is not installed; pip install "fastbench[onnxr'
         'untime]"', ()),
        ("onnxscript", "onnxruntime", None, ('takes files alone: onnxscript is not installed; pip '
         'install "fastbench[onnxruntime]"',)),
        ("onnx", "onnxruntime", None, ('takes files alone: onnx is not installed; pip install "fas'
         'tbench[onnxruntime]"', 'does not quantise: onnx is not installed; pip install "fastbench'
         '[onnxruntime]"')),
        ("openvino", "openvino", 'openvino is not installed; pip install "fastbench[openvino]"',
         ()),
        ("nncf", "openvino", None, ('does not quantise: nncf is not installed; pip install "fastben'
         'ch[openvino]"',)),
        ("torchao", "compile", None, ('does not quantise: torchao is not installed; pip install "fa'
         'stbench[torchao]"',)),
        ("torch_tensorrt", "tensorrt", "torch_tensorrt is not installed; pip install torch-tensorrt"
         ", in the version that is made for this torch", ()),
    ],
)  # fmt: skip
def test_what_is_missing_and_what_installs_it(
    module: str,
    engine: str,
    why_not: str | None,
    lacks: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "gpu_names", lambda: ["NVIDIA H200"])
    hide(monkeypatch, module)
    listed = registry.glance(engine)
    assert (listed.why_not, listed.lacks) == (why_not, lacks)
    for other in {*BUILT_IN} - {engine}:
        assert registry.glance(other).why_not is None
        assert registry.glance(other).lacks == ()


def test_without_any_extra_torchs_own_engines_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, *EVERY)
    runs = {name for name in BUILT_IN if registry.glance(name).why_not is None}
    assert runs == {"eager", "compile", "aot"}
    with pytest.raises(
        EngineMissingError,
        match=r"The engine 'openvino' cannot run here: openvino is not installed; "
        r'pip install "fastbench\[openvino\]"\.',
    ):
        registry.resolve("openvino")


def test_an_engine_of_a_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)
    monkeypatch.setattr(registry, "gpu_names", list)
    without = {name for name in BUILT_IN if registry.glance(name).why_not is not None}
    assert without == {"tensorrt"}
    assert registry.glance("tensorrt").why_not == (
        "it needs an NVIDIA GPU, and NVIDIA's driver shows none"
    )


def test_an_installed_package_that_fails_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str, package: str | None = None) -> object:
        if name == "openvino":
            raise ImportError("libopenvino.so: cannot open shared object file")
        return real(name, package)

    real = registry.importlib.import_module
    hide(monkeypatch)
    monkeypatch.setattr(registry.importlib, "import_module", import_module)
    assert registry.glance("openvino").why_not is None
    assert registry.describe("openvino").why_not == (
        "ImportError: libopenvino.so: cannot open shared object file"
    )
    assert registry.describe("eager").why_not is None


def test_plug_ins_say_what_they_are(plug_in: PlugIn) -> None:
    plug_in("mine", Mine, ENGINES)
    plug_in("silent", mine, ENGINES)
    plug_in("broken", ImportError("cannot import name 'x'"), ENGINES)
    plug_in("eager", Mine, ENGINES)
    told = registry.describe("mine")
    assert (told.summary, told.options, told.why_not) == ("Runs it my way", ("speed",), None)
    assert registry.describe("silent").summary == ""
    assert registry.describe("broken").why_not == "ImportError: cannot import name 'x'"
    (hidden,) = registry.hidden()
    assert hidden.name == "eager"
    assert "a built-in engine has this name" in str(hidden.why_not)
    assert registry.resolve("mine") is Mine
    assert registry.resolve("eager") is not Mine
    with pytest.raises(
        EngineMissingError,
        match=r"The plug-in engine 'broken' \(tests:broken, of tests 1\.0\) failed to import: "
        r"ImportError: cannot import name 'x'\. Mend or uninstall its package\.",
    ):
        registry.resolve("broken")


def test_names_and_options_that_nobody_has(plug_in: PlugIn) -> None:
    plug_in("mine", Mine, ENGINES)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'onnxruntime'\? .*tensorrt, mine\."):
        registry.check_name("onxruntime")
    registry.check_name("auto")
    with pytest.raises(UsageError, match=r"no option 'hit'\. Did you mean 'hint'\? It has: hint"):
        registry.check_options("openvino", {"hit": 1})
    with pytest.raises(UsageError, match=r"'aot' has no option 'hint'\. It has: none"):
        registry.check_options("aot", {"hint": 1})
    registry.check_options("mine", {"anything": 1})  # it checks its own when it is made
