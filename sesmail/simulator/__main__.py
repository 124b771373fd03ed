"""`python -m sesmail.simulator OPTIONS_AS_JSON PARENT_PROCESS_ID`; what it does stands in `seslocal.child`."""

from __future__ import annotations

from seslocal.child import main

if __name__ == "__main__":
    main()
