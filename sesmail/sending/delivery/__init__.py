"""From the claim to SES's answer, and all that follows from it.

`turn.py` is what comes before SES is asked, `aftermath.py` what follows its answer, `outcomes.py` what can become of an
email; `delivery.py` puts them together, for single emails and lots, `together.py` for several by one call.
"""
