"""What packages state of their models: asked once a version, kept in a file; patterns of names."""

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from fastbench.core.errors import UnknownNameError
from fastbench.models import catalogue
from fastbench.models.catalogue import Named

MODELS = {
    "torchvision": (
        Named(name="sample", num_parameters=1_000, input_size=64),
        Named(name="resnet18", num_parameters=11_689_512, num_macs=1.814e9, top1=0.69758),
        Named(name="resnet50", num_parameters=25_557_032, num_macs=4.089e9, top1=0.80858),
    ),
    "timm": (
        Named(name="timm:vit_tiny", input_size=224),
        Named(name="timm:vit_tiny.in1k", input_size=224, is_variant=True),
    ),
}


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The packages that were asked; their answers are made up, and the cache is a new folder."""
    packages: list[str] = []

    def ask(package: str) -> tuple[Named, ...]:
        packages.append(package)
        return MODELS[package]

    monkeypatch.setattr(catalogue, "_ask", ask)
    monkeypatch.setattr(catalogue, "installed", dict)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    catalogue._read.cache_clear()
    yield packages
    catalogue._read.cache_clear()


def names_after_a_restart(pattern: str = "*") -> list[str]:
    catalogue._read.cache_clear()
    return [each.name for each in catalogue.named(pattern)]


def test_a_package_is_asked_once_for_its_version(
    asked: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names_after_a_restart() == ["sample", "resnet18", "resnet50"]
    assert capsys.readouterr().err == "Reading torchvision's models, once for this version.\n"
    assert names_after_a_restart() == ["sample", "resnet18", "resnet50"]
    assert catalogue.named("resnet18") == [MODELS["torchvision"][1]]  # also through the file
    assert (asked, capsys.readouterr().err) == (["torchvision"], "")
    monkeypatch.setattr("importlib.metadata.version", lambda package: "of tomorrow")
    names_after_a_restart()
    assert asked == ["torchvision", "torchvision"]


@pytest.mark.parametrize("content", [b"", b"[[]]", b"[]", b'[{"name": 3}]', b"\xff\x00[", b"[[3]]"])
def test_a_damaged_file_is_made_anew(content: bytes, asked: list[str], tmp_path: Path) -> None:
    names_after_a_restart()
    (file,) = (tmp_path / "fastbench" / "models").iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert "resnet18" in names_after_a_restart()
    assert len(asked) == 2
    assert file.read_bytes() == whole


def test_where_nothing_can_be_kept_the_package_is_asked_again(
    asked: list[str], tmp_path: Path
) -> None:
    (tmp_path / "fastbench").write_text("a file where the folder should be")
    for _ in range(2):
        assert "resnet18" in names_after_a_restart()
    assert len(asked) == 2


def test_patterns() -> None:
    assert catalogue.matching("resnet*") == ("resnet18", "resnet50")
    assert catalogue.matching("timm:vit_*") == ("timm:vit_tiny",)
    assert catalogue.matching("timm:vit_*.*") == ("timm:vit_tiny.in1k",)
    assert catalogue.expanded(("vgg16", "resnet[15]?", "resnet50")) == (
        "vgg16",
        "resnet18",
        "resnet50",
    )


def test_a_file_with_such_a_name_is_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert catalogue.is_pattern("net[1].pt2")
    Path("net[1].pt2").touch()
    assert not catalogue.is_pattern("net[1].pt2")
    assert not catalogue.is_pattern("resnet18")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("resnext*", r"No model has a name like 'resnext\*'\. Did you mean 'resnet..'\? List them: "
         r"fastbench models$"),
        ("timm:beit*", r"List them: fastbench models 'timm:\*'$"),
    ],
)  # fmt: skip
def test_a_pattern_that_nothing_matches(pattern: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        catalogue.matching(pattern)


def test_names_are_checked_without_their_package() -> None:
    assert catalogue.unknown_of(("sample", "resnet18", "timm:x", "a.b:c", "net.pt2", "a/b")) == []
    (said,) = catalogue.unknown_of(("resnet19", "resnet19"))
    assert said.startswith("There is no model 'resnet19'. Did you mean 'resnet18'?")
