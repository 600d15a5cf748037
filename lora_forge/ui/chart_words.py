"""Words of the loss chart and of the strip of previews."""

from __future__ import annotations

from lora_forge.i18n import word

CHART_WORDS = {
    "chart_label": word("Loss over the steps"),
    "chart_window_mse": word("Mean of the last epoch"),
    "chart_window_mse_hint": word(
        "The plain error of the last epoch's steps: what 0.07-0.09 refers to. Click: show or hide."
    ),
    "chart_objective": word("Objective"),
    "chart_objective_hint": word(
        "What the steps make smaller, with its weights, as a mean of the last epoch. Click: show or hide."
    ),
    "chart_loss": word("Each step"),
    "chart_loss_hint": word("The objective of each single step: it jumps, and that is normal. Click: show or hide."),
    "chart_validation": word("Validation"),
    "chart_validation_hint": word(
        "Always the same photos, noise and timesteps: rising means overfitting. Click: show or hide."
    ),
    "chart_learning_rate": word("Learning rate"),
    "chart_learning_rate_hint": word("How large the steps are; the axis on the right. Click: show or hide."),
    "chart_band": word("0.07-0.09, a hint"),
    "chart_step": word("step {step}"),
    "chart_at": word("step {step}, epoch {epoch}"),
    "chart_steps": word("steps; above: epochs"),
    "chart_empty": word("The chart begins with the first step."),
    "chart_whole": word("Whole run"),
    "chart_hint": word("Drag to zoom, double-click for the whole run. Keys: arrows, + and -, Escape."),
}

PREVIEW_WORDS = {
    "strip_label": word("Previews"),
    "strip_empty": word("The previews appear here as they are drawn, the newest first."),
    "strip_hint": word("Click to enlarge; tick two to compare them."),
    "strip_without": word("Without LoRA"),
    "strip_same": word("The same prompt and seed, before training."),
    "strip_step": word("step {step}"),
    "strip_newest": word("newest"),
    "strip_choose": word("Choose for a comparison"),
    "strip_compare": word("Compare"),
    "strip_compare_two": word("Compare: {left} | {right}"),
    "strip_with": word("Compare with"),
    "strip_alone": word("nothing"),
    "strip_newer": word("Newer"),
    "strip_older": word("Older"),
    "strip_slider": word("Where the two pictures meet"),
    "strip_prompt": word("Prompt {number}"),
    "strip_close": word("Close"),
}
