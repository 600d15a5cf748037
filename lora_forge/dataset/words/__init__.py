"""A Chinese-English dictionary of caption tags: what each means, what kind of trait it is, and how to find it."""
