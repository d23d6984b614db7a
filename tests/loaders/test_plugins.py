"""Plug-ins as their users and authors meet them: listed, checked, run by name, and failing."""

import json
import math
import operator
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.broken_loaders import Right, broken, swap
from builders.command_line import main_here
from builders.loaders import spec_of
from builders.paths import TESTS
from builders.plug_ins import PlugIn
from rich.console import Console

from fastbench.cli.loaders_screen import render_finding, render_list, render_verdict
from fastbench.cli.main import main
from fastbench.core.errors import (
    LoaderError,
    LoaderMissingError,
    UnknownNameError,
    UsageError,
)
from fastbench.core.loader_facts import BUILT_IN
from fastbench.data.dataset import scan
from fastbench.loaders import ask, registry
from fastbench.loaders.base import IMAGENET, Batch, FactoryTraits, LoaderSpec, LoaderTraits
from fastbench.loaders.contract import process
from fastbench.loaders.contract.finding import RuleFinding
from fastbench.loaders.contract.process import Request, try_rules
from fastbench.loaders.guard import CheckedLoader
from fastbench.loaders.registry import Listed, resolve, why_not
from fastbench.measure.durations import Durations

pytestmark = pytest.mark.usefixtures("server")
EXAMPLE = TESTS / "example_plugin"


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
                decoder=entry.decoder,
                device=entry.device,
                options=entry.options,
                num_cores=entry.num_cores,
                on_demand=entry.on_demand,
                why_not='No module named x; pip install "fastbench[x]"' if entry.extra else None,
            )
            for name, entry in BUILT_IN.items()
        ),
        Listed(name="mine", summary="My own", origin="my_package:MyLoader, of my-package 1.0"),
    ]
    lines = lines_of(render_list(listed, is_asked=True), width)
    assert max(map(len, lines)) <= width
    first = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert [name for name in first if name in {x.name for x in listed}] == [x.name for x in listed]
    text = " ".join(" ".join(lines).split())
    assert "decoder: libjpeg-turbo in OpenCV · threads scale to about: " in text
    assert text.count("requests: yes") == sum(entry.on_demand for entry in BUILT_IN.values()) > 0
    assert 'pip install "fastbench[x]"' in text
    assert "plug-in: my_package:MyLoader, of my-package 1.0" in text
    assert "fastbench loaders check NAME" in text


def test_a_finding_and_a_verdict_fit_80_columns() -> None:
    text = "sample 3 is another image with prefetch=0: 63.75 levels off"
    finding = RuleFinding(rule="every sample once, in order", outcome="FAIL", text=text)
    lines = lines_of(render_finding(finding), 80)
    assert len(lines) == 2
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("FAIL     every sample once, in order  sample 3 is")
    told = RuleFinding(rule="parity", outcome="told", text="exact")
    (verdict,) = lines_of(render_verdict("mine", [finding, told], 2), 80)
    assert verdict == "mine breaks the contract: 1 FAIL, 0 ok, 1 told, in 2.00 s."
    (verdict,) = lines_of(render_verdict("mine", [told], 2), 80)
    assert verdict == "mine keeps the contract: 0 ok, 1 told, in 2.00 s."


class Documented(Right):
    """Reads with care.

    And more.
    """

    decoder = "of my own"
    device = "CPU"
    options = ("care",)

    @staticmethod
    def on_demand(spec: object, in_memory: object) -> None: ...


class Elsewhere(Right):
    @staticmethod
    def why_not() -> str | None:
        return "it needs a quantum computer"


def test_plug_ins_are_listed(plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "ask", lambda names: map(registry.describe, names))
    plug_in("mine", Documented)
    plug_in("elsewhere", Elsewhere)
    plug_in("broken", ImportError("cannot import name 'x'"))
    plug_in("dali", Right)
    by_origin = {listed.origin: listed for listed in ask.listing() if listed.origin}
    assert by_origin["tests:mine, of tests 1.0"] == Listed(
        name="mine",
        summary="Reads with care",
        decoder="of my own",
        device="CPU",
        options=("care",),
        on_demand=True,
        origin="tests:mine, of tests 1.0",
    )
    reasons = {listed.name: listed.why_not for listed in by_origin.values()}
    assert reasons["elsewhere"] == "it needs a quantum computer"
    assert reasons["broken"] == "ImportError: cannot import name 'x'"
    assert reasons["dali"] is not None
    assert "a built-in loader has this name" in reasons["dali"]
    assert [listed.name for listed in ask.listing()].count("dali") == 2


def test_a_loader_need_say_nothing_of_itself() -> None:
    says = FactoryTraits.of(type("Silent", (), {"device": property(lambda self: "cpu")}))
    assert (says.decoder, says.device, says.options, says.why_not()) == (None, None, (), None)
    assert says.search_space(None) == {}  # type: ignore[arg-type]
    assert FactoryTraits.of(Documented).options == ("care",)
    opened = type("Opened", (), {"settings": {}})()
    assert LoaderTraits.of(opened) == LoaderTraits(repeatable=True, num_workers=1)
    opened.repeatable, opened.settings = False, {"num_workers": 3}
    assert LoaderTraits.of(opened) == LoaderTraits(repeatable=False, num_workers=3)


@pytest.mark.parametrize(
    ("name", "package"), [("dali", "nvidia.dali"), ("opencv", "cv2"), ("spdl", "spdl.io")]
)
def test_a_built_in_has_the_options_that_are_declared(name: str, package: str) -> None:
    pytest.importorskip(package)
    spec = LoaderSpec(
        paths=["a"], batch_size=1, preprocess=IMAGENET, device="cpu", dtype="float32",
        num_threads=1, options={"filtre": "x"},
    )  # fmt: skip
    declared = ", ".join(BUILT_IN[name].options)
    with pytest.raises(UsageError, match=rf"It has: {declared}\.$"):
        resolve(name)(spec)


def test_a_built_in_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastbench.loaders.builtin.timm", None)
    with pytest.raises(
        LoaderMissingError,
        match=r"'timm' cannot run here: .*timm.*\. Install it with pip install \"fastbench\[timm\]",
    ):
        resolve("timm")
    reason = why_not("timm")
    assert reason is not None
    assert reason.endswith('; pip install "fastbench[timm]"')


@pytest.mark.parametrize("name", ["dali-cpu", "torchvision-gpu"])
def test_a_loader_for_a_gpu_says_that_there_is_none(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    reason = why_not(name)
    assert reason is not None
    assert reason.startswith("it needs an NVIDIA GPU, and torch")


def test_a_probe_that_fails_is_a_reason() -> None:
    def fail() -> None:
        raise OSError("no driver")

    factory = type("Probed", (Right,), {"why_not": staticmethod(fail)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_load", lambda name: factory)
        assert why_not("mine") == "its why_not() raised OSError: no driver"


def test_a_plug_in_that_does_not_import(plug_in: PlugIn) -> None:
    plug_in("mine", AttributeError("module 'torch' has no attribute 'xyz'"))
    with pytest.raises(
        LoaderMissingError,
        match=r"'mine' \(tests:mine, of tests 1\.0\) failed to import: AttributeError: module",
    ):
        resolve("mine")


@pytest.fixture
def run(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """`fastbench run` with a plug-in and `synthetic`: the exit code, and the complaints."""

    def run_(name: str, *argv: str) -> tuple[int, list[str]]:
        if "--no-quick" not in argv:
            argv = ("--quick", *argv)
        code = main_here(
            ["run", "--data", str(images), "--model", "shufflenet_v2_x0_5", "--weights", "none",
             "--device", "cpu", "--batch-size", "8", "--reference", "none", "--loader",
             name, "--loader", "synthetic", "--output", str(tmp_path / "records"), *argv]
        )  # fmt: skip
        said = capsys.readouterr().err
        assert "Traceback" not in said
        complaints = [line for line in said.splitlines() if line.startswith("fastbench: ")]
        names = {path.stem.split("-")[1] for path in (tmp_path / "records").glob("*.json")}
        assert sorted(names) == (["synthetic"] if complaints else [name, "synthetic"]), said
        return code, complaints

    return run_


def fail_late(self: Right, ids: list[int]) -> Batch:
    if 8 in ids:
        raise KeyError("what?")
    return Right.batch(self, ids)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda: None, "a factory takes one LoaderSpec, and this one takes ()"),
        (broken(order=lambda self: swap(Right.order(self))), "out of order"),
        (broken(batch=fail_late), "failed in mid-epoch: KeyError: 'what?' (broken_loaders.py:"),
        (
            broken(close=lambda self: [][1]),
            "failed while it was closed: IndexError: list index out of range",
        ),
    ],
)
def test_a_run_loses_one_row_to_a_faulty_plug_in(
    factory: Any, said: str, plug_in: PlugIn, run: Callable[..., tuple[int, list[str]]]
) -> None:
    plug_in("mine", factory)
    code, complaints = run("mine")
    assert code == 1
    (complaint,) = complaints
    assert complaint.startswith(
        "fastbench: shufflenet_v2_x0_5 · mine: The plug-in loader 'mine' (tests:mine, of tests 1.0)"
    )
    assert said in complaint


class Searched(Right):
    """Faster with more threads, or so it says."""

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[int, ...]]:
        return {"num_threads": (spec.num_threads, 2 * spec.num_threads)}


@pytest.fixture
def searched(plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in `mine`, whose settings are searched for; its run is as short as a quick one."""
    plug_in("mine", Searched)
    quick = Durations.make(min_seconds=0, num_windows=1, quick=True)
    monkeypatch.setattr(Durations, "make", lambda **_: quick)


@pytest.mark.parametrize("given", ["--num-threads=3", "--loader-option=mine.num_threads=3"])
def test_threads_that_were_given_are_not_searched_for(
    given: str,
    searched: None,
    run: Callable[..., tuple[int, list[str]]],
    tmp_path: Path,
) -> None:
    run("mine", "--no-quick", given)
    (path,) = (tmp_path / "records").glob("*-mine-*.json")
    record = json.loads(path.read_text())
    assert (record["num_threads"], record["tuning"]) == (3, [])


def test_rows_of_a_folder_share_what_was_found(
    searched: None,
    run: Callable[..., tuple[int, list[str]]],
    tmp_path: Path,
) -> None:
    sizes = ["--batch-size", "4", "--batch-size", "8"]
    run("mine", "--no-quick", "--passes", "end-to-end", *sizes)
    stored = [json.loads(x.read_text()) for x in (tmp_path / "records").glob("*-mine-*.json")]
    a, b = sorted(stored, key=operator.itemgetter("batch_size"))
    assert (a["batch_size"], b["batch_size"]) == (4, 8)
    assert len(a["tuning"]) == 2
    assert (a["tuning"], a["tuning_s"]) == (b["tuning"], b["tuning_s"])
    assert a["num_threads"] == b["num_threads"]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["daly"], 2, "no loader 'daly'. Did you mean 'dali'?"),
        (["dali", "--batch-size", "40"], 2, "--batch-size is 40, and the check has 53 images"),
        (["dali", "--batch-size", "0"], 2, "--batch-size is 0"),
        (["dali", "--device", "tpu"], 2, "--device is 'tpu'"),
        (["dali", "--loader-option", "dali.x=1"], 2, "'dali' has no option 'x'"),
        (["dali", "--loader-option", "spdl.x=1"], 2, "which is not run"),
        ([], 2, "required: NAME"),
    ],
)
def test_what_the_command_line_gets_wrong(
    argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["loaders", "check", *argv]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


BAD_PLUG_INS = """
import os, signal, time
from fastbench.core.errors import LoaderMissingError
from builders.broken_loaders import Right, swap


class Hanging(Right):
    def close(self):
        print("about to hang")
        time.sleep(3600)


class Crashing(Right):
    def __iter__(self):
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class Swapping(Right):
    def order(self):
        return swap(super().order())


class NoLicence(LoaderMissingError):
    pass


class Licensed(Right):
    def __init__(self, spec):
        raise NoLicence("It needs a licence.")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with the plug-ins of `BAD_PLUG_INS`, on the path of this process."""
    (tmp_path / "bad_plug_ins.py").write_text(BAD_PLUG_INS)
    info = tmp_path / "bad_plug_ins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plug-ins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fastbench.loaders]\n"
        "hanging = bad_plug_ins:Hanging\n"
        "crashing = bad_plug_ins:Crashing\n"
        "swapping = bad_plug_ins:Swapping\n"
        "gone = bad_plug_ins:Gone\n"
        "licensed = bad_plug_ins:Licensed\n"
    )
    monkeypatch.syspath_prepend(str(TESTS))  # test_contract, for the plug-ins
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def tried(small: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Iterator[RuleFinding]]:
    """The findings of a plug-in, on five small files, by an impatient process."""
    monkeypatch.setattr(process, "MOST_PROCESSES", 1)

    def try_(name: str) -> Iterator[RuleFinding]:
        request = Request(
            name=name, device="cpu", batch_size=2, num_threads=1, options={}, folder=str(small)
        )
        return try_rules(request, patience=0.1)

    return try_


def test_a_loader_that_hangs_is_ended(
    installed: Path, tried: Callable[[str], Iterator[RuleFinding]]
) -> None:
    *good, hanging, rest = tried("hanging")
    assert {finding.outcome for finding in good} == {"ok"}
    assert (hanging.rule, hanging.outcome) == ("close()", "FAIL")
    assert hanging.text == "not done after 3 s; its process was ended"
    assert (rest.rule, rest.outcome) == ("the other rules", "skipped")


def test_a_loader_that_crashes_is_survived(
    installed: Path, tried: Callable[[str], Iterator[RuleFinding]]
) -> None:
    opens, crashing, rest = tried("crashing")
    assert opens.outcome == "ok"
    assert (crashing.rule, crashing.outcome) == ("yields Batch objects", "FAIL")
    assert (
        crashing.text
        == "the process was killed by SIGSEGV; the last that it printed: about to crash"
    )
    assert rest.text == 'nothing can be told while "yields Batch objects" fails'


def test_a_loader_that_fails_at_the_command_line(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["loaders", "check", "swapping", "--device", "cpu", "--batch-size", "7"]
    assert main(argv) == 1
    head, opens, *lines, verdict = capsys.readouterr().out.splitlines()
    assert head == "swapping held to the contract, on 53 images in batches of 7"
    assert re.fullmatch(r"ok +opens +in [\d.]+ s; does not read the images", opens)
    failed = [line.rstrip() for line in lines if line.startswith("FAIL")]
    assert failed == ["FAIL     every sample once, in order  epoch 1 has sample 3 at place 2"]
    assert re.fullmatch(
        r"swapping breaks the contract: 1 FAIL, 22 ok, 5 skipped, in [\d.]+ s\.", verdict
    )


def test_what_keeps_a_loader_from_being_tried(
    installed: Path, tried: Callable[[str], Iterator[RuleFinding]]
) -> None:
    with pytest.raises(LoaderMissingError, match=r"'gone' \(bad_plug_ins:Gone, of bad-plug-ins 1"):
        list(tried("gone"))
    with pytest.raises(LoaderMissingError, match="It needs a licence"):  # by a class of its own
        list(tried("licensed"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example plug-in as `pip install` unpacks it."""
    root = tmp_path_factory.mktemp("example")
    copy = shutil.copytree(
        EXAMPLE, root / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pyc*")
    )
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, root], check=True, cwd=copy, capture_output=True)
    (built,) = root.glob("*.whl")
    shutil.unpack_archive(built, root / "site", "zip")
    return root / "site"


@pytest.fixture
def example(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(wheel)


def test_the_example_is_listed(example: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loaders", "--check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "pil-threads yes PIL in a pool of threads, an example of a plug-in device: CPU" in text
    assert "plug-in: fastbench_example.loader:PilThreads, of fastbench-example 1.0" in text
    assert main(["engines", "--check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "exported yes The program of torch.export, an example of a plug-in options: dec" in text
    assert "plug-in: fastbench_example.engine:Exported, of fastbench-example 1.0" in text


def test_the_example_keeps_the_contract(
    example: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastbench.cli.loaders.NUM_IMAGES", 19)
    assert main(["loaders", "check", "pil-threads", "--batch-size", "4"]) == 0
    out = capsys.readouterr().out
    assert "skipped" not in out
    assert re.search(r"told +parity +exact: max 0\.\d\d", out)
    assert "pil-threads keeps the contract: 27 ok, 1 told" in out


def test_the_example_runs_by_name(
    example: None, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a process of its own, which finds the plug-in by itself."""
    code = main(
        ["run", "--data", str(images / "n02123045"), "--model", "example-convnet", "--loader",
         "pil-threads", "--limit", "11", "--quick", "--batch-size", "8", "--device", "cpu",
         "--reference", "none", "--engine", "exported", "--output", str(tmp_path / "records")]
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "pil-threads" in shown.out
    (path,) = (tmp_path / "records").glob("*.json")
    record = json.loads(path.read_text())
    assert (record["loader"], record["model"]) == ("pil-threads", "example-convnet")
    assert record["engine"]["name"] == "exported"
    assert record["loader_settings"]["draft"] is False


def test_an_unknown_loader_may_be_a_plug_in(plug_in: PlugIn) -> None:
    plug_in("mine", Right)
    with pytest.raises(UnknownNameError, match=r"no loader 'mime'\. Did you mean 'mine'"):
        resolve("mime")
    assert resolve("mine") is Right


OWN = """
from builders.broken_loaders import Right


class Mine(Right):
    \"\"\"Written a moment ago\"\"\"
"""


def test_a_factory_of_a_module_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_loader_of_a_test.py").write_text(OWN)
    name = "own_loader_of_a_test:Mine"
    assert resolve(name).__name__ == "Mine"
    listed = registry.describe(name)
    assert (listed.summary, listed.why_not) == ("Written a moment ago", None)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nowhere_at_all:Mine", UnknownNameError, "no module 'nowhere_at_all', for the loader"),
        ("json:", UnknownNameError, r"Write a factory as package\.module:Factory"),
        ("json:Nothing", LoaderMissingError, "has no attribute 'Nothing'.*Mend its module"),
    ],
)
def test_a_factory_that_is_not_there(
    name: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(error, match=said):
        resolve(name)


@pytest.mark.parametrize("value", [math.nan, math.inf, "x" * 201, 10**300, {1}, [[]]], ids=range(6))
def test_settings_that_no_record_can_hold_are_refused_before_measuring(
    value: object, images: Path, plug_in: PlugIn
) -> None:
    class Odd(Right):
        def __init__(self, spec: LoaderSpec) -> None:
            super().__init__(spec)
            self.settings = {"held": value}

    plug_in("odd", Odd)
    with pytest.raises(LoaderError, match="no record can hold its settings, of which 'held' is"):
        CheckedLoader("odd", resolve("odd"), spec_of(scan(images)))
