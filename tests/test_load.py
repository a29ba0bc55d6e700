"""What comes in as a model: everything that loads, and one clear line for everything that does not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hogwild.engine import Engine, Row
from hogwild.errors import HogwildError, ModelCorrupt, ModelNotFound, ModelUnsupported, OptionError
from hogwild.models import packaged
from hogwild.models.load import parse_dtype, shorten
from tiny import DYNAMIC, some_tokens, tiny_model

MEMORY = 1 << 22


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole tiny model in a folder, as the hub has them."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("Llama").save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(200)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def refuse(error: type[HogwildError], words: str, model: Any, **options: Any) -> None:
    """Loading ends with an error of this type, in one line of sensible length that has these words."""
    with pytest.raises(error, match=words) as caught:
        Engine.load(model, **{"kv_memory": MEMORY, **options})
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_folder(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = Engine.load(str(saved), kv_memory=MEMORY)
    assert capfd.readouterr() == ("", "")  # nobody else's progress bars
    assert (engine.name, engine.dtype, engine.vocab_size, engine.max_positions) == ("tiny", torch.float32, 200, 512)
    assert engine.tokenizer is not None
    assert engine.tokenizer("w7 w9")["input_ids"] == [7, 9]
    assert engine.report is not None
    assert engine.report.exact
    assert engine.report.difference <= engine.report.tolerance == 1e-4


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="this system does not say what is mapped")
def test_packed_weights_do_not_keep_their_file_in_memory(folder: Path) -> None:
    tiny_model("Llama").to(torch.bfloat16).save_pretrained(folder)
    engine = Engine.load(folder, kv_memory=MEMORY, quantize="int8")
    assert engine.model.get_output_embeddings().packed.dtype == torch.uint8
    assert str(folder / "model.safetensors") not in {region.path for region in psutil.Process().memory_maps()}


def test_the_checkpoint_decides_on_the_dtype_unless_one_is_given(folder: Path) -> None:
    tiny_model("Llama").to(torch.bfloat16).save_pretrained(folder)
    assert Engine.load(folder, kv_memory=MEMORY).dtype == torch.bfloat16
    assert Engine.load(folder, kv_memory=MEMORY, dtype="float32").dtype == torch.float32
    assert Engine.load(folder, kv_memory=MEMORY, dtype=torch.float64).pool.dtype == torch.float64


def test_sampling_defaults_come_with_the_folder(folder: Path) -> None:
    settings = {"do_sample": True, "temperature": 0.7, "top_k": 12}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    loaded = Engine.load(folder, kv_memory=MEMORY, check=False)
    assert loaded.report is None
    assert (loaded.generation_config.temperature, loaded.generation_config.top_k) == (0.7, 12)


def test_a_loaded_model() -> None:
    model = tiny_model("Llama")
    engine = Engine.load(model, kv_memory=MEMORY, dtype="float64")
    assert engine.model is model
    assert engine.dtype == torch.float64
    assert engine.forward([Row([engine.block()], some_tokens(3))]).shape == (1, 200)
    assert engine.name == "LlamaForCausalLM"


def test_a_loaded_model_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, moved = tiny_model("Llama"), list[str]()
    monkeypatch.setattr(type(model), "device", property(lambda self: torch.device("meta")))

    def adopted(model: Any, tokenizer: Any, device: str) -> Any:
        moved.append(device)
        raise OptionError("enough")

    monkeypatch.setattr("hogwild.engine.engine.adopt", adopted)
    for options in ({}, {"device": None}, {"device": "cpu"}):
        with pytest.raises(OptionError, match="enough"):
            Engine.load(model, **options)
    assert moved == ["meta", "meta", "cpu"]


def test_two_engines_on_one_model_share_nothing_but_weights() -> None:
    model = tiny_model("Llama")
    one, two = Engine.load(model, kv_memory=MEMORY), Engine.load(model, kv_memory=MEMORY)
    a, b = one.block(), two.block()
    first = one.forward([Row([a], some_tokens(9))])
    assert torch.equal(two.forward([Row([b], some_tokens(9))]), first)
    assert one.pool.used_pages == two.pool.used_pages == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/nowhere/at/all", "there is no such file or folder"),
        ("./model", "there is no such file or folder"),
        ("model.gguf", "there is no such file or folder"),
        ("someone/nothing", "no such folder, packaged model .* or hub model that can be reached"),
        ("nothing", "no such folder"),
        ("no name? at: all", "no such folder"),
        ("", "has no name"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_not_there(name: str, words: str) -> None:
    refuse(ModelNotFound, words, name)


def test_other_files(folder: Path) -> None:
    refuse(ModelNotFound, "holds no config.json", folder.parent)
    refuse(ModelNotFound, "give a folder with config.json and safetensors, or a .gguf file", folder / "config.json")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # it is not even opened


def lose_a_shard(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lose_tokenizer(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()


WEIGHTS, CONFIG = "model.safetensors", "config.json"
CUSTOM = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
# fmt: off
CORRUPT: dict[str, tuple[str, Callable[[Path], object]]] = {
    "truncated": ("is everything there.*not fully covered", lambda f: cut(f / WEIGHTS, 100_000)),
    "truncated in the header": ("invalid header length", lambda f: cut(f / WEIGHTS, 100)),
    "empty": ("header too small", lambda f: cut(f / WEIGHTS, 0)),
    "garbage": ("header", lambda f: (f / WEIGHTS).write_bytes(os.urandom(9999))),
    "no weights": (r"no model.safetensors is there", lambda f: (f / WEIGHTS).unlink()),
    "pickles": (r"pickles \(.bin\) are not read", pickle_weights),
    "a shard is missing": ("model-00001-of-00002", lose_a_shard),
    "a weight is missing": ("1 weights are missing, the first is model.layers.2.mlp.up_proj.weight",
                            lambda f: change_weights(f, lambda w: w.pop("model.layers.2.mlp.up_proj.weight"))),
    "layers are missing": ("18 weights are missing", lambda f: change_config(f, num_hidden_layers=6)),
    "other shapes": ("other shapes than config.json says", lambda f: change_config(f, hidden_size=128)),
    "an impossible shape": ("not a multiple", lambda f: change_config(f, num_attention_heads=3, head_dim=None)),
    "a config cut short": ("not a valid JSON", lambda f: cut(f / CONFIG, 50)),
    "no tokenizer": ("tokenizer cannot be read", lose_tokenizer),
    "a spoilt tokenizer": ("tokenizer cannot be read", lambda f: cut(f / "tokenizer.json", 50)),
}
UNSUPPORTED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no type": ("Unrecognized model", lambda f: (f / CONFIG).write_text("{}")),
    "an unknown type": ("`frobnicate`", lambda f: change_config(f, model_type="frobnicate")),
    "code of its own": ("pass trust_remote_code if you trust it",
                        lambda f: change_config(f, model_type="frobnicate", auto_map=CUSTOM)),
    "no language model": ("Unrecognized configuration class", lambda f: change_config(f, model_type="vit")),
    "hybrid": ("layers of type linear_attention", lambda f: change_config(f, model_type="qwen3_next")),
    "hybrid by its layers": ("layers of type conv", lambda f: change_config(f, layer_types=["conv"] * 4)),
    "dynamic RoPE": ("dynamic RoPE changes its angles", lambda f: change_config(f, rope_parameters=DYNAMIC)),
    "an encoder-decoder": ("encoder-decoders", lambda f: change_config(f, model_type="t5", is_encoder_decoder=True)),
    "no number": ("differ by nan", lambda f: change_weights(f, lambda w: w["model.norm.weight"].fill_(float("nan")))),
}
# fmt: on


@pytest.mark.parametrize("case", CORRUPT)
def test_corrupt_folders(folder: Path, case: str) -> None:
    words, spoil = CORRUPT[case]
    spoil(folder)
    refuse(ModelCorrupt, words, folder)


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_folders(folder: Path, case: str) -> None:
    words, spoil = UNSUPPORTED[case]
    spoil(folder)
    refuse(ModelUnsupported, words, folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"no gguf at all" * 99, "magic"), (b"GGUF" + bytes(range(256)) * 9, "is everything there")],
)
def test_no_real_gguf(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    refuse(ModelCorrupt, words, path)


@pytest.mark.model
@pytest.mark.parametrize("size", [1000, 100_000, 3_000_000, 90_000_000])
def test_truncated_gguf(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.gguf"
    with packaged.pull("smollm2-135m-instruct").open("rb") as whole:
        path.write_bytes(whole.read(size))
    refuse(ModelCorrupt, "is everything there", path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int8"}, "dtype is 'int8': give one of float32"),
        ({"dtype": torch.int8}, "dtype is torch.int8"),
        ({"device": "bogus"}, "device is 'bogus', which this machine cannot use"),
        ({"device": "cuda:99"}, "device is 'cuda:99'"),
        ({"kv_memory": 0}, "kv_memory is 0 bytes: this model needs 262144 at least"),
        ({"kv_memory": -1}, "kv_memory is -1 bytes"),
        ({"kv_memory": 1 << 60}, "more than cpu can give"),
    ],
)
def test_options_that_cannot_be(saved: Path, options: dict[str, Any], words: str) -> None:
    refuse(OptionError, words, saved, **options)


@pytest.mark.parametrize("model", [5, None, torch.nn.Linear(2, 2)])
def test_things_that_are_no_models(model: object) -> None:
    refuse(OptionError, "give a path, a name or a transformers model", model)


def test_the_default_pool_is_bounded(saved: Path) -> None:
    pool = Engine.load(saved, check=False).pool
    assert pool.bytes <= 64 * 512 * 1024  # 64 windows of 512 tokens of 1 KiB


def test_dtypes() -> None:
    assert parse_dtype(None) is None
    assert parse_dtype("bfloat16") is parse_dtype(torch.bfloat16) is torch.bfloat16


def test_messages_of_libraries_become_one_line() -> None:
    assert shorten("a\n  b\tc") == "a b c"
    assert len(shorten("word " * 99)) == 200
