"""The Redis of the ledger as a server: where it is, how it is reached, what its errors mean, whether it keeps data."""
