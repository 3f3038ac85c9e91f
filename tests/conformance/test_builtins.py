"""Every built-in plugin and component passes the kit, exactly as a third party's would have to."""

import pytest

from reverie.extension.manager import load_plugins
from reverie.testing import conformance

PLUGINS = load_plugins()
BUILTIN = [record.name for record in PLUGINS.records if record.distribution == "reverie"]

SMALL_RSSM = {"deter": 16, "hidden": 16}
BLOCKS = {**SMALL_RSSM, "blocks": 4, "prior_layers": 2, "norm": "rms"}
CONFIGURATIONS = {
    "dynamics": {
        "rssm": [
            {},
            {"latent": "gaussian", **SMALL_RSSM},
            {**SMALL_RSSM, "groups": 3, "classes": 5, "unimix": 0.0, "norm": "none", "activation": "elu", "layers": 2},
            {**BLOCKS, "initial": "learned", "kl": {"free": "mean", "free_nats": 0.0, "balance": 0.8}},
            {**SMALL_RSSM, "cell": "standard", "latent": "gaussian", "kl": {"free": "element", "free_nats": 3.0}},
            {**SMALL_RSSM, "latent": "gaussian", "kl": {"free": "element", "free_nats": 0.0}},
        ],
        "ensemble": [
            {},
            {"members": 3, "propagation": "ts1", "bootstrap": False, "activation": "relu"},
            {"probabilistic": False, "layers": 1},
            {"members": 1, "units": 32},
        ],
        "mdn_rnn": [
            {"hidden": 16, "components": 3},
            {"hidden": 16, "components": 2, "predicts": "change", "features": "z"},
        ],
        "implicit": [
            {"latent": 32, "units": 32},
            {"latent": 24, "group": 6, "units": 32, "layers": 0, "activation": "silu", "rho": 1.0},
        ],
    },
    "head": {
        "q_ensemble": [{}, {"members": 1, "units": 16, "layers": 1, "zero_init": False, "activation": "silu"}],
    },
    "encoder": {"vae": [{}, {"layout": "paper", "depth": 2}]},
    "decoder": {"vae": [{}, {"layout": "paper", "depth": 2}]},
    # a uniformly random search finds little in twelve steps of three dimensions: a short plan is its fair test
    "planner": {
        "random_shooting": [
            {"horizon": 2, "candidates": 2000},
            {"horizon": 2, "candidates": 2000, "bootstrap": True, "particles": 2, "risk": 0.5, "discount": 0.9},
        ],
        "cem": [
            {},
            {"warm_start": True, "momentum": 0.1, "horizon": 5},
            {"bootstrap": True, "particles": 2, "horizon": 5, "discount": 0.9},
            {"noise": "truncated", "std": 0.5, "min_std": 0.0, "momentum": 0.1, "warm_start": True, "horizon": 4},
            {"proposals": 32, "candidates": 32, "iterations": 1, "horizon": 2},  # a search would find what they miss
        ],
        # slow noise is not made for a problem whose answer is one quick move
        "icem": [{"horizon": 3}, {"horizon": 1, "colour": 0.0}, {"horizon": 3, "kept": 0.0, "colour": 0.5}],
        "mppi": [
            {"horizon": 2},
            {"bootstrap": True, "proposals": 24, "execute": "mean"},
            {"warm_start": False, "horizon": 2, "noise": False, "temperature": 5.0},
        ],
        "guided": [{"horizon": 4}, {"bootstrap": True, "horizon": 3, "candidates": 1}],
        "gradient": [{"horizon": 4}, {"candidates": 1, "std": 0.0, "warm_start": False, "bootstrap": True}],
        "exhaustive": [{}, {"horizon": 1, "bootstrap": True}],
    },
}
"""Options besides the defaults with which a component is tested, by kind and name."""

EXPECTED_FAILURES = {  # label of the options -> check -> reason
    "members=1,units=32": {"members_disagree": "one member is what was asked for, and it says so by `members` None"},
}
"""Checks that a configuration does not pass, with the reason."""


def label(options: dict) -> str:
    return ",".join(f"{key}={value}" for key, value in options.items()) or "defaults"


def builtin_cases() -> list:
    found = [pytest.param(case, id=str(case)) for name in BUILTIN for case in conformance.cases("plugin", name)]
    for component in PLUGINS.catalogue.components():
        if component.plugin.distribution != "reverie" or component.kind not in conformance.KINDS:
            continue
        for options in CONFIGURATIONS.get(component.kind, {}).get(component.name, [{}]):
            expected = EXPECTED_FAILURES.get(label(options))
            for case in conformance.cases(component.kind, component.name, config=options, expected_failures=expected):
                if not case.check.gate(case.subject):
                    found.append(pytest.param(case, id=f"{case}[{label(options)}]"))
    return found


@pytest.mark.parametrize("case", builtin_cases())
def test_builtin(case: conformance.Case) -> None:
    case.run()


def test_nothing_is_left_out() -> None:
    assert not PLUGINS.failures()
    declared = {(component.kind, component.name) for component in PLUGINS.catalogue.components()}
    expected = {
        ("dynamics", "rssm"), ("dynamics", "ensemble"), ("dynamics", "mdn_rnn"), ("actor", "mlp"), ("actor", "linear"),
        ("dynamics", "implicit"), ("actor", "policy_prior"), ("head", "q_ensemble"),
        *[("planner", name) for name in ("actor", "random_shooting", "cem", "icem", "mppi", "guided")],
        *[("planner", name) for name in ("gradient", "exhaustive")],
        *[("encoder", name) for name in ("auto", "vector", "image", "identity", "vae")],
        *[("decoder", name) for name in ("auto", "vector", "image", "identity", "vae")],
        *[("objective", name) for name in ("reconstruction", "overshooting", "contrastive", "vae")],
        *[("head", name) for name in ("two_hot", "gaussian", "bernoulli")],
    }  # fmt: skip
    assert expected <= declared
    for kind, names in CONFIGURATIONS.items():
        assert {(kind, name) for name in names} <= declared
