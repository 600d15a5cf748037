"""Who gives the scores: faces, tags, structure, statistics. Each tells what it can, :class:`Joined` puts them together.

::

    likeness.py   a set's own leave-one-out likeness, and a picture's beside it
    faces.py      identity of people by face embeddings
    readers.py    what taggers see, as chances
    tags.py       identity by baked traits or by all tags; obedience
    copying.py    is it one of the photos again
    health.py     is it a clean picture
    joined.py     several judges as one

Nothing here loads a model or knows a project: :mod:`lora_forge.work.judging` does.
"""

from __future__ import annotations
