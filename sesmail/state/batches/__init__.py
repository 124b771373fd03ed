"""Letters to many: what Redis keeps of a batch, its letter and its recipients."""
