"""Public test tools: the conformance kit, toy components, and components that are broken on purpose.

`from reverie.testing import conformance` is all that a third party needs (see `docs/contracts.md`).
"""
