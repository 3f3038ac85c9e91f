"""One filtered step, as an agent acts, is a step of `observe`: the same numbers for less work."""

from typing import Any

import pytest
import torch

from reverie.contracts import ActionSpec, Sampling
from reverie_plugins.rssm.config import RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM


@pytest.mark.parametrize("first", [(False, False, False), (True, False, True)])
@pytest.mark.parametrize("mode", ["sample", "mode"])
@pytest.mark.parametrize(
    "options", [{}, {"latent": "gaussian"}, {"initial": "learned"}, {"blocks": 2, "norm": "rms"}, {"cell": "standard"}]
)
def test_a_filtered_step_is_a_step_of_observe(options: dict[str, Any], mode: Any, first: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    rssm = RSSM(RSSMConfig(deter=6, hidden=4, groups=3, classes=5, **options), 4, ActionSpec("discrete", 2))
    if rssm.start is not None:
        torch.nn.init.normal_(rssm.start)

    def sampling() -> Sampling:
        return Sampling(mode=mode, generators=[torch.Generator().manual_seed(row) for row in range(3)])

    embed, action, is_first = torch.randn(3, 4), torch.eye(2)[[0, 1, 1]], torch.tensor(first)
    with torch.no_grad():
        state = rssm.imagine(rssm.initial(3), action.flip(0), sampling())
        whole = rssm.observe(embed[:, None], action[:, None], is_first[:, None], state, sampling=sampling()).last
        step = rssm.filter(embed, action, is_first, state, sampling=sampling())
    for name, value in whole.tensors().items():
        torch.testing.assert_close(getattr(step, name), value, rtol=1e-6, atol=1e-6)
