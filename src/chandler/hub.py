"""Repositories of the model hub: their files come through the hub's cache, ours go up in one commit.

HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN are respected, as by every client of the hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from chandler.errors import CheckpointError

CARD_NAME = "README.md"
LIBRARY = "chandler"


class HubOptions(TypedDict, total=False):
    """How files are fetched; the hub client's own keywords, with its defaults."""

    cache_dir: str | Path | None
    """Where downloads are kept; None for HF_HOME's hub/."""
    token: str | bool | None
    """Of a private repository; None for HF_TOKEN or the one that was logged in with, False for none."""
    local_files_only: bool
    """Ask no hub: what is in the cache has to do."""
    force_download: bool
    """Fetch again what is in the cache."""


class PushOptions(TypedDict, total=False):
    """How a repository is written; the hub client's own keywords, with its defaults."""

    commit_message: str
    private: bool | None
    """Whether a repository that is made for this is private; one that exists stays as it is."""
    token: str | bool | None
    branch: str | None
    """An existing branch; None for main."""
    create_pr: bool
    """Open a pull request instead of writing to the branch."""
    base_model: str | None
    """The repository that was finetuned, for the model card; None leaves the field out, or finds it where it is known."""


def is_repository(name: str | Path) -> bool:
    """Whether a name could be a repository id, owner/name."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) is not None


class Repository:
    """Files of a repository, all of one commit: the one that the first of them comes from.

    Args:
        name: owner/name.
        revision: branch, tag or commit; None for main.
        hub: see `HubOptions`.
    """

    def __init__(self, name: str, revision: str | None = None, **hub: Any) -> None:
        self.name, self.revision, self.hub = name, revision, hub
        self._unreachable: CheckpointError | None = None

    def get(self, file: str) -> Path | None:
        """The local copy of a file; None where the repository lacks it, or where neither cache nor hub has it now.

        Raises:
            CheckpointError: no such repository or revision, no access, a transfer that failed.
        """
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        at = self.name + (f" (revision {self.revision})" if self.revision else "")
        elsewhere = (
            "Point to a local folder instead, or set HF_ENDPOINT to a mirror (HF_HOME says where downloads are kept)."
        )
        try:
            path = Path(hf_hub_download(self.name, file, revision=self.revision, **self.hub))
        except GatedRepoError as error:
            raise CheckpointError(f"{at}: access is restricted. Ask for it on the hub and set HF_TOKEN.") from error
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"{self.name}: {constants.ENDPOINT} has no such repository, or it is private (set HF_TOKEN). "
                f"It is no local folder either. {elsewhere}"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(
                f"{self.name}: there is no revision {self.revision!r} at {constants.ENDPOINT}."
            ) from error
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            if self._unreachable is not None:
                return None
            if self.hub.get("local_files_only"):
                why = "local_files_only is set"
            else:
                why = "offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "no connection"
            self._unreachable = CheckpointError(
                f"{at}: there is no such folder, {constants.ENDPOINT} could not be reached ({why}), and the checkpoint is "
                f"not in the local cache {self.hub.get('cache_dir') or constants.HF_HUB_CACHE}. {elsewhere}"
            )
            self._unreachable.__cause__ = error
            # The client waited long enough for a connection: it is not asked to again.
            self.hub = {**self.hub, "local_files_only": True}
            return None
        except EntryNotFoundError:
            return None
        except Exception as error:  # The hub client's transport errors have no common base across its releases.
            raise CheckpointError(
                f"{at}: could not be fetched from {constants.ENDPOINT}: {_reason(error)}. {elsewhere}"
            ) from error
        # From here on the commit, not the branch: somebody may push between two files.
        self.revision = path.parents[file.count("/")].name
        return path

    def lacks(self, text: str) -> CheckpointError:
        """The error for files that are not there: `text`, unless it is only not known whether they are."""
        return self._unreachable or CheckpointError(f"{self.name}: {text}")


def push(
    files: Mapping[str, Path],
    repo_id: str,
    card: Callable[[str, str | None], str],
    check: Callable[[Repository], None] = lambda there: None,
    *,
    commit_message: str = "Upload with chandler",
    private: bool | None = None,
    token: str | bool | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    base_model: str | None = None,
    stale: str | None = None,
) -> str:
    """Write files into a repository, all in one commit; make the repository where there is none.

    A model card that the repository has is its owner's and stays; a new one is what `card` says of the full id and the
    base model.

    Args:
        files: by their path in the repository.
        repo_id: owner/name, or a name alone for one's own.
        check: raises where the repository as it stands must not be written.
        stale: a file that is removed where there is one.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        CheckpointError: nothing was written: no access, no such branch, a transfer that failed, what `check` said.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    try:
        repo = str(api.create_repo(repo_id, private=private, exist_ok=True).repo_id)
        check(Repository(repo, branch, token=token))
        # Not `upload_folder`: it may write several commits, and a reader in between would see half a model.
        operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
        if not api.file_exists(repo, CARD_NAME, revision=branch):
            operations.append(CommitOperationAdd(CARD_NAME, card(repo, base_model).encode()))
        if stale and api.file_exists(repo, stale, revision=branch):
            operations.append(CommitOperationDelete(stale))
        done = api.create_commit(repo, operations, commit_message=commit_message, revision=branch, create_pr=create_pr)
    except CheckpointError:
        raise
    except Exception as error:  # As in `Repository.get`.
        raise CheckpointError(
            f"{repo_id}: nothing was pushed to {api.endpoint}: {_reason(error)}. Is there a token that may write "
            "there? Log in with `hf auth login`, set HF_TOKEN, or pass token=."
        ) from error
    return str(done.pr_url or done.commit_url)


def model_card(repo: str, what: str, code: str, base_model: str | None) -> str:
    """A card with nothing but facts: what it is, and how it is loaded. The licence is for the owner to say."""
    base = f"base_model: {base_model}\n" if base_model else ""
    return f"""---
library_name: {LIBRARY}
pipeline_tag: time-series-forecasting
{base}# license: say here what others may do with these weights
tags:
- kronos
- time-series
- finance
- safetensors
---

# {repo}

{what}

```python
{code}
```
"""


def _reason(error: Exception) -> str:
    """What the client says in its first line, and what the server said where it said something."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    answer = getattr(error, "server_message", None)
    return said[0].rstrip(".") + (f" ({answer.strip().rstrip('.')})" if answer else "")
