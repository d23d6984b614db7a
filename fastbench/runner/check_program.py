"""What an engine made of a model, held against the float32 eager model on the same pixels.

A quantised row's engine is checked in float32, before it is
quantised: a wrong export is told apart from the noise of a narrower number format.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import msgspec
import torch

from fastbench.core.device import mapped_errors
from fastbench.data.dataset import spread
from fastbench.loaders.registry import resolve
from fastbench.measure.wrong_export import find_cause
from fastbench.records.accuracy import ProgramCheck
from fastbench.records.gates import judge_program
from fastbench.runner import kept
from fastbench.runner.calibrate import loader_of
from fastbench.runner.open_loader import open_loader
from fastbench.runner.parity import depends_on

if TYPE_CHECKING:
    from fastbench.engines.classifier import Classifier
    from fastbench.runner.prepare import Bench, Workbench

_INFINITE: Final = 1e30
NUM_IMAGES: Final = 64
NUM_IMAGES_QUICK: Final = 32


def check_program(workbench: Workbench, bench: Bench) -> ProgramCheck | None:
    """Compare the row's program with the reference's, by the logits of some of the images.

    None where it is the reference's own, without a reference, and for a file without
    `--reference-model`: nothing tells what that should give.
    """
    config, model = workbench.config, bench.model
    engines = workbench.engines
    is_torch = engines.name_of(model) == "eager" and config.quantize == "none"
    nothing_to_compare = model.format is not None and config.reference_model is None
    if config.reference == "none" or nothing_to_compare:
        return None
    if is_torch and config.reference_model is None:
        return None
    quantized = config.quantize != "none"
    dtype = "float32" if quantized else workbench.dtype
    key = {
        **depends_on(workbench, bench),
        "program": [engines.name_of(model), dtype, config.compile_mode, config.tf32],
        "options": config.options_of_engine(engines.name_of(model)),
    }
    found = kept.find(workbench.folder, key, ProgramCheck)
    if found is None:
        workbench.progress.say(f"{model.name}: {engines.name_of(model)} against eager float32")
        with mapped_errors(f"the check of {model.name}", workbench.batch_size):
            classifier = engines.unquantized(model) if quantized else bench.classifier
            found = _compare(workbench, bench, classifier, dtype)
            if quantized:
                classifier.close()
        kept.keep(workbench.folder, key, found)
    return found


def _compare(
    workbench: Workbench, bench: Bench, classifier: Classifier, dtype: str
) -> ProgramCheck:
    images_NCHW = _images(workbench, bench)
    reference = workbench.float32(bench)

    def run(model: Classifier, images_NCHW: torch.Tensor) -> torch.Tensor:
        batches = images_NCHW.to(workbench.device).split(workbench.batch_size)
        logits = [model(x.to(model.images_dtype))[: len(x)].float().cpu() for x in batches]
        return torch.cat([each.clone() for each in logits])

    expected_NC, found_NC = run(reference, images_NCHW), run(classifier, images_NCHW)
    difference_NC = (found_NC - expected_NC).abs()
    # A model rules classes out by minus infinity, and that less itself is NaN.
    difference_NC.masked_fill_(found_NC == expected_NC, 0)
    check = ProgramCheck(
        dtype=dtype,
        num_samples=len(images_NCHW),
        num_agreeing=int((found_NC.argmax(1) == expected_NC.argmax(1)).sum()),
        max_logits=_finite(float(difference_NC.max())),
        mean_logits=_finite(float(difference_NC.double().mean())),
        spread=float(expected_NC[expected_NC.isfinite()].double().std()),
        cause=None,
    )
    if not judge_program(check):
        return check
    preprocess = bench.model.preprocess
    cause = find_cause(lambda x: run(reference, x), images_NCHW, found_NC, preprocess)
    return msgspec.structs.replace(check, cause=cause)


def _finite(value: float) -> float:
    """A record holds no infinity and no NaN; a difference of those is as large as can be."""
    return value if value < _INFINITE else _INFINITE


def _images(workbench: Workbench, bench: Bench) -> torch.Tensor:
    """Some of the images, evenly spread: (N, 3, H, W) float32 on the CPU, normalised."""
    name = loader_of(workbench.config)
    manifest = workbench.manifest
    most = NUM_IMAGES_QUICK if workbench.config.quick else NUM_IMAGES
    chosen = spread(len(manifest), most)
    spec = dataclasses.replace(
        workbench.spec(bench.model, name),
        paths=[manifest.paths[i] for i in chosen],
        device="cpu",
        dtype="float32",
        repeatable=True,
    )
    with open_loader(name, resolve(name), spec) as loader:
        return torch.cat([batch.images_NCHW[: batch.num_valid].clone() for batch in loader])
