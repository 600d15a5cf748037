"""Names of kohya's settings: those that mean the same here, and why others are left."""

from __future__ import annotations

from collections.abc import Mapping

from lora_forge.i18n import word

SAME: Mapping[str, str] = {
    "resolution": "resolution_px",
    "max_resolution": "resolution_px",
    "enable_bucket": "use_buckets",
    "bucket_reso_steps": "bucket_step_px",
    "min_bucket_reso": "bucket_min_px",
    "max_bucket_reso": "bucket_max_px",
    "flip_aug": "flip",
    "shuffle_caption": "shuffle_tags",
    "keep_tokens": "keep_tokens",
    "caption_tag_dropout_rate": "tag_dropout",
    "caption_dropout_rate": "caption_dropout",
    "clip_skip": "clip_skip",
    "num_repeats": "repeats",
    "dataset_repeats": "repeats",
    "train_batch_size": "batch_size",
    "batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "gradient_checkpointing": "gradient_checkpointing",
    "max_grad_norm": "max_grad_norm",
    "min_snr_gamma": "min_snr_gamma",
    "debiased_estimation_loss": "debiased",
    "noise_offset": "noise_offset",
    "prior_loss_weight": "prior_weight",
    "scale_weight_norms": "max_norm",
    "save_every_n_epochs": "save_every_epochs",
    "sample_every_n_steps": "preview_every_steps",
    "sample_steps": "preview_steps",
    "sample_cfg": "preview_guidance",
    "lr_scheduler_num_cycles": "schedule_cycles",
    "lr_restart_cycles": "schedule_cycles",
}
"""Theirs -> ours, where the number stands for the same thing."""

OTHER_KIND = word("It belongs to a kind of network that is not trained here ({network}).")
NO_MEANING = word("Nothing here has this meaning.")
FROM_MODEL = word("It is read from the loaded checkpoint.")
CHOSEN = word("It is chosen on the page, not among the settings.")
ANYWAY = word("It is done here anyway.")
MACHINE = word("It concerns the other trainer's own workings.")
ALL_KEPT = word("Every file is kept until you choose.")
NOT_SQUARE = word("Here one number says the size; the shapes follow the photos.")
BY_SHARE = word("It is a share of the run there; here it is a number of steps.")
BY_STEPS = word("There the epochs follow from the steps; here they are repeats and epochs.")
FROM_EPOCHS = word("The epochs decide, as they do there when both are given.")
BY_EPOCHS = word("Previews come by steps here, not by epochs.")
OWN_MASKS = word("Masks come from the project here, and face boxes stand in for them.")
NO_UPSCALE = word("Photos smaller than their bucket are enlarged here; the check-up of the photos warns of them.")
MOVES_ALONE = word("That optimizer sets its own rate there; here it takes the learning rate.")
NO_OPTIMIZER = word("This optimizer is not here.")
NO_SCHEDULE = word("This schedule is not here.")
OWN_RATES = word("Here all text encoders have one learning rate.")
FIXED_PRODIGY = word("Prodigy always has its safeguard and bias correction here.")
BOTH_PARTS = word("Here it counts for both parts of the model.")
SEVERAL_SETS = word("It has several sets of photos; here groups of the project have their own repeats.")
NOT_SD = word("It is for another family of models, so its numbers do not fit.")

LEFT: Mapping[str, str] = {
    **dict.fromkeys(
        ("v2", "sdxl", "v_parameterization", "vae", "sd_model_hash", "model_train_type"),
        FROM_MODEL,
    ),
    **dict.fromkeys(
        (
            "pretrained_model_name_or_path", "train_data_dir", "reg_data_dir", "image_dir", "output_dir", "output_name",
            "logging_dir", "log_prefix", "dataset_config", "model_list", "trained_model", "model_name_or_path",
            "caption_extension", "sample_prompts", "sample_sampler", "sample_seed", "class_tokens", "prompt_file",
        ),
        CHOSEN,
    ),
    **dict.fromkeys(
        (
            "cache_latents", "cache_latents_to_disk", "cache_text_encoder_outputs", "sdxl_cache_text_encoder_outputs",
            "cache_text_encoder_outputs_to_disk", "no_half_vae", "sdxl_no_half_vae", "save_state", "max_token_length",
            "save_model_as", "save_precision", "network_module", "LoRA_type",
        ),
        ANYWAY,
    ),
    **dict.fromkeys(
        (
            "xformers", "sdpa", "mem_eff_attn", "lowram", "highvram", "lowvram", "max_data_loader_n_workers",
            "persistent_data_loader_workers", "num_cpu_threads_per_process", "num_processes", "num_machines",
            "vae_batch_size", "torch_compile", "dynamo_backend", "dynamo_mode", "log_with", "logging", "wandb_api_key",
            "use_wandb", "extra_accelerate_launch_args", "main_process_port", "gpu_ids", "multi_gpu", "ddp_timeout",
            "skip_cache_check", "training_comment", "no_metadata", "lr_scheduler_type", "train_on_input", "unit",
            "huggingface_repo_id", "log_tracker_name", "log_tracker_config",
        ),
        MACHINE,
    ),
    **dict.fromkeys(
        (
            "save_last_n_epochs", "save_last_n_steps", "save_last_n_epochs_state", "save_last_n_steps_state",
            "save_n_epoch_ratio", "save_every_n_steps",
        ),
        ALL_KEPT,
    ),
    "sample_every_n_epochs": BY_EPOCHS,
    "masked_loss": OWN_MASKS,
    "alpha_mask": OWN_MASKS,
    "bucket_no_upscale": NO_UPSCALE,
}  # fmt: skip
"""Theirs -> why it is left, where it asks for anything at all."""

QUIET = frozenset({"metadata", "name", "version", "author", "description", "train_type", "lora_type"})
"""What describes the file itself."""

OPTIMIZERS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "adamw": ("adamw", {}),
    "adamw8bit": ("adamw8bit", {}),
    "lion": ("lion", {"weight_decay": 0.0, "beta2": 0.99}),
    "prodigy": ("prodigy", {"weight_decay": 0.0}),
    "adafactor": ("adafactor", {"weight_decay": 0.0}),
    "adamwschedulefree": ("schedule_free", {"weight_decay": 0.0}),
}
"""Theirs in small letters -> ours, and what its library does where the file says nothing."""

SCHEDULES: Mapping[str, str] = {
    "constant": "constant",
    "constant_with_warmup": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_restarts": "cosine_with_restarts",
    "polynomial": "polynomial",
}
