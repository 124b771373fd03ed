"""An email's way out."""
