"""A letter to a list: what everybody gets, who they are, and lists as people have them."""
