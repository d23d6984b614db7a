"""Models, their weights and preprocessing, and the classifier that is measured."""

import hashlib
import json
import urllib.error
from argparse import Namespace
from collections import OrderedDict, defaultdict, deque
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from builders.classifiers import make_classifier
from builders.models import noise
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode

from fastbench.core.errors import (
    CompileError,
    ModelError,
    OutOfMemoryError,
    UnknownNameError,
    WeightsError,
)
from fastbench.engines.classifier import forget_compiled
from fastbench.models.base import in_float32
from fastbench.models.registry import files_of, known_names
from fastbench.models.torchvision import load_model, preprocess_of

NAME = "shufflenet_v2_x0_5"


def state(num_classes: int = 1000, name: str = NAME, seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    tensors: dict[str, torch.Tensor] = module.state_dict()
    return tensors


def test_names() -> None:
    names = known_names()
    assert names[0] == "sample"
    assert {"alexnet", "vgg16", "resnet18", "googlenet", "resnet50", "vit_b_16"} <= set(names)
    assert not {"fasterrcnn_resnet50_fpn", "r3d_18", "raft_small"} & set(names)


def test_an_unknown_model() -> None:
    with pytest.raises(UnknownNameError, match=r"no model 'resnet19'\. Did you mean 'resnet1"):
        load_model("resnet19", "none")


def test_unknown_weights() -> None:
    with pytest.raises(UnknownNameError, match=r"IMAGENET1K_V3.*Did you mean 'IMAGENET1K_V"):
        load_model("resnet50", "IMAGENET1K_V3")


def test_preprocessing_can_be_read_off_all_weights() -> None:
    sizes = set()
    for name in known_names()[1:]:
        for weights in torchvision.models.get_model_weights(name):
            preprocess = preprocess_of(weights.transforms())
            sizes.add((preprocess.resize, preprocess.crop, preprocess.interpolation))
    assert (256, 224, "bilinear") in sizes
    assert (232, 224, "bilinear") in sizes
    assert (384, 384, "bicubic") in sizes


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (
        load_model(NAME, "none", seed=seed).module.state_dict()["fc.weight"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module.", "_orig_mod.module."])
def test_a_checkpoint_however_it_was_saved(tmp_path: Path, wrap: str) -> None:
    tensors = state()
    saved: object = tensors
    if wrap == "state_dict":
        saved = {"epoch": 7, "state_dict": tensors}
    elif wrap != "plain":
        saved = {wrap + key: value for key, value in tensors.items()}
    torch.save(saved, tmp_path / "a.pth")
    model = load_model(NAME, str(tmp_path / "a.pth"))
    assert torch.equal(model.module.state_dict()["fc.weight"], tensors["fc.weight"])
    assert model.classes.is_imagenet


def test_a_checkpoint_with_classes_of_its_own(tmp_path: Path) -> None:
    preprocess = {
        "resize": 64, "crop": 48, "interpolation": "bicubic", "antialias": True,
        "mean": [0.5] * 3, "std": [0.2] * 3,
    }  # fmt: skip
    metadata = {"classes": json.dumps(["a", "b", "c"]), "preprocess": json.dumps(preprocess)}
    save_file(state(3), tmp_path / "a.safetensors", metadata)
    model = load_model(NAME, str(tmp_path / "a.safetensors"))
    assert (model.classes.num_classes, model.classes.names) == (3, ("a", "b", "c"))
    assert not model.classes.is_imagenet
    assert (model.preprocess.crop, model.preprocess.mean) == (48, (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", "a, b, c"),
        ("classes", '{"a": 0, "b": 1, "c": 2}'),
        ("classes", '["a", "b"]'),
        ("classes", "[1, 2, 3]"),
        ("preprocess", "imagenet"),
        ("preprocess", "[224]"),
        ("preprocess", '{"crop": 224}'),
        ("preprocess", '{"crop": 48, "resize": 64, "interpolation": "nearest", "antialias": true, '
                       '"mean": [0, 0, 0], "std": [1, 1, 1]}'),
        ("preprocess", '{"crop": 48, "resize": 64, "interpolation": "bicubic", "antialias": true, '
                       '"mean": [0.5], "std": [0.2]}'),
    ],
)  # fmt: skip
def test_metadata_that_say_something_else(tmp_path: Path, key: str, value: str) -> None:
    save_file(state(3), tmp_path / "a.safetensors", {"format": "pt", key: value})
    with pytest.raises(WeightsError, match=rf"The {key} in the metadata of .*a\.safetensors "):
        load_model(NAME, str(tmp_path / "a.safetensors"))


def test_a_file_named_as_torchvisions_gets_its_preprocessing(tmp_path: Path) -> None:
    tensors = state(name="resnet50")
    for file, resize in (("resnet50-0676ba61.pth", 256), ("resnet50-11ad3fa6.pth", 232)):
        torch.save(tensors, tmp_path / file)
        assert load_model("resnet50", str(tmp_path / file)).preprocess.resize == resize


@pytest.mark.parametrize("file", ["model_best.pth.tar", "last.ckpt", "a.PTH"])
def test_a_checkpoint_whatever_its_ending(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": state()}, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    assert load_model(NAME, file).weights == file


def test_a_checkpoint_of_averaged_weights(tmp_path: Path) -> None:
    module = torchvision.models.get_model(NAME, weights=None)
    averaged = torch.optim.swa_utils.AveragedModel(module, use_buffers=True)
    torch.save({"model_ema": averaged.state_dict()}, tmp_path / "a.pth")
    loaded = load_model(NAME, str(tmp_path / "a.pth")).module.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("name", "renamed", "prefix"),
    [
        ("mnasnet0_5", (), ""),  # asks for the version that was saved
        ("mnasnet0_5", (), "module."),
        ("densenet121", (("norm1.", "norm.1."), ("conv2.", "conv.2.")), "module."),
        ("vit_b_32", ((".mlp.0.", ".mlp.linear_1."), (".mlp.3.", ".mlp.linear_2.")), ""),
    ],
)
def test_a_file_of_an_older_torchvision(
    name: str, renamed: tuple[tuple[str, str], ...], prefix: str, tmp_path: Path
) -> None:
    tensors = torchvision.models.get_model(name, weights=None).state_dict()
    saved: Any = OrderedDict()
    for key, value in tensors.items():
        for new, old in renamed:
            if "denselayer" in key or ".mlp." in key:
                key = key.replace(new, old)
        saved[prefix + key] = value
    if not renamed:
        saved._metadata = {prefix.removesuffix("."): {"version": 2}}
    torch.save(saved, tmp_path / "a.pth")
    loaded = load_model(name, str(tmp_path / "a.pth")).module.state_dict()
    (tmp_path / "a.pth").unlink()  # pytest would keep its 350 MB
    assert all(torch.equal(loaded[key], value) for key, value in tensors.items())


def test_a_file_that_does_not_say_its_version(tmp_path: Path) -> None:
    save_file(state(name="mnasnet0_5"), tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"do not fit the model mnasnet0_5 \(version should be"):
        load_model("mnasnet0_5", str(tmp_path / "a.safetensors"))


def two_states() -> tuple[dict[str, Any], dict[str, Any]]:
    return state(seed=1), state(seed=2)


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("module", "ema"),
        ("model.state_dict", "model.averaged"),
    ],
)
def test_the_weights_that_were_taken_are_said_and_others_can_be_named(
    raw: str, averaged: str, tmp_path: Path
) -> None:
    a, b = two_states()
    saved: dict[str, Any] = {"epoch": 3, "optimizer": {"state": {0: {"m": a["fc.weight"]}}}}
    for name, tensors in ((averaged, b), (raw, a)):
        *outer, last = name.split(".")
        holder = saved.setdefault(outer[0], {}) if outer else saved
        holder[last] = {f"module.{key}": value for key, value in tensors.items()}
    file = tmp_path / "a.pth"
    torch.save(saved, file)
    for weights, wanted, key in (
        (str(file), a, raw),
        (f"{file}:{raw}", a, raw),
        (f"{file}:{averaged}", b, averaged),
    ):
        model = load_model(NAME, weights)
        assert torch.equal(model.module.state_dict()["fc.weight"], wanted["fc.weight"])
        assert model.weights == f"a.pth:{key}"
        said = (
            f"the weights are {raw} of a.pth, which also holds {averaged}; to take it: --weights "
            f"{file}:{averaged}"
        )
        assert model.notes == (() if ":" in weights else (said,))
        assert files_of(NAME, weights) == files_of(NAME, str(file)) != {}
    with pytest.raises(
        WeightsError, match=rf"no weights named 'eam'\. .*It has: {raw}, {averaged}"
    ):
        load_model(NAME, f"{file}:eam")


def test_no_weights_are_taken_of_several_without_a_usual_name(tmp_path: Path) -> None:
    a, b = two_states()
    file = tmp_path / "a.pth"
    torch.save({"student": a, "teacher": b, "loss": {"center": torch.zeros(1, 9)}}, file)
    with pytest.raises(WeightsError, match=r"several sets of weights: student, teacher\. Name one"):
        load_model(NAME, str(file))
    loaded = load_model(NAME, f"{file}:teacher").module.state_dict()
    assert torch.equal(loaded["fc.weight"], b["fc.weight"])
    torch.save({"net": a, "loss": {"center": torch.zeros(1, 9)}}, file)  # the only one
    model = load_model(NAME, str(file))
    assert (model.weights, model.notes) == ("a.pth", ())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_sets_of_weights_that_have_a_prefix(suffix: str, tmp_path: Path) -> None:
    named = dict(zip(("student.net", "teacher.net"), two_states(), strict=True))
    every = {f"{x}.{key}": value for x, tensors in named.items() for key, value in tensors.items()}
    file = tmp_path / f"a{suffix}"
    (torch.save if suffix == ".pth" else save_file)(every, file)
    with pytest.raises(
        WeightsError, match=rf"or other weights with --weights {file}:student\.net or :teacher\.net"
    ):
        load_model(NAME, str(file))
    model = load_model(NAME, f"{file}:teacher.net")
    assert model.weights == f"a{suffix}:teacher.net"
    expected = named["teacher.net"]["fc.weight"]
    assert torch.equal(model.module.state_dict()["fc.weight"], expected)


def test_a_file_whose_name_has_a_colon(tmp_path: Path) -> None:
    a, b = two_states()
    torch.save(a, tmp_path / "a.pth:ema")
    torch.save({"ema": b}, tmp_path / "a.pth")
    loaded = load_model(NAME, str(tmp_path / "a.pth:ema")).module.state_dict()
    assert torch.equal(loaded["fc.weight"], a["fc.weight"])
    with pytest.raises(WeightsError, match=r"x:y/a\.pth does not exist"):
        load_model(NAME, str(tmp_path / "x:y/a.pth"))


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn]
)
def test_integers_and_float8_are_no_weights(kind: torch.dtype, tmp_path: Path) -> None:
    tensors = state()
    assert tensors["conv1.1.num_batches_tracked"].dtype == torch.int64  # which is as it should be
    weight = tensors["fc.weight"]
    tensors["fc.weight"] = (100 * weight).to(kind)
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"1 tensor \(first: fc\.weight, {kind}\)"):
        load_model(NAME, str(tmp_path / "a.pth"))


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_floats_are_loaded_as_float32_and_that_is_said(kind: str, tmp_path: Path) -> None:
    tensors = state()
    tensors["fc.weight"] = tensors["fc.weight"].to(getattr(torch, kind))
    torch.save(tensors, tmp_path / "a.pth")
    model = load_model(NAME, str(tmp_path / "a.pth"))
    assert model.notes == (f"a.pth has {kind} weights, loaded as float32",)


def test_a_program_or_callable_in_other_floats_is_converted_and_that_is_said() -> None:
    module, notes = in_float32(torch.nn.Linear(2, 2).double(), "nets:make")
    assert notes == ("nets:make has float64 weights, loaded as float32",)
    assert module.weight.dtype == torch.float32
    assert in_float32(module, "nets:make")[1] == ()
    module.register_buffer("scaled", torch.zeros(2, dtype=torch.float8_e4m3fn))
    with pytest.raises(ModelError, match=r"nets:make has torch\.float8_e4m3fn numbers \(scaled\)"):
        in_float32(module, "nets:make")


def test_what_training_scripts_save_beside_the_weights(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    numbers = [np.float64(0.5), np.int64(3), np.bool_(True), np.dtype("f4"), np.arange(3)]
    beside = {
        "args": Namespace(output=tmp_path, mode=InterpolationMode.BILINEAR, lr=0.1),
        "optimizer": optimizer,
        "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3),
        "best": dict(enumerate([*numbers, np.array(["a", None], object), np.random.get_state()])),
        "seen": [defaultdict(list, {1: [2]}), deque([1, 2]), frozenset([1]), datetime.now()],
    }
    a, b = two_states()
    torch.save({**beside, "model": a, "model_ema": b}, tmp_path / "a.pth")
    loaded = load_model(NAME, str(tmp_path / "a.pth")).module.state_dict()
    assert torch.equal(loaded["fc.weight"], a["fc.weight"])


class Writes:
    """Unpickled, it would write a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": state(), "args": Writes(tmp_path / "ran")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth holds .*, which only code from the file"):
        load_model(NAME, str(tmp_path / "a.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_that_do_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    torch.save(state(), tmp_path / "a.pth")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(OutOfMemoryError, match=r"a\.pth does not fit into memory \(Default"):
        load_model(NAME, str(tmp_path / "a.pth"))


def test_another_models_checkpoint(tmp_path: Path) -> None:
    torch.save(state(name="squeezenet1_1"), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth do not fit the model shufflenet.*missing"):
        load_model(NAME, str(tmp_path / "a.pth"))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth does not exist"):
        load_model(NAME, str(tmp_path / "gone.pth"))
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("hello, this is not a checkpoint")
        with pytest.raises(WeightsError, match=rf"{name} is not a checkpoint that can be read"):
            load_model(NAME, str(tmp_path / name))
    # Pickles that end too early, and names that are code: a whole module's, and a blocked one.
    for content, said in (
        *((x, "is not a checkpoint") for x in (b"}u.", b"]e.", b"R.", b"\x85.", b"\x80\x04\x95")),
        (b"cnets\nNet\n.", "holds nets.Net, which only code from the file could read"),
        (b"cposix\nsystem\n(S'exit'\ntR.", "holds posix.system, which only code"),
        (bytes(20_000), "is not a checkpoint"),  # taken for a tar archive
    ):
        (tmp_path / "damaged.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=rf"damaged\.pth {said}") as caught:
            load_model(NAME, str(tmp_path / "damaged.pth"))
        assert "\x1b" not in str(caught.value)  # torch's own words have bold face
        assert "weights_only" not in str(caught.value)
    endless: dict[str, Any] = {}
    endless["itself"] = endless
    for content in ([1, 2], endless):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match="holds no tensors by name"):
            load_model(NAME, str(tmp_path / "other.pth"))


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(WeightsError) as caught:
        load_model("alexnet")
    text = str(caught.value)
    assert "no route to host" in text
    assert f"Put the file alexnet-owt-7be5be79.pth into {tmp_path}/hub/checkpoints" in text


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_models_with_auxiliary_heads_give_plain_logits(name: str) -> None:
    model = load_model(name, "none")
    classifier = make_classifier(model.module, device="cpu", dtype="float32", batch_size=1)
    size = model.preprocess.crop
    assert classifier(torch.zeros(1, 3, size, size)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "first"), [("googlenet", "conv1"), ("inception_v3", "Conv2d_1a_3x3")]
)
def test_a_file_of_published_weights_is_given_the_same_input(
    name: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = torchvision.models.get_model(name, weights=None, init_weights=False, aux_logits=True)
    tensors = module.state_dict()
    monkeypatch.setattr(
        torchvision.models._api.WeightsEnum, "get_state_dict", lambda *_, **__: tensors
    )
    torch.save(tensors, tmp_path / "mine.pth")
    seen = []
    for weights in ("DEFAULT", str(tmp_path / "mine.pth"), "none"):
        model = load_model(name, weights)
        part = model.module.get_submodule(first)
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
        torch.manual_seed(0)
        with torch.no_grad():
            model.module.eval()(torch.randn(1, 3, model.preprocess.crop, model.preprocess.crop))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])  # random weights cost what the published ones do


def test_a_partial_batch_is_padded_and_not_changed() -> None:
    model = load_model(NAME, "none")
    classifier = make_classifier(model.module, device="cpu", dtype="float32", batch_size=4)
    images_NCHW = torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    whole, part = classifier(images_NCHW), classifier(images_NCHW[:3])
    assert part.shape == whole.shape == (4, 1000)
    torch.testing.assert_close(part[:3], whole[:3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_models_dtype_and_memory_format(dtype: str) -> None:
    model = load_model(NAME, "none")
    classifier = make_classifier(model.module, device="cpu", dtype=dtype, batch_size=2)
    kind = classifier.images_dtype
    assert kind == getattr(torch, dtype)
    assert classifier(torch.zeros(2, 3, 64, 64, dtype=kind)).dtype == kind


def test_each_classifier_has_its_threads_and_its_precision() -> None:
    """torch has them once a process, and whoever ran last may have changed them."""

    class Seen(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(in_force())
            return x.flatten(1)

    def in_force() -> tuple[int, str, bool]:
        precision = torch.get_float32_matmul_precision()
        return torch.get_num_threads(), precision, torch.backends.cudnn.allow_tf32

    seen: list[tuple[int, str, bool]] = []
    before = torch.get_num_threads()
    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 1}
    plain = make_classifier(Seen(), **how)
    fast = make_classifier(Seen(), tf32=True, num_threads=before + 2, **how)
    try:
        for classifier in (plain, fast, plain):
            torch.set_num_threads(before + 5)
            classifier(torch.zeros(1, 3, 2, 2))
    finally:
        torch.set_num_threads(before)
        plain.set_up_torch()
    usual = (before, "highest", False)
    assert seen == [usual, (before + 2, "high", True), usual]


def test_a_file_is_recognised_as_published_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(torchvision.models.get_model("resnet18", weights=None).state_dict(), path)
    assert load_model("resnet18", str(path)).published is None
    (real,) = torchvision.models.get_model_weights("resnet18")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = SimpleNamespace(
        name=real.name,
        url=f"x/resnet18-{digest[:8]}.pth",
        meta=real.meta,
        transforms=real.transforms,
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: [entry])
    model = load_model("resnet18", str(path))
    assert model.published == (0.69758, 0.89078)
    assert model.weights == "IMAGENET1K_V1"


def test_compile_gives_the_same_logits_and_compiles_once() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(784, 7)
    )
    images_NCHW = noise(4, 16)
    eager = make_classifier(module, device="cpu", dtype="float32", batch_size=4)(images_NCHW)
    for _ in range(2):  # and the second model of a class is compiled as the first was
        forget_compiled()
        model = make_classifier(
            module,
            device="cpu",
            dtype="float32",
            batch_size=4,
            crop=16,
            compile_mode="default",
        )
        assert model.warm_up() > 0
        assert model.num_graphs() == (1, 0)
        torch.testing.assert_close(model(images_NCHW), eager)
        assert model(images_NCHW[:3]).shape == (4, 7)
        assert model.num_graphs() == (1, 0)


def test_a_model_that_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("no C++ compiler")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **_: real(module, backend=backend))
    classifier = make_classifier(
        torch.nn.Conv2d(3, 8, 3),
        device="cpu",
        dtype="float32",
        batch_size=2,
        compile_mode="default",
    )
    with pytest.raises(CompileError, match=r"no C\+\+ compiler.*Run with --no-compile"):
        classifier.warm_up()
