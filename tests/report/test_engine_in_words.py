"""What executed a row's model, in words: in the page's panel and below `report --details`."""

import io

import msgspec
from builders.engines import program, row
from builders.sheets import rows_of, sheet_of
from rich.console import Console

from fastbench.records.accuracy import Published
from fastbench.report.formats.run_screen import print_details
from fastbench.report.html.row_panel import panel_of
from fastbench.report.sheet.engine_in_words import engine_in_words
from fastbench.report.sheet.row_in_words import predictions

INT8 = row(engine="onnxruntime", quantize="int8")


def test_settings_setup_calibration_and_program() -> None:
    assert dict(engine_in_words(INT8)) == {
        "engine": "onnxruntime, int8; opset 18; ready in 7.61 s (export 4.51 s, quantize 3.10 s); "
        "25.6 MB of weights",
        "calibration": "128 images of /data/train, read by torchvision and not scored",
        "program": "top-1 agrees with eager's before it was quantised on 64 of 64 images in "
        "float32, logits differ by 2.1e-05 at most and spread by 2.3",
    }
    float32 = dict(engine_in_words(row(engine="openvino")))
    assert float32["engine"].startswith(
        "openvino; hint throughput; ready in 4.51 s (export 4.51 s)"
    )
    assert float32["program"].startswith("top-1 agrees with eager's on 64 of 64 images")
    assert "calibration" not in float32


def test_eager_has_nothing_to_say_and_a_wrong_export_its_cause() -> None:
    assert engine_in_words(row()) == []
    wrong = program(max_logits=3.2, num_agreeing=2, cause="its channels are swapped")
    said = dict(engine_in_words(msgspec.structs.replace(INT8, program=wrong)))["program"]
    assert said.endswith("differ by 3.2 at most and spread by 2.3; its channels are swapped")


def test_a_quantised_row_says_its_own_gate() -> None:
    published = Published(top1=0.93, top5=0.99)
    said = predictions(rows_of(msgspec.structs.replace(INT8, published=published))[0])
    assert "published top-1 93.00 %: −1.10 points (no gate of a quantised row)" in said
    assert said.endswith("Δ top-1 −0.20 points (gate: 0.3 points)")
    config = {**INT8.config, "tolerance": "mlperf"}
    said = predictions(rows_of(msgspec.structs.replace(INT8, config=config))[0])
    assert said.endswith("Δ top-1 −0.20 points (gate: 99 % of it)")
    assert predictions(rows_of(row(engine="openvino"))[0]).endswith("Δ top-1 0.00 points")


def test_the_panel_and_the_details_have_it() -> None:
    words = engine_in_words(INT8)
    panel = panel_of(rows_of(INT8)[0])
    assert [each for each in panel if each in words] == words
    assert not {"engine", "calibration", "program"} & dict(panel_of(rows_of(row())[0])).keys()
    file = io.StringIO()
    print_details(sheet_of(row(), INT8), Console(file=file, width=80))
    flat = " ".join(file.getvalue().split())
    for topic, said in words:
        assert flat.count(f"{topic}: {said}.") == 1
