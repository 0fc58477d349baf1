"""Runs a command with a root of its own: /app, /packages, /secrets and /run/package where a container has them.

    unshare --mount [--map-root-user] python enter.py ROOT ENVIRONMENT USER COMMAND…

ROOT holds app, packages, secrets and run; everything else is the machine's, read as it is.
"""

import os
import subprocess
import sys
from pathlib import Path

MACHINE = ("bin", "lib", "lib64", "usr", "sbin", "proc", "dev", "sys", "opt", "etc")


def main() -> None:
    """Mount, go in, become an ordinary user, and turn into the command."""
    root, environment, user, command = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    mount("--make-rprivate", "/")
    mount("--bind", str(root), str(root))
    for name in MACHINE:
        source, target = Path("/") / name, root / name
        if source.is_symlink():
            if not target.is_symlink():  # a container that starts again finds what the first had
                target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir(exist_ok=True)
            mount("--rbind", str(source), str(target))
    # The interpreter that the environment was made of may lie anywhere, in a home for one.
    python = Path(environment, "bin/python").resolve().parent.parent
    for source, target in ((environment, root / "environment"), (str(python), root / str(python).lstrip("/"))):
        target.mkdir(parents=True, exist_ok=True)
        mount("--bind", source, str(target))
    os.chroot(root)
    os.chdir("/")
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    os.execv(command[0], command)  # noqa: S606 - it takes this process's place


def mount(*arguments: str) -> None:
    """Call mount, or fail with what it says."""
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()
