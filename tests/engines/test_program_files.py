"""Models in files of other engines: what is read off them, and what is refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.classifiers import make_classifier
from builders.models import noise, said, write_export
from builders.program_files import expected_logits, stated, write_ir, write_onnx

from fastbench.core.config import RunConfig
from fastbench.core.errors import ModelError, UnknownNameError, UsageError
from fastbench.models.base import LoadedModel
from fastbench.models.registry import check_name, load_model
from fastbench.runner.row_engines import RowEngines

pytest.importorskip("onnxruntime")


@pytest.fixture
def onnx(tmp_path: Path) -> Any:
    """Write a model, and load it."""
    return lambda *shape, **options: load_model(
        str(write_onnx(tmp_path / "net.onnx", *shape, **options))
    )


def test_a_file_of_one_batch_and_one_size(onnx: Any, tmp_path: Path) -> None:
    model = onnx((4, 3, 48, 48))
    assert (model.name, model.weights, model.format) == ("net.onnx", "ONNX", "ONNX")
    assert model.file == tmp_path / "net.onnx"
    assert (model.batch_sizes, model.fixed_size) == ((4, 4), 48)
    assert (model.preprocess.resize, model.preprocess.crop) == (54, 48)
    assert model.preprocess_source == "none stated: the usual for ImageNet (resize 54, crop 48)"
    assert (model.classes.num_classes, model.classes.names) == (3, None)
    assert len(model.files["model"]) == 64
    with pytest.raises(UsageError) as caught:
        model.check_batch_size(8)
    assert "exported for batches of 4 images, and not for 8. Use --batch-size 4" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("shape", "batch_sizes", "fixed_size", "crop"),
    [
        (("N", 3, 48, 48), None, 48, 48),
        (("N", 3, "H", "W"), None, None, 224),
        (("N", "C", "H", "W"), None, None, 224),
        ((4, 3, 48, "W"), (4, 4), 48, 48),
    ],
)
def test_sizes_that_are_left_open(
    onnx: Any, shape: Any, batch_sizes: Any, fixed_size: Any, crop: int
) -> None:
    model = onnx(shape)
    assert (model.batch_sizes, model.fixed_size) == (batch_sizes, fixed_size)
    assert model.preprocess.crop == crop


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("shape", "dtype", "off"),
    [
        ((4, 3, 48, 48), "float32", 1e-6),
        (("N", 3, "H", "W"), "float32", 1e-6),
        ((4, 3, 48, 48), "float16", 1e-3),
    ],
)
def test_both_engines_run_it(onnx: Any, engine: str, shape: Any, dtype: str, off: float) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    classifier = make_classifier(onnx(shape, dtype=dtype), engine=engine, batch_size=4, crop=48)
    classifier.warm_up()
    images_NCHW = noise(7)
    for part_NCHW in images_NCHW.split(4):
        logits_NC = classifier(part_NCHW)[: len(part_NCHW)].float()
        torch.testing.assert_close(logits_NC, expected_logits(part_NCHW), atol=off, rtol=0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"shape": (4, 1, 48, 48)}, "takes images with 1 channels. fastbench gives a model images"),
        ({"shape": (4, 48, 48, 3)}, "takes images with 48 channels"),
        ({"shape": (4, 3, 48, 32)}, "was exported for images of 32 x 48 pixels"),
        ({"shape": (4, 3, 48)}, "has inputs of shape [[4, 3, 48]] and outputs"),
        ({"outputs": [(4, 3), (4, 3)]}, "and outputs of shape [[4, 3], [4, 3]]. fastbench gives"),
    ],
)
def test_a_file_that_takes_or_gives_something_else(
    options: dict[str, Any], why: str, onnx: Any
) -> None:
    text = said(onnx, **options)
    assert text.startswith("The model net.onnx ")
    assert why in text


def test_a_model_that_fails_on_images_of_this_size(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its sizes are open, and its matrix fits one alone."""
    import numpy as np
    import onnx

    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [make("Flatten", ["images"], ["flat"]), make("MatMul", ["flat", "weights"], ["logits"])],
        "net",
        [value("images", onnx.TensorProto.FLOAT, ("N", 3, "H", "W"))],
        [value("logits", onnx.TensorProto.FLOAT, ("N", 3))],
        [onnx.numpy_helper.from_array(np.ones((3 * 64, 3), np.float32), "weights")],
    )
    path = tmp_path / "flat.onnx"
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    classifier = make_classifier(load_model(str(path)), engine="onnxruntime", batch_size=4, crop=48)
    text = said(classifier.warm_up)
    assert text.startswith("The model flat.onnx failed on a batch of 4 channels_last images in ")
    assert text.endswith(", in the engine onnxruntime. Export it again.")
    assert capfd.readouterr() == ("", "")


def test_weights_beside_the_file_are_counted(tmp_path: Path) -> None:
    import onnx

    path = write_onnx(tmp_path / "net.onnx")
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    assert (tmp_path / "net.data").stat().st_size >= 36
    classifier = make_classifier(load_model(str(path)), engine="onnxruntime", batch_size=4, crop=48)
    torch.testing.assert_close(classifier(noise(4)), expected_logits(noise(4)), atol=1e-6, rtol=0)
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert classifier.traits.weights_bytes == sum(sizes)


# What a file says of its preprocessing and its classes


@pytest.mark.parametrize("kind", ["onnx", "xml"])
def test_metadata_are_read(kind: str, tmp_path: Path) -> None:
    metadata = {
        **stated(crop=48, resize=60, mean=[0.5, 0.4, 0.3], std=0.25, interpolation="bicubic"),
        "fastbench.classes": '["cat", "dog", "bird"]',
    }
    path = tmp_path / f"net.{kind}"
    model = load_model(str({"onnx": write_onnx, "xml": write_ir}[kind](path, metadata=metadata)))
    its = model.preprocess
    assert (its.resize, its.crop, its.interpolation, its.antialias) == (60, 48, "bicubic", True)
    assert (its.mean, its.std) == ((0.5, 0.4, 0.3), (0.25,) * 3)
    assert model.preprocess_source == "the file's metadata"
    assert model.classes.names == ("cat", "dog", "bird")


def test_a_crop_alone_has_the_usual_resize(onnx: Any) -> None:
    its = onnx(("N", 3, "H", "W"), metadata=stated(crop=112)).preprocess
    assert (its.resize, its.crop) == (128, 112)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"crop": 64, "resize": 64}, "takes images of 48 pixels, and its metadata say a crop of"),
        ({"resize": 20}, "and its metadata say that they are cut out of 20."),
        ({"crop": "x"}, "(crop is 'x'; give a whole number of at least 1)"),
        ({"crop": True}, "(crop is True; give a whole number of at least 1)"),
        ({"mean": [1, 2]}, "(mean is [1, 2]; give one number, or three"),
        ({"mean": [float("nan")] * 3}, "(mean is [nan, nan, nan]; give one number"),
        ({"std": [0, 0, 0]}, "(std is [0, 0, 0]; give one number above 0"),
        ({"interpolation": "nearest"}, "(interpolation is 'nearest'; give bilinear or bicubic)"),
        ({"antialias": "yes"}, "(antialias is 'yes'; give true or false)"),
        ({"scale": 1}, "(it has 'scale', and a preprocessing has mean, std, "),
    ],
)
def test_a_preprocessing_that_cannot_be(fields: dict[str, Any], why: str, onnx: Any) -> None:
    text = said(onnx, metadata=stated(**fields))
    assert why in text
    assert text.endswith(" Mend its metadata fastbench.preprocess.")


@pytest.mark.parametrize("text", ["[1]", "{", "3", '"a"', "null", ""])
def test_a_preprocessing_that_is_no_object(text: str, onnx: Any) -> None:
    message = said(onnx, metadata={"fastbench.preprocess": text})
    assert message.startswith("The preprocessing in net.onnx cannot be read (")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('["a"]', "names 1 classes and has 3 outputs."),
        ('"abc"', "are no JSON list of names."),
        ('{"a": 1, "b": 2, "c": 3}', "are no JSON list of names."),
        ("[1, 2, 3]", "are no JSON list of names."),
        ("null", "are no JSON list of names."),
        ("[", "cannot be read (JSONDecodeError: "),
    ],
)
def test_classes_that_cannot_be(text: str, why: str, onnx: Any) -> None:
    message = said(onnx, metadata={"fastbench.classes": text})
    assert why in message
    assert message.endswith(" Mend its metadata fastbench.classes.")


# OpenVINO's own files


def test_an_ir(tmp_path: Path) -> None:
    model = load_model(str(write_ir(tmp_path / "net.xml")))
    assert (model.weights, model.batch_sizes, model.fixed_size) == ("OpenVINO IR", (4, 4), 48)
    classifier = make_classifier(model, engine="openvino", batch_size=4, crop=48)
    torch.testing.assert_close(classifier(noise(4)), expected_logits(noise(4)), atol=1e-6, rtol=0)


def test_the_digest_of_an_ir_is_also_of_its_weights(tmp_path: Path) -> None:
    """What was found of a model is kept under it."""
    path = write_ir(tmp_path / "net.xml")
    before = load_model(str(path)).files["model"]
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert load_model(str(path)).files["model"] != before


def test_an_ir_without_its_weights(tmp_path: Path) -> None:
    path = write_ir(tmp_path / "net.xml")
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:10])
    assert "cannot be read (RuntimeError: Incorrect weights in bin file!)" in said(
        load_model, str(path)
    )
    weights.unlink()
    text = said(load_model, str(path))
    assert text.startswith(f"The OpenVINO IR file {path} cannot be read (RuntimeError: Empty ")
    assert "bin file cannot be found" in text


# What is no model


@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.pt2"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 99])
def test_garbage(
    name: str, content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".xml"):
        pytest.importorskip("openvino")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"Export it again|Save the model with") as caught:
        load_model(str(path))
    assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.pt2"])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(UnknownNameError, match=r"There is no file .* Check --model"):
        check_name(str(path))
    path.mkdir()
    with pytest.raises(UnknownNameError, match=f"{name}' is a folder. Check --model"):
        check_name(str(path))
    path.rmdir()
    os.mkfifo(path)
    for call in (check_name, load_model):
        with pytest.raises(UnknownNameError, match=f"{name}' is no regular file, but a pipe"):
            call(str(path))


def test_a_name_that_is_nearly_right(onnx: Any, tmp_path: Path) -> None:
    onnx()
    assert "Did you mean 'net.onnx'?" in said(check_name, str(tmp_path / "nett.onnx"))


def test_weights_beside_a_file(onnx: Any, tmp_path: Path) -> None:
    onnx()
    assert "has its weights in its file, so there is no --weights none" in said(
        load_model, str(tmp_path / "net.onnx"), "none"
    )


def test_a_package_of_aotinductor_is_told_from_an_export(tmp_path: Path) -> None:
    assert load_model(str(write_export(tmp_path / "net.pt2"))).weights == "torch.export"
    path = tmp_path / "package.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/data/aotinductor/model/code.so", b"")
    assert said(load_model, str(path)) == (
        f"The AOTInductor package {path} has no metadata. Compile it again."
    )


# Which engine runs it


def engines(**options: Any) -> RowEngines:
    return RowEngines(
        config=RunConfig(**options),
        device=torch.device("cpu"),
        dtype="float32",
        batch_size=4,
        num_threads=1,
        load_reference=lambda name: load_model(name),
        calibration=lambda _: (),
    )


def test_the_engine_of_a_file(onnx: Any) -> None:
    model: LoadedModel = onnx()
    assert engines().name_of(model) == "onnxruntime"
    assert engines(engine="openvino").name_of(model) == "openvino"
    assert engines().is_as_reference(model)
    assert not engines(engine="openvino").is_as_reference(model)
    for asked in ("eager", "compile", "aot"):
        assert said(engines(engine=asked).name_of, model) == (
            f"The model net.onnx is a file of ONNX, which the engine {asked} does not run. "
            f"Use --engine onnxruntime or openvino."
        )


def test_a_reference_that_is_another_model(onnx: Any, tmp_path: Path) -> None:
    model = onnx()
    assert said(engines(reference_model="sample").reference, model) == (
        "--reference-model sample has 24 classes, and net.onnx 3. Give the model that it was "
        "exported from."
    )
    assert said(engines(reference_model=str(tmp_path / "net.onnx")).reference, model) == (
        "--reference-model net.onnx is not run by torch. Give the model that the file was "
        "exported from."
    )
    path = write_export(tmp_path / "net.pt2")
    its = engines(reference_model=str(path)).reference(model)
    assert its.spec.model.preprocess == model.preprocess
    assert its.engine == "eager"
