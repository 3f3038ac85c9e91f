"""Encoders, decoders, what ties latent states to observations, and new encoders for a world that is known."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl

_ROOT = "reverie_plugins.perception"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [*_codecs(), *_objectives(), _alignment()]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """Objective `overshooting` decodes states, which a decoder of embeddings cannot."""
    decoder = recipe.choices.get("decoder")
    far = [
        slot for slot, choice in recipe.choices.items()
        if choice.component.spec.target == f"{_ROOT}.overshooting:Overshooting"
    ]  # fmt: skip
    if decoder is None or not far or decoder.component.load().reads != "embed":
        return []
    return [
        Problem(
            f"{slot} (overshooting) needs a decoder of states, and decoder ({decoder.name}) reads embeddings",
            recipe.places.get(f"{slot.replace('/', '.')}.name", ""),
            slot,
            "what is imagined ahead are states: no observation was embedded there",
            f"leave {slot} out, or take a decoder that reads states, such as `decoder=auto` with objective "
            "`reconstruction`",
        )
        for slot in far
    ]


def _codecs() -> list[ComponentSpec]:
    kinds = {
        "vector": ("VectorEncoder", "VectorDecoder", "all vector entries through one MLP", {"vector"}),
        "image": ("ImageEncoder", "ImageDecoder", "all image entries through convolutions", {"image"}),
        "auto": ("AutoEncoder", "AutoDecoder", "whatever the observation holds: vectors, images or both",
                 {"vector", "image"}),
    }  # fmt: skip
    specs = []
    for name, (encoder, decoder, summary, provides) in kinds.items():
        for kind, target in (("encoder", encoder), ("decoder", decoder)):
            specs.append(
                ComponentSpec(
                    kind=kind,
                    name=name,
                    target=f"{_ROOT}.{kind}:{target}",
                    config=f"{_ROOT}.config:{target}Config",
                    summary=summary,
                    provides=frozenset(provides),
                )
            )
    return [*specs, *_identities()]


def _identities() -> list[ComponentSpec]:
    summaries = {"encoder": "all vector entries, joined, as they are", "decoder": "the code, taken for the observation"}
    provides = {"encoder": {"vector", "observation"}, "decoder": {"vector"}}
    return [
        ComponentSpec(
            kind=kind,
            name="identity",
            target=f"{_ROOT}.identity:Identity{kind.capitalize()}",
            config=f"{_ROOT}.config:Identity{kind.capitalize()}Config",
            summary=summary,
            provides=frozenset(provides[kind]),
        )
        for kind, summary in summaries.items()
    ]


def _objectives() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="objective",
            name="reconstruction",
            target=f"{_ROOT}.reconstruction:Reconstruction",
            config=f"{_ROOT}.config:ReconstructionConfig",
            summary="the decoder must explain every observation entry",
        ),
        ComponentSpec(
            kind="objective",
            name="overshooting",
            target=f"{_ROOT}.overshooting:Overshooting",
            config=f"{_ROOT}.config:OvershootingConfig",
            summary="what is imagined several steps ahead must explain what is then observed",
        ),
        ComponentSpec(
            kind="objective",
            name="contrastive",
            target=f"{_ROOT}.contrastive:Contrastive",
            config=f"{_ROOT}.config:ContrastiveConfig",
            summary="states must tell their own observation from all others of the batch; needs no decoder",
        ),
    ]


def _alignment() -> ComponentSpec:
    return ComponentSpec(
        kind="learner",
        name="encoder_alignment",
        target=f"{_ROOT}.alignment:EncoderAlignment",
        config=f"{_ROOT}.config:EncoderAlignmentConfig",
        summary="a new encoder under which a known dynamics and reward head explain what happens",
        provides=frozenset({"gradient"}),
    )
