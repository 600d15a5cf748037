"""``python -m lora_forge`` is the same as ``lora-forge``."""

import sys

from lora_forge.cli import main

if __name__ == "__main__":
    sys.exit(main())
