"""Adapters do what LoRA's formula says, start as kohya's do, and leave no trace."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from lora_forge.config import Family, TrainConfig
from lora_forge.errors import LoraFileError, TrainingError
from lora_forge.lora_file.keys import module_names, parts_of
from lora_forge.lora_file.weights import LoraModule, LoraWeights, combine
from lora_forge.ports import BaseInfo, BorrowedModel
from lora_forge.train.adapters import Dropout
from lora_forge.train.network import Network
from tests.lora_file.models import full_size, run, small, tiny

CONFIG = TrainConfig(rank=4, alpha=2.0, te_learning_rate=1e-5)
NAME = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def randomise(network: Network, seed: int = 5) -> LoraWeights:
    """Give every adapter something to say."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: LoraModule(module.down, torch.randn(module.up.shape, generator=generator) * 0.05, module.alpha)
        for name, module in network.weights().items()
    }
    network.load_weights(weights)
    return weights


def fingerprint(model: BorrowedModel) -> list[Any]:
    """Everything detach must bring back, by identity where it is an object."""
    found: list[Any] = []
    for root in (model.unet, *(tower.module for tower in model.text_towers)):
        for name, module in root.named_modules():
            found.append((name, id(module), sorted(vars(module)), module.training))
            found += [len(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")]
        found += [(name, id(p), p.requires_grad, p.data_ptr()) for name, p in root.named_parameters()]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", list(Family))
def test_full_size_models_get_exactly_kohyas_modules(family: Family) -> None:
    model = full_size(family)
    for conv_rank in (0, 4):
        expected = [n for part in parts_of(family) for n in module_names(family, part, has_conv=conv_rank > 0)]
        with Network.attach(model, CONFIG.replace(conv_rank=conv_rank)) as network:
            assert sorted(network.names) == sorted(expected)
            parameters = [named.parameter for named in network.unet_parameters() + network.te_parameters()]
        assert {p.dtype for p in parameters} == {torch.float32}
        if family is Family.SD1 and not conv_rank:
            assert 3 * len(expected) == 792
            assert sum(p.numel() for p in parameters) == 4 * 589_824  # 18.9 MB in fp16 at rank 16


def test_a_fresh_network_changes_nothing() -> None:
    model = small()
    with torch.no_grad():
        before = run(model)
        with Network.attach(model, CONFIG):
            assert torch.equal(run(model), before)


def test_the_output_is_that_of_base_plus_scaled_product() -> None:
    model = small()
    config = CONFIG.replace(conv_rank=2, conv_alpha=3.0)
    with torch.no_grad(), Network.attach(model, config) as network:
        weights = randomise(network)
        network.set_strength(0.7)
        ours = run(model)
        network.detach()
        layers = dict(model.unet.named_modules())
        for name, module in weights.items():
            if name.startswith("lora_unet"):
                path = next(p for p in layers if name == "lora_unet_" + p.replace(".", "_"))
                layers[path].weight += 0.7 * module.delta().reshape(layers[path].weight.shape)
        torch.testing.assert_close(ours, run(model), atol=2e-6, rtol=1e-5)


def test_each_layer_equals_pefts_own_forward() -> None:
    model = small()
    with torch.no_grad(), Network.attach(model, CONFIG.replace(conv_rank=2)) as network:
        randomise(network)
        wrapped = [m for m in model.unet.modules() if hasattr(m, "lora_A")]
        assert len(wrapped) == len(network.unet_parameters()) // 2
        for layer in wrapped:
            base = layer.get_base_layer()
            shape = (2, base.in_channels, 5, 5) if isinstance(base, nn.Conv2d) else (2, 3, base.in_features)
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(layer(x), type(layer).forward(layer, x), atol=1e-6, rtol=1e-5)


def test_parameters_are_float32_on_a_bf16_base_and_learn() -> None:
    model = small(dtype=torch.bfloat16)
    with Network.attach(model, CONFIG) as network:
        randomise(network)
        output = run(model)
        assert output.dtype == torch.bfloat16
        output.float().square().mean().backward()
        for named in network.unet_parameters():
            assert named.parameter.dtype == torch.float32
            assert named.parameter.grad is not None, named.name
            assert torch.isfinite(named.parameter.grad).all()
            assert named.parameter.grad.abs().sum() > 0, named.name
    assert all(p.grad is None for p in model.unet.parameters())


def test_text_towers_learn() -> None:
    model = small()
    with Network.attach(model, CONFIG) as network:
        assert network.trains_text
        tower = model.text_towers[0].module
        tower(torch.tensor([[998, 320, 999]])).last_hidden_state.square().mean().backward()
        ups = [named for named in network.te_parameters() if named.is_up]
        assert len(ups) == 12
        assert all(named.parameter.grad is not None for named in ups)


def test_the_start_is_kaiming_uniform_and_zero() -> None:
    with Network.attach(small(), CONFIG.replace(rank=64, conv_rank=8)) as network:
        for name, module in network.weights().items():
            bound = 1 / math.sqrt(module.down[0].numel())
            assert not module.up.any()
            assert module.down.abs().max() <= bound
            if module.down.numel() > 500:
                assert module.down.std() == pytest.approx(bound / math.sqrt(3), rel=0.15), name
    torch.manual_seed(0)
    like_kohya = torch.empty(64, 8)
    nn.init.kaiming_uniform_(like_kohya, a=math.sqrt(5))
    assert like_kohya.abs().max() == pytest.approx(1 / math.sqrt(8), rel=0.01)


def test_the_start_is_a_function_of_seed_and_layer_alone() -> None:
    def start(config: TrainConfig, seed: int | None = None) -> LoraWeights:
        with Network.attach(small(), config, seed) as network:
            return network.weights()

    whole, again, other = start(CONFIG), start(CONFIG, 0), start(CONFIG, 1)
    attention = start(CONFIG.replace(targets=["attention"], te_learning_rate=0.0, learning_rate=3e-4))
    assert all(torch.equal(whole[name].down, again[name].down) for name in whole)
    assert not any(torch.equal(whole[name].down, other[name].down) for name in whole)
    assert not torch.equal(whole[NAME].down, whole[NAME.replace("to_q", "to_k")].down)
    assert len(attention) == 4 * 8
    assert all(torch.equal(module.down, whole[name].down) for name, module in attention.items())


def test_no_global_generator_is_moved() -> None:
    model = small()
    before = torch.random.get_rng_state()
    with Network.attach(model, CONFIG.replace(rank_dropout=0.5)) as network:
        network.use_dropout(1)
        run(model)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_flow_the_same_through_checkpointing(dropout: float) -> None:
    def gradients(has_checkpoints: bool) -> list[torch.Tensor]:
        model = small()
        with Network.attach(model, CONFIG.replace(rank_dropout=dropout, te_learning_rate=0.0)) as network:
            randomise(network)
            network.use_dropout(3)
            if has_checkpoints:
                model.unet.enable_gradient_checkpointing()
                model.unet.train()
            run(model).square().mean().backward()
            return [named.parameter.grad for named in network.unet_parameters() if named.parameter.grad is not None]

    plain, checkpointed = gradients(False), gradients(True)
    assert len(plain) == 2 * 48
    assert all(torch.equal(a, b) for a, b in zip(plain, checkpointed, strict=True))


def test_rank_dropout_is_a_function_of_step_and_silences_ranks() -> None:
    model = small()
    with torch.no_grad(), Network.attach(model, CONFIG.replace(rank_dropout=0.5)) as network:
        randomise(network)
        plain = run(model)
        network.use_dropout(1)
        first = run(model)
        network.use_dropout(2)
        second = run(model)
        network.use_dropout(1, micro=1)
        micro = run(model)
        network.use_dropout(1)
        assert torch.equal(run(model), first)
        network.use_dropout(None)
        assert torch.equal(run(model), plain)
    assert not any(torch.equal(a, b) for a, b in [(first, second), (first, micro), (first, plain)])


@pytest.mark.parametrize(
    ("rows", "count", "found"),
    [
        ((0, 1), 2, [0, 1]),
        ((1, 3), 2, [1, 3]),
        ((1, 3), 6, [3, 4, 5, 9, 10, 11]),  # captions of three chunks
        ((0, 1, 2), 3, [0, 1, 2]),
        ((), 3, [0, 1, 2]),
        ((0, 1), 3, [0, 1, 2]),
    ],
)
def test_rows_of_a_share_are_those_of_the_whole_batch(rows: tuple[int, ...], count: int, found: list[int]) -> None:
    assert Dropout(0, 0.5, 1, rows=rows).computed(count) == found


def test_rank_dropout_keeps_the_mean_and_drops_whole_ranks_for_each_row() -> None:
    model = small()
    with torch.no_grad(), Network.attach(model, CONFIG.replace(rank_dropout=0.25)) as network:
        weights = randomise(network)
        layer = model.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
        x = torch.randn((1, 3, 16), generator=torch.Generator().manual_seed(0))
        added = []
        for step in range(400):
            network.use_dropout(step)
            added.append(layer(x) - layer.get_base_layer()(x))
        module = weights[NAME]
        parts = torch.stack(
            [module.scale / 0.75 * (x @ module.down[r]).unsqueeze(-1) * module.up[:, r] for r in range(4)]
        )
        # 400 draws of 16 possible sums: each draw is the sum of a subset of the four scaled-up ranks.
        sums = {tuple(s): sum((parts[r] for r in range(4) if s[r]), torch.zeros_like(added[0])) for s in _subsets(4)}
        assert all(any(torch.allclose(one, s, atol=1e-6) for s in sums.values()) for one in added)
        expected = x @ module.delta().T
        torch.testing.assert_close(torch.stack(added).mean(0), expected, atol=0.1 * float(expected.abs().max()), rtol=0)


def _subsets(count: int) -> list[list[int]]:
    return [[(number >> bit) & 1 for bit in range(count)] for number in range(2**count)]


def test_strength_zero_is_the_base_bit_for_bit_and_the_rest_is_linear() -> None:
    model = small()
    layer = model.unet.mid_block.attentions[0].proj_in
    x = torch.randn((1, 16, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        base_output, base = run(model), layer(x)
        with Network.attach(model, CONFIG) as network:
            randomise(network)
            adapted = model.unet.mid_block.attentions[0].proj_in
            one = adapted(x) - base
            network.set_strength(-0.5)
            torch.testing.assert_close(adapted(x) - base, -0.5 * one, atol=1e-6, rtol=1e-4)
            network.set_strength(0.0)
            assert torch.equal(run(model), base_output)


def test_max_norm_caps_what_is_too_large_and_nothing_else() -> None:
    with Network.attach(small(), CONFIG.replace(conv_rank=2)) as network:
        before = randomise(network)
        norms = {name: float(module.delta().norm()) for name, module in before.items()}
        limit = sorted(norms.values())[len(norms) // 2]
        report = network.apply_max_norm(limit)
        after = network.weights()
    assert report.scaled == sum(norm > limit * (1 + 1e-6) for norm in norms.values())
    assert report.largest == pytest.approx(limit, rel=1e-5)
    assert report.mean == pytest.approx(sum(min(n, limit) for n in norms.values()) / len(norms), rel=1e-4)
    for name, norm in norms.items():
        assert float(after[name].delta().norm()) == pytest.approx(min(norm, limit), rel=1e-4)
        if norm < limit * 0.999:
            assert torch.equal(after[name].up, before[name].up)
        elif norm > limit * 1.001:
            share = math.sqrt(limit / norm)  # both halves shrink alike, as kohya's do
            torch.testing.assert_close(after[name].up, before[name].up * share)
            torch.testing.assert_close(after[name].down, before[name].down * share)


@pytest.mark.parametrize("family", [Family.SD1, pytest.param(Family.SDXL, marks=pytest.mark.slow)])
def test_detach_leaves_no_trace(family: Family) -> None:
    model = tiny(family)
    model.unet.conv_in.weight.requires_grad_(True)  # a host may have left a flag on
    before = fingerprint(model)
    with torch.no_grad():
        output = run(model)
        network = Network.attach(model, CONFIG.replace(conv_rank=2))
        randomise(network)
        assert not torch.equal(run(model), output)
        network.detach()
        network.detach()
        assert fingerprint(model) == before
        assert torch.equal(run(model), output)
    Network.attach(model, CONFIG).detach()
    assert fingerprint(model) == before


def test_an_exception_and_a_failed_attach_leave_no_trace() -> None:
    model = small()
    before = fingerprint(model)
    with pytest.raises(KeyboardInterrupt), Network.attach(model, CONFIG):
        raise KeyboardInterrupt
    assert fingerprint(model) == before
    tower = model.text_towers[0].module
    inject_adapter_in_model(LoraConfig(r=1, target_modules=["fc1"]), tower)
    with_foreign = fingerprint(model)
    with pytest.raises(TrainingError, match="already carries adapters"):
        Network.attach(model, CONFIG)
    assert fingerprint(model) == with_foreign


def test_a_second_network_is_refused_and_the_first_lives_on() -> None:
    model = small()
    with torch.no_grad(), Network.attach(model, CONFIG) as network:
        randomise(network)
        output = run(model)
        with pytest.raises(TrainingError, match="already carries adapters"):
            Network.from_weights(model, network.weights())
        assert torch.equal(run(model), output)


def test_from_weights_is_the_live_network() -> None:
    model = tiny()
    config = CONFIG.replace(conv_rank=2, conv_alpha=1.5)
    with torch.no_grad():
        with Network.attach(model, config) as network:
            randomise(network)
            live, weights = run(model), network.weights()
        with Network.from_weights(model, weights) as loaded:
            assert torch.equal(run(model), live)
            assert not any(p.parameter.requires_grad for p in loaded.unet_parameters() + loaded.te_parameters())
            assert set(loaded.names) == set(weights)
        with Network.from_weights(model, weights, strength=0.0):
            assert not torch.equal(run(model), live)


def test_two_loras_at_once_add_up() -> None:
    model = small()
    with torch.no_grad():
        with Network.attach(model, CONFIG.replace(te_learning_rate=0.0)) as network:
            first, second = randomise(network, 1), randomise(network, 2)
        second.pop(NAME)
        layer = "mid_block.attentions.0.proj_out"
        x = torch.randn((1, 16, 2, 2), generator=torch.Generator().manual_seed(0))
        base = model.unet.get_submodule(layer)(x)
        added = []
        for weights, strength in ((first, 0.8), (second, -0.3)):
            with Network.from_weights(model, weights, strength):
                added.append(model.unet.get_submodule(layer)(x) - base)
        with Network.from_weights(model, combine([(first, 0.8), (second, -0.3)])) as both:
            assert len(both.names) == 48
            torch.testing.assert_close(model.unet.get_submodule(layer)(x), base + sum(added), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_other_spellings_of_names_and_shapes_are_read() -> None:
    model = tiny(Family.SDXL)
    with torch.no_grad():
        with Network.attach(model, CONFIG.replace(te_learning_rate=0.0)) as network:
            weights = randomise(network)
            live = run(model)
        name = "lora_unet_input_blocks_4_1_proj_in"
        module = weights.pop(name)
        four_d = LoraModule(module.down[..., None, None], module.up[..., None, None], module.alpha)
        weights["lora_unet_down_blocks_1_attentions_0_proj_in"] = four_d
        with Network.from_weights(model, weights) as loaded:
            assert name in loaded.names
            assert torch.equal(run(model), live)


def test_a_file_for_another_family_is_named_as_such() -> None:
    names = module_names(Family.SDXL, "unet")
    weights = {name: LoraModule(torch.zeros(2, 8), torch.zeros(8, 2), 1.0) for name in (*names, "lora_unet_conv_in")}
    model = small()
    before = fingerprint(model)
    with pytest.raises(LoraFileError, match="for layers that tiny does not have, such as lora_"):
        Network.from_weights(model, weights)
    assert fingerprint(model) == before


def test_layers_that_are_never_adapted_are_named() -> None:
    for model in (small(), replace(small(), info=BaseInfo("xl", Family.SDXL, "epsilon", "a test"))):
        for name in ("lora_unet_conv_in", "lora_unet_input_blocks_0_0", "lora_te3_x", "lora_unet_down_blocks_7"):
            with pytest.raises(LoraFileError, match=f"does not have, such as {name}"):
                Network.from_weights(model, {name: LoraModule(torch.zeros(2, 8), torch.zeros(8, 2), 1.0)})


def test_wrong_sizes_and_layers_change_nothing() -> None:
    model = small()
    with Network.attach(model, CONFIG) as network:
        weights = randomise(network)
        wide = {**weights, NAME: LoraModule(torch.zeros(4, 99), weights[NAME].up, 2.0)}
        with pytest.raises(LoraFileError, match="the checkpoint wants"):
            network.load_weights(wide)
        weights.pop(NAME)
        with pytest.raises(LoraFileError, match="1 are missing and 0 strange"):
            network.load_weights({**weights})
        assert network.weights()[NAME].up.any()


def test_conv_layers_take_their_own_rank_and_alpha() -> None:
    with Network.attach(small(), CONFIG.replace(conv_rank=2)) as network:
        weights = network.weights()
    shapes = {(module.down.dim() == 4 and module.down.shape[2] == 3): set() for module in weights.values()}
    for module in weights.values():
        shapes[module.down.dim() == 4 and module.down.shape[2] == 3].add((module.rank, module.alpha))
    assert shapes == {True: {(2, 1.0)}, False: {(4, 2.0)}}  # kohya: time_emb_proj and 1x1 take the linear rank


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"targets": ["attention"]}, 4 * 8),
        ({"targets": ["feed_forward"]}, 4 * 2),
        ({"targets": ["projection"]}, 4 * 2),
        ({"targets": [], "conv_rank": 2}, 8 * 3 + 5 + 2),  # resnets, shortcuts, down- and upsampler
        ({"learning_rate": 0.0, "te_learning_rate": 1e-4}, 12),
    ],
)
def test_targets(changes: dict[str, Any], count: int) -> None:
    with Network.attach(small(), TrainConfig(rank=2).replace(**changes)) as network:
        assert len(network.names) == count


def test_alpha_zero_means_rank() -> None:
    with Network.attach(small(), CONFIG.replace(alpha=0.0)) as network:
        assert {module.scale for module in network.weights().values()} == {1.0}


def test_text_training_without_towers_says_what_to_do() -> None:
    model = small()
    model.text_towers = ()
    with pytest.raises(TrainingError, match="Set te_learning_rate to 0"):
        Network.attach(model, CONFIG)


def test_parameters_are_in_a_stable_order_with_their_keys() -> None:
    with Network.attach(small(), CONFIG) as network:
        named = network.unet_parameters() + network.te_parameters()
        assert [n.is_up for n in named] == [False, True] * len(network.names)
        assert [n.name.split(".")[0] for n in named] == [name for name in network.names for _ in range(2)]
        assert {n.name.split(".", 1)[1] for n in named} == {"lora_down.weight", "lora_up.weight"}
