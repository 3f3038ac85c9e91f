"""The M of "World Models": an LSTM whose output is a mixture density over the next code."""

from reverie import ComponentSpec, Needs, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="dynamics",
            name="mdn_rnn",
            target="reverie_plugins.mdn_rnn.dynamics:MDNRNN",
            config="reverie_plugins.mdn_rnn.config:MDNRNNConfig",
            summary="LSTM with a mixture density over the encoder's next code (World Models, M)",
            provides=frozenset({"recurrent", "differentiable"}),
            needs=Needs(provides={"encoder": ("posterior",)}),
        )
    ]
