"""Repositories of the model hub: their files come through the hub's cache, ours go up in one commit.

HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN are respected, as by every client of the hub.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

from chandler.errors import CheckpointError

CARD_NAME = "README.md"
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
NAMES = CONFIG_NAME, WEIGHTS_NAME
"""The files of a checkpoint."""
NANO = "chandler-nano"
"""The checkpoint that comes with the package: no network is needed."""


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


def bundled_checkpoint(name: str | Path) -> Path | None:
    """The folder, with tokenizer/ and predictor/, of a checkpoint that comes with the package; None for other names."""
    return Path(__file__).parent / "assets" / "nano" if str(name) == NANO else None


def is_repository(name: str | Path) -> bool:
    """Whether a name could be a repository id, owner/name."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) is not None


def commit_of(path: Path) -> str | None:
    """Of which commit of its repository a file or folder in the hub's cache is; None of what is not from a repository."""
    found = re.search(r"models--[^/]+/snapshots/([0-9a-f]{40})(/|$)", path.as_posix())
    return found[1] if found else None


def fetch(name: str, files: Iterable[str], revision: str | None = None, **hub: Unpack[HubOptions]) -> Path:
    """A local folder with those of these files that a repository has, all of one commit.

    Raises:
        CheckpointError: no such repository or revision, no access, a transfer that failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    class BytesOnly(tqdm):
        """The client's bars but for that of whole files, which says nothing where they are in the cache."""

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named | ({} if named.get("unit") == "B" else {"disable": True}))

    with _explained(name, revision, hub):
        found = snapshot_download(name, revision=revision, allow_patterns=list(files), tqdm_class=BytesOnly, **hub)
    return Path(found)


@contextmanager
def _explained(name: str, revision: str | None, hub: HubOptions) -> Iterator[None]:
    """The client's errors in our words."""
    from huggingface_hub import constants, errors

    at = name + (f" (revision {revision})" if revision else "")
    elsewhere = (
        "Point to a local folder instead, or set HF_ENDPOINT to a mirror (HF_HOME says where downloads are kept)."
    )
    try:
        yield
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{at}: access is restricted. Ask for it on the hub and set HF_TOKEN.") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: {constants.ENDPOINT} has no such repository, or it is private (set HF_TOKEN). "
            f"It is no local folder either. {elsewhere}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{name}: there is no revision {revision!r} at {constants.ENDPOINT}.") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if hub.get("local_files_only"):
            why = "local_files_only is set"
        else:
            why = "offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "no connection"
        raise CheckpointError(
            f"{at}: there is no such folder, {constants.ENDPOINT} could not be reached ({why}), and the checkpoint is "
            f"not in the local cache {hub.get('cache_dir') or constants.HF_HUB_CACHE}. {elsewhere}"
        ) from error
    except Exception as error:  # The hub client's transport errors have no common base across its releases.
        raise CheckpointError(
            f"{at}: could not be fetched from {constants.ENDPOINT}: {_reason(error)}. {elsewhere}"
        ) from error


def push(
    save: Callable[[Path], Any],
    repo_id: str,
    card: Callable[[str, str | None], str],
    check: Callable[[str, Callable[[str], Path | None], Collection[str]], Collection[str]],
    **options: Unpack[PushOptions],
) -> str:
    """Write files into a repository, all in one commit; make the repository where there is none.

    Whoever may not write is told before anything is sent. A commit that fails leaves the repository as it was, and one that
    was made for it, and is still empty, goes again. The commit is refused where somebody else's came in between. A model
    card that the repository has stays unless `save` writes one; a new one is what `card` says of the full id and the base
    model.

    Args:
        save: writes the files into an empty folder, as they are to lie in the repository.
        repo_id: owner/name, or a name alone for one's own.
        check: called with the full id, what gives the local copy of a file by its name (None where the repository lacks
            it), and the names of all its files; raises where the repository must not be written, and names the files that
            are to go unless they are saved anew.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        CheckpointError: nothing was written: no access, no such branch, a transfer that failed, what `check` said.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

    token, branch = options.get("token"), options.get("branch")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "files")
        save(folder)
        if constants.HF_HUB_OFFLINE:
            raise _not_pushed(repo_id, api.endpoint, "offline mode is on (HF_HUB_OFFLINE)", "Unset it.")
        repo = _full_name(api, repo_id)
        there, head = _contents(api, repo, branch, options.get("private"))
        # Not `upload_folder`: it may write several commits, and a reader in between would see half a model.
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        stale = check(
            repo, lambda name: fetch(repo, [name], head, token=token) / name if name in there else None, there
        )
        operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
        if CARD_NAME not in there and CARD_NAME not in files:
            operations.append(CommitOperationAdd(CARD_NAME, card(repo, options.get("base_model")).encode()))
        operations += [CommitOperationDelete(name) for name in sorted(stale) if name in there and name not in files]
        made = False
        try:
            if head is None:
                api.create_repo(repo, private=options.get("private"))
                made = True
                head = api.repo_info(repo).sha
            done = api.create_commit(
                repo,
                operations,
                commit_message=options.get("commit_message", "Upload with chandler"),
                revision=branch,
                create_pr=options.get("create_pr", False),
                parent_commit=head,
            )
        except BaseException as error:  # An interruption, too, leaves nothing behind.
            after = _undo(api, repo, branch, head, made)
            if not isinstance(error, Exception):
                raise
            raise _not_pushed(repo, api.endpoint, _reason(error), after) from error
    return str(done.pr_url or done.commit_url)


def _not_pushed(repo: str, endpoint: str, why: str, then: str) -> CheckpointError:
    return CheckpointError(f"{repo}: nothing was pushed to {endpoint}: {why}. {then}")


_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN."


def _full_name(api: Any, repo_id: str) -> str:
    """owner/name of a repository that the token may write, as far as it says.

    Raises:
        CheckpointError: no token, one that is not valid, may only read, or is of somebody else.
    """
    from huggingface_hub import errors

    try:
        asked = api.whoami()
    except (errors.LocalTokenNotFoundError, ValueError) as error:
        raise _not_pushed(repo_id, api.endpoint, "there is no token", _LOG_IN) from error
    except Exception as error:  # As in `_explained`.
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = "the token is not valid" if status == 401 else _reason(error)
        then = _LOG_IN if status in (401, 403) else "Is the network there? HF_ENDPOINT says which hub is asked."
        raise _not_pushed(repo_id, api.endpoint, why, then) from error
    me = str(asked.get("name"))
    owner, _, name = repo_id.rpartition("/")
    if asked.get("auth", {}).get("accessToken", {}).get("role") == "read":
        why = f"the token is of {me} and may read, not write"
        raise _not_pushed(repo_id, api.endpoint, why, "Make one that may write at settings/tokens, and: " + _LOG_IN)
    owners = [me, *(str(one.get("name")) for one in asked.get("orgs", ()) if one.get("roleInOrg") != "read")]
    if owner and owner not in owners:
        why = f"the token is of {me}, who may not write as {owner}"
        raise _not_pushed(repo_id, api.endpoint, why, f"Name a repository of {' or '.join(owners)}. {_LOG_IN}")
    return f"{owner or me}/{name}"


def _contents(api: Any, repo: str, branch: str | None, private: bool | None) -> tuple[list[str], str | None]:
    """Names of the files of a repository and the commit that they are of; none where there is no repository.

    Raises:
        CheckpointError: no such branch, a repository for all that was to be private, one that cannot be read.
    """
    from huggingface_hub import errors

    try:
        found = api.repo_info(repo, revision=branch)
        if private and not found.private:
            raise CheckpointError(
                f"{repo} is there and is public: nothing was pushed. Make it private on the hub, or leave private=True out."
            )
        return list(api.list_repo_files(repo, revision=found.sha)), str(found.sha)
    except errors.RepositoryNotFoundError as error:
        if branch not in (None, "main"):
            raise CheckpointError(
                f"{repo}: there is no such repository, so it has no branch {branch!r}. Leave branch= out."
            ) from error
        return [], None
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repo}: there is no revision {branch!r} at {api.endpoint}.") from error
    except CheckpointError:
        raise
    except Exception as error:  # As in `_explained`.
        raise _not_pushed(repo, api.endpoint, _reason(error), _LOG_IN) from error


def _undo(api: Any, repo: str, branch: str | None, head: str | None, made: bool) -> str:
    """Remove a repository that was made for a commit which failed, unless there is something in it; what is to be said."""
    look = f"look at {api.endpoint}/{repo} before pushing again"
    try:
        if made and set(api.list_repo_files(repo)) <= {".gitattributes"}:
            api.delete_repo(repo)
            return "The repository that was made for it is removed again."
        if made or (head is not None and api.repo_info(repo, revision=branch).sha != head):
            return f"But there is a commit that was not there before: {look}."
    except Exception as error:  # As in `_explained`.
        return f"Whether anything is left there could not be found out ({_reason(error)}): {look}."
    return "Is there a token that may write there? " + _LOG_IN


def model_card(repo: str, what: str, code: str, base_model: str | None) -> str:
    """A card with nothing but facts: what it is, and how it is loaded. The licence is for the owner to say."""
    base = f"base_model: {base_model}\n" if base_model else ""
    return f"""---
library_name: chandler
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
