"""The workers together, and what is kept of their work: who is alive, figures, what operators did."""
