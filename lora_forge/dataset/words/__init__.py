"""A Chinese-English dictionary of caption tags: what each means, what kind of trait it is, and how to find it.

``tags_zh.tsv`` holds one tag a line, ``tag<TAB>category<TAB>zh[;another zh...]``: ordered by category and within it by
how common the tag is, which is all the ranking there is. Written for this project, not taken from another list.
"""

from lora_forge.dataset.words.entries import Category, Word, normalise
from lora_forge.dataset.words.lookup import Words

__all__ = ["Category", "Word", "Words", "normalise"]
