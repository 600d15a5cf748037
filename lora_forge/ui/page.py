"""The page until the tab is built: what this is, what it runs on, and the steps from the command line."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from lora_forge import __version__
from lora_forge.doctor import Finding, State, examine

CSS = """
#lora_forge { max-width: 60rem; margin: 0 auto; }
#lora_forge table { width: 100%; margin: 0; border: 0; border-collapse: collapse; }
#lora_forge tr { border: 0; border-bottom: 1px solid var(--border-color-primary); }
#lora_forge td { padding: .35rem .6rem; border: 0; vertical-align: top; }
#lora_forge td:first-child { white-space: nowrap; font-weight: 600; }
#lora_forge .remedy { opacity: .75; }
"""

STEPS_EN = """\
The tab with photos, tags, training, tests and keeping is being built. Until then every step works in a terminal
(`lora-forge` lies in `.venv/bin` of the program's folder, on Windows in `.venv\\Scripts`):

```
lora-forge import photos/ --project anna --trigger "ohwx woman"
lora-forge prepare --project anna --resolution 512
lora-forge train --project anna --base model.safetensors --name anna --out loras --preset person
lora-forge grid --base model.safetensors --loras loras --name anna --out grid.png --prompt "ohwx woman, red dress"
```

No checkpoint at hand? `lora-forge demo` runs the whole job on a bundled toy world.
`lora-forge COMMAND --help` says more.
"""

STEPS_ZH = """\
带有素材、打标、炼丹、测试、保留五步的标签页正在制作中。在此之前，每一步都可以在终端里完成
（`lora-forge` 在程序文件夹的 `.venv/bin` 里，Windows 上是 `.venv\\Scripts`）：

```
lora-forge import photos/ --project anna --trigger "ohwx woman"     # 导入素材
lora-forge prepare --project anna --resolution 512  # 预处理
lora-forge train --project anna --base model.safetensors --name anna --out loras --preset person  # 炼丹
lora-forge grid --base model.safetensors --loras loras --name anna --out grid.png --prompt "ohwx woman" # 测试
```

手边没有底模？`lora-forge demo` 会在自带的玩具世界里走完全程。更多说明：`lora-forge COMMAND --help`。
"""


class OnlyFromHere:
    """ASGI middleware: the browser loads nothing from elsewhere. gradio's page names two hosts of scripts and fonts."""

    POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", self.POLICY)]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def build_page(base: Path | None) -> Any:
    """The page as ``gradio.Blocks``, not yet served.

    Raises:
        CheckpointError: ``base`` is no checkpoint.
    """
    base_rows = _base_rows(base) if base else []
    # Fonts of the system: gradio's own theme fetches them from the web.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    with (
        gr.Blocks(title="LoRA Forge", css=CSS, theme=theme, analytics_enabled=False) as page,
        gr.Column(elem_id="lora_forge"),
    ):
        gr.Markdown(
            f"# LoRA Forge {__version__}\nFrom a folder of photos to a tested LoRA. 从一组素材到一个测试过的 LoRA。"
        )
        if base_rows:
            gr.HTML(_table(base_rows))
        with gr.Tabs():
            with gr.Tab("English"):
                gr.Markdown(STEPS_EN)
            with gr.Tab("简体中文"):
                gr.Markdown(STEPS_ZH)
        gr.Markdown("## This machine · 本机")
        gr.HTML(_table([_row(finding) for finding in examine(Path.cwd())]))
    return page


def _base_rows(base: Path) -> list[tuple[str, str, str]]:
    from lora_forge.model.read import read_facts

    facts = read_facts(base)
    noise = "zero-terminal-SNR noise schedule" if facts.zero_terminal_snr else "plain noise schedule"
    return [
        ("Base · 底模", str(base), ""),
        ("Family · 类型", facts.family.value, ""),
        ("Predicts · 预测", f"{facts.prediction_type} ({facts.prediction_source}), {noise}", facts.hint),
    ]


def _row(finding: Finding) -> tuple[str, str, str]:
    mark = {State.GOOD: "", State.OPTIONAL: "– ", State.BAD: "✗ "}[finding.state]
    return mark + finding.name, finding.text, finding.remedy


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = []
    for name, text, remedy in rows:
        extra = f'<div class="remedy">{html.escape(remedy)}</div>' if remedy else ""
        cells.append(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}{extra}</td></tr>")
    return f"<table>{''.join(cells)}</table>"
