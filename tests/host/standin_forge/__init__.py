"""Stand-ins for Forge and its older kin (reForge, Forge Classic), on top of what all WebUIs share."""
