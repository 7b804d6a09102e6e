"""Safetensors by our own reader: the same bits as the library's, and no file is believed."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from inference import header, loading
from inference.compiler.families import FAMILIES
from inference.header import Invalid
from inference.loading import Arena, Unlike

TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 7), max_size=3)),
        max_size=6,
    ),
    st.integers(1, 64),
)
def test_tensors_come_with_the_bits_that_the_library_reads(
    tmp_path_factory: pytest.TempPathFactory, asked: dict[str, Any], half_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("weights") / "x.safetensors"
    made = {name: torch.randn(shape).mul(9).to(kind) for name, (kind, shape) in asked.items()}
    save_file(made, path)
    found = loading.read(path, Arena("cpu", half_bytes))
    want = load_file(path)
    assert found.keys() == want.keys()
    for name, tensor in want.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name], tensor)


def file_of(path: Path, told: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def held(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("told", "data", "reason"),
    [
        (b"{", b"", "not JSON"),
        (b"[" * 99_999, b"", "not JSON"),
        ([], b"", "no object"),
        (b'{"a": {}, "a": {}}', b"", "twice"),
        ({"a": {"dtype": "F32"}}, b"", "a needs dtype, shape and data_offsets"),
        ({"a": held("F99")}, b"0000", "'F99'; known are"),
        ({"a": held(shape=[-1])}, b"0000", "no counts"),
        ({"a": held(shape=[True])}, b"0000", "no counts"),
        ({"a": held(shape=[2**60, 2**60])}, b"0000", "no counts"),
        ({"a": held(offsets=[0, 8])}, b"0" * 8, "are not the bytes of"),
        ({"a": held(offsets=[4, 0])}, b"0000", "are not the bytes of"),
        ({"a": held(), "b": held()}, b"0000", "begins at byte"),
        ({"a": held(offsets=[4, 8])}, b"0" * 8, "begins at byte"),
        ({"a": held()}, b"000", "the file at"),
        ({"a": held()}, b"00000", "the file at"),
        ({"__metadata__": {"a": 1}}, b"", "words only"),
    ],
)
def test_a_header_that_does_not_hold_is_refused_with_the_reason(
    tmp_path: Path, told: Any, data: bytes, reason: str
) -> None:
    with pytest.raises(Invalid, match=reason):
        header.read(file_of(tmp_path / "x", told, data))


@pytest.mark.parametrize("length", [3, 10**8 + 1, 2**63])
def test_a_header_longer_than_the_file_or_the_format_allows_is_refused(
    tmp_path: Path, length: int
) -> None:
    with pytest.raises(Invalid, match="does not fit"):
        header.read(file_of(tmp_path / "x", b"{}", length=length))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(Invalid):
        header.read(tmp_path / "x")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_do_anything_but_refuse(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "x"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    with contextlib.suppress(Invalid):
        header.read(path)


@pytest.mark.parametrize("name", ["flux-1-dev", "wan-2.1-1.3b"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_module_is_loaded_as_diffusers_loads_it(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    module = FAMILIES[name].build()
    module.save_pretrained(tmp_path, safe_serialization=True)
    ours = loading.diffusers_module(type(module), tmp_path, Arena("cpu", 10_000), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = type(module).from_pretrained(tmp_path, torch_dtype=dtype)
    want = dict(theirs.state_dict()) | dict(theirs.named_buffers())
    found = dict(ours.state_dict()) | dict(ours.named_buffers())
    assert found.keys() == want.keys()
    for key, tensor in want.items():
        assert found[key].dtype == tensor.dtype, key
        assert torch.equal(found[key], tensor), key


def test_weights_of_another_module_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    module = FAMILIES["flux-1-dev"].build()
    module.save_pretrained(tmp_path, safe_serialization=True)
    file = loading.files_of(tmp_path)[0]
    state = load_file(file)
    state["proj_out.weight"] = state["proj_out.weight"][:1].clone()
    save_file(state, file)
    with pytest.raises(Unlike, match=r"1 weights are not those of the class, proj_out\.weight"):
        loading.diffusers_module(type(module), tmp_path, Arena("cpu"), torch.float32)


def test_shards_are_read_as_their_index_says_and_never_from_elsewhere(tmp_path: Path) -> None:
    module = FAMILIES["flux-1-dev"].build()
    module.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="100KB")
    (tmp_path / "other.safetensors").write_bytes(b"not asked for")
    assert len(loading.files_of(tmp_path)) > 1
    ours = loading.module(type(module), tmp_path, "cpu", torch.float32)
    for name, tensor in module.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(Unlike, match="lacks passwd"):
        loading.files_of(tmp_path)
