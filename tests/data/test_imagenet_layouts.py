"""ImageNet's validation images as they are handed out: each layout, each source of labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from builders.devkit import (
    DATA,
    FOLDERS,
    TRUTH_NAME,
    image_name,
    meta_mat,
    truth,
    write_devkit,
)
from builders.images import draw

from fastbench.core.errors import DataError, DataNotFoundError
from fastbench.data.dataset import Manifest, scan
from fastbench.data.labels import ClassSpace, map_labels
from fastbench.data.unpack.imagenet_archive import unpack_imagenet

IMAGENET = ClassSpace(num_classes=1000, is_imagenet=True)
NUMBERS = range(1, 1 + len(FOLDERS))
KAGGLE = "ILSVRC/Data/CLS-LOC/val"
SOLUTION = "LOC_val_solution.csv"


def labels_of(manifest: Manifest) -> str:
    return map_labels(manifest.words, IMAGENET, manifest.word_sets).in_words


def write_solution(folder: Path) -> Path:
    """In an order of its own, as Kaggle's."""
    lines = [
        f"ILSVRC2012_val_{number:08d},{FOLDERS[number - 1]} 85 1 499 272 \n"
        for number in reversed(NUMBERS)
    ]
    path = folder / SOLUTION
    path.write_text("ImageId,PredictionString\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in NUMBERS:
        draw(folder / image_name(number), (40 + number, 40))
    return folder


@pytest.fixture
def kaggle(tmp_path: Path, pictures: Path) -> Path:
    """Kaggle's archive, unpacked, without anything that has labels."""
    root = tmp_path / "imagenet"
    shutil.copytree(pictures, root / KAGGLE)
    draw(root / "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_1.JPEG", (40, 40))
    draw(root / "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", (40, 40))
    return root


@pytest.fixture
def flat(tmp_path: Path, pictures: Path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "flat"))


@pytest.mark.parametrize(
    "named", [".", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC", KAGGLE, SOLUTION]
)
def test_kaggles_folder_at_any_height_and_its_solution(named: str, kaggle: Path) -> None:
    solution = write_solution(kaggle)
    manifest = scan(kaggle / named)
    assert manifest.root == kaggle / KAGGLE
    label_of = dict(zip(manifest.names, manifest.words, strict=True))
    assert label_of == {image_name(number): FOLDERS[number - 1] for number in NUMBERS}
    assert labels_of(manifest) == f"mapped by ImageNet wnid, from {SOLUTION}"
    # A folder's files are sorted, a file's rows keep their order.
    assert (manifest.names[0] == image_name(1)) == (kaggle / named != solution)


def test_the_labels_are_those_of_the_unpacked_set(kaggle: Path, flat: Path, tmp_path: Path) -> None:
    devkit = write_devkit(tmp_path)
    write_solution(kaggle)
    unpacked = scan(unpack_imagenet(tmp_path / "val", images=flat, devkit=devkit))
    expected = {
        Path(name).name: word for name, word in zip(unpacked.names, unpacked.words, strict=True)
    }
    for found in (scan(kaggle), scan(flat)):
        assert dict(zip(found.names, found.words, strict=True)) == expected
        labels = map_labels(found.words, IMAGENET, found.word_sets)
        assert labels.how == map_labels(unpacked.words, IMAGENET, unpacked.word_sets).how


@pytest.mark.parametrize("where", ["", "ILSVRC2012_devkit_t12/data", "data"])
def test_a_ground_truth_beside_a_flat_folder(where: str, flat: Path) -> None:
    kit = flat.parent / where
    kit.mkdir(parents=True, exist_ok=True)
    (kit / TRUTH_NAME).write_bytes(truth())
    said = labels_of(scan(flat))
    assert said.startswith(f"no labels: {kit / TRUTH_NAME} has ILSVRC's IDs, which only meta.mat")
    (kit / "meta.mat").write_bytes(meta_mat())
    (flat / image_name(2)).unlink()  # the labels go by the names' numbers
    manifest = scan(flat)
    assert manifest.words == tuple(FOLDERS[number - 1] for number in NUMBERS if number != 2)
    assert labels_of(manifest) == f"mapped by ImageNet wnid, from {TRUTH_NAME}"


def test_a_development_kit_that_is_still_packed(flat: Path) -> None:
    archive = write_devkit(flat.parent)
    manifest = scan(flat)
    assert manifest.words == tuple(FOLDERS)
    assert labels_of(manifest) == f"mapped by ImageNet wnid, from {archive.name}"


def test_a_ground_truth_by_its_name(flat: Path) -> None:
    kit = flat.parent / DATA
    kit.mkdir(parents=True)
    (kit / TRUTH_NAME).write_bytes(truth())
    with pytest.raises(DataError, match=r"IDs, which are not the indices of models, and meta\.mat"):
        scan(kit / TRUTH_NAME, flat)
    (kit / "meta.mat").write_bytes(meta_mat())
    with pytest.raises(DataNotFoundError, match=r"no images beside .*Name their folder with --dat"):
        scan(kit / TRUTH_NAME)
    manifest = scan(kit / TRUTH_NAME, flat)
    assert manifest.words == tuple(FOLDERS)
    assert manifest.digest == scan(flat).digest


def test_the_annotations_of_boxes(kaggle: Path) -> None:
    boxes = kaggle / "ILSVRC/Annotations/CLS-LOC/val"
    boxes.mkdir(parents=True)
    for number in NUMBERS:
        name = f"<object><name>{FOLDERS[number - 1]}</name></object>"
        file = boxes / Path(image_name(number)).with_suffix(".xml")
        file.write_text(f"<annotation>{2 * name}</annotation>")
    manifest = scan(kaggle)
    assert manifest.words == tuple(FOLDERS)
    assert labels_of(manifest) == "mapped by ImageNet wnid, from Annotations/CLS-LOC/val"
    solution = write_solution(kaggle)  # higher up, and read in one go
    assert labels_of(scan(kaggle)) == f"mapped by ImageNet wnid, from {SOLUTION}"
    solution.unlink()
    file.write_text("<annotation></annotation>")
    with pytest.raises(DataError, match=r"00000006\.xml names 0 classes, not one\."):
        scan(kaggle)


def test_images_without_a_label(flat: Path) -> None:
    """A label that one image lacks is no reason to score the others."""
    said = labels_of(scan(flat))
    assert said == (
        f"no labels: ImageNet's need {SOLUTION} or ILSVRC2012_devkit_t12.tar.gz beside the images' "
        f"folder"
    )
    write_solution(flat.parent)
    shutil.copy(flat / image_name(1), flat / image_name(7))
    with pytest.raises(DataError) as caught:
        scan(flat)
    assert str(caught.value) == (
        f"{SOLUTION} has no label for ILSVRC2012_val_00000007 in {flat} (1 of 7 images). Use the "
        f"images and the labels of ILSVRC2012."
    )


def test_other_images_beside_a_solution_are_not_imagenets(small: Path) -> None:
    write_solution(small.parent)
    assert labels_of(scan(small / "n01440764")) == "no labels: the images have no class folders"


@pytest.mark.parametrize("sign", ["meta.bin", "ILSVRC2012_devkit_t12.tar.gz"])
def test_torchvisions_folder_is_its_validation_set(sign: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        draw(tmp_path / split / "n01440764/a.JPEG", (40, 40))
    with pytest.raises(DataError, match="holds several data sets"):
        scan(tmp_path)
    (tmp_path / sign).touch()
    manifest = scan(tmp_path)
    assert (manifest.root, manifest.words) == (tmp_path / "val", ("n01440764",))
    assert labels_of(manifest) == "mapped by ImageNet wnid"


def test_labels_that_change_are_another_data_set(flat: Path) -> None:
    """The same images: their digest is the same, and what was measured holds for them no more."""
    solution = write_solution(flat.parent)
    before = scan(flat)
    solution.write_text(solution.read_text().replace("n02119789", "n02100735"))
    after = scan(flat)
    assert (after.digest, after.contents) == (before.digest, before.contents)
    assert after.identity != before.identity
