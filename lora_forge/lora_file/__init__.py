"""The LoRA file: names, keys, metadata, hashes, and a writer that never leaves half a file."""
