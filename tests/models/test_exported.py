"""Models that are files: programs of torch.export, TorchScript, and what is neither."""

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders.classifiers import make_classifier
from builders.models import EAGER, Net, noise, said, write_export, write_script
from safetensors.torch import save_file

from fastbench.core.errors import CompileError, UsageError
from fastbench.models.cost import count_cost
from fastbench.models.exported import ExportedModule
from fastbench.models.registry import check_name, load_model


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    return lambda *args, **options: write_export(tmp_path / "net.pt2", *args, **options)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    return lambda *args, **options: write_script(tmp_path / "net.pt", *args, **options)


# Exported programs


def test_an_exported_program_with_any_batch(export: Callable[..., Path]) -> None:
    path = export(dynamic=torch.export.Dim("batch"))
    check_name(str(path))
    model = load_model(str(path))
    assert (model.name, model.weights, model.batch_sizes) == ("net.pt2", "torch.export", None)
    assert (model.preprocess.resize, model.preprocess.crop) == (54, 48)
    assert model.preprocess_source == "none stated: the usual for ImageNet (resize 54, crop 48)"
    torch.manual_seed(7)
    expected = Net().eval()(noise(5))
    for size in (1, 5, 8):
        model.check_batch_size(size)
        classifier = make_classifier(model.copy_module(), batch_size=size, crop=48, **EAGER)
        classifier.warm_up()
        logits = torch.cat([classifier(part)[: len(part)] for part in noise(5).split(size)])
        torch.testing.assert_close(logits, expected)


def test_an_exported_program_with_one_batch_size(export: Callable[..., Path]) -> None:
    model = load_model(str(export(batch=4)))
    assert model.batch_sizes == (4, 4)
    model.check_batch_size(4)
    with pytest.raises(UsageError) as caught:
        model.check_batch_size(32)
    assert str(caught.value) == (
        "The model net.pt2 was exported for batches of 4 images, and not for 32. "
        "Use --batch-size 4, or export it with a dynamic batch (torch.export.Dim)."
    )
    classifier = make_classifier(model.copy_module(), batch_size=4, crop=48, **EAGER)
    assert classifier(noise(3)).shape == (4, 3)
    assert count_cost(model).num_macs == 3 * 4 * 9 * 12 * 12 + 64 * 3


def test_an_exported_program_with_some_batch_sizes(export: Callable[..., Path]) -> None:
    model = load_model(str(export(dynamic=torch.export.Dim("batch", min=3, max=64))))
    assert model.batch_sizes == (3, 64)
    assert "for batches of 3 to 64 images, and not for 1. Use --batch-size 3," in said(
        model.check_batch_size, 1
    )
    assert "Use --batch-size 64," in said(model.check_batch_size, 128)


def test_programs_that_take_something_else(export: Callable[..., Path]) -> None:
    class Gray(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    text = said(load_model, str(export(Gray(), size=(1, 28, 28))))
    assert "exported for inputs of shape (4, 1, 28, 28). fastbench gives a model one input" in text
    text = said(load_model, str(export(Gray(), size=(3, 28, 30))))
    assert "exported for images of 30 x 28 pixels. fastbench crops squares" in text
    text = said(load_model, str(export(train=True)))
    assert "was exported in training mode (aten.batch_norm.default is in it)" in text


def test_a_program_that_insists_on_its_dtype(export: Callable[..., Path]) -> None:
    class FloatOnly(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) @ torch.eye(3)

    model = load_model(str(export(FloatOnly())))
    classifier = make_classifier(
        model.copy_module(), batch_size=4, crop=48, device="cpu", dtype="bfloat16", name=model.name
    )
    text = said(classifier.warm_up)
    assert text.startswith(
        "The model net.pt2 failed on a batch of 4 channels_last images in bfloat16 on cpu (Runtime"
    )
    assert text.endswith(" Try --dtype float32, or let it follow its input's dtype and device.")


def test_a_program_that_insists_on_its_memory_format(export: Callable[..., Path]) -> None:
    class Viewed(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.adaptive_avg_pool2d(self.conv(x), 4)
            return self.head(x.view(-1, 64))

    model = load_model(str(export(Viewed())))
    text = said(
        make_classifier(
            model.copy_module(), batch_size=4, name=model.name, crop=48, **EAGER
        ).warm_up
    )
    assert "failed on a batch of 4 channels_last images in float32 on cpu (RuntimeError: " in text
    assert text.endswith("device and memory format: reshape() in place of view().")


def test_a_program_in_another_dtype(export: Callable[..., Path]) -> None:
    model = load_model(str(export(dynamic=torch.export.Dim("batch"))))
    classifier = make_classifier(
        model.copy_module(), batch_size=4, crop=48, device="cpu", dtype="bfloat16"
    )
    classifier.warm_up()
    assert classifier(noise(4).bfloat16()).dtype == torch.bfloat16


def test_devices_written_into_a_program_move_with_it(export: Callable[..., Path]) -> None:
    class Shifted(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.arange(3, device=x.device)

    model = load_model(str(export(Shifted())))
    assert isinstance(model.module, ExportedModule)
    moved = model.copy_module().to("meta")
    assert moved(torch.zeros(4, 3, 48, 48, device="meta")).device.type == "meta"
    assert model.module(torch.zeros(4, 3, 48, 48)).device.type == "cpu"  # the other one stayed


def test_an_exported_program_compiles(export: Callable[..., Path], no_inductor: None) -> None:
    model = load_model(str(export(dynamic=torch.export.Dim("batch"))))
    eager, compiled = (
        make_classifier(model.copy_module(), batch_size=4, compile_mode=mode, crop=48, **EAGER)
        for mode in (None, "default")
    )
    compiled.warm_up()
    torch.testing.assert_close(compiled(noise(4)), eager(noise(4)), rtol=1e-4, atol=1e-5)
    assert compiled.num_graphs()[0] == 1


# TorchScript


@pytest.mark.parametrize("traced", [False, True])
def test_torchscript(script: Callable[..., Path], traced: bool) -> None:
    path = script(traced=traced)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_name(str(path))
        model = load_model(str(path))
        assert (model.name, model.weights, model.preprocess.crop) == ("net.pt", "TorchScript", 224)
        classifier = make_classifier(model.copy_module(), batch_size=2, **EAGER)
        classifier.warm_up()
        logits = classifier(noise(2, 224))
    torch.manual_seed(7)
    torch.testing.assert_close(logits, Net().eval()(noise(2, 224)))
    cost = count_cost(model)
    assert cost.num_macs == 3 * 4 * 9 * 56 * 56 + 64 * 3
    assert cost.num_parameters == 4 * 27 + 4 + 8 + 64 * 3 + 3
    assert cost.notes == ()


def test_torchscript_cannot_be_compiled(script: Callable[..., Path]) -> None:
    model = load_model(str(script()))
    with pytest.raises(CompileError) as caught:
        make_classifier(
            model.module, batch_size=2, compile_mode="default", name="net.pt", crop=48, **EAGER
        )
    assert str(caught.value) == (
        "The model net.pt is TorchScript, which torch.compile cannot compile. "
        "Run with --no-compile, or save it with torch.export.save."
    )


def test_torchscript_of_one_batch_size(script: Callable[..., Path]) -> None:
    class Fixed(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).reshape(int(x.shape[0]), -1)[:1]

    model = load_model(str(script(Fixed(), traced=True)))
    classifier = make_classifier(model.copy_module(), batch_size=4, name="net.pt", **EAGER)
    text = said(classifier.warm_up)
    assert "for 4 images" in text or "on a batch of 4" in text


# Files that are no models


def test_files_that_hold_no_program(tmp_path: Path, export: Callable[..., Path]) -> None:
    assert "There is no file" in said(check_name, str(tmp_path / "net.pt2"))
    export()
    text = said(check_name, str(tmp_path / "ne.pt2"))
    assert text.endswith("ne.pt2'. Did you mean 'net.pt2'? Check --model.")
    torch.save(Net().state_dict(), tmp_path / "weights.pth")
    save_file(Net().state_dict(), tmp_path / "weights.safetensors")
    for name in ("weights.pth", "weights.safetensors"):
        assert "is a checkpoint: tensors without the model" in said(
            check_name, str(tmp_path / name)
        )
    (tmp_path / "text.pt").write_text("hello")
    assert "is neither TorchScript nor an archive of torch.e" in said(
        check_name, str(tmp_path / "text.pt")
    )


class Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (_must_not_run, ("ran",))


def _must_not_run(text: str) -> None:
    raise AssertionError(text)


def test_a_pickled_module_is_refused_unread(tmp_path: Path) -> None:
    torch.save(Net(), tmp_path / "whole.pt")
    text = said(check_name, str(tmp_path / "whole.pt"))
    assert "whole.pt is a pickled module, and unpickling one runs code from the file." in text
    assert "--model package.module:callable, with its state_dict() in --weights." in text
    torch.save({"model": Runs()}, tmp_path / "runs.pt")
    assert "runs code" in said(check_name, str(tmp_path / "runs.pt"))
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Runs()))
    assert "is neither" in said(check_name, str(tmp_path / "old.pt"))


def test_a_damaged_archive(export: Callable[..., Path], script: Callable[..., Path]) -> None:
    for path, file in ((export(), "models/model.json"), (script(), "constants.pkl")):
        damaged = path.with_name("damaged" + path.suffix)
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(damaged, "w") as target:
            for name in source.namelist():
                target.writestr(name, b"{}" if name.endswith(file) else source.read(name))
        check_name(str(damaged))
        text = said(load_model, str(damaged))
        assert f"file {damaged} cannot be loaded by torch {torch.__version__} (" in text


def test_weights_of_a_file_are_its_own(export: Callable[..., Path]) -> None:
    path = str(export())
    for weights in ("none", "other.pth"):
        assert f"so there is no --weights {weights}." in said(load_model, path, weights)
