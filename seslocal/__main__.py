"""`python -m seslocal`: the local SES as a command."""

from __future__ import annotations

from seslocal.command import simulator

if __name__ == "__main__":
    simulator()
