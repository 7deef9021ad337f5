"""Files of tensors, which are written whole or not at all, and execute nothing when they are read."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from dropbench.errors import DropbenchError

_ABOUT = "dropbench"


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and what JSON can hold about them, as a safetensors file in place of any at ``path``.

    Tensors on other devices are copied to the host; any memory format becomes the contiguous one.

    Raises:
        DropbenchError: if it cannot be written; the file that was there is then untouched.

    """
    copies = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content = safetensors.torch.save(copies, {_ABOUT: json.dumps(about)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for each writer, which nobody can have prepared.
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
        with open(partial, "xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(partial, path)
            except BaseException:
                os.unlink(partial)
                raise
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file, on the CPU, and what was written about them.

    Raises:
        DropbenchError: if there is no such file, or it is damaged or not one of dropbench's.

    """
    return _read(path, with_tensors=True)


def read_about(path: Path) -> dict[str, Any]:
    """Return what was written about the tensors of a file, without reading these.

    Raises:
        DropbenchError: as read_tensors does; a file that is too short is noticed, too.

    """
    return _read(path, with_tensors=False)[1]


def _read(path: Path, with_tensors: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors: dict[str, torch.Tensor] = {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if with_tensors:
                # Copies: the tensors would be maps of the file, whoever cuts it short later.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no mapping
        about = json.loads(metadata[_ABOUT])
    except OSError as error:
        raise DropbenchError(f"Cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise DropbenchError(f"{path} is damaged or no safetensors file ({error}).") from error
    except (KeyError, ValueError) as error:
        raise DropbenchError(f"{path} is not a file that dropbench wrote.") from error
    if not isinstance(about, dict):
        raise DropbenchError(f"{path} is not a file that dropbench wrote.")
    return tensors, about
