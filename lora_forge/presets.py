"""Named defaults: type x family. The numbers' sources are in PEERS part D (synthesis) until measured here.

``toyworld`` and ``toyworld_hot`` are for the drawn world, a model a hundred times smaller that wants other rates.
"""

from __future__ import annotations
