"""sesmail in frameworks: what their users expect, thin."""
