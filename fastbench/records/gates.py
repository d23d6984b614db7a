"""The gates that a row's parity and accuracy have to pass.

At 1,000 images top-1 is known to 2.6 points only, so loaders are judged by pairs: the same images,
one by one. A gate fails only on what is beyond chance.

    pixels      mean difference below 0.5 level over all, below 10 for each image: a coarser filter
                or a crop beside the reference's is several levels off, another decoder a tenth
    agreement   the 95 % Wilson interval of top-1 agreement reaches 98.5 % in float32, 95 % in
                float16 and 90 % in bfloat16: of the images whose pixels are compared, of all
                predictions of the timed pass, and of these with those that are scored; under load
                of the queries served with a pass over all images
    McNemar     exact p above 0.01: as many images lost as won against the reference
    accuracy    within 0.1 point of the reference's, where there are 50,000 images or more
    published   within 0.3 point of what the weights' publisher states (or as --tolerance says;
                `mlperf`: at least 99 % of it), on all 50,000 of ImageNet's validation images
    program     what an engine makes of a model, before it is quantised, beside the eager model on
                the same pixels: agreement as above, and in float32 no logit further off than 5 % of
                the logits' standard deviation (what is right differs by some millionths)

A quantised row differs from the reference by what it is, so agreement, McNemar and accuracy are no
gates of it, and published only where there is no reference. It has two of its own, after that of
the program: where that one fails, the row is a wrong export, and they are not judged. Its loader's
pixels are judged as ever.

    lost        the 95 % interval of the paired difference of top-1 reaches what may be lost
                against the float32 reference: --tolerance, 0.3 point; `mlperf`: 1 % of its top-1
    alike       without labels, the interval of top-1 agreement reaches 50 %: below, it is noise
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.stats import mcnemar_p, wilson_interval
from fastbench.core.units import format_points
from fastbench.core.value_types import MLPERF
from fastbench.records.accuracy import EXACT_LEVELS
from fastbench.records.fact_values import engine_name, is_quantized, quantized
from fastbench.records.load import LoadRecord
from fastbench.records.record import Record
from fastbench.records.validity import contradictions_of_predictions

if TYPE_CHECKING:
    from fastbench.records.accuracy import Accuracy, Parity, Pixels, ProgramCheck, Published
    from fastbench.records.record import ParityRecord

MEAN_LEVELS: Final = 0.5
IMAGE_LEVELS: Final = 10.0
AGREEMENT: Final = {"float32": 0.985, "float16": 0.95, "bfloat16": 0.9}
"""bfloat16 has 8 bits of precision: of images that a model is unsure of, it changes some."""
MCNEMAR_P: Final = 0.01
FULL_SET: Final = 50_000
REFERENCE_TOLERANCE: Final = 0.001
MLPERF_SHARE: Final = 0.99
"""MLPerf Inference's target for image classification: 99 % of the reference's accuracy."""
PROGRAM_SHARE: Final = 0.05
"""Of the logits' standard deviation: a float32 program's sums are in another order, no more."""
ALIKE: Final = 0.5
"""Quantised models agree on over 90 % of images; one that is broken on some thousandth of them."""


def failures_of(record: Record | LoadRecord | ParityRecord) -> list[str]:
    """The gates of parity and accuracy that a record does not pass, in words."""
    if not isinstance(record, Record | LoadRecord):
        return judge_parity(record.parity)
    if contradictions_of_predictions(record):
        return []  # it is INVALID, and counts that cannot be cannot be judged
    failures = judge_program(record.program, engine_name(record)) if record.program else []
    if is_quantized(record):
        failures += _judge_quantized(record, is_export_right=not failures)
    elif record.parity:
        failures += judge_parity(record.parity, record.dtype)
    if isinstance(record, LoadRecord):
        if (served := record.served) is not None:
            failures += _judge_agreement(
                served.num_images - served.num_changed,
                served.num_images,
                record.dtype,
                "the queries served agree with a pass over all images",
                "the predictions served",
            )
    elif record.num_changed is not None:
        num = record.data["num_samples"]
        failures += _judge_agreement(
            num - record.num_changed,
            num,
            record.dtype,
            "the timed pass agrees with the scored one",
            "the scored predictions",
        )
    has_its_own = is_quantized(record) and record.parity is not None
    if record.accuracy and record.published and not has_its_own:
        failures += judge_published(record.accuracy, record.published, record.tolerance)
    return failures


def judge_program(program: ProgramCheck, engine: str | None = None) -> list[str]:
    """What is wrong with what an engine makes of a model before it is quantised, in words."""
    name = engine or "the engine"
    failures = _judge_agreement(
        program.num_agreeing,
        program.num_samples,
        program.dtype,
        "top-1 agrees with eager's",
        "the same pixels",
    )
    if program.dtype == "float32" and program.max_logits > PROGRAM_SHARE * program.spread:
        failures.append(
            f"logits of {name} differ from eager's by up to {program.max_logits:.2g} in float32, "
            f"and they spread by {program.spread:.2g} (gate: {100 * PROGRAM_SHARE:g} % of that)"
        )
    if not failures:
        return []
    because = f": {program.cause}" if program.cause else ""
    return [f"the export to {name} is wrong{because}; {'; '.join(failures)}"]


def _judge_quantized(record: Record | LoadRecord, *, is_export_right: bool) -> list[str]:
    """A quantised row's own gates; only its loader's where it is a wrong export."""
    parity = record.parity
    if parity is None or parity.is_reference:
        return []
    failures = _judge_images(parity)
    if is_export_right:
        num_right = record.accuracy.top1_correct if record.accuracy else 0
        failures += judge_lost(parity, record.tolerance, num_right, quantized(record))
    return failures


def judge_lost(parity: Parity, tolerance: str, num_right: int, what: str = "int8") -> list[str]:
    """What is wrong with a quantised row's predictions against the float32 reference's.

    `tolerance` is in points, or `mlperf`; `num_right` predictions of the row are right, which
    counts with labels only.
    """
    num, interval = parity.num_samples, parity.difference_interval
    if parity.discordant is None or interval is None:
        _, upper = wilson_interval(parity.num_agreeing, num)
        if upper >= ALIKE:
            return []
        return [
            f"top-1 in {what} agrees with {parity.reference} in float32 on "
            f"{parity.num_agreeing:,} of {num:,} images, as another model's would "
            f"(gate: {100 * ALIKE:g} %, within the interval)"
        ]
    lost, won = parity.discordant
    if tolerance == MLPERF:
        allowed = (1 - MLPERF_SHARE) * (num_right - won + lost) / num
        gate = f"{100 * allowed:.2f} points, 1 % of the reference's top-1"
    else:
        allowed, gate = float(tolerance) / 100, gate_in_words(tolerance)
    low, high = interval
    # Rounded: of two floats for 0.3 points, one is a little more.
    if round(100 * high, 9) >= round(-100 * allowed, 9):
        return []
    return [
        f"{what} loses {lost:,} images and wins {won:,} of {num:,}: top-1 "
        f"{format_points((won - lost) / num)} points ({format_points(low)} to "
        f"{format_points(high)}) against {parity.reference} in float32 (gate: {gate}, within the "
        f"interval)"
    ]


def judge_pixels(pixels: Pixels) -> list[str]:
    """What is wrong with a loader's images, in words; nothing if they pass."""
    failures = []
    if pixels.mean_levels >= MEAN_LEVELS:
        failures.append(
            f"pixels differ by {pixels.mean_levels:.2f} levels in the mean (gate: {MEAN_LEVELS})"
        )
    failures += judge_worst(pixels)
    failures += _judge_agreement(
        pixels.num_agreeing, pixels.num_samples, "float32", "top-1 agrees", "the images compared"
    )
    return failures


def judge_worst(pixels: Pixels) -> list[str]:
    """What is wrong with the image that differs most, in words; nothing where it passes."""
    if pixels.worst_mean_levels < IMAGE_LEVELS:
        return []
    return [
        f"{pixels.worst_sample} differs by {pixels.worst_mean_levels:.1f} levels in the mean "
        f"(gate: {IMAGE_LEVELS:g} for each image)"
    ]


def _judge_agreement(num_agreeing: int, num: int, dtype: str, what: str, of: str) -> list[str]:
    gate = AGREEMENT.get(dtype, AGREEMENT["float32"])
    _, upper = wilson_interval(num_agreeing, num)
    if upper >= gate:
        return []
    return [
        f"{what} on {num_agreeing:,} of {num:,} images in {dtype} "
        f"(gate: {100 * gate:g} % of {of}, within the interval)"
    ]


def compare_pixels(parity: Parity) -> str | None:
    """`exact` (no value above 1 level), `equivalent` or `different`, by the gates of pixels.

    None where no pixels were compared.
    """
    if parity.pixels is None:
        return None
    if judge_pixels(parity.pixels) or (parity.stood_out and judge_worst(parity.stood_out)):
        return "different"
    is_exact = all(each.max_levels < EXACT_LEVELS for each in parity.compared)
    return "exact" if is_exact else "equivalent"


def _judge_images(parity: Parity) -> list[str]:
    """What is wrong with the images that a row's loader made, in words."""
    failures = judge_pixels(parity.pixels) if parity.pixels else []
    return failures + (judge_worst(parity.stood_out) if parity.stood_out else [])


def judge_parity(parity: Parity, dtype: str = "float32") -> list[str]:
    """What is wrong with a row's predictions against the reference's; nothing for its own row.

    The timed predictions were made in `dtype`.
    """
    if parity.is_reference:
        return []
    failures = _judge_images(parity)
    failures += _judge_agreement(
        parity.num_agreeing,
        parity.num_samples,
        dtype,
        f"top-1 agrees with {parity.reference}",
        "all predictions",
    )
    if parity.discordant is None:
        return failures
    lost, won = parity.discordant
    p = mcnemar_p(lost, won)
    if p <= MCNEMAR_P:
        failures.append(
            f"{lost} images are lost and {won} won against the reference, McNemar p = {p:.1g} "
            f"(gate: {MCNEMAR_P})"
        )
    difference = (won - lost) / parity.num_samples
    if parity.num_samples >= FULL_SET and abs(difference) > REFERENCE_TOLERANCE:
        failures.append(
            f"top-1 differs by {100 * difference:+.2f} points from the reference's "
            f"(gate: {100 * REFERENCE_TOLERANCE:g})"
        )
    return failures


def judge_published(accuracy: Accuracy, published: Published, tolerance: str) -> list[str]:
    """What is wrong with top-1 against the published value; only the full set is judged.

    `tolerance` is in points, or `mlperf`.
    """
    if accuracy.num_samples != FULL_SET:
        return []
    if tolerance == MLPERF:
        passed = accuracy.top1 >= MLPERF_SHARE * published.top1
    else:
        # Rounded: of two shares 0.3 points apart, the difference of floats is a little more.
        passed = round(100 * abs(accuracy.top1 - published.top1), 9) <= float(tolerance)
    if passed:
        return []
    return [
        f"top-1 is {100 * accuracy.top1:.2f} %, published {100 * published.top1:.2f} % "
        f"({100 * (accuracy.top1 - published.top1):+.2f} points; gate: {gate_in_words(tolerance)})"
    ]


def gate_in_words(tolerance: str) -> str:
    """What `tolerance` asks for: `0.3 points`, `99 % of it`."""
    return f"{100 * MLPERF_SHARE:g} % of it" if tolerance == MLPERF else f"{tolerance} points"
