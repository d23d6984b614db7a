"""Models of timm, `timm:NAME`, each with the preprocessing that timm resolves for its weights.

A name is an architecture with or without a tag that says which weights: `resnet50`,
`resnet50.a1_in1k`. The preprocessing is that of timm's evaluation transform at the size of timm's
model cards, `input_size` (not `test_input_size`, which some weights have as well): the short side
is resized to floor(size / crop_pct), the middle cut out. What `Preprocess` cannot express is
refused, never approximated. A file of weights may state its own. A model of one size becomes one
for another, where that is asked for, as timm itself does it.

timm's weights state no accuracy, so none is published for them.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from typing import Any

import torch

from fastbench.core.errors import (
    ModelError,
    UnknownNameError,
    WeightsError,
    did_you_mean,
    errors_as,
)
from fastbench.core.preprocess_option import INTERPOLATIONS
from fastbench.core.units import and_more, counted
from fastbench.loaders.base import Preprocess
from fastbench.models.base import LoadedModel, class_space, triple
from fastbench.models.checkpoint import Checkpoint, load_into, read_checkpoint
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.registry import TIMM, weights_file


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for a name that timm does not know.

    Raises `ModelError` without timm, and for weights with a preprocessing that loaders do not have.
    """
    timm = package(name)
    wanted = name.removeprefix(TIMM)
    architectures = timm.list_models()
    tagged = timm.list_models(include_tags=True)
    if wanted in tagged or wanted in architectures:
        config = _config(name)
        if config:
            _express(timm.data.resolve_data_config(pretrained_cfg=config), name)
        return
    architecture, _, tag = wanted.partition(".")
    if tag and architecture in architectures:
        tags = [known for known in tagged if known.startswith(f"{architecture}.")]
        raise UnknownNameError(
            f"timm {timm.__version__} has no weights {tag!r} of {architecture}."
            f"{did_you_mean(name, [TIMM + known for known in tags])} "
            + (
                f"It has: {and_more(tags, 8)}."
                if tags
                else f"It has none: --model {TIMM}{architecture} --weights none"
            )
        )
    known = [TIMM + known for known in [*architectures, *tagged] if wanted]
    raise UnknownNameError(
        f"timm {timm.__version__} has no model {wanted!r}.{did_you_mean(name, known)} "
        f'List them: python -c "import timm; print(*timm.list_pretrained())"'
    )


def load_model(
    name: str, weights: str = "DEFAULT", *, seed: int = 0, asked: AskedInput = AS_STATED
) -> LoadedModel:
    """Build a model of timm's, with the weights of its name, a local file's, or random ones.

    Raises as `fastbench.models.registry.load_model` does.
    """
    check_name(name)
    file = weights_file(weights)
    if file is None and _config(name).get("num_classes") == 0:
        raise ModelError(
            f"The model {name} has no classes: it makes features. Name one of timm's models with a "
            f"classifier, or with --weights a file that has one."
        )
    torch.manual_seed(seed)
    checkpoint = None
    if weights == "none":
        module, loaded = _create(name), "none"
    elif file is not None:
        checkpoint = read_checkpoint(*file)
        module, loaded = _with_file(name, checkpoint), checkpoint.name
    elif weights == "DEFAULT":
        module = _with_published(name)
        loaded = module.pretrained_cfg.get("tag") or "pretrained"
    else:
        architecture = name.removeprefix(TIMM).partition(".")[0]
        raise UnknownNameError(
            f"The model {name} has no weights {weights!r}: with timm they are part of the model's "
            f"name, such as --model {TIMM}{architecture}.{weights}. Give --weights DEFAULT, none, "
            f"or a .pth or .safetensors file."
        )
    stated = checkpoint.preprocess if checkpoint else None
    timms = f"timm {package(name).__version__}, {_configured(module)}"
    preprocess = stated or preprocess_of(module, name)
    notes = checkpoint.notes if checkpoint else ()
    if asked.crop not in (None, preprocess.crop):
        notes += _resized(module, name, preprocess.crop, asked)
    return LoadedModel(
        name=name,
        weights=loaded,
        module=module,
        preprocess=preprocess,
        preprocess_source=loaded if stated else timms,
        classes=class_space(
            module.num_classes, checkpoint.classes(module.num_classes) if checkpoint else None
        ),
        notes=notes,
    )


def _resized(module: Any, name: str, own: int, asked: AskedInput) -> tuple[str, ...]:
    """Make a model of one size one for images of another, where timm can; a sentence on it."""
    if not module.pretrained_cfg.get("fixed_input_size") or not hasattr(module, "set_input_size"):
        return ()
    size = asked.crop
    made_for = f"is made for images of {own} x {own} pixels"
    what = f"The model {name} {made_for}, and timm cannot make it one for {size} x {size}"
    with (
        errors_as(ModelError, what, f"Leave out {asked.size_option}."),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # torch's, of how timm looks up positions
        module.set_input_size(img_size=(size, size))
    return (f"it {made_for}, and timm's set_input_size has made it one for {size} x {size}",)


def preprocess_of(module: Any, name: str) -> Preprocess:
    """The preprocessing of timm's evaluation transform for a model.

    Raises `ModelError` where that is more than resize, middle crop and normalisation of RGB.
    """
    return _express(package(name).data.resolve_model_data_config(module), name)


def classifier_size(name: str) -> int | None:
    """The pixels a side of what a model's weights take; None if they are no classifier's.

    Raises `ModelError` as `preprocess_of` does.
    """
    config = _config(name)
    if not config or not config.get("num_classes"):
        return None
    return _express(package(name).data.resolve_data_config(pretrained_cfg=config), name).crop


def _express(config: dict[str, Any], name: str) -> Preprocess:
    channels, height, width = config["input_size"]
    mode = config.get("crop_mode") or "center"
    resize = math.floor(height / config["crop_pct"])
    for is_refused, what in (
        (channels != 3, f"images of {counted(channels, 'channel')}"),
        (height != width, f"images of {width} x {height} pixels, not a square"),
        (mode != "center", f"the crop mode {mode!r}"),
        (bool(config.get("crop_border_pixels")), "a border cut off before the resize"),
        (
            config["interpolation"] not in INTERPOLATIONS,
            f"the interpolation {config['interpolation']!r}",
        ),
        (resize < height, f"a crop of {height} pixels from images resized to {resize}"),
    ):
        if is_refused:
            raise ModelError(
                f"The model {name} is evaluated with {what}, which fastbench's loaders do not "
                f"have. Name another of timm's models."
            )
    return Preprocess(
        resize=resize,
        crop=height,
        interpolation=config["interpolation"],
        antialias=True,  # Pillow's filters always are
        mean=triple(config["mean"]),
        std=triple(config["std"]),
    )


def _with_published(name: str) -> Any:
    timm = package(name)
    if not timm.models.is_model_pretrained(name.removeprefix(TIMM)):
        raise WeightsError(
            f"timm {timm.__version__} has no weights for {name}. Use --weights none, or name a "
            f"file."
        )
    remedy = (
        "Check the network, or download the file elsewhere and name it with --weights FILE, or use "
        "--weights none."
    )
    # The errors are the hub's, its HTTP library's or torch.hub's.
    with errors_as(WeightsError, f"The weights of {name} cannot be had", remedy):
        return _create(name, pretrained=True)


def _with_file(name: str, checkpoint: Checkpoint) -> Any:
    """The architecture with as many outputs as the checkpoint has, and its tensors."""
    module = _create(name)
    # Models with two heads have two names, of the same size.
    heads = module.pretrained_cfg.get("classifier") or ()
    for head in [heads] if isinstance(heads, str) else heads:
        weight = checkpoint.tensors.get(f"{head}.weight")
        if weight is not None and weight.shape[0] != module.num_classes:
            module = _create(name, num_classes=weight.shape[0])
            break
    load_into(module, checkpoint, name)
    return module


def _create(name: str, *, pretrained: bool = False, **options: Any) -> Any:
    return package(name).create_model(name.removeprefix(TIMM), pretrained=pretrained, **options)


def _config(name: str) -> dict[str, Any]:
    """timm's configuration of the weights of a name; empty where it has none."""
    config = package(name).models.get_pretrained_cfg(name.removeprefix(TIMM))
    return config.to_dict() if config is not None else {}


def _configured(module: Any) -> str:
    config = module.pretrained_cfg
    return ".".join(filter(None, (config.get("architecture"), config.get("tag"))))


def package(name: str) -> Any:
    """timm, which the model `name` needs; raises `ModelError` where it cannot be imported."""
    if importlib.util.find_spec("timm") is None:
        raise ModelError(
            f"The model {name} needs timm, which is not installed. Install it: "
            f'pip install "fastbench[timm]"'
        )
    remedy = f"Install a timm that fits torch {torch.__version__} and its torchvision."
    with errors_as(ModelError, f"The model {name} needs timm, which fails to import", remedy):
        import timm
        import timm.data
    return timm
