"""Files of tensors, which are written whole or not at all, and execute nothing when they are read."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from dropbench.errors import DropbenchError
from dropbench.files import write_whole

_ABOUT, _SUM = "dropbench", "crc32"


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
    content = safetensors.torch.save(copies, {_ABOUT: json.dumps({**about, _SUM: _checksum(copies)})})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
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
    except FileNotFoundError as error:
        raise DropbenchError(f"Cannot read {path}: there is no such file.") from error
    except OSError as error:
        if path.is_dir():  # safetensors speaks of a device
            raise DropbenchError(f"Cannot read {path}: it is a folder.") from error
        raise DropbenchError(f"Cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise DropbenchError(f"{path} is damaged or no safetensors file ({error}).") from error
    except (KeyError, ValueError) as error:
        raise DropbenchError(f"{path} is not a file that dropbench wrote.") from error
    if not isinstance(about, dict):
        raise DropbenchError(f"{path} is not a file that dropbench wrote.")
    told = about.pop(_SUM, None)  # older files have none
    if with_tensors and told is not None and told != _checksum(tensors):
        raise DropbenchError(f"{path} is damaged (its checksum is not that of its tensors).")
    return tensors, about


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a checksum of contiguous tensors on the CPU: of bytes that a disk or a copy changed."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
