"""Groups of the form and its fields' labels and effects, in the order a person would look."""

from __future__ import annotations

from dataclasses import dataclass

from lora_forge.i18n import word


@dataclass(frozen=True)
class Note:
    """What is said of one setting. ``quality``, ``time`` and ``memory``: what more of it does to them, if anything."""

    key: str
    label: str
    quality: str = ""
    time: str = ""
    memory: str = ""


_MORE_TIME = word("more takes longer")
_MORE_MEMORY = word("more takes more")
_SAME_TIME = word("a step takes as long")

LEARN = (
    Note("repeats", word("Repeats"), word("more: more alike, too many: stiff"), word("grows with it")),
    Note("epochs", word("Epochs"), word("more files to choose from"), word("grows with it"), word("none; more disk")),
    Note("max_steps", word("Steps at most"), "", word("cuts the run short")),
    Note("seed", word("Seed"), word("another draw, no better or worse")),
)
PHOTOS = (
    Note(
        "resolution_px",
        word("Resolution"),
        word("more: finer detail"),
        word("grows with the square"),
        word("grows with the square"),
    ),
    Note("use_buckets", word("Keep shapes"), word("on: nothing is cut off"), word("more shapes, a few more steps")),
    Note("bucket_step_px", word("Multiple of sides"), word("smaller: less is cut off"), word("smaller: more shapes")),
    Note("bucket_min_px", word("Shortest side")),
    Note("bucket_max_px", word("Longest side"), word("larger: long photos stay whole")),
    Note(
        "flip",
        word("Mirror images"),
        word("on: more variety, sides are mixed up"),
        word("encoding takes twice as long"),
    ),
)
CAPTIONS = (
    Note("shuffle_tags", word("Shuffle tags"), word("on: obeys prompts in any order"), "", word("off: a little less")),
    Note("keep_tokens", word("First tags kept in place"), word("1 keeps the trigger word strong")),
    Note("tag_dropout", word("Leave out single tags"), word("more: depends less on each word")),
    Note("caption_dropout", word("Leave out all words"), word("a little: shows without being asked; good for styles")),
    Note("clip_skip", "Clip skip", word("as the checkpoint is used: 1, anime 2")),
)
LORA = (
    Note(
        "rank",
        word("Rank (dim)"),
        word("more: more detail, learns by heart sooner"),
        word("hardly any"),
        word("grows with it, and so do the files"),
    ),
    Note("alpha", word("Alpha"), word("more: learns faster")),
    Note(
        "targets",
        word("Layers"),
        word("fewer: weaker, more obedient"),
        word("fewer: a little faster"),
        word("fewer: less"),
    ),
    Note(
        "conv_rank",
        word("Convolution rank (LoCon)"),
        word("more: texture and lines, for styles"),
        _MORE_TIME,
        _MORE_MEMORY,
    ),
    Note("conv_alpha", word("Convolution alpha"), word("more: learns faster")),
    Note("rank_dropout", word("Rank dropout"), word("more: copies photos less, learns slower")),
    Note("max_norm", word("Largest weight norm"), word("lower: harder to ruin, learns less")),
    Note(
        "ema_decay",
        word("Average over steps (EMA)"),
        word("higher: calmer files that lag behind"),
        "",
        word("a little more"),
    ),
)
RATE = (
    Note("learning_rate", word("Learning rate"), word("too low: not alike; too high: broken pictures")),
    Note(
        "te_learning_rate",
        word("Learning rate of the text encoder"),
        word("more: firmer trigger word, less obedient"),
        word("above 0: about a quarter longer"),
        word("above 0: more"),
    ),
    Note(
        "optimizer",
        word("Optimizer"),
        word("Prodigy finds its rate itself"),
        _SAME_TIME,
        word("8-bit: a quarter of its state"),
    ),
    Note("schedule", word("Schedule"), word("falling: the last epochs are calmer")),
    Note("schedule_cycles", word("Restarts")),
    Note("warmup_steps", word("Warm-up steps"), word("more: a gentler start")),
    Note("lora_plus_ratio", "LoRA+", word("more: learns faster, breaks sooner")),
    Note("weight_decay", word("Weight decay"), word("more: weaker, more general")),
    Note("beta1", "Beta 1"),
    Note("beta2", "Beta 2"),
    Note("max_grad_norm", word("Gradient clipping"), word("lower: odd photos do less harm")),
)
LOSS = (
    Note("min_snr_gamma", "Min-SNR", word("5: steadier, learns composition and detail evenly")),
    Note("debiased", word("Debiased estimation"), word("on: stresses composition")),
    Note("noise_offset", word("Noise offset"), word("more: deeper blacks, brighter whites; too much: harsh")),
    Note("masked_loss", word("Masked loss"), word("on: the background is not learned")),
    Note("outside_weight", word("Weight outside the mask"), word("lower: less of the background")),
    Note("prior_weight", word("Weight of prior pictures"), word("more: other people stay as they were")),
    Note("prediction_type", word("Prediction type"), word("wrong: nothing but noise is learned")),
    Note("zero_terminal_snr", word("Zero terminal SNR"), word("must be as the checkpoint was trained")),
)
MEMORY = (
    Note(
        "batch_size",
        word("Batch size"),
        word("more: smoother; raise the rate with it"),
        word("more: fewer, longer steps"),
        _MORE_MEMORY,
    ),
    Note(
        "gradient_accumulation",
        word("Gradient accumulation"),
        word("as a larger batch"),
        word("more: fewer, longer steps"),
        word("none"),
    ),
    Note(
        "gradient_checkpointing",
        word("Gradient checkpointing"),
        word("none"),
        word("a third longer"),
        word("much less"),
    ),
    Note(
        "base_storage",
        word("Base model in memory"),
        word("8 bits: a little coarser"),
        word("8 bits: a little longer"),
        word("8 bits: half of fp16 for the weights"),
    ),
    Note(
        "precision",
        word("Precision"),
        word("hardly any"),
        word("half precision: up to twice as fast"),
        word("half precision: half"),
    ),
    Note(
        "encode_ahead",
        word("Encode ahead"),
        word("none"),
        word("on: a wait first, then even steps"),
        word("on: text and image encoders rest meanwhile"),
    ),
    Note("graphs", word("Recorded steps"), word("none"), word("auto: much faster at batch 1 on NVIDIA cards")),
    Note("device", word("Device"), word("none"), word("a card is many times faster than a CPU")),
)
SAVING = (
    Note(
        "preview_every_steps",
        word("Preview every so many steps"),
        word("none"),
        word("each costs a picture"),
        word("as a picture of that size"),
    ),
    Note(
        "preview_share",
        word("Previews' share of the time"),
        word("none"),
        word("lower: fewer previews, a shorter run"),
    ),
    Note("preview_prompts", word("Preview prompts"), word("none"), word("each costs a picture")),
    Note("preview_steps", word("Preview sampler steps"), word("more: cleaner previews"), _MORE_TIME),
    Note("preview_guidance", word("Preview guidance"), word("as in your own pictures")),
    Note(
        "save_every_epochs",
        word("Save every so many epochs"),
        word("fewer files to choose from"),
        "",
        word("none; less disk"),
    ),
    Note(
        "state_every_steps",
        word("Safety copy every so many steps"),
        word("none"),
        word("a moment each"),
        word("none; some disk"),
    ),
    Note(
        "validation_photos",
        word("Photos for the fixed loss"),
        word("none; a fairer number to watch"),
        word("a moment each epoch"),
    ),
)
GROUPS: tuple[tuple[str, str, tuple[Note, ...]], ...] = (
    ("learn", word("How long it learns"), LEARN),
    ("photos", word("Photos and size"), PHOTOS),
    ("captions", word("Captions"), CAPTIONS),
    ("lora", "LoRA", LORA),
    ("rate", word("Learning rate and optimizer"), RATE),
    ("loss", word("Loss"), LOSS),
    ("memory", word("Memory and speed"), MEMORY),
    ("saving", word("Saving and previews"), SAVING),
)
"""``(id, title, fields)``."""
