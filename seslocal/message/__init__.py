"""An email: what is submitted, its MIME form, and the template language."""
