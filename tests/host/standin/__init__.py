"""Stand-ins for the WebUIs: the modules we import from them, with real torch modules in the real key layouts.

What they do was read in, and seen in, the real programs; ``-m host`` runs the same contract in those.
"""
