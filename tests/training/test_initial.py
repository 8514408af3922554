"""First weights: drawn by name, as diffusers would, whatever holds them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fakes.toys import CHANNELS, WIDTH
from training.initial import draw_weights
from training.lora import LoraConfig, add_adapter
from training.model import Dit, ModelConfig, count_parameters, on_meta
from training.sharding import give_memory

CPU = torch.device("cpu")
TINY = ModelConfig.model_validate({"preset": "tiny"})


def drawn(seed=0, lora=None):
    model = on_meta(TINY, CHANNELS, WIDTH)
    if lora is not None:
        add_adapter(model, lora, torch.float32)
    give_memory(model, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))  # what fresh memory may hold
    draw_weights(model, seed)
    return model


def test_first_weights_are_spread_as_those_of_diffusers():
    """The same zeros and ones; elsewhere the same bounds, means and deviations."""
    torch.manual_seed(0)
    made = Dit(TINY, CHANNELS, WIDTH).requires_grad_(False)
    expected = dict(made.named_parameters())
    found = {name: value.detach() for name, value in drawn().named_parameters()}

    assert found.keys() == expected.keys()
    for name, value in found.items():
        theirs = expected[name]
        assert (value.shape, value.dtype) == (theirs.shape, theirs.dtype)
        if theirs.std() == 0:
            assert torch.equal(value, theirs), name
            continue
        bound = float(theirs.abs().max())
        assert float(value.abs().max()) == pytest.approx(bound, rel=0.1), name
        assert float(value.std()) == pytest.approx(float(theirs.std()), rel=0.15), name
        assert abs(float(value.mean())) < 6 * bound / value.numel() ** 0.5, name
        assert not torch.equal(value, theirs), name


def test_first_weights_depend_on_the_seed_and_their_name():
    """Twice the same; another seed gives others; no two layers have the same."""
    once, twice, other = drawn().state_dict(), drawn().state_dict(), drawn(seed=1).state_dict()
    name = "transformer.layers.0.self_attention.to_q.weight"

    assert all(torch.equal(once[key], twice[key]) for key in once)
    assert not torch.equal(once[name], other[name])
    assert not torch.equal(once[name], once[name.replace("to_q", "to_k")])


def test_first_weights_are_frozen():
    """Runs are repeated by their seed: the first numbers of a layer, for ever."""
    first = drawn().state_dict()["transformer.layers.0.self_attention.to_q.weight"][0, :4]

    assert torch.allclose(first, torch.tensor(FIRST), atol=1e-6), first.tolist()


FIRST = [0.05451018, -0.02359958, -0.07824662, 0.08281931]


def test_a_new_adapter_changes_no_weight_and_no_output():
    """What lies under it is drawn as if it were not there, and it begins as nothing."""
    plain, adapted = drawn(), drawn(lora=LoraConfig(rank=4))
    names = dict(adapted.named_parameters())

    for name, value in plain.named_parameters():
        under = name.removesuffix(".weight") + ".base_layer.weight"
        assert torch.equal(names[under if under in names else name], value)
    assert float(names[f"{LAYER}.lora_A.default.weight"].abs().min()) > 0
    assert float(names[f"{LAYER}.lora_B.default.weight"].abs().max()) == 0


LAYER = "transformer.layers.0.self_attention.to_q"


class Counting(TorchDispatchMode):
    """Counts the bytes of every tensor that is made and is not on the meta device."""

    num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.device.type != "meta":
            self.num_bytes += found.numel() * found.element_size()
        return found


def test_the_released_model_is_built_without_memory():
    """8 billion parameters, with an adapter too, and not a megabyte of tensors."""
    config = ModelConfig.model_validate({"preset": "ernie_image_8b"})

    with Counting() as counted:
        model = on_meta(config, 128, 3072)
        add_adapter(model, LoraConfig(rank=16), torch.bfloat16)

    assert counted.num_bytes < 1 << 20
    assert count_parameters(model) > 8_033_490_048
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert not list(model.buffers())  # `to_empty` would leave chance in them
