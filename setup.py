"""What pyproject.toml can't say: WebUIs want the style sheet and the scripts beside the package, a wheel inside it."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PAGE = Path("lora_forge", "ui", "page_files")


class BuildWithPage(build_py):
    """Also copies what :mod:`lora_forge.ui.assets` reads."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):  # the checkout itself is installed: everything lies beside it
            return
        for file in (ROOT / "style.css", *sorted((ROOT / "javascript").glob("*.js"))):
            target = Path(self.build_lib) / PAGE / file.relative_to(ROOT)
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithPage})
