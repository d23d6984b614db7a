"""The list of samples, and whose labels they carry."""

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest
from builders.images import draw
from PIL import Image

from fastbench.core.config import RunConfig
from fastbench.core.errors import CorruptImageError, DataError, DataNotFoundError, UsageError
from fastbench.data import dataset
from fastbench.data.dataset import Known, find_images, scan, varied
from fastbench.data.folder_tree import in_words
from fastbench.data.imagenet import class_names, wnid_index
from fastbench.data.jpeg.quick_check import check_frame, find_corrupt
from fastbench.data.labels import ClassSpace, Labels, WordSets, among_present, doubts_of, map_labels

IMAGENET = ClassSpace(num_classes=1000, is_imagenet=True)


def test_samples_are_sorted_and_carry_their_folder(small: Path) -> None:
    manifest = scan(small)
    assert manifest.names == (
        "n01440764/0.jpg", "n01440764/2.jpg", "n01440764/4.jpg", "n02123045/1.jpg",
        "n02123045/3.jpg",
    )  # fmt: skip
    assert manifest.words == ("n01440764",) * 3 + ("n02123045",) * 2
    assert manifest.num_bytes == tuple(Path(path).stat().st_size for path in manifest.paths)


def test_the_digest_follows_names_and_sizes(small: Path) -> None:
    before = scan(small).digest
    assert scan(small).digest == before
    (small / "n01440764/0.jpg").rename(small / "n01440764/00.jpg")
    assert scan(small).digest != before


def exchange(a: Path, b: Path) -> None:
    """Give two JPEGs each other's content; their sizes and times are equal before and after."""
    contents = [path.read_bytes() for path in (b, a)]
    for path, content in zip((a, b), contents, strict=True):
        path.write_bytes(content.ljust(max(map(len, contents)), b"\0"))
        os.utime(path, ns=(0, 0))


def test_files_of_other_contents_are_not_the_same_images(small: Path) -> None:
    a, b = small / "n01440764/0.jpg", small / "n02123045/1.jpg"
    exchange(a, b)
    before = scan(small)
    assert scan(small) == before
    exchange(a, b)
    after = scan(small)
    assert after.digest == before.digest
    assert after.contents != before.contents
    assert after.identity != before.identity


def test_what_was_checked_is_read_again_once_it_has_changed(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change shows in its time of change, which nothing sets back."""
    known: dict[str, Known] = {}
    before = scan(small, known=known)
    read: list[Path] = []
    monkeypatch.setattr(dataset, "check_frame", lambda path: read.append(path) or check_frame(path))
    assert scan(small, known=known) == before
    assert not read
    a, b = small / "n01440764/0.jpg", small / "n02123045/1.jpg"
    exchange(a, b)
    assert scan(small, known=known) == scan(small)
    assert read[:2] == [a, b]
    a.unlink()
    a.write_bytes(b"")
    with pytest.raises(CorruptImageError, match="empty"):
        scan(small, known=known)


def test_a_copy_has_the_same_contents_and_not_the_same_identity(
    small: Path, tmp_path: Path
) -> None:
    shutil.copytree(small, tmp_path / "copy", copy_function=shutil.copyfile)
    before, copy = scan(small), scan(tmp_path / "copy")
    assert (copy.digest, copy.contents) == (before.digest, before.contents)
    assert copy.identity != before.identity


def test_other_labels_are_another_identity(small: Path) -> None:
    """Those of a list, and classes without an image in this run, by which labels are read."""
    found = []
    for word in ("0", "1"):
        (small / "list.txt").write_text(f"n01440764/0.jpg 0\nn02123045/1.jpg {word}\n")
        found.append(scan(small / "list.txt"))
    assert found[0].contents == found[1].contents
    assert found[0].identity != found[1].identity
    some = scan(small, only=["n01440764"])
    (small / "n02123045").rename(small / "n02123046")
    other = scan(small, only=["n01440764"])
    assert some.contents == other.contents
    assert some.identity != other.identity


def test_a_limit_is_spread_over_the_classes(images: Path) -> None:
    manifest = scan(images, limit=5)
    assert len(manifest) == 5
    assert len(manifest.classes) == 3
    assert len(scan(images, limit=10_000)) == len(scan(images)) == 22


def test_hidden_files_and_folders_are_not_data(small: Path) -> None:
    (small / "n01440764/._0.jpg").write_bytes(b"resource fork")
    (small / ".cache").mkdir()
    (small / ".cache/thumb.jpg").write_bytes(b"thumbnail")
    assert len(scan(small)) == 5


def test_linked_folders_are_data_but_for_those_that_lead_back(small: Path, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere/a.jpg", (40, 40))
    (small / "n02123046").symlink_to(tmp_path / "elsewhere")
    (small / "n02123045/again").symlink_to(".")
    (small / "n02123045/up").symlink_to("..")
    assert len(scan(small)) == 6
    assert scan(small).classes == ("n01440764", "n02123045", "n02123046")


def test_each_real_file_is_listed_once(tmp_path: Path) -> None:
    """In folders that link to each other, and under several names; under its own name."""
    root = tmp_path / "root"
    for folder, other in ("ab", "ba"):
        draw(root / folder / f"{folder}.jpg", (40, 40))
        (root / folder / "0").symlink_to(f"../{other}")
    os.link(root / "a/a.jpg", root / "b/hard.jpg")
    (root / "a/0.jpg").symlink_to("a.jpg")
    draw(tmp_path / "outside/c.jpg", (40, 40))
    (root / "b/c.jpg").symlink_to(tmp_path / "outside/c.jpg")
    manifest = scan(root)
    assert manifest.names == ("a/a.jpg", "b/b.jpg", "b/c.jpg")
    assert manifest.words == ("a", "b", "b")
    assert manifest.not_used == {"repeated folder": 2, "repeated file": 2}


def test_links_that_lead_nowhere_are_named(small: Path) -> None:
    (small / "n02123045/itself.jpg").symlink_to("itself.jpg")
    with pytest.raises(CorruptImageError, match=r"itself\.jpg cannot be read"):
        scan(small)


def test_what_is_not_used_is_counted_by_its_kind(small: Path) -> None:
    for name in ("a.png", "b.PNG", "c.webp", "notes", "shard.0001", "._0.jpg", "fastbench-a.json"):
        (small / "n01440764" / name).touch()
    (small / ".cache").mkdir()
    (small / ".cache/thumb.jpg").touch()
    os.mkfifo(small / "n01440764/pipe.jpg")  # to open it would wait for ever
    manifest = scan(small)
    assert len(manifest) == 5
    assert manifest.not_used == {
        ".png": 2, ".webp": 1, "other file": 3, "hidden file": 1, "hidden folder": 1,
    }  # fmt: skip
    assert in_words(manifest.not_used) == (
        "3 other files, 2 .png files, 1 .webp file, 1 hidden file, 1 hidden folder"
    )


@pytest.mark.parametrize(
    ("folders", "start"),
    [
        (["val/n01440764", "val/n02123045"], "val"),
        (["val/n01440764"], "val"),
        (["Data/CLS-LOC/val2012/cats", "Data/CLS-LOC/val2012/dogs"], "Data/CLS-LOC/val2012"),
        (["ILSVRC2012_img_val/n01440764", "ILSVRC2012_img_val/n02123045"], "ILSVRC2012_img_val"),
        (["test/cats"], "test"),
        # Classes with folders of their own, and a class of such a name.
        (["n01440764/images"], "."),
        (["cats/young", "cats/old"], "."),
        (["train"], "."),
        (["train/a", "bus/a"], "."),
        (["n01440764/train", "n02123045/val"], "."),
    ],
)
def test_class_folders_that_lie_further_down(
    folders: list[str], start: str, tmp_path: Path
) -> None:
    for folder in folders:
        draw(tmp_path / folder / "a.jpg", (40, 40))
    assert scan(tmp_path).root == tmp_path / start
    assert scan(tmp_path).digest == scan(tmp_path / start).digest


@pytest.mark.parametrize(
    ("folders", "root", "meant"),
    [
        (["train/n01440764", "val/n01440764"], "", "val"),
        (["train/n01440764", "val"], "", "val"),
        (["x/test/cats", "x/train/cats"], "x/", "x/test"),
        (["2012/n01440764", "2017/n02123045"], "", "2012"),
    ],
)
def test_data_sets_side_by_side_are_not_mixed(
    folders: list[str], root: str, meant: str, tmp_path: Path
) -> None:
    for folder in folders:
        draw(tmp_path / folder / "a.jpg", (40, 40))
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / root} holds several data sets")
    assert str(caught.value).endswith(f"Name one of them, such as --data {tmp_path / meant}.")


def test_a_flat_folder_has_no_classes(small: Path) -> None:
    manifest = scan(small / "n01440764")
    assert manifest.words == (None, None, None)
    assert manifest.classes == ()


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"nowhere does not exist\. Name a folder"):
        scan(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder(small: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is neither a folder nor a list of files"):
        scan(small / "n01440764/0.jpg")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFoundError, match=r"No JPEG files below .*: there are no files in it"
    ):
        scan(tmp_path)


def test_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataNotFoundError, match=r"it holds 1 \.png file\)\. Convert"):
        scan(tmp_path)


def test_images_beside_class_folders(small: Path) -> None:
    (small / "n01440764/0.jpg").rename(small / "loose.jpg")
    with pytest.raises(DataError, match=r"both inside .* and beside .* loose\.jpg"):
        scan(small)


def test_a_png_named_jpg(small: Path) -> None:
    Image.new("RGB", (9, 9)).save(small / "n01440764/0.jpg", "PNG")
    with pytest.raises(CorruptImageError, match=r"0\.jpg is a PNG file with a JPEG's name\. Conv"):
        scan(small)


def test_text_named_jpg(small: Path) -> None:
    (small / "n01440764/0.jpg").write_text("not found")
    with pytest.raises(CorruptImageError, match=r"0\.jpg is not a JPEG file"):
        scan(small)


def test_an_empty_file(small: Path) -> None:
    (small / "n02123045/3.jpg").write_bytes(b"")
    with pytest.raises(CorruptImageError, match=r"3\.jpg is empty \(0 bytes\)"):
        scan(small)


def test_a_truncated_jpeg(small: Path) -> None:
    path = small / "n02123045/3.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorruptImageError, match=r"3\.jpg cannot be decoded .*truncated"):
        scan(small)


def test_a_height_that_is_left_open(small: Path) -> None:
    path = small / "n02123045/3.jpg"
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 7] = b"\0\0"
    path.write_bytes(data)
    with pytest.raises(CorruptImageError, match=r"3\.jpg cannot be decoded"):
        scan(small)


def test_bytes_after_the_end_are_harmless(small: Path) -> None:
    path = small / "n02123045/3.jpg"
    path.write_bytes(path.read_bytes() + b"camera notes")
    assert len(scan(small)) == 5


def test_damage_within_a_file_is_found_by_decoding(
    small: Path, damage: Callable[[Path], None]
) -> None:
    damage(small / "n01440764/2.jpg")
    manifest = scan(small)  # its first and last bytes are right
    error = find_corrupt(manifest.paths)
    assert error is not None
    assert "n01440764/2.jpg cannot be decoded" in str(error)
    assert find_corrupt(manifest.paths[2:]) is None


def test_the_class_index() -> None:
    assert len(wnid_index()) == len(class_names()) == 1000
    assert list(wnid_index()) == sorted(wnid_index())
    assert wnid_index()["n01440764"] == 0
    assert class_names()[0] == "tench"
    assert wnid_index()["n15075141"] == 999


def test_a_part_of_imagenet_keeps_its_indices() -> None:
    labels = map_labels(("n01440764", "n15075141", "n02123045"), IMAGENET)
    assert labels.indices == (0, 999, 281)
    assert labels.how == "mapped by ImageNet wnid"


def test_folders_named_as_the_models_classes() -> None:
    classes = ClassSpace(num_classes=3, names=("ant", "bee", "cow"))
    assert map_labels(("cow", "ant", "cow"), classes).indices == (2, 0, 2)


def test_a_name_that_two_classes_share_is_not_guessed() -> None:
    classes = ClassSpace(num_classes=3, names=("crane", "bee", "crane"))
    with pytest.raises(DataError, match="'crane' of the data is not a class of this model"):
        map_labels(("bee", "crane"), classes)


def test_some_folders_unknown() -> None:
    with pytest.raises(DataError, match=r"'n99999999' of the data is not a class .* \(1 of 2"):
        map_labels(("n01440764", "n99999999"), IMAGENET)


def test_all_folders_unknown() -> None:
    labels = map_labels(("cats", "dogs"), IMAGENET)
    assert labels.indices is None
    assert "'cats' are not classes of this model" in labels.how


def test_folders_named_by_index() -> None:
    assert map_labels(("0", "17", "999"), IMAGENET).indices == (0, 17, 999)
    assert map_labels(("0", "1000"), IMAGENET).indices is None


def test_a_checkpoint_without_names_counts_folders_as_it_was_trained() -> None:
    labels = map_labels(("dogs", "cats", "dogs"), ClassSpace(num_classes=2))
    assert labels.indices == (1, 0, 1)
    assert labels.how == "mapped by sorted folder order"
    assert map_labels(("dogs", "cats"), ClassSpace(num_classes=3)).indices is None


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[int], Path]:
    """Class folders `1`, `2` and so on, of an image each."""

    def make(num: int) -> Path:
        for i in range(1, num + 1):
            draw(tmp_path / "tree" / str(i) / "a.jpg", (40, 40))
        return tmp_path / "tree"

    return make


def test_folders_are_numbered_whether_or_not_a_limit_leaves_them_an_image(
    folders: Callable[[int], Path], tmp_path: Path
) -> None:
    tree, ten = folders(10), ClassSpace(num_classes=10)
    whole = scan(tree)
    labels = map_labels(whole.words, ten, whole.word_sets).indices
    assert labels is not None
    by_name = dict(zip(whole.names, labels, strict=True))
    assert by_name["10/a.jpg"] == 1  # as ImageFolder sorts them
    few = tmp_path / "few"
    few.write_text("10\n3\n")
    for part in (scan(tree, limit=3), scan(tree, limit=9), scan(tree, only=["3", "10"])):
        found = map_labels(part.words, ten, part.word_sets)
        assert found.indices == tuple(by_name[name] for name in part.names)
        assert found.how == "mapped by sorted folder order"


def test_a_limit_makes_no_numbering(folders: Callable[[int], Path]) -> None:
    part = scan(folders(12), limit=10)
    assert map_labels(part.words, ClassSpace(num_classes=10), part.word_sets).indices is None
    asked = [str(i) for i in range(3, 13)]
    part = scan(folders(12), only=asked, limit=4)
    indices = map_labels(part.words, ClassSpace(num_classes=10), part.word_sets).indices
    assert indices == tuple(sorted(asked).index(word) for word in part.words if word)


def test_a_folder_that_is_left_out_has_no_say(folders: Callable[[int], Path]) -> None:
    tree = folders(2)
    draw(tree / "notes/a.jpg", (40, 40))
    part = scan(tree, only=["1", "2"])
    assert map_labels(part.words, ClassSpace(num_classes=7), part.word_sets).indices == (1, 2)


def test_a_lists_numbers_are_indices_or_nothing(folders: Callable[[int], Path]) -> None:
    tree = folders(10)
    (tree / "list").write_text("".join(f"{i}/a.jpg {i}\n" for i in range(1, 11)))
    for limit in (None, 9, 1):
        manifest = scan(tree / "list", limit=limit)
        labels = map_labels(manifest.words, ClassSpace(num_classes=10), manifest.word_sets)
        assert labels.indices is None  # they begin at 1, and are not sorted as text
        assert "numbered 1 to 10 and the model's outputs 0 to 9, so they may beg" in labels.how


def sets_of(every: Iterable[object], left_out: Collection[str] = (), **kind: bool) -> WordSets:
    words = sorted(map(str, every))
    asked = tuple(word for word in words if word not in left_out)
    return WordSets(every=tuple(words), asked=asked, **{"are_folders": True, **kind})


@pytest.mark.parametrize("are_folders", [True, False])
@pytest.mark.parametrize(
    ("every", "left_out", "said"),
    [
        ([*range(1, 10), 1000], ["1000"], "numbered 1 to 1,000 and the model's outputs 0 to 999"),
        (range(1, 1001), ["1000"], "so they may begin at 1 or be ILSVRC's IDs (a list of lines"),
        (range(1, 1001), map(str, range(600, 1001)), "or be ILSVRC's IDs"),
        (["1", "01", "2"], ["01"], "two of the data's classes have the same number"),
        (["1", "2", "tench"], ["tench"], "numbers such as '1' and names such as 'tench'"),
        (["1", "2", "n01440764"], ["n01440764"], "names such as 'n01440764'"),
    ],
)
def test_numbers_are_judged_by_all_of_the_data(
    every: Iterable[object], left_out: Iterable[str], said: str, are_folders: bool
) -> None:
    """Whether or not some classes are left out, and in a limit's few images."""
    for sets in (
        sets_of(every, list(left_out), are_folders=are_folders),
        sets_of(every, are_folders=are_folders),
    ):
        words = [word for word in sets.asked if word.isdecimal()]
        if len(words) < len(sets.asked):
            continue  # an error: only some are classes of the model
        for present in (words, words[:1]):
            labels = map_labels(tuple(present), IMAGENET, sets)
            assert labels.indices is None
            assert said in labels.how


def test_numbers_that_all_fit_are_indices() -> None:
    for every in (range(1000), range(9), [3, 17, 999], ["notes", *range(1, 10)]):
        sets = sets_of(every, ["notes"])
        labels = map_labels(sets.asked, IMAGENET, sets)
        assert labels.indices == tuple(map(int, sets.asked))
        assert labels.are_numbers
        assert labels.doubt is None
    long = "9" * 5000  # Python converts no such number
    assert map_labels((long,), IMAGENET).indices is None


@pytest.mark.parametrize(
    ("every", "how", "doubt"),
    [
        (range(1, 11), "mapped by sorted folder order", "sorted as text ('10' before '2'), as"),
        (range(11), "mapped by class index", "ImageFolder sorts them as text ('10' before '2')"),
        (range(1, 10), "mapped by sorted folder order", None),
        (range(10), "mapped by class index", None),
        ([f"{i:02d}" for i in range(1, 12)], "mapped by sorted folder order", None),
        ([f"{i:02d}" for i in range(12)], "mapped by class index", None),
    ],
)
def test_numbered_folders_whose_order_is_not_known(
    every: Iterable[object], how: str, doubt: str | None
) -> None:
    sets = sets_of(every)
    classes = ClassSpace(num_classes=len(sets.every))
    whole = map_labels(sets.every, classes, sets)
    part = map_labels(sets.every[1:], classes, sets_of(sets.every, [sets.every[0]]))
    assert whole.how == part.how == how
    assert whole.doubt == part.doubt
    assert whole.indices is not None
    assert whole.indices[1:] == part.indices
    assert (whole.doubt is None) == (doubt is None)
    assert (doubt or "") in (whole.doubt or "")


@pytest.mark.parametrize(
    ("num_classes", "num", "num_correct", "is_doubted"),
    [
        (1000, 20, 0, True),
        (1000, 3, 0, False),  # too few to tell
        (1000, 50_000, 750, True),  # 1.5 %, as with labels that are one off
        (1000, 50_000, 8_000, False),
        (10, 1000, 100, True),
        (10, 1000, 300, False),
        (2, 1000, 500, False),  # a poor model, or a hard task
        (2, 1000, 50, True),
    ],
)
def test_numbers_are_doubted_where_top1_is_at_chance(
    num_classes: int, num: int, num_correct: int, is_doubted: bool
) -> None:
    classes = ClassSpace(num_classes=num_classes)
    labels = Labels(indices=(1,) * num, how="mapped by class index", are_numbers=True)
    assert bool(doubts_of(labels, classes, num_correct)) == is_doubted
    named = Labels(indices=(1,) * num, how="mapped by class name", doubt="sorted as text")
    assert doubts_of(named, classes, num_correct) == ["sorted as text"]


def test_images_that_all_lie_in_one_folder() -> None:
    labels = map_labels(("images",) * 2, IMAGENET)
    assert "all images lie in the folder 'images', which is not a class of this" in labels.how


def test_a_flat_folder_has_no_labels() -> None:
    assert map_labels((None, None), IMAGENET).indices is None


@pytest.fixture
def listed(small: Path) -> Callable[[str], Path]:
    """A list file beside the class folders of `small`."""

    def write(text: str) -> Path:
        path = small / "list.txt"
        path.write_text(text)
        return path

    return write


def test_a_list_keeps_its_order_and_its_labels(listed: Callable[[str], Path], small: Path) -> None:
    path = listed("# two of five\n\nn02123045/3.jpg 281\nn01440764/0.jpg   0\n")
    manifest = scan(path)
    assert manifest.names == ("n02123045/3.jpg", "n01440764/0.jpg")
    assert map_labels(manifest.words, IMAGENET).indices == (281, 0)
    assert manifest.paths[0] == str(small / "n02123045/3.jpg")


@pytest.mark.parametrize(
    ("line", "name", "word"),
    [
        ("a photo.jpg n01440764", "a photo.jpg", "n01440764"),
        ("a photo.jpg\tgreat white shark", "a photo.jpg", "great white shark"),
        ("a photo.jpg", "a photo.jpg", None),
    ],
)
def test_blanks_in_a_list(line: str, name: str, word: str | None, tmp_path: Path) -> None:
    draw(tmp_path / name, (80, 80))
    (tmp_path / "list").write_text(line)
    manifest = scan(tmp_path / "list")
    assert (manifest.names, manifest.words) == ((name,), (word,))


def test_a_list_may_begin_with_a_byte_order_mark(listed: Callable[[str], Path]) -> None:
    assert scan(listed("\ufeffn01440764/0.jpg 0\n")).names == ("n01440764/0.jpg",)


def test_a_list_ends_its_lines_at_line_feeds_alone(tmp_path: Path) -> None:
    names = ["a\u2028b.jpg", "a\x85b.jpg", "a\x0cb.jpg"]
    for name in names:
        draw(tmp_path / name, (40, 40))
    (tmp_path / "list").write_bytes("".join(f"{name}\t7\r\n" for name in names).encode())
    assert scan(tmp_path / "list").names == tuple(names)


def test_a_list_of_classes_from_another_editor(small: Path, tmp_path: Path) -> None:
    (small / "n02123045").rename(small / "a\u2028b")
    (tmp_path / "classes").write_bytes("\ufeffa\u2028b\r\n".encode())
    config = RunConfig(data=str(small), classes=str(tmp_path / "classes"))
    assert find_images(config, lambda *_: lambda *_: None).classes == ("a\u2028b",)


def test_class_names_of_imagenet_without_names_of_its_own() -> None:
    labels = map_labels(("goldfish", "tench"), IMAGENET)
    assert labels.indices == (1, 0)
    assert labels.how == "mapped by class name"


def test_a_list_may_name_files_elsewhere(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "list.txt"
    path.parent.mkdir()
    path.write_text(f"{small}/n01440764/0.jpg 0\n../small/n02123045/3.jpg 281\n")
    assert scan(path).paths[0] == str(small / "n01440764/0.jpg")
    assert len(scan(path)) == 2


def test_paths_in_a_list_may_begin_elsewhere(
    listed: Callable[[str], Path], small: Path, tmp_path: Path
) -> None:
    path = listed("0.jpg tench\n").rename(tmp_path / "list.txt")
    manifest = scan(path, small / "n01440764")
    assert manifest.paths == (str(small / "n01440764/0.jpg"),)
    config = RunConfig(data=str(path), data_root=str(small / "n01440764"))
    assert find_images(config, lambda *_: lambda *_: None).identity == manifest.identity
    with pytest.raises(DataNotFoundError) as caught:
        scan(path)
    assert str(caught.value).startswith(f"{tmp_path}/0.jpg does not exist (1 of the 1 files in ")
    assert str(caught.value).endswith("list's own folder: name another one with --data-root.")
    with pytest.raises(DataNotFoundError, match=r"small/0\.jpg .* are relative to --data-root\.$"):
        scan(path, small)


def test_a_root_that_cannot_be(listed: Callable[[str], Path], small: Path) -> None:
    path = listed("n01440764/0.jpg 0\n")
    with pytest.raises(UsageError, match=r"--data-root .*gone is not a folder\. Name the one"):
        scan(path, small / "gone")
    with pytest.raises(UsageError, match=r"is for the paths in a file, and .*small is a folder"):
        scan(small, small)


def test_where_labels_come_from_is_said(listed: Callable[[str], Path]) -> None:
    """Of a list its name; class folders need none."""
    listing = scan(listed("n01440764/0.jpg n01440764\n"))
    labels = map_labels(listing.words, IMAGENET, listing.word_sets)
    assert labels.in_words == "mapped by ImageNet wnid, from list.txt"
    for text, how in (
        ("n01440764/0.jpg\n", "no labels: list.txt names none"),
        (
            "n01440764/0.jpg fish\n",
            "no labels: classes such as 'fish' are not classes of this model; name them by wnid, "
            "class name or class index (they are from list.txt)",
        ),
    ):
        listing = scan(listed(text))
        assert map_labels(listing.words, IMAGENET, listing.word_sets).in_words == how


@pytest.mark.parametrize(
    ("paths", "label", "origin"),
    [
        (["cats/young/a.jpg", "cats/old/a.jpg", "dogs/young/a.jpg"], "cats", "'cats' of cats/old"),
        # One folder in each class folder, of whatever name, leaves no doubt.
        (["cats/images/a.jpg", "dogs/images/a.jpg"], "cats", None),
        (["cats/a.jpg", "dogs/a.jpg"], "cats", None),
    ],
)
def test_nested_folders_are_labelled_by_the_outermost(
    paths: list[str], label: str, origin: str | None, tmp_path: Path
) -> None:
    for path in paths:
        draw(tmp_path / path, (40, 40))
    manifest = scan(tmp_path)
    assert manifest.words[0] == label
    labels = map_labels(manifest.words, ClassSpace(num_classes=2), manifest.word_sets)
    assert labels.indices is not None
    how = "mapped by sorted folder order"
    if origin:
        how += (
            f", from the outermost of nested folders, such as {origin}: a CSV file of path,label "
            f"can say otherwise"
        )
    assert labels.in_words == how


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no files. Write a line a file: path label"),
        ("n01440764/0.jpg 0\nn02123045/3.jpg\n", "has a label for some files and none for others"),
        (
            "n01440764/0.jpg 0\n./n01440764/0.jpg 1\n",
            "small/n01440764/0.jpg. Name each file once",
        ),
        ("link.jpg 0\nn01440764/0.jpg 0\n", "twice: "),
        ("n01440764/gone.jpg 0\n", "gone.jpg does not exist (1 of the 1 files in"),
    ],
)
def test_a_list_that_cannot_be(
    listed: Callable[[str], Path], text: str, said: str, small: Path
) -> None:
    (small / "link.jpg").symlink_to("n01440764/0.jpg")
    with pytest.raises(DataError) as caught:
        scan(listed(text))
    assert said in str(caught.value)


def test_an_archive_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "val.tar").write_bytes(b"\0" * 512)
    with pytest.raises(DataError, match=r"val\.tar is an archive\. Unpack it first"):
        scan(tmp_path / "val.tar")


def test_only_some_classes(small: Path) -> None:
    assert scan(small, only=["n02123045"]).classes == ("n02123045",)
    with pytest.raises(UsageError, match=r"'n0212304', which the data does not have\. Did you"):
        scan(small, only=["n0212304"])


def test_predicting_among_the_classes_that_are_present() -> None:
    labels = map_labels(("n02123045", "n01440764", "n02123045"), IMAGENET)
    among, classes = among_present(labels, IMAGENET)
    assert among.indices == (1, 0, 1)
    assert classes.outputs == (0, 281)
    assert [classes.wnid(i) for i in (0, 1)] == ["n01440764", "n02123045"]
    assert [classes.name(i) for i in (0, 1)] == ["tench", "tabby"]
    assert "among the 2 classes of the data" in among.how
    with pytest.raises(UsageError, match="--among present needs labels"):
        among_present(map_labels((None,), IMAGENET), IMAGENET)
    with pytest.raises(UsageError, match="one class to choose from"):
        among_present(map_labels(("n01440764",) * 3, IMAGENET), IMAGENET)


def test_class_names() -> None:
    named = ClassSpace(num_classes=2, names=("ant", "bee"))
    assert (named.name(1), named.wnid(1)) == ("bee", None)
    assert ClassSpace(num_classes=2).name(1) == "1"
    assert named.keep([1]).name(0) == "bee"
    assert named.keep([1]).output(0) == 1


def test_samples_to_compare_are_of_every_size() -> None:
    sizes = [(500, 375)] * 1000
    sizes[7], sizes[333], sizes[998] = (350, 240), (240, 350), (640, 480)
    chosen = varied(sizes, 16)
    assert len(chosen) == 16
    assert chosen == sorted(set(chosen))
    assert {7, 333, 998} <= set(chosen)
    assert chosen[-1] - chosen[0] > 900  # and still spread over the whole set


@pytest.mark.parametrize(("num", "limit"), [(0, 128), (1, 1), (3, 128), (10, 4), (300, 128)])
def test_no_more_samples_are_compared_than_there_are(num: int, limit: int) -> None:
    for sizes in ([(500, 375)] * num, [(500, i) for i in range(num)]):
        assert len(set(varied(sizes, limit))) == min(num, limit)
