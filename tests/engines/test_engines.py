"""Each engine that runs here gives what eager torch gives, and says what it really used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from builders.classifiers import loaded, make_classifier
from builders.models import Net, noise, said, write_script

from fastbench.core.engine_facts import BUILT_IN
from fastbench.core.errors import CompileError, EngineMissingError, ModelError, UsageError
from fastbench.data.labels import ClassSpace
from fastbench.engines.base import EngineSpec, EngineTraits, Steps, take_options
from fastbench.engines.classifier import Classifier
from fastbench.models.base import LoadedModel

EXPORTING = ("onnxruntime", "openvino")
"""The engines that take no torch module, and whose packages run on any CPU."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(7)
    net = Net().eval()
    with torch.no_grad():  # logits that an engine's own batch norm could get wrong
        net.norm.running_mean.uniform_(-0.5, 0.5)
        net.norm.running_var.uniform_(0.5, 2)
    return net


def made(net: torch.nn.Module | LoadedModel, engine: str, cache: Path, **more: Any) -> Classifier:
    for module in BUILT_IN[engine].modules:
        pytest.importorskip(module)
    return make_classifier(net, **{"engine": engine, "batch_size": 4, "crop": 48, "cache": cache,
                                   "num_threads": 1, **more})  # fmt: skip


@pytest.mark.parametrize("engine", ["eager", *EXPORTING])
def test_logits_are_eagers(engine: str, net: Net, cache: Path) -> None:
    classifier = made(net, engine, cache)
    classifier.warm_up()
    images_NCHW = noise(7)
    expected_NC = net(images_NCHW).detach()
    whole_NC, partial_NC = classifier(images_NCHW[:4]), classifier(images_NCHW[4:])
    assert whole_NC.shape == partial_NC.shape == (4, 3)
    assert whole_NC.dtype == torch.float32
    torch.testing.assert_close(whole_NC, expected_NC[:4], atol=1e-4, rtol=0)
    torch.testing.assert_close(partial_NC[:3], expected_NC[4:], atol=1e-4, rtol=0)
    assert classifier.traits.weights_bytes is not None
    assert classifier.num_graphs() == (0, 0)
    classifier.close()


@pytest.mark.parametrize("engine", EXPORTING)
def test_the_order_of_the_images_in_memory_changes_nothing(
    engine: str, net: Net, cache: Path
) -> None:
    classifier = made(net, engine, cache)
    images_NCHW = noise(4)
    assert images_NCHW.is_contiguous(memory_format=torch.channels_last)
    in_order_NCHW = images_NCHW.contiguous()
    assert in_order_NCHW.stride() != images_NCHW.stride()
    assert torch.equal(classifier(images_NCHW), classifier(in_order_NCHW))


@pytest.mark.parametrize("engine", EXPORTING)
def test_the_next_batch_leaves_the_last_ones_logits(engine: str, net: Net, cache: Path) -> None:
    classifier = made(net, engine, cache)
    first_NC = classifier(noise(4))
    before_NC = first_NC.clone()
    other_NC = classifier(-noise(4))
    assert not torch.equal(other_NC, before_NC)
    assert torch.equal(first_NC, before_NC)


@pytest.mark.parametrize("engine", EXPORTING)
def test_some_outputs_are_kept(engine: str, net: Net, cache: Path) -> None:
    classes = ClassSpace(num_classes=2, names=None, is_imagenet=False, outputs=(2, 0))
    classifier = made(loaded(net, classes=classes), engine, cache)
    torch.testing.assert_close(
        classifier(noise(4)), net(noise(4))[:, [2, 0]].detach(), atol=1e-4, rtol=0
    )


def test_onnxruntime_says_what_it_used(net: Net, cache: Path) -> None:
    import onnxruntime

    classifier = made(net, "onnxruntime", cache)
    assert classifier.traits.settings == {
        "version": onnxruntime.__version__, "provider": "CPUExecutionProvider", "opset": 18,
    }  # fmt: skip
    assert list(classifier.traits.setup_s) == ["export", "load"]
    assert all(seconds > 0 for seconds in classifier.traits.setup_s.values())
    # A batch norm goes into its convolution, so a file has little more than the two weights.
    num = sum(x.numel() for x in (*net.conv.parameters(), *net.head.parameters()))
    assert 4 * num <= classifier.traits.weights_bytes < 4 * num + 10_000


def test_openvino_says_what_it_used(net: Net, cache: Path) -> None:
    import openvino

    classifier = made(net, "openvino", cache)
    assert dict(classifier.traits.settings, version="") == {
        "version": "", "device": "CPU", "precision": "f32", "hint": "latency", "streams": 1,
    }  # fmt: skip
    assert openvino.__version__.startswith(classifier.traits.settings["version"])
    assert list(classifier.traits.setup_s) == ["export", "load"]
    num = sum(x.numel() for x in (*net.conv.parameters(), *net.head.parameters()))
    assert 4 * num <= classifier.traits.weights_bytes < 4 * num + 1_000


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_threads_reach_the_engine(num_threads: int, net: Net, cache: Path) -> None:
    runtime: Any = made(net, "onnxruntime", cache, num_threads=num_threads)._run
    assert runtime._session.get_session_options().intra_op_num_threads == num_threads
    vino: Any = made(net, "openvino", cache, num_threads=num_threads)._run
    compiled = vino._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == num_threads
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_openvino_computes_in_the_dtype_or_says_that_it_does_not(
    dtype: str, net: Net, cache: Path
) -> None:
    try:
        classifier = made(net, "openvino", cache, dtype=dtype)
    except UsageError as error:
        assert f"where {dtype} is asked for. Use --dtype float32" in str(error)  # noqa: PT017
        return
    short = {"float16": "f16", "bfloat16": "bf16"}[dtype]
    assert classifier.traits.settings["precision"] == short
    compiled = classifier._run._request.get_compiled_model()  # type: ignore[attr-defined]
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == short
    assert classifier.images_dtype == torch.float32
    torch.testing.assert_close(classifier(noise(4)), net(noise(4)).detach(), atol=0.1, rtol=0)


def test_openvino_has_its_hint(net: Net, cache: Path) -> None:
    classifier = made(net, "openvino", cache, options={"hint": "throughput"})
    assert classifier.traits.settings["hint"] == "throughput"
    compiled = classifier._run._request.get_compiled_model()  # type: ignore[attr-defined]
    assert "THROUGHPUT" in str(compiled.get_property("PERFORMANCE_HINT"))


def test_onnxruntime_has_another_opset(net: Net, cache: Path) -> None:
    classifier = made(net, "onnxruntime", cache, options={"opset": 20})
    assert classifier.traits.settings["opset"] == 20
    torch.testing.assert_close(classifier(noise(4)), net(noise(4)).detach(), atol=1e-4, rtol=0)
    for wrong in ("new", True, 18.5):
        with pytest.raises(UsageError, match=r"onnxruntime\.opset is .* Give a whole number"):
            made(net, "onnxruntime", cache, options={"opset": wrong})
    for missing in (13, 999):  # torch.onnx makes another one, and says nothing
        with pytest.raises(UsageError, match=f"torch.onnx has no opset {missing} for the model"):
            made(net, "onnxruntime", cache, options={"opset": missing})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_onnxruntime_refuses_short_floats_on_a_cpu(dtype: str, net: Net, cache: Path) -> None:
    with pytest.raises(UsageError) as caught:
        made(net, "onnxruntime", cache, dtype=dtype)
    assert str(caught.value) == (
        f"The engine onnxruntime does not compute in {dtype} on cpu. "
        f"Use --dtype float32, or another --engine."
    )


def test_a_provider_that_is_not_there(net: Net, cache: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(EngineMissingError) as caught:
        made(net, "onnxruntime", cache, options={"provider": "cuda"})
    assert "ONNX Runtime here has no CUDAExecutionProvider (it has " in str(caught.value)
    assert "Install onnxruntime-gpu in place of onnxruntime" in str(caught.value)
    with pytest.raises(UsageError, match="Choose one of: auto, cpu, cuda, tensorrt"):
        made(net, "onnxruntime", cache, options={"provider": "gpu"})
    with pytest.raises(UsageError, match=r"has no option 'provder'. Did you mean 'provider'"):
        made(net, "onnxruntime", cache, options={"provder": "cpu"})


class _Branches(Net):
    """What it does depends on the images' values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return super().forward(x)
        return -super().forward(x)


@pytest.mark.parametrize("engine", EXPORTING)
def test_a_model_that_cannot_be_exported(
    engine: str, cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = said(made, _Branches().eval(), engine, cache)
    assert text.startswith("The model model cannot be exported (")
    assert text.endswith(" Try --engine eager.")
    assert len(text) < 300, text
    script = torch.jit.load(str(write_script(tmp_path / "net.pt")))
    assert said(made, script, engine, cache) == (
        "The model model is TorchScript, which torch.export cannot take. Run it with "
        "--engine eager, or save it with torch.export.save."
    )
    assert capfd.readouterr() == ("", "")


def test_memory_that_is_refused_to_onednn_is_no_fault_of_the_model(cache: Path) -> None:
    class Refused(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("could not create a primitive")  # what torch passes on

    text = said(made(Refused(), "eager", cache).warm_up)
    assert "(RuntimeError: could not create a primitive). oneDNN says this where memory" in text
    assert "ulimit -v" in text


def test_each_names_the_kind_of_its_error(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        made(_Branches().eval(), "onnxruntime", cache)
    script = torch.jit.load(str(write_script(tmp_path / "net.pt")))
    with pytest.raises(CompileError):
        made(script, "compile", cache)


def test_the_module_stays_as_it_was(cache: Path) -> None:
    """An engine has a copy: the next one gets the same weights, which can be trained."""
    net = Net()
    its = loaded(net)
    model = LoadedModel(**{name: getattr(its, name) for name in its.__dataclass_fields__})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for engine in EXPORTING:
        made(model, engine, cache)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.training
    assert net.conv.weight.is_contiguous()


# What every engine has


def test_traits_have_defaults() -> None:
    class Plain:
        def __init__(self) -> None:
            self.settings = {"level": 3}

    traits = EngineTraits.of(Plain())
    assert traits.settings == {"level": 3}
    assert (traits.setup_s, traits.weights_bytes, traits.num_graphs()) == ({}, None, (0, 0))
    traits.close()


def test_the_seconds_of_steps_add_up() -> None:
    steps = Steps()
    with steps("load"):
        pass
    first = steps["load"]
    with steps("load"):
        pass
    assert steps["load"] > first > 0


def test_options_of_an_engine(net: Net) -> None:
    spec = EngineSpec(
        model=loaded(net),
        batch_size=1,
        crop=48,
        device=torch.device("cpu"),
        dtype="float32",
        num_threads=1,
        options={"hint": "throughput", "any": 3},
    )
    choices: dict[str, tuple[Any, ...]] = {"hint": ("latency", "throughput"), "any": (1,)}
    assert take_options(spec, "e", **choices) == {"hint": "throughput", "any": 3}
    with pytest.raises(UsageError, match=r"The engine .e. has no option .hint.\. It has: none"):
        take_options(spec, "e")
    with pytest.raises(UsageError, match=r"e.hint is 'throughput'. Choose one of: a, b"):
        take_options(spec, "e", hint=("a", "b"), any=(1,))
