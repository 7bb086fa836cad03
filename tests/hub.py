"""A model hub on this machine: as much of its HTTP interface as the hub's client uses to load and to push.

Repositories live in memory; a commit is a dict of whole files. Writing needs WRITER's token, private repositories a
token of either. Both are of "me", who may write as "owner" too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

WRITER, READER = "hf_writer", "hf_reader"
WHO = {
    f"Bearer {token}": {
        "name": "me",
        "orgs": [{"name": "owner", "roleInOrg": "write"}, {"name": "readers", "roleInOrg": "read"}],
        "auth": {"accessToken": {"role": role}},
    }
    for token, role in ((WRITER, "write"), (READER, "read"))
}


@dataclass
class Repository:
    """Its main branch, oldest commit first."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b""}])
    messages: list[str] = field(default_factory=lambda: ["initial commit"])
    private: bool = False

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    def at(self, revision: str) -> int | None:
        """The number of a commit: of "main", or by its id."""
        ids = [commit_id(number) for number in range(len(self.commits))]
        return len(ids) - 1 if revision == "main" else ids.index(revision) if revision in ids else None


def commit_id(number: int) -> str:
    return f"{number:040x}"


class Hub:
    """The server. `asked` has every request as "METHOD path"; `full` refuses large files, `refused` answers requests to an
    address that ends so with that status, `deaf` makes a commit and answers that it failed."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.full = self.deaf = False
        self.refused: dict[str, int] = {}
        hub = self

        class Handler(_Handler):
            served = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> Repository:
        """A repository with these files in its second commit."""
        made = self.repositories[name] = Repository(private=private)
        made.commits.append(files)
        made.messages.append("files")
        return made

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._files()

    def do_GET(self) -> None:
        self._files()

    def do_PUT(self) -> None:
        self.served.asked.append(f"PUT {self.path}")
        data = self._body()
        oid = self.path.rsplit("/", 1)[-1]
        if self.served.full or hashlib.sha256(data).hexdigest() != oid:
            return self._answer(403, {"error": "no room for large files"})
        self.served.stored[oid] = data
        return self._answer(200, {})

    def do_DELETE(self) -> None:
        self.served.asked.append(f"DELETE {self.path}")
        asked = json.loads(self._body())
        if self._refused() or self.headers.get("Authorization") != f"Bearer {WRITER}":
            return self._answer(403, {"error": "this token may not delete"})
        del self.served.repositories[f"{asked['organization']}/{asked['name']}"]
        return self._answer(200, {})

    def do_POST(self) -> None:
        self.served.asked.append(f"POST {self.path}")
        body = self._body()
        if status := self._refused():
            return self._answer(status, {"error": f"refused with {status}"})
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {WRITER}":
            return self._answer(403, {"error": "this token may not write"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in self.served.repositories
            private = asked.get("visibility") == "private" or bool(asked.get("private"))  # the second: before 1.0
            self.served.repositories.setdefault(name, Repository(private=private))
            return self._answer(409 if known else 200, {"url": f"{self.served.address}/{name}"})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "shouldIgnore": False}
                | {"uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in files
            ]
            return self._answer(200, {"files": modes})
        if re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            objects = [
                {"oid": one["oid"], "size": one["size"]}
                | {"actions": {"upload": {"href": f"{self.served.address}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._answer(200, {"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self._answer(404, {"error": "no such address"}, {"X-Error-Code": "RevisionNotFound"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.served.repositories[name]
        files, header = dict(repository.files), lines[0]["value"]
        if header.get("parentCommit") not in (None, commit_id(len(repository.commits) - 1)):
            return self._answer(412, {"error": "a commit has happened since"})
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.served.stored[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        repository.commits.append(files)
        repository.messages.append(header["summary"])
        made = commit_id(len(repository.commits) - 1)
        if self.served.deaf:
            return self._answer(504, {"error": "the answer is lost"})
        return self._answer(200, {"commitOid": made, "commitUrl": f"{self.served.address}/{name}/commit/{made}"})

    def _files(self) -> None:
        self.served.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path == "/api/whoami-v2":
            me = WHO.get(self.headers.get("Authorization", ""))
            return self._answer(401 if me is None else 200, me or {"error": "Invalid credentials"})
        if status := self._refused():
            return self._answer(status, {"error": f"refused with {status}"})
        path = re.sub(r"^(/api/models/[^/]+/[^/]+)$", r"\1/revision/main", path)
        listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)()", path)
        found = listed or re.fullmatch(r"/([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", path)
        repository = self.served.repositories.get(found[1]) if found else None
        known = self.headers.get("Authorization") in (f"Bearer {WRITER}", f"Bearer {READER}")
        if found is None or repository is None or (repository.private and not known):
            return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        number = repository.at(unquote(found[3]))
        if number is None:
            return self._answer(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        commit = {"X-Repo-Commit": commit_id(number)}
        if found[2] == "revision":
            facts = {"id": found[1], "sha": commit_id(number), "private": repository.private}
            files = [{"rfilename": name} for name in repository.commits[number]]  # clients before 1.0 read them here
            return self._answer(200, facts | {"siblings": files}, commit)
        if found[2] == "tree":
            files = repository.commits[number].items()
            tree = [{"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in files]
            return self._answer(200, tree, commit)
        data = repository.commits[number].get(unquote(found[4]))
        if data is None:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", **commit})
        return self._answer(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', **commit})

    def _refused(self) -> int:
        """The status that this address is to be answered with; 0: as ever."""
        return next((one for end, one in self.served.refused.items() if self.path.endswith(end)), 0)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


def run(script: str, home: Path, **environment: str) -> list[str]:
    """Run a Python script in a process of its own, since the hub's client reads the environment when it is imported.

    Each `with told():` of it prints the error that a user would see. The lines that it printed.
    """
    start = (
        "import contextlib, os, sys\n"
        "from pathlib import Path\n"
        "from chandler import ChandlerError, Forecaster, Kronos, KronosTokenizer\n"
        "@contextlib.contextmanager\n"
        "def told():\n"
        "    try: yield\n"
        "    except ChandlerError as error: print(f'{type(error).__name__}: {error}')\n"
    )
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE")) and "proxy" not in k.lower()
    }
    # Files go over plain HTTP: the other protocol for large files needs a server of another kind.
    env = clean | {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", start + script], capture_output=True, text=True, env=env, timeout=300, cwd=home
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
