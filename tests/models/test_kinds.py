"""Models of every kind but torchvision's: callables, plug-ins, and runs of them and of files."""

import dataclasses
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from builders.classifiers import make_classifier
from builders.command_line import main_here
from builders.models import EAGER, STATED, noise, said, write_export, write_script
from safetensors.torch import save_file

from fastbench.cli.main import main
from fastbench.core.errors import FastbenchError, ModelError, UnknownNameError
from fastbench.loaders.base import Preprocess
from fastbench.models import registry
from fastbench.models.base import LoadedModel, Model, class_space, keep_outputs
from fastbench.models.cost import Cost, count_cost
from fastbench.models.registry import check_name, load_model
from fastbench.records.engine import Engine
from fastbench.records.facts import FACTS
from fastbench.records.store import read_record

NETS = """
import torch
from fastbench.loaders.base import Preprocess
from fastbench.models.base import Model

class Net(torch.nn.Module):
    def __init__(self, num_classes=3, out=lambda logits: logits):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=4)
        self.head = torch.nn.Linear(4, num_classes)
        self.out = out

    def forward(self, x):
        return self.out(self.head(self.conv(x).relu().mean((2, 3))))

PREPROCESS = Preprocess(
    resize=64, crop=48, interpolation="bicubic", antialias=True, mean=(0.5,) * 3, std=(0.2,) * 3
)

def small(): return Net()
def thousand(): return Net(1000)
def stated(): return Model(module=Net(), preprocess=PREPROCESS, classes=["a", "b", "c"])
class Session(torch.nn.Module):  # as one around ONNX Runtime: torch knows nothing of its weights
    def forward(self, x):
        return x.mean((2, 3))

def opaque(): return Session()
def int8():
    return Model(
        module=Session(), preprocess=PREPROCESS, engine="onnxruntime", number_format="int8",
        num_threads=2, num_parameters=25_000_000,
    )
def two_names(): return Model(module=Net(), classes=["a", "b"])
def needs_width(width, depth=3): return Net()
def fails(): raise ValueError("no weights here\\nmore")
def a_dict(): return {"model": Net()}
def a_type(): return Model(module=Net)
def a_tuple(): return Net(out=lambda logits: (logits, logits))
def named(): return Net(out=lambda logits: {"out": logits, "aux": logits})
def flat(): return Net(out=lambda logits: logits.argmax(1))
def one_row(): return Net(out=lambda logits: logits[:0])
def large_input(): return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 300), torch.nn.Flatten())

class FloatOnly(Net):
    def forward(self, x):
        return super().forward(x) @ torch.eye(3)

class Held(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()

    def forward(self, x):
        return self.model(x)

net = Net()
number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with the module `nets` in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith(("nets", "half")):
            del sys.modules[name]


# Callables


def test_a_callable(here: Path) -> None:
    check_name("nets:small")
    first, again, other = (load_model("nets:small", seed=seed) for seed in (1, 1, 2))
    assert first.classes == class_space(3, None)
    assert (first.preprocess.resize, first.preprocess.crop) == (256, 224)
    assert first.preprocess_source == ("none stated: the usual for ImageNet (resize 256, crop 224)")
    assert (first.weights, first.published) == ("its own", None)
    weights = [model.module.state_dict()["head.weight"] for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert load_model("nets:thousand").classes.is_imagenet
    assert load_model("nets:Net").classes.num_classes == 3  # a class is a callable


def test_a_callable_that_states_its_preprocessing(here: Path) -> None:
    model = load_model("nets:stated")
    assert model.classes.names == ("a", "b", "c")
    assert (model.preprocess.resize, model.preprocess.crop) == (64, 48)
    assert model.preprocess_source == "nets:stated"


def test_what_another_engine_runs_is_known_as_far_as_it_is_stated(here: Path) -> None:
    model = load_model("nets:int8")
    assert model.engine == Engine(name="onnxruntime", number_format="int8", num_threads=2)
    assert count_cost(model) == Cost(num_parameters=25_000_000)
    model = load_model("nets:opaque")
    assert model.engine == Engine()
    assert count_cost(model).num_parameters is None
    assert load_model("nets:small").engine is None
    assert load_model("nets:stated").engine is None


def test_a_run_of_another_engine(
    tmp_path: Path, here: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("nets:int8", "nets:opaque")
    passes = ("--passes", "end-to-end", "--reference", "none", "--loader", "torchvision")
    code, records = run(
        tmp_path, images, *passes, *(x for name in names for x in ("--model", name))
    )
    shown = capsys.readouterr().out
    assert code == 0
    of = {record.model: record for record in records}
    facts = ("engine", "dtype", "engine-threads")
    texts = {name: [FACTS[fact].text(of[name]) for fact in facts] for name in names}
    assert texts == {
        "nets:int8": ["onnxruntime", "int8", "2 engine threads"],
        "nets:opaque": ["", "", ""],
    }
    assert [of[name].num_parameters for name in names] == [25_000_000, None]
    assert (tmp_path / "records" / "nets_int8-torchvision-int8-onnxruntime.json").exists()
    assert "25 M parameters" in " ".join(shown.split())  # it may be broken between lines
    assert main(["report", str(tmp_path / "records"), "--columns", "model,engine,dtype,"
                 "parameters,engine-threads", "--format", "csv"]) == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    for cells in ("nets:int8,onnxruntime,int8,25000000,2", "nets:opaque,,,,"):
        assert any(line.startswith(f"{cells},ok,") for line in lines), lines
    # A record of an old version has them as torch's, with no parameters.
    old = msgspec.structs.replace(of["nets:opaque"], engine=None, num_parameters=0)
    assert [FACTS[fact].of(old) for fact in facts] == [None] * 3


def test_a_callable_with_a_checkpoint(here: Path) -> None:
    state = load_model("nets:small", seed=5).module.state_dict()
    save_file(state, here / "a.safetensors")
    model = load_model("nets:small", "a.safetensors")
    assert torch.equal(model.module.state_dict()["head.weight"], state["head.weight"])
    assert model.weights == "a.safetensors"
    save_file({"other": torch.zeros(3)}, here / "b.safetensors")
    text = said(load_model, "nets:small", "b.safetensors")
    assert "b.safetensors do not fit the model nets:small: tensors 4 missing" in text


@pytest.mark.parametrize("name", ["small", "stated"])
def test_a_checkpoint_that_states_its_preprocessing(here: Path, name: str) -> None:
    metadata = {"classes": '["x", "y", "z"]', "preprocess": json.dumps(STATED)}
    state = load_model(f"nets:{name}").module.state_dict()
    save_file(state, here / "a.safetensors", metadata)
    model = load_model(f"nets:{name}", "a.safetensors")
    assert (model.preprocess.resize, model.preprocess.mean) == (96, (0.4,) * 3)
    assert model.preprocess_source == "a.safetensors"
    assert model.classes.names == ("x", "y", "z")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_a_checkpoint_of_a_model_that_holds_another(here: Path, prefix: str) -> None:
    state = load_model("nets:Held", seed=5).module.state_dict()
    assert "model.head.weight" in state
    torch.save({prefix + key: value for key, value in state.items()}, here / "a.pth")
    loaded = load_model("nets:Held", "a.pth").module.state_dict()
    assert torch.equal(loaded["model.head.weight"], state["model.head.weight"])


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("nest:small", UnknownNameError, "no module 'nest', for the model nest:small. Did"),
        ("nets.py:small", UnknownNameError, "no module 'nets.py', for the model nets.py:small. D"),
        ("tim:resnet18", UnknownNameError, "Did you mean 'timm:resnet18'"),
        ("nets:smal", UnknownNameError, "The module nets has no 'smal'. Did you mean 'small'"),
        ("nets:", UnknownNameError, "Write a callable as package.module:callable."),
        ("nets:number", ModelError, "nets:number is a value of type int, which cannot be called."),
        ("nets:net", ModelError, "nets:net is a model, and"),
        ("nets:needs_width", ModelError, "The callable nets:needs_width needs arguments (width)"),
        ("./nets.py:small", UnknownNameError, "such as nets:small in the folder of that file."),
        ("nets/small", UnknownNameError, "There is no folder 'nets', for the model nets/small."),
    ],
)  # fmt: skip
def test_what_can_be_told_before_the_data_is_read(
    here: Path, name: str, kind: type[FastbenchError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        check_name(name)
    assert text in str(caught.value)
    assert said(load_model, name) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fails", "The model nets:fails cannot be made (ValueError: no weights here)."),
        ("a_dict", "The callable nets:a_dict returned a value of type dict."),
        ("a_type", "A Model's module is of type type."),
        ("two_names", "The model nets:two_names names 2 classes and has 3 outputs."),
        ("a_tuple", "gave a tuple of 2 for 1 image, where one tensor of shape (1, classes) is"),
        ("named", "gave a dict of 'out', 'aux' for 1 image,"),
        ("flat", "gave a tensor of shape (1,) for 1 image,"),
        ("one_row", "gave a tensor of shape (0, 3) for 1 image,"),
        ("large_input", "failed on 1 blank image of 224 x 224 pixels in float32 (RuntimeError: "),
    ],
)
def test_callables_that_make_no_model(here: Path, name: str, text: str) -> None:
    check_name(f"nets:{name}")
    assert text in said(load_model, f"nets:{name}")


def test_a_module_that_fails_to_import(here: Path) -> None:
    (here / "half.py").write_text("import nowhere_to_be_found\n")
    text = said(check_name, "half:net")
    assert "The module half of the model half:net failed to import (ModuleNotFoundError: " in text
    assert "nowhere_to_be_found" in text


def test_random_weights_are_the_callables_own_affair(here: Path) -> None:
    assert "The model nets:small makes its own weights" in said(load_model, "nets:small", "none")


def test_a_model_of_ours_checks_its_fields() -> None:
    module = torch.nn.Identity()
    good = Preprocess(
        resize=64, crop=48, interpolation="bilinear", antialias=True, mean=(0,) * 3, std=(1,) * 3
    )
    assert Model(module=module, preprocess=good, classes=("a",)).classes == ("a",)
    for fields, text in (
        ({"preprocess": 224}, "preprocess is of type int"),
        ({"preprocess": dataclasses.replace(good, interpolation="lanczos")}, "'lanczos'"),
        ({"classes": "abc"}, "classes are not names"),
        ({"classes": [1, 2]}, "classes are not names"),
        ({"engine": 3}, "engine is 3"),
        ({"number_format": ""}, "number_format is ''"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"num_parameters": 2.5}, "num_parameters is 2.5"),
    ):
        with pytest.raises(ModelError, match=text):
            Model(module=module, **fields)  # type: ignore[arg-type]


def test_a_plug_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        importlib.metadata.EntryPoint("mine", "nets:stated", "fastbench.models"),
        importlib.metadata.EntryPoint("theirs", "nets:gone", "fastbench.models"),
        importlib.metadata.EntryPoint("resnet18", "nets:small", "fastbench.models"),
    ]
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)
    assert registry.known_names()[-2:] == ["mine", "theirs"]
    check_name("mine")
    model = load_model("mine")
    assert (model.name, model.preprocess.crop, model.weights) == ("mine", 48, "its own")
    text = said(check_name, "theirs")
    assert "The plug-in model 'theirs' (fastbench.models: nets:gone) failed to import (Attr" in text
    assert "Did you mean 'mine'" in said(check_name, "min")
    assert load_model("resnet18", "none").classes.num_classes == 1000  # torchvision's own


# All kinds


def test_some_outputs_are_kept(here: Path) -> None:
    files = (write_export(here / "net.pt2"), write_script(here / "net.pt"))
    for name in ("nets:small", *map(str, files)):
        model = load_model(name)
        kept = keep_outputs(model, model.classes.keep([2, 0]))
        batch = noise(4, model.preprocess.crop)
        whole, some = (
            make_classifier(each, batch_size=4, crop=each.preprocess.crop, **EAGER)
            for each in (model, kept)
        )
        some.warm_up()
        torch.testing.assert_close(some(batch), whole(batch)[:, [2, 0]])
        assert count_cost(kept).num_macs == count_cost(model).num_macs


def test_what_cannot_be_copied_is_said(here: Path) -> None:
    model = load_model("nets:small")
    model.module.pointer = (part for part in ())  # type: ignore[assignment]
    text = said(LoadedModel.copy_module, model)
    assert "The model nets:small cannot be copied (TypeError: cannot pickle 'generator'" in text


def run(tmp_path: Path, data: Path, *argv: str) -> tuple[int, list[Any]]:
    output = tmp_path / "records"
    code = main_here(
        ["run", "--data", str(data), "--quick", "--limit", "16", "--device", "cpu",
         "--batch-size", "4", "--model-threads", "1", "--output", str(output), *argv]
    )  # fmt: skip
    return code, [read_record(path) for path in sorted(output.glob("*.json"))]


def test_a_run(
    tmp_path: Path, here: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(here / "net.pt2", dynamic=torch.export.Dim("batch"))
    code, records = run(tmp_path, images, "--model", "nets:stated", "--model", "net.pt2")
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert {(record.model, record.weights) for record in records} == {
        ("nets:stated", "its own"),
        ("net.pt2", "torch.export"),
    }
    for record in records:
        assert record.throughput.num_images == 16
        assert record.parity is not None
        assert record.preprocess["crop"] == 48
    by_model = {record.model: record for record in records}
    torchs = [FACTS[x].of(by_model["nets:stated"]) for x in ("engine", "dtype", "engine-threads")]
    assert torchs == ["eager", "float32", 1]
    assert by_model["net.pt2"].num_macs == 3 * 4 * 9 * 12 * 12 + 64 * 3
    assert by_model["nets:stated"].num_parameters == 4 * 27 + 4 + 4 * 3 + 3
    counted = "nets:stated · torchvision: 0.000127 M parameters, 0.000016 GMACs an image\n"
    table = shown.out[: shown.out.index("Records: ")]
    assert main(["report", str(tmp_path / "records"), "--details"]) == 0
    assert counted in capsys.readouterr().out
    assert all(len(line) <= 80 for line in table.splitlines())


def test_a_compiled_run(
    tmp_path: Path,
    here: Path,
    images: Path,
    no_inductor: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_export(here / "four.pt2", batch=4)
    write_export(here / "eight.pt2", batch=8)
    write_script(here / "net.pt")
    names = ["nets:stated", "four.pt2", "eight.pt2", "net.pt"]
    asked = [word for name in names for word in ("--model", name)]
    code, records = run(tmp_path, images, "--compile", "--loader", "torchvision", *asked)
    err = capsys.readouterr().err
    assert code == 2  # that of the first row that failed
    assert [record.model for record in records] == ["four.pt2", "nets:stated"]
    assert all(record.compilation.num_graphs == 1 for record in records)
    assert "The model eight.pt2 was exported for batches of 8 images, and not for 4." in err
    assert "The model net.pt is TorchScript, which torch.compile cannot compile." in err
    assert "Traceback" not in err


def test_names_are_checked_before_the_data(
    tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nest:small", "resnet19", "gone.pt2"):
        code, _ = run(tmp_path, tmp_path / "no-data", "--model", name)
        assert code == 2
        assert name.partition(":")[0] in capsys.readouterr().err


def test_the_list_of_models_can_be_piped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == [
        "model",
        *registry.known_names(),
    ]
    assert shown.err == (
        "Also: timm:NAME, package.module:callable, or a file: TorchScript, torch.export or "
        "AOTInductor (.pt2), ONNX (.onnx), OpenVINO IR (.xml).\n"
    )
