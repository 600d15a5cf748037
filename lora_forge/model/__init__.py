"""A Stable Diffusion checkpoint as diffusers modules on the memory it already lies in."""
