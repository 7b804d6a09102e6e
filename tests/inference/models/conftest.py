"""Tiny pipelines, each saved once as a folder, and loaded once by us and by diffusers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from diffusers import ModelMixin

from inference.models import find

Saved = Callable[[str, Callable[[], Any]], Path]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Gives the folder of a pipeline by name."""

    @cache
    def folder(name: str, pipeline: Callable[[], Any]) -> Path:
        made = tmp_path_factory.mktemp("weights") / name
        pipeline().save_pretrained(made)
        return made

    return folder


@pytest.fixture(scope="session")
def ours(saved: Saved) -> Callable[[str, str, Callable[[], Any]], Any]:
    """Gives a folder's pipeline as a family of ours loads it."""

    @cache
    def loaded(family: str, name: str, pipeline: Callable[[], Any]) -> Any:
        return find(family).load(saved(name, pipeline), "cpu")

    return loaded


@pytest.fixture(scope="session")
def theirs(saved: Saved) -> Callable[[str, Callable[[], Any]], Any]:
    """Gives a folder's pipeline as diffusers loads it.

    Where weights lie in memory may choose the kernel that multiplies them, so its own classes'
    weights are laid as the arena lays ours; text encoders are read by transformers in both.
    """

    @cache
    def loaded(name: str, pipeline: Callable[[], Any]) -> Any:
        folder = saved(name, pipeline)
        pipe = type(pipeline()).from_pretrained(folder, local_files_only=True)
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, ModelMixin):
                for weight in (*part.parameters(), *part.buffers()):
                    weight.data = weight.data.clone()
        return pipe

    return loaded
