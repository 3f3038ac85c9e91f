import torch
from torch import nn

from reverie.assembly.slots import ModuleMap, state_prefix


def test_any_name_is_a_name():
    modules = ModuleMap({"values": nn.Linear(1, 2), "a.b": nn.Linear(2, 3), "keys": nn.Linear(3, 4)})
    assert list(modules) == ["values", "a.b", "keys"]
    assert len(list(modules.values())) == 3
    assert modules["a.b"].out_features == 3
    assert "missing" not in modules
    assert {name for name, _ in modules.named_parameters()} == {
        f"{name}.{part}" for name in ("values", "a%2Eb", "keys") for part in ("weight", "bias")
    }
    assert list(ModuleMap({"50%.2E%": nn.Linear(1, 1)})) == ["50%.2E%"]


def test_states_round_trip_and_modules_are_themselves():
    one, other = ModuleMap({"a.b": nn.Linear(2, 3)}), ModuleMap({"a.b": nn.Linear(2, 3)})
    assert one != other
    assert one in {one}
    other.load_state_dict(one.state_dict())
    assert torch.equal(one["a.b"].weight, other["a.b"].weight)


def test_replacing_a_module():
    modules = ModuleMap({"x": nn.Linear(1, 1)})
    fresh = nn.Linear(1, 1)
    modules.put("x", fresh)
    assert modules["x"] is fresh
    assert len(modules) == 1


def test_prefixes():
    assert state_prefix("dynamics") == "dynamics."
    assert state_prefix("heads/reward") == "heads.reward."
