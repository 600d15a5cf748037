"""The reasons themselves, and the trainers they are from: those read for PEERS.md, part D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.i18n import word

SOURCES: Mapping[str, str] = {
    "tutorial": word("the tutorial"),
    "here": "LoRA Forge",
    "ours": word("our own choice, not yet measured on real photos"),
    "toy": word("measured on the toy world"),
    "train-tools": "sd-webui-train-tools",
    "traintrain": "sd-webui-traintrain",
    "easyphoto": "EasyPhoto",
    "dreambooth": "sd_dreambooth_extension",
    "kohya_ss": "kohya_ss",
    "sd-scripts": "sd-scripts",
    "lora-scripts": "lora-scripts",
    "onetrainer": "OneTrainer",
    "ai-toolkit": "ai-toolkit",
    "civitai": "Civitai",
    "colab": "hollowstrawberry kohya-colab",
    "modl": "modl",
    "min-snr": "arXiv 2303.09556",
    "stability": "Stability AI",
    "pytorch": "PyTorch",
    "webui": "WebUI",
}


@dataclass(frozen=True)
class Reason:
    """``sentence``: may name {photos}, {repeats}, {pictures} and {steps}. ``sources``: keys of :data:`SOURCES`."""

    sentence: str
    sources: tuple[str, ...]


_OFF = word("Off, as in nearly every recipe; try it only when something is wrong.")
_ITSELF = word("Found out for this machine and checkpoint, so it can't be set wrongly.")
_OWN_RATE = word("The optimizer's own; no recipe changes it.")
_BUCKET = word("Half to twice the resolution, so that tall and wide photos stay whole.")
_PREVIEW = word("As the WebUI draws when nothing is changed there.")
TOY = word("Chosen by trying, on the toy world alone.")
PREPARED = word("As the photos of this project are prepared.")
TRAITS = word("The trigger word alone, and with the changeable traits in other colours: does it still obey?")

# By setting; then by (kind, family, setting), where "" stands for any. The closest one counts.
COMMON: Mapping[str, Reason] = {
    "repeats": Reason(
        word("A subject is used to about {pictures} pictures an epoch, here {photos} x {repeats}; 40 repeats at most."),
        ("colab", "train-tools", "modl"),
    ),
    "epochs": Reason(
        word("Ten numbered files from too little to too much, to choose the best from."),
        ("tutorial", "civitai", "lora-scripts"),
    ),
    "max_steps": Reason(word("No limit: every epoch is finished, as its files are to be compared."), ("here",)),
    "seed": Reason(word("Any number is as good; a fixed one makes a run that can be repeated."), ("here",)),
    "resolution_px": Reason(word("The size SD1.x was made for."), ("kohya_ss", "easyphoto", "lora-scripts", "civitai")),
    "use_buckets": Reason(
        word("Cutting everything to squares loses heads and hems."), ("sd-scripts", "lora-scripts", "ai-toolkit")
    ),
    "bucket_step_px": Reason(
        word("Other multiples give odd sizes inside the model, which cost quality."), ("sd-scripts",)
    ),
    "bucket_min_px": Reason(_BUCKET, ("sd-scripts", "lora-scripts")),
    "bucket_max_px": Reason(_BUCKET, ("sd-scripts", "lora-scripts")),
    "flip": Reason(
        word("Faces are not symmetric: a mirrored one is somebody else."),
        ("kohya_ss", "lora-scripts", "ai-toolkit", "civitai"),
    ),
    "shuffle_tags": Reason(
        word("The place of a tag should not matter, as it does not in a prompt."),
        ("lora-scripts", "colab", "dreambooth"),
    ),
    "keep_tokens": Reason(
        word("The trigger word stays first, so that it takes up the subject."), ("colab", "kohya_ss")
    ),
    "tag_dropout": Reason(_OFF, ("sd-scripts", "kohya_ss")),
    "caption_dropout": Reason(
        word("Every picture is learned with its words, so that they can change it later."), ("kohya_ss", "civitai")
    ),
    "clip_skip": Reason(word("Photo-like checkpoints are used with the last layer."), ("civitai", "kohya_ss")),
    "rank": Reason(
        word("Where most recipes meet: room for a face and its details, and small files."),
        ("civitai", "lora-scripts", "ai-toolkit", "modl"),
    ),
    "alpha": Reason(
        word("Half of the rank, which the learning rate below goes with."), ("civitai", "easyphoto", "train-tools")
    ),
    "targets": Reason(word("All layers that a LoRA for the WebUIs usually has."), ("sd-scripts", "onetrainer")),
    "conv_rank": Reason(word("A plain LoRA is small and works in every program."), ("sd-scripts", "civitai")),
    "conv_alpha": Reason(word("Counts only with a convolution rank."), ("sd-scripts",)),
    "rank_dropout": Reason(_OFF, ("sd-scripts", "kohya_ss")),
    "max_norm": Reason(_OFF, ("sd-scripts", "kohya_ss")),
    "ema_decay": Reason(_OFF, ("onetrainer", "kohya_ss")),
    "learning_rate": Reason(
        word("The one number nearly all recipes agree on."),
        ("traintrain", "easyphoto", "kohya_ss", "lora-scripts", "ai-toolkit"),
    ),
    "te_learning_rate": Reason(
        word("Half of the image part's: the trigger word becomes firm and prompts still count."),
        ("civitai", "dreambooth", "kohya_ss"),
    ),
    "optimizer": Reason(
        word("Works everywhere without another library, and forgives."), ("easyphoto", "onetrainer", "traintrain")
    ),
    "schedule": Reason(
        word("Falls smoothly, so that neighbouring late epochs differ little."),
        ("train-tools", "traintrain", "kohya_ss"),
    ),
    "schedule_cycles": Reason(word("Counts only for a cosine with restarts."), ("lora-scripts",)),
    "warmup_steps": Reason(
        word("A LoRA begins with no effect at all, so a gentle start gains nothing."), ("traintrain", "easyphoto")
    ),
    "lora_plus_ratio": Reason(_OFF, ("sd-scripts",)),
    "weight_decay": Reason(_OWN_RATE, ("pytorch",)),
    "beta1": Reason(_OWN_RATE, ("pytorch",)),
    "beta2": Reason(_OWN_RATE, ("pytorch",)),
    "max_grad_norm": Reason(word("One odd photo can't throw everything over."), ("sd-scripts", "kohya_ss")),
    "min_snr_gamma": Reason(
        word("Learning gets steadier; nearly every newer recipe has it."), ("min-snr", "civitai", "traintrain")
    ),
    "debiased": Reason(word("Min-SNR does this work already, and only one of them can."), ("sd-scripts",)),
    "noise_offset": Reason(
        word("It changes how bright everything becomes; wanted only for very dark or bright pictures."),
        ("easyphoto", "dreambooth", "onetrainer"),
    ),
    "masked_loss": Reason(_OFF, ("sd-scripts", "onetrainer")),
    "outside_weight": Reason(word("A little of the surroundings keeps pictures whole."), ("onetrainer",)),
    "prior_weight": Reason(word("Such pictures, where there are any, count as much as photos."), ("sd-scripts",)),
    "prediction_type": Reason(_ITSELF, ("here",)),
    "zero_terminal_snr": Reason(_ITSELF, ("here",)),
    "batch_size": Reason(
        word("Few photos are learned most exactly one by one, and the smallest card can do it."),
        ("easyphoto", "kohya_ss", "lora-scripts", "ai-toolkit"),
    ),
    "gradient_accumulation": Reason(word("One picture a step is wanted, so none are summed."), ("kohya_ss",)),
    "gradient_checkpointing": Reason(
        word("On only where the free memory would not do without: off is a third faster, and learns the same."),
        ("here", "sd-scripts"),
    ),
    "base_storage": Reason(word("As exact as it was loaded; 8 bits are for cards with no room left."), ("here",)),
    "precision": Reason(_ITSELF, ("here",)),
    "encode_ahead": Reason(_ITSELF, ("here",)),
    "graphs": Reason(_ITSELF, ("here",)),
    "device": Reason(_ITSELF, ("here",)),
    "preview_every_steps": Reason(
        word("About every 50 steps, here every {steps}, the end of each epoch among them, as far as time allows."),
        ("tutorial",),
    ),
    "preview_share": Reason(
        word("A preview takes as long as dozens of steps; a tenth of the run shows enough of it."), ("here",)
    ),
    "preview_prompts": Reason(word("Without answers about traits the trigger word alone is drawn."), ("tutorial",)),
    "preview_steps": Reason(_PREVIEW, ("webui",)),
    "preview_guidance": Reason(_PREVIEW, ("webui",)),
    "save_every_epochs": Reason(word("Every epoch is a candidate for the X/Y/Z test."), ("tutorial",)),
    "state_every_steps": Reason(word("A crash or a power cut costs a minute or two at most."), ("here",)),
    "validation_photos": Reason(
        word("Four are enough for a steady number and take a moment."), ("ai-toolkit", "sd-scripts")
    ),
}
_STYLE_ALPHA = Reason(
    word("As much as the rank: what fills whole pictures has to move more of the model."),
    ("lora-scripts", "ai-toolkit"),
)
_STYLE_TE = Reason(word("Hardly any: words should go on meaning what they meant."), ("lora-scripts", "colab"))
_XL_TE = Reason(word("SDXL's text encoders are better left alone."), ("onetrainer", "ai-toolkit", "lora-scripts"))
_WIDE_RANK = Reason(word("What fills whole pictures needs more room on the larger model."), ("modl",))
_ASIDE = Reason(
    word("Now and then without words, so that it comes without being asked for."), ("ai-toolkit", "kohya_ss")
)
_SWAPPED = Reason(
    word("The trigger word alone, and with white hair and a red dress: does it still obey? Answers about traits win."),
    ("tutorial",),
)
SPECIAL: Mapping[tuple[str, str, str], Reason] = {
    ("person", "", "preview_prompts"): _SWAPPED,
    ("anime", "", "preview_prompts"): _SWAPPED,
    ("", "sd2", "resolution_px"): Reason(word("The size SD2.x was made for."), ("stability",)),
    ("", "sdxl", "resolution_px"): Reason(
        word("The size SDXL was made for."), ("civitai", "onetrainer", "easyphoto", "kohya_ss")
    ),
    ("", "sd2", "clip_skip"): Reason(word("This family is used with the layer it was made with."), ("stability",)),
    ("", "sdxl", "clip_skip"): Reason(word("This family is used with the layer it was made with."), ("stability",)),
    ("", "sdxl", "te_learning_rate"): _XL_TE,
    ("", "sdxl", "gradient_checkpointing"): Reason(
        word("Automatic turns it on where it is needed: without it SDXL does not fit a 12 GB card."),
        ("sd-scripts", "kohya_ss"),
    ),
    ("anime", "", "flip"): Reason(
        word("Drawn figures are nearly symmetric, and few pictures become twice as many."), ("colab", "train-tools")
    ),
    ("anime", "sd1", "clip_skip"): Reason(
        word("Anime checkpoints of SD1.x are used with the last layer but one."), ("civitai", "colab", "lora-scripts")
    ),
    ("style", "", "flip"): Reason(
        word("A style has no left and right, and mirroring doubles what there is."), ("train-tools", "easyphoto")
    ),
    ("style", "", "repeats"): Reason(
        word("A style wants many pictures, each seen seldom: about {pictures} an epoch, here {photos} x {repeats}."),
        ("modl", "ours"),
    ),
    ("style", "", "caption_dropout"): _ASIDE,
    ("style", "sd1", "alpha"): _STYLE_ALPHA,
    ("style", "sd2", "alpha"): _STYLE_ALPHA,
    ("style", "sd1", "te_learning_rate"): _STYLE_TE,
    ("style", "sd2", "te_learning_rate"): _STYLE_TE,
    ("style", "sdxl", "te_learning_rate"): _XL_TE,
    ("style", "sdxl", "rank"): _WIDE_RANK,
    ("object", "", "flip"): Reason(
        word("A mirrored logo, text or button side is wrong."), ("kohya_ss", "lora-scripts", "ai-toolkit", "civitai")
    ),
    ("object", "", "rank"): Reason(
        word("Room for cut, pattern and stitching, and small files."), ("civitai", "lora-scripts", "ai-toolkit", "modl")
    ),
    ("design", "", "flip"): Reason(word("Lettering, plans and signs have a left and a right."), ("ours",)),
    ("design", "", "repeats"): Reason(
        word("Between a style and a subject: about {pictures} pictures an epoch, here {photos} x {repeats}."),
        ("ours",),
    ),
    ("design", "", "caption_dropout"): _ASIDE,
    ("design", "", "conv_rank"): Reason(
        word("Texture, edges and lines sit in the convolutions, so they learn too."), ("ai-toolkit",)
    ),
    ("design", "", "conv_alpha"): Reason(word("Half of its rank, as everywhere here."), ("civitai", "ours")),
    ("design", "sd1", "alpha"): _STYLE_ALPHA,
    ("design", "sd2", "alpha"): _STYLE_ALPHA,
    ("design", "sd1", "te_learning_rate"): _STYLE_TE,
    ("design", "sd2", "te_learning_rate"): _STYLE_TE,
    ("design", "sdxl", "te_learning_rate"): _XL_TE,
    ("design", "sdxl", "rank"): _WIDE_RANK,
    ("concept", "", "flip"): Reason(word("A pose or a scene may have a left and a right."), ("kohya_ss", "civitai")),
    ("concept", "", "repeats"): Reason(
        word("A little less than a subject: about {pictures} pictures an epoch, here {photos} x {repeats}."),
        ("modl", "ours"),
    ),
}
