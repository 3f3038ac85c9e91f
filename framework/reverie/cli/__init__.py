"""The command line: one file per verb, imported only when the verb is typed. No torch, no hydra, no pydantic here."""
