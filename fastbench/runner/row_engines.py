"""What executes the model of a row, and the float32 eager model that it is held against."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastbench.core.engine_facts import BUILT_IN, COMPILE, EAGER, UNNAMED, engine_of_format
from fastbench.core.errors import ModelError, UsageError
from fastbench.engines import registry
from fastbench.engines.base import EngineSpec
from fastbench.engines.classifier import Classifier
from fastbench.engines.mixes import engine_of
from fastbench.records.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from fastbench.core.config import RunConfig
    from fastbench.models.base import LoadedModel


@dataclasses.dataclass(kw_only=True)
class RowEngines:
    """Makes the classifiers of a run's models.

    `dtype` and `batch_size` are those of its rows. `load_reference` loads the model of
    `--reference-model`. `calibration` gives the batches that a model is quantised with,
    (N, 3, H, W) float32 on the CPU.
    """

    config: RunConfig
    device: torch.device
    dtype: str
    batch_size: int
    num_threads: int
    load_reference: Callable[[str], LoadedModel]
    calibration: Callable[[LoadedModel], Sequence[torch.Tensor]]
    _loaded: LoadedModel | None = dataclasses.field(default=None, init=False)

    def name_of(self, model: LoadedModel) -> str:
        """The engine of a model. Raises `ModelError` for one that cannot run it."""
        asked = self.config.engine_name
        if model.engine is not None and asked not in (EAGER, UNNAMED, COMPILE):
            raise ModelError(
                f"The model {model.name} hands its images to an engine of its own "
                f"({model.engine.name or 'unknown'}), so --engine {asked} cannot take it. Leave "
                f"--engine out."
            )
        return engine_of(asked, model.name, model.format)

    def of_rows(self, model: LoadedModel, batch_size: int | None = None) -> Classifier:
        """The model as the rows have it: engine, dtype, quantisation, precision."""
        config = self.config
        return self._make(
            model,
            self.name_of(model),
            self.dtype,
            batch_size,
            quantize=config.quantize,
            tf32=config.tf32,
        )

    def unquantized(self, model: LoadedModel) -> Classifier:
        """The rows' engine in float32, before it is quantised."""
        return self._make(model, self.name_of(model), "float32")

    def reference(self, model: LoadedModel) -> Classifier:
        """The float32 eager model of the reference's predictions, without TensorFloat-32.

        That of `--reference-model`, for the row's pixels, or the row's own. A file without one is
        held against itself, run by the first engine of its format that is here.
        """
        if self.config.reference_model is not None:
            return self._make(self.reference_model(model), EAGER, "float32")
        if model.format is None:
            return self._make(model, EAGER, "float32")
        return self._make(model, self._first_engine(model), "float32")

    def reference_model(self, model: LoadedModel) -> LoadedModel:
        """The model of `--reference-model`, as the row's: with its pixels and its classes.

        Raises `UsageError` if it has another number of classes.
        """
        assert self.config.reference_model is not None
        found = self._loaded or self.load_reference(self.config.reference_model)
        self._loaded = found
        if found.format is not None or found.engine is not None:
            raise UsageError(
                f"--reference-model {found.name} is not run by torch. Give the model that the file "
                f"was exported from."
            )
        if found.classes.num_classes != model.classes.num_classes:
            raise UsageError(
                f"--reference-model {found.name} has {found.classes.num_classes:,} classes, and "
                f"{model.name} {model.classes.num_classes:,}. Give the model that it was exported "
                f"from."
            )
        return dataclasses.replace(found, preprocess=model.preprocess, classes=model.classes)

    def is_as_reference(self, model: LoadedModel) -> bool:
        """Whether the rows' own classifier is the one of the reference's predictions."""
        config = self.config
        plain = self.dtype == "float32" and config.quantize == "none" and not config.tf32
        if config.reference_model is not None or not plain:
            return False
        engine = EAGER if model.format is None else self._first_engine(model)
        return self.name_of(model) == engine

    def images_dtype(self, model: LoadedModel) -> str:
        """The dtype in which the rows' engine wants its images."""
        return registry.images_dtype(registry.resolve(self.name_of(model)), self.dtype)

    def describe(self, model: LoadedModel, classifier: Classifier) -> Engine | None:
        """What the record says of the engine; None for eager torch."""
        if classifier.engine == EAGER:
            return model.engine
        if model.engine is not None:  # a compiled module that hands its images on
            return model.engine
        said = classifier.traits
        return Engine(
            name=classifier.engine,
            number_format=said.number_format or classifier.dtype,
            num_threads=self.num_threads if self.device.type == "cpu" else None,
            settings=dict(said.settings),
            setup_s=dict(said.setup_s),
            weights_bytes=said.weights_bytes,
        )

    def _first_engine(self, model: LoadedModel) -> str:
        assert model.format is not None
        asked = self.name_of(model)
        first = engine_of_format(model.format)
        is_here = registry.missing(first, BUILT_IN[first].modules) is None
        return first if is_here else asked

    def _make(
        self,
        model: LoadedModel,
        engine: str,
        dtype: str,
        batch_size: int | None = None,
        *,
        quantize: str = "none",
        tf32: bool = False,
    ) -> Classifier:
        """Raises `UsageError` if the model was exported for other batches."""
        batch_size = batch_size or self.batch_size
        model.check_batch_size(batch_size)
        spec = EngineSpec(
            model=model,
            batch_size=batch_size,
            crop=model.preprocess.crop,
            device=self.device,
            dtype=dtype,
            num_threads=self.num_threads,
            tf32=tf32,
            quantize=quantize,
            calibration=self.calibration(model) if quantize == "int8" else (),
            compile_mode=self.config.compile_mode,
            options=self.config.options_of_engine(engine),
        )
        return Classifier(spec, engine)
