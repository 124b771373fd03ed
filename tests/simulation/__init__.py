"""The whole product under virtual time: one seed is one history. See docs/reliability.md."""
