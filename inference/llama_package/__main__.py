"""`python3 llama_package`: the supervisor, from wherever the folder was copied to."""

import sys
from pathlib import Path

# This folder would else be the first place that modules are looked for in.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from llama_package.supervisor import main  # noqa: E402

if __name__ == "__main__":
    main()
