"""Configuration: which folders are which repositories, and whose tokens are valid.

```json
{"repos": [{"name": "meta-llama/Llama-tiny", "path": "tiny-llama", "gated": "manual", "private": false,
            "licence": "llama2", "revision": "main"}],
 "tokens": [{"token": "hf_reader", "account": "alice", "grants": ["meta-llama/Llama-tiny"]}]}
```

A repository may stand there several times, once for each of its revisions. The same object can be posted to
`/_control/config` later, to add to what is there.
"""

from pathlib import Path
from typing import Any

from .state import Hub


def apply(hub: Hub, config: dict[str, Any]) -> dict[str, str]:
    """Add the repositories and tokens of a configuration.

    Returns: `OWNER/NAME@revision` to the commit it points at.

    Raises:
        ValueError: an unknown key, a name that is none, a folder without files.
        KeyError, TypeError: a repository or token lacks a field, or has one too many.
    """
    unknown = config.keys() - {"repos", "tokens"}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; a configuration has `repos` and `tokens`")
    commits: dict[str, str] = {}
    for repo in config.get("repos", []):
        commits[f"{repo['name']}@{repo.get('revision', 'main')}"] = hub.add_repo(**repo)
    for token in config.get("tokens", []):
        hub.tokens.add(**token)
    return commits


def discover(models_dir: Path) -> dict[str, Any]:
    """Without a configuration: each folder OWNER/NAME that holds a `config.json` is a public repository."""
    folders = sorted(path.parent for path in models_dir.glob("*/*/config.json"))
    names = (folder.relative_to(models_dir).as_posix() for folder in folders)
    return {"repos": [{"name": name, "path": name} for name in names]}
