"""Write kubeconfig files of the plane's own; the user's kubeconfig is neither read nor written.

They are JSON, which every YAML parser reads, so this needs no YAML library.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, in one step; several may write the same one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
        out.write(text)
    unfinished.rename(path)
    return path


def write_kubeconfig(path: Path, server: str, ca_pem: bytes, user: dict[str, Any], namespace: str = "default") -> Path:
    """Write a kubeconfig with one context.

    Args:
        path: the file.
        server: the API server's address.
        ca_pem: certificates to trust.
        user: the credential, `{"token": ...}` or `{"tokenFile": ...}`.
        namespace: the context's default namespace.
    """
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "controlplane", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [
            {"name": "controlplane", "context": {"cluster": "controlplane", "user": "user", "namespace": namespace}}
        ],
        "current-context": "controlplane",
    }
    return write_private(path, json.dumps(config, indent=2) + "\n")
