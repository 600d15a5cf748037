"""What differs between gradio 3.41 (AUTOMATIC1111, reForge), 4.40 (Forge) and 5.50 (our own page)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr

MAJOR = int(gr.__version__.split(".")[0])

# no entry of their own in gradio's list of functions; gradio 5 warns of this way, and knows no other yet
_UNNAMED: dict[str, Any] = {} if MAJOR >= 5 else {"api_name": False}
# gradio 3 answers every press; 4 and 5 leave out one that comes while an answer is on its way, unless told so
_LAST: dict[str, Any] = {"trigger_mode": "always_last"} if MAJOR >= 4 else {}
_HTML: dict[str, Any] = {"padding": False} if MAJOR >= 5 else {}


def update(**properties: Any) -> Any:
    """A change of a component's properties."""
    return gr.update(**properties)


def html(value: str, **more: Any) -> Any:
    """An HTML block without a frame of its own."""
    return gr.HTML(value, **_HTML, **more)


def on(
    event: Callable[..., Any],
    fn: Callable[..., Any] | None,
    inputs: Iterable[Any] | None = None,
    outputs: Iterable[Any] | None = None,
    js: str | None = None,
    queued: bool = False,
    last: bool = False,
) -> Any:
    """Bind ``fn`` (or only ``js``) to a component's event, such as ``button.click``; returns what has ``.then``.

    ``inputs`` given as a set reach ``fn`` as one dict by component. Short handlers stay out of the queue: there they
    would wait for the host's pictures. With ``last``, an event during another's answer is answered after it.
    """
    script = {} if js is None else {"_js" if MAJOR == 3 else "js": js}
    chosen = inputs if inputs is None or isinstance(inputs, set) else list(inputs)
    return event(
        fn=fn,
        inputs=chosen,
        outputs=None if outputs is None else list(outputs),
        queue=queued,
        show_progress="hidden",
        **_UNNAMED,
        **(_LAST if last else {}),
        **script,
    )
