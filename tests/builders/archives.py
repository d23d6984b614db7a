"""Tar archives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def write_sparse(path: Path, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive of one file of zeros, which take no space on the disk."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    with path.open("wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + size + 10240)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
