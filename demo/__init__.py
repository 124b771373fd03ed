"""The demo: everything that mails an e-letter, on this machine alone."""
