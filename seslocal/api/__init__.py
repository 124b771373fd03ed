"""The API: a call is read in its wire form, performed by its operation, and answered in the wire form."""
