"""The gates that a row's parity and accuracy have to pass.

At 1,000 images top-1 is known to 2.6 points only, so loaders are judged by pairs: the same images,
one by one. A gate fails only on what is beyond chance.

    pixels      mean difference below 0.5 level over all, below 10 for each image: a coarser filter
                or a crop beside the reference's is several levels off, another decoder a tenth
    agreement   the 95 % Wilson interval of top-1 agreement reaches 98.5 % in float32, 95 % in
                float16 and 90 % in bfloat16: of the images whose pixels are compared, of all
                predictions of the timed pass, and of these with those that are scored
    McNemar     exact p above 0.01: as many images lost as won against the reference
    accuracy    within 0.1 point of the reference's, where there are 50,000 images or more
    published   within 0.3 point of what the weights' publisher states (or as --tolerance says;
                `mlperf`: at least 99 % of it), on all 50,000 of ImageNet's validation images
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.stats import mcnemar_p, wilson_interval
from fastbench.core.value_types import MLPERF
from fastbench.records.accuracy import EXACT_LEVELS
from fastbench.records.record import Record
from fastbench.records.validity import contradictions_of_predictions

if TYPE_CHECKING:
    from fastbench.records.accuracy import Accuracy, Parity, Pixels, Published
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


def failures_of(record: Record | ParityRecord) -> list[str]:
    """The gates of parity and accuracy that a record does not pass, in words."""
    if not isinstance(record, Record):
        return judge_parity(record.parity)
    if contradictions_of_predictions(record):
        return []  # it is INVALID, and counts that cannot be cannot be judged
    failures = judge_parity(record.parity, record.dtype) if record.parity else []
    if record.num_changed is not None:
        num = record.data["num_samples"]
        failures += _judge_agreement(
            num - record.num_changed,
            num,
            record.dtype,
            "the timed pass agrees with the scored one",
            "the scored predictions",
        )
    if record.accuracy and record.published:
        failures += judge_published(record.accuracy, record.published, record.tolerance)
    return failures


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


def judge_parity(parity: Parity, dtype: str = "float32") -> list[str]:
    """What is wrong with a row's predictions against the reference's; nothing for its own row.

    The timed predictions were made in `dtype`.
    """
    if parity.is_reference:
        return []
    failures = judge_pixels(parity.pixels) if parity.pixels else []
    failures += judge_worst(parity.stood_out) if parity.stood_out else []
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
