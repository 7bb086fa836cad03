"""The OpenAPI document is kept to: requests that it allows, and many that it does not, get answers that it declares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.serving.conftest import Client

pytestmark = pytest.mark.slow
LEFT_OUT = ("/events", "/session", "/jobs/{id}/kill")
"""A stream has no end; a session that is closed ends the test; what is killed is not the test's."""


def test_the_document_is_kept_to(api: Client, tmp_path: Path) -> None:
    made = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{api.port}/api/v1/openapi.json",
            "-H", f"Authorization: Bearer {api.token}", "--seed", "1", "--max-examples", "10", "--no-color",
            "--phases", "examples,coverage,fuzzing",
            # Of halves of characters two are one once they went through JSON: a text of too many of them may be short enough.
            "--generation-codec", "utf-8",
            # A symbol that is not there, a file that holds no bars: the document cannot say so beforehand.
            "--exclude-checks", "positive_data_acceptance",
            *[word for path in LEFT_OUT for word in ("--exclude-path", "/api/v1" + path)],
        ], capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-8000:] + made.stderr[-2000:]
    assert api.get("/health")["status"] == "ok"
